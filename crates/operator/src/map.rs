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
        let (input, out) = (cast::<A>(input), cast::<B>(out));
        input.hashes.clear();
        out.items.extend(input.items.drain(..).map(&self.0));
        out.take_timestamps(input);
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
        let (input, out) = (cast::<A>(input), cast::<B>(out));
        input.hashes.clear();
        for item in input.items.drain(..) {
            out.items.push((self.0)(item)?);
        }
        out.take_timestamps(input);
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
        let (input, out) = (cast::<A>(input), cast::<B>(out));
        input.hashes.clear();
        if input.timestamps.is_empty() {
            // With room for all, a record goes from the function to its place without a stop.
            out.items.reserve(input.items.len());
            input.items.drain(..).for_each(|item| {
                if let Some(kept) = (self.0)(item) {
                    out.items.push(kept);
                }
            });
            out.stamp(out.items.len(), None);
        } else {
            thin(input, out, &self.0);
        }
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
        if !input.timestamps.is_empty() {
            thin(input, out, |item| (self.0)(&item).then_some(item));
        } else if out.items.is_empty() {
            // Nothing is moved twice: the batch is thinned where it stands and handed on whole.
            input.items.retain(&self.0);
            std::mem::swap(&mut input.items, &mut out.items);
        } else {
            out.items.extend(input.items.drain(..).filter(|item| (self.0)(item)));
            out.stamp(out.items.len(), None);
        }
        Ok(Flow::Drained)
    }
}

/// Moves what the function gives of the records, with their times.
fn thin<A, B>(input: &mut Batch<A>, out: &mut Batch<B>, function: impl Fn(A) -> Option<B>) {
    for (item, time) in input.items.drain(..).zip(input.timestamps.drain(..)) {
        if let Some(kept) = function(item) {
            out.items.push(kept);
            out.stamp(out.items.len() - 1, Some(time));
        }
    }
    out.stamp(out.items.len(), None);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::OperatorHarness;

    #[test]
    fn records_keep_their_times_through_maps_and_filters() {
        fn check(operator: impl Operator, expected: &[(u64, i64)]) {
            let mut harness = OperatorHarness::<u64, u64, _>::new(operator);
            harness.push_at([(1, 10), (2, 20)]).expect("nothing fails");
            harness.push_at([(3, -30), (4, 40)]).expect("nothing fails");
            assert_eq!(harness.take_timed_output(), expected);
        }
        check(Map::new(|n: u64| n * 2), &[(2, 10), (4, 20), (6, -30), (8, 40)]);
        check(TryMap::new(|n: u64| Ok(n * 2)), &[(2, 10), (4, 20), (6, -30), (8, 40)]);
        check(Filter::new(|n: &u64| n % 2 == 1), &[(1, 10), (3, -30)]);
        check(FilterMap::new(|n: u64| (n.is_multiple_of(2)).then_some(n)), &[(2, 20), (4, 40)]);
    }
}
