//! The job process: what runs the tasks of one job on one worker.
//!
//! In reading order:
//! - [`stream_task`]: one task, a step function over its chain of operators;
//! - [`failure`]: how errors and panics of user code become a failure of the attempt;
//! - [`mailbox`]: mails for a thread that parks;
//! - [`slot`]: a slot is a thread that steps the tasks of its sharing group in turn;
//! - `rest`: how that thread waits when none of them can move;
//! - [`snapshots`]: writes what tasks hand over at barriers, on a thread of its own;
//! - [`storages`]: where to, and where from;
//! - [`host`]: deploys, cancels and reports: what a task executor speaks to;
//! - [`local`]: the tasks of a plan without threads, for tests of whole programs.

pub mod failure;
pub mod host;
pub mod local;
pub mod mailbox;
mod rest;
pub mod slot;
pub mod snapshots;
pub mod storages;
pub mod stream_task;
