//! [`HeapTimers`]: timers in memory.
//!
//! The timers are rows of a table, so they are unique, checkpointed by key group, and known to the
//! byte; a heap of times and row numbers beside it knows the order. A timer that is deleted leaves its
//! entry in the heap: it is recognised when it comes up, because its row is vacant or holds a timer of
//! another time (which has an entry of its own; one of the same time is as good as the former). When
//! more than half of the entries are such, the heap is made anew.

use super::{Due, Name};
use crate::entry_key::{EntryKey, entry_hash};
use crate::entry_table::{freeze_entries, restore_entries};
use crate::restore::RestoreError;
use crate::table::KeyedTable;
use millstream_checkpoint::snapshot::{RestoredTable, TableSnapshot};
use millstream_core::key_group::MaxParallelism;
use millstream_core::time::Timestamp;
use millstream_core::{Key, Record};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Timers of keys `K`, divided by namespaces `N`.
pub struct HeapTimers<K, N> {
    timers: KeyedTable<EntryKey<K, Name<N>>, ()>,
    /// The first is that of a timer.
    order: BinaryHeap<Reverse<(Timestamp, u32)>>,
}

/// A heap with fewer entries is not worth making anew.
const ORDER_MIN: usize = 1_024;

impl<K: Key, N: Key> HeapTimers<K, N> {
    /// No timers and no memory.
    pub(super) fn new() -> Self {
        Self { timers: KeyedTable::new(), order: BinaryHeap::new() }
    }

    /// How many timers are pending.
    pub(super) fn len(&self) -> usize {
        self.timers.len()
    }

    /// The time of the first timer.
    #[inline]
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.order.peek().map(|Reverse((time, _))| *time)
    }

    /// What timers and order take.
    pub(super) fn memory_bytes(&self) -> usize {
        self.timers.memory_bytes() + self.order.capacity() * size_of::<(Timestamp, u32)>()
    }

    /// Adds a timer, unless it is there.
    pub(super) fn register(&mut self, hash: u64, key: &K, namespace: N, time: Timestamp) {
        let name = (namespace, time);
        let row_hash = entry_hash(hash, name.hash64());
        if self.timers.find_entry(row_hash, key, &name) == 0 {
            let row =
                self.timers.insert(row_hash, &EntryKey { key: key.clone(), entry: name }, &());
            self.order.push(Reverse((time, row)));
        }
    }

    /// Removes a timer; whether it was there.
    pub(super) fn delete(&mut self, hash: u64, key: &K, namespace: N, time: Timestamp) -> bool {
        let name = (namespace, time);
        let row_hash = entry_hash(hash, name.hash64());
        let row = self.timers.find_entry(row_hash, key, &name);
        if row == 0 {
            return false;
        }
        self.timers.remove_row(row_hash, row);
        self.tidy();
        true
    }

    /// Takes out the first timer, if its time is at most this.
    pub(super) fn pop(&mut self, until: Timestamp) -> Option<Due<K, N>> {
        let Reverse((time, row)) = *self.order.peek().filter(|entry| entry.0.0 <= until)?;
        self.order.pop();
        let EntryKey { key, entry: (namespace, _) } = self.timers.key_at(row);
        let hash = key.hash64();
        let name = (namespace, time);
        self.timers.remove_row(entry_hash(hash, name.hash64()), row);
        self.tidy();
        Some(Due { hash, key, namespace: name.0, time })
    }

    /// The timers as they are now.
    pub(super) fn freeze(&mut self, name: &str, max: MaxParallelism, base: bool) -> TableSnapshot {
        freeze_entries(&mut self.timers, name, max, base)
    }

    /// Takes over what snapshots hold.
    pub(super) fn restore(
        &mut self,
        tables: Vec<RestoredTable>,
        max: MaxParallelism,
    ) -> Result<(), RestoreError> {
        restore_entries(&mut self.timers, tables, max)?;
        self.reorder();
        Ok(())
    }

    /// Makes the first entry that of a timer, and most of them.
    fn tidy(&mut self) {
        while let Some(Reverse((time, row))) = self.order.peek() {
            if self.is_timer(*time, *row) {
                break;
            }
            self.order.pop();
        }
        if self.order.len() > ORDER_MIN.max(2 * self.timers.len()) {
            self.reorder();
        }
    }

    fn is_timer(&self, time: Timestamp, row: u32) -> bool {
        self.timers.is_live(row) && self.timers.key_at(row).entry.1 == time
    }

    /// Makes the order anew from the timers.
    fn reorder(&mut self) {
        let (rows, _) = self.timers.rows_from(0, usize::MAX);
        let time = |row: u32| self.timers.key_at(row).entry.1;
        self.order = rows.into_iter().map(|row| Reverse((time(row), row))).collect();
    }
}
