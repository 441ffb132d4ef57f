//! Two inputs as one: records of either input, told apart by which it was.
//!
//! An operator with two inputs is an ordinary operator on [`Either`]. Records are marked where they
//! come in: each gate of the task has a [`Lift`] that turns its batches into batches of `Either`. So
//! they travel as what they are, both inputs share state, timers and watermarks without further ado,
//! and a task reads whichever input has something, as it does with the inputs of a union.

use millstream_core::Record;
use millstream_shuffle::batch::{AnyBatch, cast};
use millstream_shuffle::partition::BatchPrototype;

/// A record of one of two inputs.
#[derive(Clone, Debug, PartialEq, Eq, Record)]
pub enum Either<A, B> {
    /// Of the first.
    First(A),
    /// Of the second.
    Second(B),
}

/// Marks the batches of one gate.
#[derive(Clone)]
pub struct Lift {
    /// Which input it is: 1 or 2.
    pub input: u8,
    /// Empty batches of what comes in.
    pub of: BatchPrototype,
    /// Moves all records of such a batch to the end of one of [`Either`].
    pub into: fn(&mut dyn AnyBatch, &mut dyn AnyBatch),
}

impl Lift {
    /// For a gate of the first input.
    pub fn first<A: Record, B: Record>() -> Self {
        let into = |from: &mut dyn AnyBatch, to: &mut dyn AnyBatch| {
            cast::<A>(from).map_into(cast::<Either<A, B>>(to), Either::First);
        };
        Self { input: 1, of: BatchPrototype::of::<A>(), into }
    }

    /// For a gate of the second input.
    pub fn second<A: Record, B: Record>() -> Self {
        let into = |from: &mut dyn AnyBatch, to: &mut dyn AnyBatch| {
            cast::<B>(from).map_into(cast::<Either<A, B>>(to), Either::Second);
        };
        Self { input: 2, of: BatchPrototype::of::<B>(), into }
    }
}
