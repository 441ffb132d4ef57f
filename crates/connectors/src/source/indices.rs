//! The indices that one subtask gives out: what divides a numbered input among subtasks, and says
//! where they are.
//!
//! Of `p` subtasks, subtask `i` begins with `i`, `i + p`, `i + 2p`, ... A checkpoint holds the indices
//! that are left as ranges with a stride. Each is written as several of a wider stride, so that there is
//! something for each subtask if there are more of them afterwards; a subtask that gets back what
//! belongs together joins it. A subtask with several ranges goes on with the one that is furthest
//! behind, so that none is starved, also where the input has no end.

use crate::failure::failure;
use millstream_core::{OperatorError, Record};
use millstream_operator::context::TaskContext;
use millstream_operator::item;
use std::collections::BTreeSet;

/// A snapshot of a subtask has about so many items: so much can the parallelism grow with something
/// to do for everybody. A power of two.
const ITEMS_WANTED: usize = 16;

/// The end of an input without end.
const ENDLESS: u64 = u64::MAX;

/// The indices that one subtask has not given out.
#[derive(Debug)]
pub(super) struct Indices {
    /// None of them is empty.
    ranges: Vec<Range>,
    /// Where all of them end.
    end: u64,
}

/// Indices at equal distances.
#[derive(Clone, Debug, PartialEq, Eq, Record)]
struct Range {
    next: u64,
    stride: u64,
    end: u64,
}

/// Indices to be given out: `first`, `first + stride`, ...
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) first: u64,
    pub(super) count: usize,
    pub(super) stride: u64,
}

impl Indices {
    /// Those of this subtask, of so many; of endlessly many without a count.
    pub(super) fn of(context: &TaskContext, count: Option<u64>) -> Self {
        let (subtask, parallelism) = (u64::from(context.subtask), u64::from(context.parallelism));
        let end = count.unwrap_or(ENDLESS);
        let range = Range { next: subtask, stride: parallelism, end };
        Self { ranges: Vec::from_iter((subtask < end).then_some(range)), end }
    }

    /// Takes up to so many of those below `below`, from one range.
    pub(super) fn take(&mut self, count_max: usize, below: u64) -> Taken {
        let lowest = (0..self.ranges.len()).min_by_key(|at| self.ranges[*at].next);
        let Some(at) = lowest else { return Taken { first: 0, count: 0, stride: 1 } };
        let range = &mut self.ranges[at];
        let (first, stride) = (range.next, range.stride);
        let there = below.min(range.end).saturating_sub(first).div_ceil(stride);
        let count = there.min(count_max as u64);
        range.next = first.saturating_add(count.saturating_mul(stride));
        if range.next >= range.end {
            self.ranges.swap_remove(at);
        }
        Taken { first, count: count as usize, stride }
    }

    /// The lowest one.
    pub(super) fn next(&self) -> Option<u64> {
        self.ranges.iter().map(|range| range.next).min()
    }

    /// What is left, as items.
    pub(super) fn snapshot(&self) -> Vec<Vec<u8>> {
        let parts = (ITEMS_WANTED / self.ranges.len().max(1)).max(1);
        // Of a power of two, as cutting in halves needs it.
        let parts = 1_u64 << parts.ilog2();
        self.ranges.iter().flat_map(|range| range.cut(parts)).map(|r| item::encode(&r)).collect()
    }

    /// Goes on with these items only.
    pub(super) fn restore(&mut self, items: &[Vec<u8>]) -> Result<(), OperatorError> {
        let mut ranges = Vec::new();
        for item in items {
            let range: Range = item::decode("the position of a source", item)?;
            if range.end != self.end || range.stride == 0 {
                let (then, now) = (records(range.end), records(self.end));
                return Err(failure(
                    "go on where the checkpoint was taken",
                    format_args!("the source had {then} then and has {now} now"),
                    "give it as many as before, or begin afresh",
                ));
            }
            ranges.push(range);
        }
        self.ranges = join(ranges);
        Ok(())
    }
}

fn records(end: u64) -> String {
    if end == ENDLESS { "no end".to_owned() } else { format!("{end} records") }
}

impl Range {
    /// The same indices in so many ranges, in an order in which each half, quarter, ... of them can be
    /// joined: those of even number first, and among them again.
    fn cut(&self, parts: u64) -> Vec<Self> {
        let Some(stride) = self.stride.checked_mul(parts) else { return vec![self.clone()] };
        let bits = parts.ilog2();
        let reversed =
            |number: u64| if bits == 0 { 0 } else { number.reverse_bits() >> (64 - bits) };
        let part = |number| {
            let next = self.next.checked_add(reversed(number) * self.stride)?;
            (next < self.end).then_some(Self { next, stride, end: self.end })
        };
        (0..parts).filter_map(part).collect()
    }
}

/// Joins pairs that are each other's gaps, and pairs of those, and so on.
fn join(ranges: Vec<Range>) -> Vec<Range> {
    let key = |range: Range| (range.stride, range.end, range.next);
    let mut open: BTreeSet<_> = ranges.into_iter().map(key).collect();
    let mut joined = Vec::new();
    while let Some((stride, end, next)) = open.pop_last() {
        let half = stride / 2;
        let before = next.checked_sub(half).filter(|_| stride.is_multiple_of(2));
        match before {
            Some(before) if open.remove(&(stride, end, before)) => {
                open.insert((half, end, before));
            }
            _ => joined.push(Range { next, stride, end }),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::context;

    fn all(indices: &mut Indices) -> Vec<u64> {
        let mut all = Vec::new();
        loop {
            let Taken { first, count, stride } = indices.take(3, u64::MAX);
            if count == 0 {
                return all;
            }
            all.extend((0..count as u64).map(|i| first + i * stride));
        }
    }

    #[test]
    fn a_subtask_that_gets_all_its_items_back_has_one_range_again() {
        for taken in [0, 1, 7, 50] {
            let mut indices = Indices::of(&context(1, 3), Some(1000));
            indices.take(taken, u64::MAX);
            let items = indices.snapshot();
            assert_eq!(items.len(), ITEMS_WANTED);
            let mut restored = Indices::of(&context(0, 1), Some(1000));
            restored.restore(&items).expect("they are its own");
            assert_eq!(restored.ranges, indices.ranges);
        }
    }

    #[test]
    fn a_higher_parallelism_has_something_for_each_subtask_in_one_range() {
        let mut indices = Indices::of(&context(0, 1), None);
        indices.take(5, u64::MAX);
        let items = indices.snapshot();
        for parallelism in [2, 4, 8] {
            for share in items.chunks(items.len() / parallelism) {
                let mut restored = Indices::of(&context(0, 1), None);
                restored.restore(share).expect("they are readable");
                assert_eq!(restored.ranges.len(), 1, "{:?}", restored.ranges);
                assert_eq!(restored.ranges[0].stride, parallelism as u64);
            }
        }
    }

    #[test]
    fn items_do_not_multiply_over_many_restores() {
        let mut items = Vec::new();
        for subtask in 0..7 {
            let mut indices = Indices::of(&context(subtask, 7), None);
            indices.take(subtask as usize, u64::MAX);
            items.extend(indices.snapshot());
        }
        for _ in 0..10 {
            let mut next = Vec::new();
            for share in items.chunks(items.len() / 3) {
                let mut restored = Indices::of(&context(0, 1), None);
                restored.restore(share).expect("they are readable");
                restored.take(1, u64::MAX);
                next.extend(restored.snapshot());
            }
            items = next;
            assert!(items.len() <= 8 * ITEMS_WANTED, "{}", items.len());
        }
    }

    #[test]
    fn the_range_that_is_furthest_behind_goes_on_first() {
        let mut indices = Indices::of(&context(0, 2), Some(10));
        let mut other = Indices::of(&context(1, 2), Some(10));
        indices.take(3, u64::MAX);
        let items = [indices.snapshot(), other.snapshot()].concat();
        other.restore(&items).expect("they are readable");
        assert_eq!(all(&mut other).len(), 7);
        indices.restore(&items).expect("they are readable");
        assert_eq!(indices.next(), Some(1));
        assert_eq!(indices.take(9, 6).first, 1);
    }

    #[test]
    fn nothing_left_is_no_item_and_no_item_is_nothing_to_do() {
        let mut indices = Indices::of(&context(0, 1), Some(3));
        assert_eq!(all(&mut indices), [0, 1, 2]);
        assert!(indices.snapshot().is_empty());
        let mut restored = Indices::of(&context(0, 1), Some(3));
        restored.restore(&[]).expect("there is nothing to read");
        assert!(all(&mut restored).is_empty());
    }

    #[test]
    fn another_number_of_records_is_refused() {
        let items = Indices::of(&context(0, 1), Some(3)).snapshot();
        let mut other = Indices::of(&context(0, 1), None);
        let error = other.restore(&items).expect_err("they are not its own");
        let expected = "the source had 3 records then and has no end now";
        assert!(error.message.contains(expected), "{error}");
    }
}
