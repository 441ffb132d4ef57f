//! `flat_map` and `flat_map_with`: one record in, any number out.

use crate::operator::{Flow, Operator};
use millstream_core::time::Timestamp;
use millstream_core::{OperatorError, Record};
use millstream_shuffle::batch::{AnyBatch, Batch, BoxBatch, cast};
use std::collections::VecDeque;
use std::marker::PhantomData;

/// More surplus than this from a single input record is an error: it could not be bounded.
const SURPLUS_BYTES_MAX: usize = 64 << 20;

/// Records that wait for their turn. The buffers are the input batch's, and go back there.
struct Waiting<A> {
    records: VecDeque<A>,
    timestamps: VecDeque<Timestamp>,
    /// That of the record whose turn it is.
    time: Option<Timestamp>,
}

impl<A> Default for Waiting<A> {
    fn default() -> Self {
        Self { records: VecDeque::new(), timestamps: VecDeque::new(), time: None }
    }
}

impl<A> Waiting<A> {
    /// Takes a batch over, if none is at hand.
    fn take(&mut self, input: &mut Batch<A>) {
        if self.records.is_empty() && !input.items.is_empty() {
            input.hashes.clear();
            exchange(&mut self.records, &mut input.items);
            exchange(&mut self.timestamps, &mut input.timestamps);
        }
    }

    #[inline]
    fn pop_front(&mut self) -> Option<A> {
        self.time = self.timestamps.pop_front();
        self.records.pop_front()
    }
}

/// Both keep their memory.
fn exchange<X>(empty: &mut VecDeque<X>, full: &mut Vec<X>) {
    let taken = std::mem::take(empty);
    *empty = VecDeque::from(std::mem::replace(full, Vec::from(taken)));
}

/// Applies a function that gives an iterator; stops in the middle of it when there is no room.
pub struct FlatMap<A, I: IntoIterator, F> {
    function: F,
    /// Records that wait for their turn; its buffer is the input batch's, and goes back there.
    waiting: Waiting<A>,
    current: Option<I::IntoIter>,
}

impl<A, I: IntoIterator, F: Fn(A) -> I> FlatMap<A, I, F> {
    /// An operator of this function.
    pub fn new(function: F) -> Self {
        Self { function, waiting: Waiting::default(), current: None }
    }
}

impl<A, I, F> Operator for FlatMap<A, I, F>
where
    A: Record,
    I: IntoIterator<Item: Record>,
    F: Fn(A) -> I,
{
    fn output(&self) -> BoxBatch {
        Box::new(Batch::<I::Item>::new())
    }

    fn process(
        &mut self,
        input: &mut dyn AnyBatch,
        out: &mut dyn AnyBatch,
        room: usize,
    ) -> Result<Flow, OperatorError> {
        let out = cast::<I::Item>(out);
        self.waiting.take(cast::<A>(input));
        let mut next = self.current.take();
        loop {
            // The iterator at hand stays here, near the loop, and is kept only when it is interrupted.
            if let Some(mut items) = next {
                let first = out.items.len();
                loop {
                    if out.items.len() >= room {
                        out.stamp(first, self.waiting.time);
                        self.current = Some(items);
                        return Ok(Flow::More);
                    }
                    match items.next() {
                        Some(item) => out.items.push(item),
                        None => break,
                    }
                }
                out.stamp(first, self.waiting.time);
            }
            match self.waiting.pop_front() {
                Some(record) => next = Some((self.function)(record).into_iter()),
                None => return Ok(Flow::Drained),
            }
        }
    }
}

/// Takes what a user's function gives out. See [`FlatMapWith`].
pub struct Out<'a, T>(&'a mut Vec<T>);

impl<T> Out<'_, T> {
    /// Gives one record out.
    #[inline]
    pub fn push(&mut self, record: T) {
        self.0.push(record);
    }
}

impl<T> Extend<T> for Out<'_, T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, records: I) {
        self.0.extend(records);
    }
}

/// Applies a function that pushes; looks for room between input records, so that one record's
/// surplus at most goes beyond it.
pub struct FlatMapWith<A, B, F> {
    function: F,
    waiting: Waiting<A>,
    _output: PhantomData<fn() -> B>,
}

impl<A, B, F: Fn(&A, &mut Out<'_, B>)> FlatMapWith<A, B, F> {
    /// An operator of this function.
    pub fn new(function: F) -> Self {
        Self { function, waiting: Waiting::default(), _output: PhantomData }
    }
}

impl<A: Record, B: Record, F: Fn(&A, &mut Out<'_, B>)> Operator for FlatMapWith<A, B, F> {
    fn output(&self) -> BoxBatch {
        Box::new(Batch::<B>::new())
    }

    fn process(
        &mut self,
        input: &mut dyn AnyBatch,
        out: &mut dyn AnyBatch,
        room: usize,
    ) -> Result<Flow, OperatorError> {
        let out = cast::<B>(out);
        self.waiting.take(cast::<A>(input));
        while out.items.len() < room {
            let Some(record) = self.waiting.pop_front() else { return Ok(Flow::Drained) };
            let first = out.items.len();
            (self.function)(&record, &mut Out(&mut out.items));
            out.stamp(first, self.waiting.time);
            check_surplus::<B>(out.items.len())?;
        }
        Ok(if self.waiting.records.is_empty() { Flow::Drained } else { Flow::More })
    }
}

/// One record's surplus is bounded.
pub(crate) fn check_surplus<B>(records: usize) -> Result<(), OperatorError> {
    check_surplus_of(records, size_of::<B>())
}

/// The same for records of so many bytes.
pub(crate) fn check_surplus_of(records: usize, bytes: usize) -> Result<(), OperatorError> {
    if records.saturating_mul(bytes) <= SURPLUS_BYTES_MAX {
        return Ok(());
    }
    Err(OperatorError::new(format!(
        "one input record gave {records} records, more than {} MiB at once: \
         return an iterator from `flat_map` instead of pushing them",
        SURPLUS_BYTES_MAX >> 20
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::OperatorHarness;

    #[test]
    fn an_iterator_is_interrupted_and_resumed_without_losing_an_item() {
        let operator = FlatMap::new(|n: u64| (0..n).map(move |i| n * 100 + i));
        let mut harness = OperatorHarness::<u64, u64, _>::with_room(operator, 3);
        harness.push([2, 0, 7]).expect("nothing fails");
        let expected: Vec<u64> = vec![200, 201, 700, 701, 702, 703, 704, 705, 706];
        assert_eq!(harness.take_output(), expected);
    }

    #[test]
    fn all_that_comes_of_a_record_has_its_time() {
        let expected = [(20, 5), (21, 5), (30, 6), (31, 6), (32, 6)];
        let pulled = FlatMap::new(|n: u64| (0..n).map(move |i| n * 10 + i));
        let mut harness = OperatorHarness::<u64, u64, _>::with_room(pulled, 1);
        harness.push_at([(2, 5), (0, 9), (3, 6)]).expect("nothing fails");
        assert_eq!(harness.take_timed_output(), expected);

        let pushed = FlatMapWith::new(|n: &u64, out: &mut Out<'_, u64>| {
            out.extend((0..*n).map(|i| n * 10 + i));
        });
        let mut harness = OperatorHarness::<u64, u64, _>::with_room(pushed, 1);
        harness.push_at([(2, 5), (0, 9), (3, 6)]).expect("nothing fails");
        assert_eq!(harness.take_timed_output(), expected);
    }
}
