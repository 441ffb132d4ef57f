//! Functions with state and timers in a whole program, embedded.

use millstream::OperatorError;
use millstream::api::args::Args;
use millstream::operator::source::{Poll, Source, SourceClock, SourceReader};
use millstream::prelude::*;
use millstream::sink;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const USERS: u64 = 100;

/// Gives each user's clicks, and ends when so many sessions have been seen.
struct Clicks {
    ended: Arc<AtomicU64>,
}

struct ClickReader {
    next: u64,
    ended: Arc<AtomicU64>,
}

impl Source<u64> for Clicks {
    fn reader(&self, _context: &TaskContext) -> Result<Box<dyn SourceReader<u64>>, OperatorError> {
        Ok(Box::new(ClickReader { next: 0, ended: self.ended.clone() }))
    }

    fn is_bounded(&self) -> bool {
        false
    }

    fn parallelism_max(&self) -> Option<u32> {
        Some(1)
    }
}

impl SourceReader<u64> for ClickReader {
    fn poll(
        &mut self,
        out: &mut Vec<u64>,
        _room: usize,
        clock: SourceClock,
    ) -> Result<Poll, OperatorError> {
        if self.next < 3 * USERS {
            out.push(self.next % USERS);
            self.next += 1;
            return Ok(Poll::More);
        }
        if self.ended.load(Ordering::SeqCst) == USERS {
            return Ok(Poll::End);
        }
        Ok(Poll::WakeAt(clock.now_us + 1_000))
    }

    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>, OperatorError> {
        Ok(vec![self.next.to_le_bytes().to_vec()])
    }

    fn restore(&mut self, items: Vec<Vec<u8>>) -> Result<(), OperatorError> {
        let item = items.first().and_then(|item| item.first_chunk().copied());
        self.next = item.map_or(3 * USERS, u64::from_le_bytes);
        Ok(())
    }
}

#[derive(KeyedState)]
struct Session {
    clicks: u64,
    timer: ValueState<Timestamp>,
}

#[derive(Clone)]
struct Sessions;

impl KeyedProcessFunction<u64, u64> for Sessions {
    type State = Session;
    type Out = (u64, u64);

    fn process(
        &mut self,
        _click: u64,
        ctx: &mut ProcessContext<'_, u64, Session, (u64, u64)>,
    ) -> FunctionResult {
        ctx.state.clicks += 1;
        if ctx.state.clicks == 3 {
            let time = ctx.processing_time() + 20;
            ctx.state.timer.set(time);
            ctx.register_processing_timer(time);
        }
        Ok(())
    }

    fn on_timer(
        &mut self,
        timer: Timer,
        ctx: &mut ProcessContext<'_, u64, Session, (u64, u64)>,
    ) -> FunctionResult {
        if ctx.state.timer.get() != Some(&timer.time) || ctx.processing_time() < timer.time {
            return Err(format!("{timer:?} fired at {}", ctx.processing_time()).into());
        }
        let session = (*ctx.key(), ctx.state.clicks);
        ctx.emit(session);
        ctx.clear_state();
        Ok(())
    }
}

#[test]
fn timers_fire_in_an_idle_job_and_each_key_has_its_own() {
    let ended = Arc::new(AtomicU64::new(0));
    let args = Args::parse(["--parallelism", "2"].map(str::to_owned));
    let env = Env::with_arguments(args.expect("well formed")).expect("embedded");
    let sessions = sink::collect();
    let (count, clicks) = (ended.clone(), Clicks { ended });
    env.source("clicks", clicks)
        .key_by(|user| *user)
        .process(Sessions)
        .name("sessions")
        .map(move |session| {
            count.fetch_add(1, Ordering::SeqCst);
            session
        })
        .sink("ended", sessions.clone());
    env.execute("sessions").expect("it ends");
    let mut sessions = sessions.take();
    sessions.sort_unstable();
    assert_eq!(sessions, (0..USERS).map(|user| (user, 3)).collect::<Vec<_>>());
}
