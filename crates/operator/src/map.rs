//! `map`, `try_map`, `filter_map` and `filter`: one record in, at most one out.

use crate::operator::{Flow, Operator};
use millstream_core::{OperatorError, Record};
use millstream_shuffle::batch::{AnyBatch, Batch, BoxBatch, cast};
use std::marker::PhantomData;

/// Applies a function to each record.
pub struct Map<A, B, F>(F, PhantomData<fn(A) -> B>);

impl<A, B, F: Fn(A) -> B> Map<A, B, F> {
    /// An operator of this function.
    pub fn new(function: F) -> Self {
        Self(function, PhantomData)
    }
}

impl<A: Record, B: Record, F: Fn(A) -> B> Operator for Map<A, B, F> {
    fn output(&self) -> BoxBatch {
        Box::new(Batch::<B>::new())
    }

    fn process(
        &mut self,
        input: &mut dyn AnyBatch,
        out: &mut dyn AnyBatch,
        _room: usize,
    ) -> Result<Flow, OperatorError> {
        let input = cast::<A>(input);
        input.hashes.clear();
        cast::<B>(out).items.extend(input.items.drain(..).map(&self.0));
        Ok(Flow::Drained)
    }
}

/// Applies a function that can fail to each record; the first error fails the task.
pub struct TryMap<A, B, F>(F, PhantomData<fn(A) -> B>);

impl<A, B, F> TryMap<A, B, F> {
    /// An operator of this function.
    pub fn new(function: F) -> Self {
        Self(function, PhantomData)
    }
}

impl<A: Record, B: Record, F: Fn(A) -> Result<B, OperatorError>> Operator for TryMap<A, B, F> {
    fn output(&self) -> BoxBatch {
        Box::new(Batch::<B>::new())
    }

    fn process(
        &mut self,
        input: &mut dyn AnyBatch,
        out: &mut dyn AnyBatch,
        _room: usize,
    ) -> Result<Flow, OperatorError> {
        let input = cast::<A>(input);
        let out = &mut cast::<B>(out).items;
        input.hashes.clear();
        for item in input.items.drain(..) {
            out.push((self.0)(item)?);
        }
        Ok(Flow::Drained)
    }
}

/// Applies a function that gives at most one record.
pub struct FilterMap<A, B, F>(F, PhantomData<fn(A) -> B>);

impl<A, B, F: Fn(A) -> Option<B>> FilterMap<A, B, F> {
    /// An operator of this function.
    pub fn new(function: F) -> Self {
        Self(function, PhantomData)
    }
}

impl<A: Record, B: Record, F: Fn(A) -> Option<B>> Operator for FilterMap<A, B, F> {
    fn output(&self) -> BoxBatch {
        Box::new(Batch::<B>::new())
    }

    fn process(
        &mut self,
        input: &mut dyn AnyBatch,
        out: &mut dyn AnyBatch,
        _room: usize,
    ) -> Result<Flow, OperatorError> {
        let input = cast::<A>(input);
        input.hashes.clear();
        cast::<B>(out).items.extend(input.items.drain(..).filter_map(&self.0));
        Ok(Flow::Drained)
    }
}

/// Drops the records for which the predicate is false.
pub struct Filter<T, F>(F, PhantomData<fn(T)>);

impl<T, F: Fn(&T) -> bool> Filter<T, F> {
    /// An operator of this predicate.
    pub fn new(predicate: F) -> Self {
        Self(predicate, PhantomData)
    }
}

impl<T: Record, F: Fn(&T) -> bool> Operator for Filter<T, F> {
    fn output(&self) -> BoxBatch {
        Box::new(Batch::<T>::new())
    }

    fn process(
        &mut self,
        input: &mut dyn AnyBatch,
        out: &mut dyn AnyBatch,
        _room: usize,
    ) -> Result<Flow, OperatorError> {
        let (input, out) = (cast::<T>(input), cast::<T>(out));
        input.hashes.clear();
        if out.items.is_empty() {
            // Nothing is moved twice: the batch is thinned where it stands and handed on whole.
            input.items.retain(&self.0);
            std::mem::swap(&mut input.items, &mut out.items);
        } else {
            out.items.extend(input.items.drain(..).filter(|item| (self.0)(item)));
        }
        Ok(Flow::Drained)
    }
}
