//! What the tasks of the played jobs run: a source of numbered records, and an operator that keeps what
//! it has processed.

use millstream_checkpoint::handle::ListMode;
use millstream_checkpoint::snapshot::{ListSnapshot, OperatorSnapshot, RestoredOperator};
use millstream_core::OperatorError;
use millstream_core::checkpoint::Barrier;
use millstream_core::hash::xxh3_64;
use millstream_operator::operator::{Flow, Operator};
use millstream_operator::source::{Poll, SourceClock, SourceReader};
use millstream_shuffle::batch::{AnyBatch, Batch, BoxBatch, cast};
use millstream_shuffle::partition::Keying;
use std::collections::BTreeMap;

/// A record is the number of its partition and its number there.
const NUMBER_BITS: u32 = 32;

/// Partitions from here on come over an exchange that keeps no keys together.
pub(super) const UNKEYED: u64 = 100;

const KEYS: u64 = 5;

pub(super) fn record(partition: u64, number: u64) -> u64 {
    partition << NUMBER_BITS | number
}

pub(super) fn partition_of(record: u64) -> u64 {
    record >> NUMBER_BITS
}

fn key_of(record: u64) -> u64 {
    record % KEYS
}

pub(super) fn hash_of(record: u64) -> u64 {
    xxh3_64(&key_of(record).to_le_bytes())
}

/// By the record's key.
pub(super) struct ByKey;

impl Keying for ByKey {
    fn hash(&mut self, batch: &mut dyn AnyBatch) {
        let batch = cast::<u64>(batch);
        batch.hashes.clear();
        batch.hashes.extend(batch.items.iter().map(|record| hash_of(*record)));
    }
}

/// Keeps what it sees.
pub(super) struct Log {
    pub(super) seen: Vec<u64>,
    /// The last record of each key and partition.
    last: BTreeMap<(u64, u64), u64>,
    /// Records of a key and a partition come in order.
    ordered: bool,
}

impl Log {
    pub(super) fn new(ordered: bool) -> Self {
        Self { seen: Vec::new(), last: BTreeMap::new(), ordered }
    }

    fn note(&mut self, record: u64) {
        self.seen.push(record);
        let place = (key_of(record), partition_of(record));
        if !self.ordered || place.1 >= UNKEYED {
            return;
        }
        if let Some(last) = self.last.insert(place, record) {
            assert!(last < record, "record {record:x} comes after {last:x} of the same key");
        }
    }
}

impl Operator for Log {
    fn output(&self) -> BoxBatch {
        Box::new(Batch::<u64>::new())
    }

    fn process(
        &mut self,
        input: &mut dyn AnyBatch,
        out: &mut dyn AnyBatch,
        _room: usize,
    ) -> Result<Flow, OperatorError> {
        let input = cast::<u64>(input);
        input.hashes.clear();
        for record in input.items.drain(..) {
            self.note(record);
            cast::<u64>(out).items.push(record);
        }
        Ok(Flow::Drained)
    }

    fn snapshot(
        &mut self,
        _barrier: &Barrier,
        state: &mut OperatorSnapshot,
    ) -> Result<(), OperatorError> {
        let items = self.seen.iter().map(|record| record.to_le_bytes().to_vec()).collect();
        let (name, mode, schema) = ("seen".to_owned(), ListMode::Split, None);
        state.lists.push(ListSnapshot { name, mode, schema, items });
        Ok(())
    }

    fn restore(&mut self, state: RestoredOperator) -> Result<(), OperatorError> {
        for item in state.items("seen") {
            self.note(word(&item, 0));
        }
        Ok(())
    }
}

pub(super) fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at * 8..at * 8 + 8].try_into().expect("eight bytes"))
}

/// What is left of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) partition: u64,
    pub(super) next: u64,
    pub(super) end: u64,
}

impl Left {
    pub(super) fn encode(self) -> Vec<u8> {
        [self.partition, self.next, self.end].map(u64::to_le_bytes).concat()
    }

    pub(super) fn decode(item: &[u8]) -> Self {
        Self { partition: word(item, 0), next: word(item, 1), end: word(item, 2) }
    }
}

/// Gives the records of some partitions, a few at a time, and is idle now and then.
pub(super) struct Numbers {
    pub(super) left: Vec<Left>,
    pub(super) burst: u64,
    pub(super) polls: u64,
}

impl SourceReader<u64> for Numbers {
    fn poll(
        &mut self,
        out: &mut Vec<u64>,
        _room: usize,
        _clock: SourceClock,
    ) -> Result<Poll, OperatorError> {
        self.polls += 1;
        if self.polls.is_multiple_of(7) {
            return Ok(Poll::Idle);
        }
        let Some(left) = self.left.first_mut() else { return Ok(Poll::End) };
        let to = left.end.min(left.next + self.burst);
        out.extend((left.next..to).map(|number| record(left.partition, number)));
        left.next = to;
        self.left.retain(|left| left.next < left.end);
        // The next partition has its turn.
        if !self.left.is_empty() {
            self.left.rotate_left(1);
        }
        Ok(if self.left.is_empty() { Poll::End } else { Poll::More })
    }

    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>, OperatorError> {
        Ok(self.left.iter().map(|left| left.encode()).collect())
    }

    fn restore(&mut self, items: Vec<Vec<u8>>) -> Result<(), OperatorError> {
        self.left = items.iter().map(|item| Left::decode(item)).collect();
        Ok(())
    }
}
