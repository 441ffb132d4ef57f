//! A job in several versions, for tests that stop one and go on with another: `upgrade --version N`.
//!
//! - 1: a total per user, as a `u32`;
//! - 2: the total has another name and more bits, and there is a limit;
//! - 3: the total is text, which cannot be read from what version 1 wrote;
//! - 4: the keys are text;
//! - 5: the operator is gone;
//! - 6: as 2, and a second source.

use millstream::prelude::*;
use millstream::{sink, source};

#[derive(KeyedState)]
struct First {
    total: u32,
}

#[derive(KeyedState)]
struct Second {
    #[state(alias = "total")]
    seconds: u64,
    #[state(default = 1_000)]
    limit: u64,
}

#[derive(KeyedState)]
struct Third {
    total: String,
}

/// Adds up what there is of each user, in the state of one version.
macro_rules! totals {
    ($name:ident, $key:ty, $state:ident, |$s:ident| $add:expr) => {
        #[derive(Clone)]
        struct $name;

        impl KeyedProcessFunction<$key, u64> for $name {
            type State = $state;
            type Out = String;

            fn process(
                &mut self,
                _user: u64,
                ctx: &mut ProcessContext<'_, $key, $state, String>,
            ) -> FunctionResult {
                let $s = &mut *ctx.state;
                let text = $add;
                let line = format!("{},{text}", ctx.key());
                ctx.emit(line);
                Ok(())
            }
        }
    };
}

totals!(FirstTotals, u64, First, |s| {
    s.total += 1;
    s.total
});
totals!(SecondTotals, u64, Second, |s| {
    s.seconds += 1;
    format!("{} of {}", s.seconds, s.limit)
});
totals!(ThirdTotals, u64, Third, |s| {
    s.total.push('1');
    s.total.clone()
});
totals!(TextTotals, String, First, |s| {
    s.total += 1;
    s.total
});

fn main() -> Result<()> {
    let env = Env::from_args()?;
    let version: u32 = env.arg_parsed("version")?.unwrap_or(1);
    let output = env.arg("output")?;
    let users = source::generator(None, |n| n % 10).rate(1_000);
    let mut users = env.source("users", users);
    if version == 6 {
        let extra = env.source("extra", source::generator(Some(50), |n| 100 + n % 5));
        users = users.union(&[&extra]);
    }
    let lines = match version {
        1 => users.key_by(|user| *user).process(FirstTotals).uid("totals"),
        2 | 6 => users.key_by(|user| *user).process(SecondTotals).uid("totals"),
        3 => users.key_by(|user| *user).process(ThirdTotals).uid("totals"),
        4 => users.key_by(|user| user.to_string()).process(TextTotals).uid("totals"),
        _ => users.map(|user| user.to_string()),
    };
    lines.sink("lines", sink::text_files(output));
    env.execute("upgrade")?;
    Ok(())
}
