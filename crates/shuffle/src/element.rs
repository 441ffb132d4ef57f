//! What flows through a channel: batches, and control elements between them, never inside.

use crate::batch::BoxBatch;
use millstream_core::checkpoint::{Barrier, CheckpointId};
use millstream_core::time::Timestamp;
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
    /// How far event time is with the producer.
    Watermark(Watermark),
    /// Nothing will ever follow: the producer has done all its work. With it event time ends.
    EndOfPartition,
}

/// How far event time is, and whether it is to be waited for. One element says both, so what waits in
/// a queue is replaced by what comes after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watermark {
    /// No record at or before this time is to come, unless it is late.
    pub time: Timestamp,
    /// Whether others should wait for more.
    pub status: WatermarkStatus,
}

impl Watermark {
    /// Of a stream on which more may come at any time.
    pub const fn active(time: Timestamp) -> Self {
        Self { time, status: WatermarkStatus::Active }
    }

    /// Of a stream that holds back nobody's time for now.
    pub const fn idle(time: Timestamp) -> Self {
        Self { time, status: WatermarkStatus::Idle }
    }

    /// It is not to be waited for.
    pub fn is_idle(self) -> bool {
        self.status == WatermarkStatus::Idle
    }
}

/// Whether a stream's watermark counts where streams meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatermarkStatus {
    /// It does.
    Active,
    /// It does not: nothing has come for a while.
    Idle,
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

/// What waits in a channel behind its data, for those who look before they read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ahead {
    /// The last barrier that may overtake data.
    pub barrier: Option<Barrier>,
    /// The end.
    pub end: bool,
}

impl Ahead {
    pub(crate) fn note(&mut self, control: Control) {
        match control {
            Control::Barrier(barrier) if barrier.alignment.may_overtake() => {
                self.barrier = Some(barrier);
            }
            Control::EndOfPartition => self.end = true,
            _ => (),
        }
    }
}

/// So many barriers (and cancellations) wait in one queue. There are at most half as many checkpoints
/// at once (`execution.checkpointing.max-concurrent-checkpoints`), and each leaves a barrier and perhaps
/// a cancellation; those of given-up checkpoints are the older ones.
pub const BARRIERS_MAX: usize = 16;

impl Control {
    /// The consumer is to hear of it before it has read what is before it.
    pub(crate) fn is_urgent(self) -> bool {
        match self {
            Control::Barrier(barrier) => barrier.alignment.may_overtake(),
            Control::EndOfPartition => true,
            _ => false,
        }
    }

    /// It is the barrier of this checkpoint.
    pub(crate) fn is_barrier_of(self, checkpoint: CheckpointId) -> bool {
        matches!(self, Control::Barrier(barrier) if barrier.checkpoint == checkpoint)
    }

    /// It is about a checkpoint.
    pub(crate) fn is_barrier(self) -> bool {
        match self {
            Control::Barrier(_) | Control::CancelBarrier(_) => true,
            Control::Watermark(_) | Control::EndOfPartition => false,
        }
    }
}

/// Whether the next control element takes the place of the one that waits last. Of watermarks in a row
/// only the last is of use: so never more of them wait than there are other elements, and one.
pub(crate) fn replaces(last: Option<Control>, next: Control) -> bool {
    matches!((last, next), (Some(Control::Watermark(_)), Control::Watermark(_)))
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
