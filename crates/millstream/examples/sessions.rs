//! Clicks per user and session: `sessions --records N --users U --gap MILLIS`.
//!
//! A session ends when its user has not clicked for `--gap` milliseconds: a timer in processing time.
//! Prints each session that ends while the source still gives records.

use millstream::prelude::*;
use millstream::{sink, source};

millstream::allocator!();

/// What each user has.
#[derive(KeyedState)]
struct Session {
    clicks: u64,
    ends_at: Timestamp,
}

/// Counts clicks until none has come for `gap` milliseconds.
#[derive(Clone)]
struct Sessions {
    gap: i64,
}

impl KeyedProcessFunction<u64, u64> for Sessions {
    type State = Session;
    type Out = (u64, u64);

    fn process(
        &mut self,
        _click: u64,
        ctx: &mut ProcessContext<'_, u64, Session, (u64, u64)>,
    ) -> FunctionResult {
        ctx.state.clicks += 1;
        let ends_at = ctx.processing_time() + self.gap;
        if ends_at != ctx.state.ends_at {
            ctx.delete_processing_timer(ctx.state.ends_at);
            ctx.register_processing_timer(ends_at);
            ctx.state.ends_at = ends_at;
        }
        Ok(())
    }

    fn on_timer(
        &mut self,
        _timer: Timer,
        ctx: &mut ProcessContext<'_, u64, Session, (u64, u64)>,
    ) -> FunctionResult {
        let session = (*ctx.key(), ctx.state.clicks);
        ctx.emit(session);
        ctx.clear_state();
        Ok(())
    }
}

fn main() -> Result<()> {
    let env = Env::from_args()?;
    let records = env.arg_parsed::<u64>("records")?;
    let users = env.arg_parsed::<u64>("users")?.unwrap_or(1_000).max(1);
    let gap = env.arg_parsed::<i64>("gap")?.unwrap_or(10).max(1);

    // Users click in turns: while the others do, a user's session ends.
    let clicks = source::generator(records, move |i| i / 100_000 % users);
    env.source("clicks", clicks)
        .key_by(|user| *user)
        .process(Sessions { gap })
        .name("sessions")
        .sink("ended", sink::print());
    env.execute("sessions")?;
    Ok(())
}
