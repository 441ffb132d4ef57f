//! Combining before a keyed exchange: fewer, larger records cross it.
//!
//! A direct-mapped cache of partial aggregates: a record meets the entry at its hash's place; the
//! same key is added to it, another key drives it out and downstream. So hot keys are combined,
//! memory is fixed, and nothing is ever rehashed. Entries also leave when the task flushes and at the
//! end. The partial results carry their hashes. So a snapshot finds nothing here.

use crate::key::KeySelector;
use crate::operator::{Flow, Operator};
use millstream_checkpoint::snapshot::OperatorSnapshot;
use millstream_core::checkpoint::Barrier;
use millstream_core::time::Timestamp;
use millstream_core::{Key, OperatorError, Record};
use millstream_shuffle::batch::{AnyBatch, Batch, BoxBatch, cast};
use millstream_shuffle::partition::Keying;

/// Entries of the cache: with word-sized keys and counts it stays in the second-level cache.
const ENTRIES: usize = 1 << 13;

/// A partial aggregate of one key.
struct Entry<K, A> {
    hash: u64,
    key: K,
    value: A,
}

/// Aggregates records by key as far as the cache reaches.
pub struct Combine<K, T, A, B, F> {
    selector: Box<dyn KeySelector<K, T>>,
    begin: B,
    add: F,
    entries: Vec<Option<Entry<K, A>>>,
    keys: Vec<K>,
    hashes: Vec<u64>,
    /// Where a flush goes on.
    cursor: usize,
}

impl<K, T, A, B, F> Combine<K, T, A, B, F>
where
    K: Key,
    T: Record,
    A: Record,
    B: Fn(T) -> A,
    F: Fn(&mut A, T),
{
    /// `begin` makes a partial aggregate of a record, `add` adds one to it.
    pub fn new(selector: Box<dyn KeySelector<K, T>>, begin: B, add: F) -> Self {
        let entries = std::iter::repeat_with(|| None).take(ENTRIES).collect();
        Self { selector, begin, add, entries, keys: Vec::new(), hashes: Vec::new(), cursor: 0 }
    }
}

impl<K, T, A, B, F> Operator for Combine<K, T, A, B, F>
where
    K: Key,
    T: Record,
    A: Record,
    B: Fn(T) -> A,
    F: Fn(&mut A, T),
{
    fn output(&self) -> BoxBatch {
        Box::new(Batch::<(K, A)>::new())
    }

    /// A batch drives out at most as many entries as it has records: no more room is needed.
    fn process(
        &mut self,
        input: &mut dyn AnyBatch,
        out: &mut dyn AnyBatch,
        _room: usize,
    ) -> Result<Flow, OperatorError> {
        let (input, out) = (cast::<T>(input), cast::<(K, A)>(out));
        self.keys.clear();
        self.hashes.clear();
        self.selector.keys(&input.items, &mut self.keys);
        self.selector.hashes(&input.items, &mut self.hashes);
        input.hashes.clear();
        // What stands for several records has the time of none.
        input.timestamps.clear();
        let keyed = self.keys.drain(..).zip(&self.hashes);
        for ((key, hash), record) in keyed.zip(input.items.drain(..)) {
            let entry = &mut self.entries[*hash as usize % ENTRIES];
            match entry {
                Some(known) if known.hash == *hash && known.key == key => {
                    (self.add)(&mut known.value, record);
                }
                _ => {
                    let value = (self.begin)(record);
                    if let Some(driven) = entry.replace(Entry { hash: *hash, key, value }) {
                        out.items.push((driven.key, driven.value));
                        out.hashes.push(driven.hash);
                    }
                }
            }
        }
        Ok(Flow::Drained)
    }

    fn flush(&mut self, out: &mut dyn AnyBatch, room: usize) -> Result<Flow, OperatorError> {
        let out = cast::<(K, A)>(out);
        while self.cursor < ENTRIES {
            if out.items.len() >= room {
                return Ok(Flow::More);
            }
            if let Some(entry) = self.entries[self.cursor].take() {
                out.items.push((entry.key, entry.value));
                out.hashes.push(entry.hash);
            }
            self.cursor += 1;
        }
        self.cursor = 0;
        Ok(Flow::Drained)
    }

    /// What is held back came before the watermark, and goes before it.
    fn advance_watermark(
        &mut self,
        _watermark: Timestamp,
        out: &mut dyn AnyBatch,
        room: usize,
    ) -> Result<Flow, OperatorError> {
        self.flush(out, room)
    }

    /// There is no state: a task flushes its operators before it takes a snapshot.
    fn snapshot(
        &mut self,
        _barrier: &Barrier,
        _state: &mut OperatorSnapshot,
    ) -> Result<(), OperatorError> {
        assert!(self.entries.iter().all(Option::is_none), "flushed before the barrier");
        Ok(())
    }
}

/// For batches whose hashes are there already.
pub struct AlreadyHashed;

impl Keying for AlreadyHashed {
    fn hash(&mut self, batch: &mut dyn AnyBatch) {
        assert_eq!(batch.hashes().len(), batch.len(), "the combiner gives hashes");
    }
}
