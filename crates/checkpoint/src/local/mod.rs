//! Copies of state files that a worker keeps for itself: what a task that starts over there begins with.
//!
//! The copy of a file is kept under the file's own name, which no other file of the job ever has. So
//! whoever goes on from a checkpoint on this worker finds what it needs, whichever process wrote it and
//! whatever subtask that was; what is not found, or not exactly what was written, is read where the
//! checkpoint is. A copy is never what makes anything durable, so it is not synced, and one that cannot be
//! written is no failure.
//!
//! - [`kept`]: which copies are still of use;
//! - [`proof`]: what shows that a copy is whole, and whose.

pub mod kept;
pub mod proof;

use crate::storage::Storage;
use std::sync::{Arc, Mutex};

/// The copies of one job on this worker's disk. Every call may block.
pub trait LocalCopies: Send + Sync {
    /// The storage of the job's checkpoints: what is written through it is kept here as well.
    fn writing(&self, remote: Arc<dyn Storage>) -> Arc<dyn Storage>;

    /// The storage of the job's checkpoints: what is read through it is read here first, and counted.
    fn reading(&self, remote: Arc<dyn Storage>, reads: Reads) -> Arc<dyn Storage>;

    /// The names of all that is kept.
    fn list(&self) -> Vec<String>;

    /// Nobody will ask for these any more.
    fn delete(&self, paths: &[String]);

    /// A line for the log of whoever uses them.
    fn tell(&self, line: &str);
}

/// What was read where, shared with whoever reads.
pub type Reads = Arc<Mutex<ReadCounts>>;

/// How many bytes of state files came from where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadCounts {
    /// From the worker's own copies.
    pub local: u64,
    /// From where the checkpoint is.
    pub remote: u64,
}
