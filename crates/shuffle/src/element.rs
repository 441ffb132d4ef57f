//! What flows through a channel: batches, and control elements between them, never inside.

use crate::batch::BoxBatch;

/// A thing in a channel.
pub enum Element {
    /// Records.
    Batch(BoxBatch),
    /// Something that the engine says.
    Control(Control),
}

/// What the engine says between batches. Every channel keeps room for these: they always go in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Nothing will ever follow: the producer has done all its work.
    EndOfPartition,
}
