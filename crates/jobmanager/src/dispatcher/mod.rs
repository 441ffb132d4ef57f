//! The dispatcher: takes jobs in, has a job master made for each, keeps what became of them.
//!
//! A job goes one way: its plan is persisted, its job master is started, it runs, its result is
//! recorded, and what it leaves behind is cleaned up. Whatever touches the outside world is an
//! operation whose outcome may be unknown; all of them can be repeated.
//!
//! In reading order:
//! - [`config`]: what can be configured, its timers;
//! - [`work`]: the operations, and what their shell owes us;
//! - `job`: a job on its way, and every move it may make;
//! - [`machine`]: the endpoint: its state, what reaches it;
//! - `submission`: from the plan to the running job;
//! - `cancellation`: a wish that is never forgotten;
//! - `ending`: from the last word of the job master to nothing left;
//! - `ended_jobs`: what became of jobs;
//! - `queries`: what people ask; `snapshots`: savepoints and checkpoints on request;
//! - [`recovery`]: what a new leader begins with, and how a deposed one ends;
//! - `shutdown`: the end of the cluster;
//! - `invariants`: what holds after every step.

mod cancellation;
pub mod config;
mod ended_jobs;
mod ending;
mod invariants;
mod job;
pub mod machine;
mod queries;
pub mod recovery;
mod shutdown;
mod snapshots;
mod submission;
pub mod work;

pub use config::{DispatcherConfig, DispatcherTimer};
pub use machine::{Counters, Dispatcher};
pub use recovery::{Recovered, RecoveredJob};
pub use work::{DispatcherDone, DispatcherOp, UNSOLICITED};

#[cfg(test)]
mod recovery_test;
#[cfg(test)]
mod tests;
