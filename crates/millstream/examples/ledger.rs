//! A job that can be checked from outside, however it is hurt:
//! `ledger --records N --keys K --output DIR [--rate R] [--delay-us D]`.
//!
//! Record `id` of `0..N` has the key `id mod K`. Records are counted per key in keyed state, and each
//! gives a line `id,key,n` with the count `n` from 1, through a sink that writes exactly once. The
//! records of a key are read in order, so `n` has to be `id / K + 1`, and `ledger_check` needs nothing
//! but the lines to tell what was lost, doubled or counted wrongly.
//!
//! With `--delay-us`, each record takes so long to be written, so that all queues before the sink are full.
//!
//! The source divides its records by key into lanes. A lane moves from one subtask to another as a
//! whole, so that the records of a key stay in order when the parallelism changes.

use millstream::operator::context::TaskContext;
use millstream::operator::item;
use millstream::operator::source::{Poll, Source, SourceClock, SourceReader};
use millstream::prelude::*;
use millstream::{OperatorError, sink};
use std::collections::VecDeque;
use std::time::Duration;

millstream::allocator!();

/// So many lanes at most: so many subtasks have something to do.
const LANES_MAX: u64 = 128;

/// So many records of a lane come in a row.
const RUN: usize = 64;

/// The numbered records.
#[derive(Clone, Copy)]
struct Numbers {
    records: u64,
    keys: u64,
    /// Records per second of all subtasks.
    rate: Option<u64>,
}

/// What one subtask reads.
struct Reader {
    numbers: Numbers,
    /// The records that come next, one per lane.
    lanes: VecDeque<u64>,
    /// When the first poll was.
    began_us: Option<u64>,
    /// Records since then.
    given: u64,
}

impl Numbers {
    fn lanes(&self) -> u64 {
        self.keys.min(LANES_MAX)
    }

    /// The record after this one in its lane: the lane's next key, or its first key again.
    fn after(&self, id: u64) -> u64 {
        let key = id % self.keys;
        if key + self.lanes() < self.keys {
            id + self.lanes()
        } else {
            id - key + self.keys + key % self.lanes()
        }
    }
}

impl Source<u64> for Numbers {
    fn reader(&self, context: &TaskContext) -> Result<Box<dyn SourceReader<u64>>, OperatorError> {
        let (subtask, parallelism) = (u64::from(context.subtask), context.parallelism as usize);
        let lanes = (subtask..self.lanes()).step_by(parallelism);
        let lanes = lanes.filter(|first| *first < self.records).collect();
        Ok(Box::new(Reader { numbers: *self, lanes, began_us: None, given: 0 }))
    }

    fn is_bounded(&self) -> bool {
        true
    }
}

impl Reader {
    /// How many records may be given now, of those for which there is room; and when there is another.
    fn due(&mut self, room: usize, now_us: u64) -> (usize, u64) {
        let began_us = *self.began_us.get_or_insert(now_us);
        let Some(rate) = self.numbers.rate else { return (room, now_us) };
        // The subtask's share of the rate is that of its lanes.
        let share = u128::from(rate) * self.lanes.len() as u128;
        let lanes = u128::from(self.numbers.lanes()) * 1_000_000;
        let due = u128::from(now_us - began_us) * share / lanes;
        let wait_us = (u128::from(self.given) + 1) * lanes / share.max(1) + 1;
        let left = due.saturating_sub(u128::from(self.given));
        (room.min(usize::try_from(left).unwrap_or(room)), began_us + wait_us as u64)
    }
}

impl SourceReader<u64> for Reader {
    fn poll(
        &mut self,
        out: &mut Vec<u64>,
        room: usize,
        clock: SourceClock,
    ) -> Result<Poll, OperatorError> {
        if self.lanes.is_empty() {
            return Ok(Poll::End);
        }
        let (due, next_us) = self.due(room, clock.now_us);
        let full = out.len() + due;
        while out.len() < full
            && let Some(mut id) = self.lanes.pop_front()
        {
            let run_end = full.min(out.len() + RUN);
            while out.len() < run_end && id < self.numbers.records {
                out.push(id);
                self.given += 1;
                id = self.numbers.after(id);
            }
            if id < self.numbers.records {
                self.lanes.push_back(id);
            } else {
                // The others go on at their own rate, not at that of a lane more.
                (self.began_us, self.given) = (Some(clock.now_us), 0);
            }
        }
        Ok(if due == 0 { Poll::WakeAt(next_us) } else { Poll::More })
    }

    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>, OperatorError> {
        Ok(self.lanes.iter().map(item::encode).collect())
    }

    fn restore(&mut self, items: Vec<Vec<u8>>) -> Result<(), OperatorError> {
        let lane = |item: &Vec<u8>| item::decode("the next record of a lane", item);
        self.lanes = items.iter().map(lane).collect::<Result<_, _>>()?;
        Ok(())
    }
}

fn main() -> Result<()> {
    let env = Env::from_args()?;
    let records = env.arg_parsed::<u64>("records")?.unwrap_or(10_000_000);
    let keys = env.arg_parsed::<u64>("keys")?.unwrap_or(100_000).max(1);
    let rate = env.arg_parsed::<u64>("rate")?.filter(|rate| *rate > 0);
    let delay = Duration::from_micros(env.arg_parsed::<u64>("delay-us")?.unwrap_or(0));
    let output = env.arg("output")?;

    env.source("numbers", Numbers { records, keys, rate })
        .key_by(move |id| id % keys)
        .fold(
            || (0, 0),
            |(last, count): &mut (u64, u64), id| {
                *last = id;
                *count += 1;
            },
        )
        .name("count")
        .map(move |(key, (id, count))| {
            if !delay.is_zero() {
                std::thread::sleep(delay);
            }
            (id, key, count)
        })
        .name("line")
        .sink("ledger", sink::csv(output).suffix(".csv"));
    env.execute("ledger")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(subtask: u32, parallelism: u32) -> TaskContext {
        TaskContext { subtask, parallelism, ..TaskContext::alone() }
    }

    /// Reads up to so many records, or all.
    fn read(reader: &mut dyn SourceReader<u64>, count: usize, now_us: &mut u64) -> Vec<u64> {
        let mut out = Vec::new();
        while out.len() < count {
            let room = (count - out.len()).min(100);
            match reader.poll(&mut out, room, SourceClock { now_us: *now_us }).expect("it can") {
                Poll::End => break,
                Poll::WakeAt(at) => *now_us = at,
                _ => (),
            }
        }
        out
    }

    #[test]
    fn each_record_comes_once_and_those_of_a_key_in_order_over_any_parallelism() {
        for (records, keys) in [(0, 1), (1, 5), (10_000, 1), (9_999, 7), (9_999, 128), (9_999, 300)]
        {
            for rate in [None, Some(1_000_000)] {
                let numbers = Numbers { records, keys, rate };
                let mut readers: Vec<_> =
                    (0..3).map(|i| numbers.reader(&context(i, 3)).expect("it can")).collect();
                let mut all = Vec::new();
                for parallelism in [2, 5, 1] {
                    let mut items = Vec::new();
                    for reader in &mut readers {
                        all.extend(read(&mut **reader, 700, &mut 0));
                        items.extend(reader.snapshot().expect("it can"));
                    }
                    readers = (0..parallelism)
                        .map(|i| numbers.reader(&context(i, parallelism)).expect("it can"))
                        .collect();
                    for (i, reader) in readers.iter_mut().enumerate() {
                        let share = items.iter().skip(i).step_by(parallelism as usize).cloned();
                        reader.restore(share.collect()).expect("it can");
                    }
                }
                all.extend(read(&mut *readers[0], usize::MAX, &mut 0));
                let mut counts = vec![0; keys as usize];
                for id in &all {
                    let count = &mut counts[(id % keys) as usize];
                    assert_eq!(id / keys, *count, "{records} {keys}");
                    *count += 1;
                }
                assert_eq!(all.len() as u64, records);
            }
        }
    }

    #[test]
    fn the_rate_is_that_of_all_subtasks_together() {
        let numbers = Numbers { records: 1 << 40, keys: 1000, rate: Some(5000) };
        let mut given = 0;
        for subtask in 0..3 {
            let mut reader = numbers.reader(&context(subtask, 3)).expect("it can");
            let mut out = Vec::new();
            let mut now_us = 0;
            while now_us < 2_000_000 {
                match reader.poll(&mut out, 1000, SourceClock { now_us }).expect("it can") {
                    Poll::WakeAt(at) => now_us = at.max(now_us + 1),
                    _ => now_us += 1,
                }
            }
            given += out.len();
        }
        assert!((9_990..=10_003).contains(&given), "{given}");
    }
}
