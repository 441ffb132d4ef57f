//! What a checkpoint is called, and the barrier that divides the records before it from those after.

use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Counts the checkpoints of a job, from 1; grows over restarts and is never used twice.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct CheckpointId(pub u64);

impl fmt::Display for CheckpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Divides the records of a stream: those before it are in the checkpoint, those after it are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Barrier {
    /// Which checkpoint.
    pub checkpoint: CheckpointId,
    /// When it was triggered.
    pub timestamp: Timestamp,
    /// What it is for.
    pub kind: SnapshotKind,
    /// How it passes queues.
    pub alignment: Alignment,
}

/// What a snapshot is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SnapshotKind {
    /// The engine's own: may refer to files of earlier ones.
    Checkpoint,
    /// The engine's own, but complete: refers to no file of an earlier one.
    FullCheckpoint,
    /// The user's: complete, in the format that every backend reads.
    Savepoint,
    /// A savepoint after whose completion the tasks end; nothing is emitted on the way.
    Suspend,
    /// A savepoint after whose completion the tasks end; before it all input counts as ended.
    Drain,
}

impl SnapshotKind {
    /// The user owns what it writes.
    pub fn is_savepoint(self) -> bool {
        matches!(self, Self::Savepoint | Self::Suspend | Self::Drain)
    }

    /// Its completion ends the tasks.
    pub fn stops(self) -> bool {
        matches!(self, Self::Suspend | Self::Drain)
    }

    /// It may refer to files of earlier checkpoints.
    pub fn is_incremental(self) -> bool {
        self == Self::Checkpoint
    }
}

/// How a barrier passes queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Alignment {
    /// Behind the data; a task that has it on one channel waits for the others before it reads on.
    Aligned,
    /// Behind the data; a task reads on while it waits (at least once).
    AtLeastOnce,
    /// Before the data, which becomes part of the checkpoint.
    Unaligned,
    /// Aligned; after so many milliseconds unaligned.
    AlignedUntil(u32),
}

impl Alignment {
    /// The barrier overtakes data, at once or after a while.
    pub fn may_overtake(self) -> bool {
        matches!(self, Self::Unaligned | Self::AlignedUntil(_))
    }
}
