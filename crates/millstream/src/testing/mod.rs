//! For tests of your own: functions and whole programs in one thread, in virtual time, with failures
//! where you want them.
//!
//! - [`Harness`]: one function, or a few in a row: push records, watermarks and time; look at output, side
//!   outputs, state and timers; take a snapshot and restore it with another parallelism.
//! - [`TwoInputHarness`]: one with two inputs.
//! - [`TestEnv`]: a whole program, with [`TestInput`]s and [`TestOutput`]s or with its own sources and
//!   sinks; [`TestJob`] is the program while it runs.
//!
//! Tasks, queues, checkpoints and state files are those of a cluster; only threads, sockets and the
//! machine's clock are missing. So a test gives the same result each time, takes no time for waiting, and
//! what it shows of a crash is true.
//!
//! ```
//! use millstream::prelude::*;
//! use millstream::testing::Harness;
//!
//! # fn main() -> Result<()> {
//! let mut harness =
//!     Harness::new(|words: DataStream<Str>| words.key_by_ref(|word| word).count().name("count"));
//! harness.push(["to", "be", "or", "not", "to"].map(Str::new))?;
//! assert_eq!(harness.take_output().last(), Some(&(Str::new("to"), 2)));
//!
//! // The same counts, in three subtasks now.
//! let snapshot = harness.snapshot()?;
//! let mut harness =
//!     Harness::new(|words: DataStream<Str>| words.key_by_ref(|word| word).count().name("count"))
//!         .with_parallelism(3)
//!         .restored_from(&snapshot);
//! harness.push(["be".into(), "to".into()])?;
//! let mut counts = harness.take_output();
//! counts.sort_unstable();
//! assert_eq!(counts, [("be".into(), 2), ("to".into(), 3)]);
//! # Ok(())
//! # }
//! ```
//!
//! More, in `docs/testing.md`.

mod harness;
mod input;
mod local_job;
mod options;
mod output;
mod test_env;
mod test_job;

pub use harness::{FunctionHarness, Harness, TwoInputHarness};
pub use input::TestInput;
pub use millstream_operator::inspect::PendingTimers;
pub use options::Snapshot;
pub use output::TestOutput;
pub use test_env::TestEnv;
pub use test_job::TestJob;
