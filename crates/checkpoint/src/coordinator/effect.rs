//! What the coordinator wants done, as data; its owner does it in order.

use millstream_core::checkpoint::{Barrier, CheckpointId};
use millstream_core::ids::ExecutionAttemptId;

/// What the coordinator wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Tell a task to begin a checkpoint.
    Trigger {
        /// Which task.
        attempt: ExecutionAttemptId,
        /// Which checkpoint.
        barrier: Barrier,
    },
    /// Tell a task that a checkpoint is complete.
    NotifyCompleted {
        /// Which task.
        attempt: ExecutionAttemptId,
        /// Which checkpoint.
        checkpoint: CheckpointId,
    },
    /// Tell a task that a checkpoint will never be complete.
    NotifyAborted {
        /// Which task.
        attempt: ExecutionAttemptId,
        /// Which checkpoint.
        checkpoint: CheckpointId,
    },
    /// Write metadata; [`super::Coordinator::on_written`] follows.
    Write(MetadataWrite),
    /// Read metadata back; [`super::Coordinator::on_read_back`] follows.
    ReadBack {
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// The directory that it is in.
        directory: String,
    },
    /// Delete files or whole directories, in this order, and stop at the first that cannot be.
    /// Nothing follows.
    Delete(Vec<String>),
    /// A checkpoint is complete: this is what the job goes on from now.
    Completed {
        /// Which.
        checkpoint: CheckpointId,
        /// How many splits each attempt had been given: these need not be given again.
        splits: Vec<(ExecutionAttemptId, u32)>,
    },
    /// Too many checkpoints have failed: start the whole job over.
    Fail(String),
}

/// Metadata to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataWrite {
    /// Which checkpoint.
    pub checkpoint: CheckpointId,
    /// The directory that it goes to.
    pub directory: String,
    /// Files to be copied there first, with their paths: for a savepoint, which must not depend on
    /// anything outside of it.
    pub copies: Option<Copies>,
    /// The file's content.
    pub bytes: Vec<u8>,
    /// If everything else is lost, the job goes on from it: a checkpoint, or the savepoint that ends
    /// the job.
    pub recoverable: bool,
}

/// Files that are copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copies {
    /// The directory that the paths are below.
    pub from: String,
    /// The paths: the same below the target.
    pub paths: Vec<String>,
}

/// What came of writing metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is there, durable.
    Done,
    /// It is not there and will not be.
    Failed {
        /// Why.
        reason: String,
    },
    /// It may be there.
    Unknown {
        /// What happened.
        reason: String,
    },
}

/// What came of reading metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadBack {
    /// Its content.
    Found(Vec<u8>),
    /// There is none.
    Missing,
    /// It could not be read.
    Failed {
        /// Why.
        reason: String,
    },
}
