//! What flows through a channel: batches, and control elements between them, never inside.

use crate::batch::BoxBatch;
use millstream_core::checkpoint::{Barrier, CheckpointId};
use std::collections::VecDeque;

/// A thing in a channel.
pub enum Element {
    /// Records.
    Batch(BoxBatch),
    /// Something that the engine says.
    Control(Control),
}

impl Element {
    pub(crate) fn is_barrier(&self) -> bool {
        matches!(self, Element::Control(control) if control.is_barrier())
    }
}

/// What the engine says between batches. Every channel keeps room for these: they always go in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// What came before is in the checkpoint, what comes after it is not.
    Barrier(Barrier),
    /// The producer takes no part in this checkpoint: its barrier is not to be waited for.
    CancelBarrier(CheckpointId),
    /// Nothing will ever follow: the producer has done all its work.
    EndOfPartition,
}

/// What a poll of one channel found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The buffer holds a batch.
    Batch,
    /// The engine says something. After the end this is the end again.
    Control(Control),
    /// Nothing now.
    Empty,
}

/// So many barriers (and cancellations) wait in one queue: more than there are checkpoints at once.
pub const BARRIERS_MAX: usize = 16;

impl Control {
    /// It is about a checkpoint.
    pub(crate) fn is_barrier(self) -> bool {
        match self {
            Control::Barrier(_) | Control::CancelBarrier(_) => true,
            Control::EndOfPartition => false,
        }
    }
}

/// Makes room for one more barrier: where there are too many, the oldest is dropped. To the consumer
/// that is a producer that took no part in that checkpoint, which costs the checkpoint and nothing
/// else.
pub(crate) fn make_room<T>(queue: &mut VecDeque<T>, is_barrier: impl Fn(&T) -> bool) {
    if queue.iter().filter(|item| is_barrier(item)).count() >= BARRIERS_MAX
        && let Some(oldest) = queue.iter().position(is_barrier)
    {
        queue.remove(oldest);
    }
}
