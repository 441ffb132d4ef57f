//! Sources that make records from their index, at full speed or at a rate.
//!
//! Of `p` subtasks, subtask `i` makes the records of the indices `i`, `i + p`, `i + 2p`, ...: for
//! every parallelism the same set, and at every time about the same part of it.
//!
//! At a rate, index `k` is due `k / rate` seconds after the subtask's first poll, never earlier, and
//! a source that was held up gives all that is due as fast as it can. So there is no drift, and the
//! time from when a record was due to when its result is there is a latency that hides nothing.
//! A restored source goes on at its rate with the index where it was, which is due at once.

use super::indices::{Indices, Taken};
use millstream_core::OperatorError;
use millstream_operator::context::TaskContext;
use millstream_operator::source::{Poll, Source, SourceClock, SourceReader};

/// Makes records from their index. Made by [`generator`].
#[derive(Clone, Copy, Debug)]
pub struct Generator<F> {
    count: Option<u64>,
    pace: Option<Pace>,
    make: F,
}

/// Makes records from their index and the time when they are due. Made by [`generator_with_due`].
#[derive(Clone, Copy, Debug)]
pub struct DueGenerator<F> {
    count: Option<u64>,
    pace: Pace,
    make: F,
}

/// Gives `make(0)`, `make(1)`, ...: so many records, or without a count records for ever.
///
/// ```
/// use millstream_connectors::harness::read_all;
/// use millstream_connectors::source::generator;
///
/// let squares = generator(Some(4), |n| n * n);
/// assert_eq!(read_all(&squares, 1).unwrap(), [0, 1, 4, 9]);
/// ```
pub fn generator<T, F>(count: Option<u64>, make: F) -> Generator<F>
where
    F: Fn(u64) -> T + Clone + Send + 'static,
{
    Generator { count, pace: None, make }
}

/// As [`generator`] with [`Generator::rate`]; the function also gets the time when the record is
/// due, in microseconds on the clock of [`SourceClock`].
///
/// ```
/// use millstream_connectors::harness::read_all;
/// use millstream_connectors::source::generator_with_due;
///
/// let source = generator_with_due(Some(3), 1000, |index, due_us| (index, due_us));
/// assert_eq!(read_all(&source, 1).unwrap(), [(0, 0), (1, 1000), (2, 2000)]);
/// ```
pub fn generator_with_due<T, F>(
    count: Option<u64>,
    records_per_second: u64,
    make: F,
) -> DueGenerator<F>
where
    F: Fn(u64, u64) -> T + Clone + Send + 'static,
{
    DueGenerator { count, pace: Pace::new(records_per_second), make }
}

impl<F> Generator<F> {
    /// At most so many records per second, over all subtasks together.
    ///
    /// # Panics
    /// If that is 0.
    pub fn rate(self, records_per_second: u64) -> Self {
        Self { pace: Some(Pace::new(records_per_second)), ..self }
    }
}

impl<T, F> Source<T> for Generator<F>
where
    T: 'static,
    F: Fn(u64) -> T + Clone + Send + 'static,
{
    fn reader(&self, context: &TaskContext) -> Result<Box<dyn SourceReader<T>>, OperatorError> {
        let make = self.make.clone();
        Ok(Box::new(Reader {
            indices: Indices::of(context, self.count),
            pace: self.pace,
            base: 0,
            origin_us: None,
            make: move |index, _origin_us| make(index),
        }))
    }

    fn is_bounded(&self) -> bool {
        self.count.is_some()
    }
}

impl<T, F> Source<T> for DueGenerator<F>
where
    T: 'static,
    F: Fn(u64, u64) -> T + Clone + Send + 'static,
{
    fn reader(&self, context: &TaskContext) -> Result<Box<dyn SourceReader<T>>, OperatorError> {
        let (make, pace) = (self.make.clone(), self.pace);
        Ok(Box::new(Reader {
            indices: Indices::of(context, self.count),
            pace: Some(pace),
            base: 0,
            origin_us: None,
            make: move |index, origin_us: u64| {
                make(index, origin_us.wrapping_add(pace.due_us(index)))
            },
        }))
    }

    fn is_bounded(&self) -> bool {
        self.count.is_some()
    }
}

struct Reader<F> {
    indices: Indices,
    pace: Option<Pace>,
    /// The index that is due with the first poll: 0, or where a restored subtask goes on.
    base: u64,
    /// When index 0 was due: before the clock's origin, perhaps, in wrapping arithmetic.
    origin_us: Option<u64>,
    /// Of the index and the origin.
    make: F,
}

impl<T, F: Fn(u64, u64) -> T> SourceReader<T> for Reader<F> {
    fn poll(
        &mut self,
        out: &mut Vec<T>,
        room: usize,
        clock: SourceClock,
    ) -> Result<Poll, OperatorError> {
        let base = self.base;
        let origin_of = |pace: Option<Pace>| {
            clock.now_us.wrapping_sub(pace.map_or(0, |pace| pace.due_us(base)))
        };
        let origin_us = *self.origin_us.get_or_insert_with(|| origin_of(self.pace));
        let due = match self.pace {
            None => u64::MAX,
            Some(pace) => pace.due_count(clock.now_us.wrapping_sub(origin_us)),
        };
        let Taken { first, count, stride } = self.indices.take(room, due);
        let make = &self.make;
        out.extend((0..count).map(|i| make(first + i as u64 * stride, origin_us)));
        Ok(match (self.indices.next(), self.pace) {
            (None, _) => Poll::End,
            (Some(next), Some(pace)) if next >= due => {
                Poll::WakeAt(origin_us.wrapping_add(pace.due_us(next)))
            }
            _ => Poll::More,
        })
    }

    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>, OperatorError> {
        Ok(self.indices.snapshot())
    }

    fn restore(&mut self, items: Vec<Vec<u8>>) -> Result<(), OperatorError> {
        self.indices.restore(&items)?;
        self.base = self.indices.next().unwrap_or_default();
        Ok(())
    }
}

/// How fast indices become due.
#[derive(Clone, Copy, Debug)]
struct Pace {
    per_second: u64,
}

impl Pace {
    fn new(per_second: u64) -> Self {
        assert!(per_second > 0, "a generator's rate is at least one record per second");
        Self { per_second }
    }

    /// When the index is due, in microseconds after index 0.
    fn due_us(self, index: u64) -> u64 {
        let (seconds, rest) = (index / self.per_second, index % self.per_second);
        let part = u128::from(rest) * 1_000_000 / u128::from(self.per_second);
        seconds.saturating_mul(1_000_000).saturating_add(part as u64)
    }

    /// How many indices are due so long after index 0: those with `due_us(index) <= elapsed_us`.
    fn due_count(self, elapsed_us: u64) -> u64 {
        let count = (u128::from(elapsed_us) + 1) * u128::from(self.per_second);
        u64::try_from(count.div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::{context, read_all};

    #[test]
    fn every_parallelism_gives_the_same_set() {
        for parallelism in [1, 2, 3, 8, 200] {
            let unlimited = generator(Some(100), |n| n);
            for source in [unlimited, unlimited.rate(1000)] {
                let mut records = read_all(&source, parallelism).expect("nothing can fail");
                records.sort_unstable();
                assert!(records.iter().copied().eq(0..100), "parallelism {parallelism}");
            }
        }
    }

    #[test]
    fn without_a_count_each_poll_fills_the_room() {
        let source = generator(None, |n| n);
        assert!(!source.is_bounded());
        let mut reader = source.reader(&context(1, 2)).expect("nothing can fail");
        let mut out = Vec::new();
        for _ in 0..2 {
            assert_eq!(reader.poll(&mut out, 3, SourceClock { now_us: 0 }), Ok(Poll::More));
        }
        assert_eq!(out, [1, 3, 5, 7, 9, 11]);
    }

    #[test]
    fn what_is_due_is_counted_as_it_falls_due() {
        for per_second in [1, 3, 7, 999, 1_000_000, 1_500_000, 1_999_999, 30_000_001] {
            let pace = Pace { per_second };
            for elapsed_us in (0..2000).chain([999_999, 1_000_000, 1_000_001, 86_400_000_000]) {
                let count = pace.due_count(elapsed_us);
                assert!(pace.due_us(count - 1) <= elapsed_us, "{per_second} {elapsed_us}");
                assert!(pace.due_us(count) > elapsed_us, "{per_second} {elapsed_us}");
            }
        }
    }

    #[test]
    fn a_late_source_catches_up_without_drift() {
        let source = generator_with_due(None, 1000, |index, due_us| (index, due_us));
        let mut reader = source.reader(&context(0, 1)).expect("nothing can fail");
        let mut out = Vec::new();
        let mut poll = |now_us, room| {
            out.clear();
            let poll = reader.poll(&mut out, room, SourceClock { now_us });
            (poll.expect("nothing can fail"), out.clone())
        };
        assert_eq!(poll(500, 10), (Poll::WakeAt(1500), vec![(0, 500)]));
        assert_eq!(poll(1499, 10), (Poll::WakeAt(1500), vec![]));
        assert_eq!(poll(4600, 2), (Poll::More, vec![(1, 1500), (2, 2500)]));
        assert_eq!(poll(4600, 10), (Poll::WakeAt(5500), vec![(3, 3500), (4, 4500)]));
    }

    #[test]
    fn the_rate_is_shared_by_all_subtasks() {
        let source = generator(None, |n| n).rate(100);
        let given: usize = (0..4)
            .map(|subtask| {
                let mut reader = source.reader(&context(subtask, 4)).expect("nothing can fail");
                let mut out = Vec::new();
                for now_us in [0, 999_999] {
                    let poll = reader.poll(&mut out, 1000, SourceClock { now_us });
                    assert!(matches!(poll, Ok(Poll::WakeAt(_))));
                }
                out.len()
            })
            .sum();
        assert_eq!(given, 100);
    }

    #[test]
    fn a_restored_source_goes_on_at_its_rate_from_where_it_was() {
        let source = generator_with_due(Some(5000), 1000, |index, due_us| (index, due_us));
        let mut reader = source.reader(&context(0, 1)).expect("nothing can fail");
        let mut out = Vec::new();
        let at = |now_us| SourceClock { now_us };
        reader.poll(&mut out, 10_000, at(0)).expect("nothing can fail");
        reader.poll(&mut out, 10_000, at(2_999_000)).expect("nothing can fail");
        assert_eq!(out.last(), Some(&(2999, 2_999_000)));
        let items = reader.snapshot().expect("nothing can fail");
        let mut reader = source.reader(&context(0, 1)).expect("nothing can fail");
        reader.restore(items).expect("they are its own");
        out.clear();
        // The clock of another process may be near its origin.
        assert_eq!(reader.poll(&mut out, 10, at(500)), Ok(Poll::WakeAt(1500)));
        assert_eq!(reader.poll(&mut out, 10, at(2500)), Ok(Poll::WakeAt(3500)));
        assert_eq!(out, [(3000, 500), (3001, 1500), (3002, 2500)]);
    }

    #[test]
    #[should_panic(expected = "at least one record per second")]
    fn a_rate_of_nothing_is_refused() {
        let _ = generator(None, |n| n).rate(0);
    }
}
