//! [`WindowTable`]: values by key and pane, a pane being a stretch of time named by its begin; all values
//! of a pane are found together.
//!
//! The values are rows of one table, so they are updated by the batch, checkpointed by key group and
//! known to the byte. Beside it, the row numbers of each pane are kept in the order in which the rows
//! came. They hold, because rows stay where they are, and are made anew in a restore.

use crate::entry_key::{EntryKey, entry_hash};
use crate::entry_table::{declare_entries, freeze_entries, restore_entries};
use crate::restore::RestoreError;
use crate::table::KeyedTable;
use millstream_checkpoint::snapshot::{RestoredTable, TableSnapshot};
use millstream_core::job_state::DeclaredState;
use millstream_core::key_group::MaxParallelism;
use millstream_core::time::Timestamp;
use millstream_core::{Key, Record};
use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeBounds;

/// Values of type `V` for keys of type `K` and panes.
///
/// ```
/// use millstream_core::Record;
/// use millstream_state::window_table::WindowTable;
///
/// let bids = [(7_u64, 100_i64), (8, 50), (7, 1)];
/// let hashes = bids.map(|(auction, _)| auction.hash64());
///
/// let mut sums = WindowTable::<u64, i64>::new();
/// sums.update_batch(&hashes, &[0, 0, 10_000], |i| bids[i].0, || 0, |i, sum| *sum += bids[i].1);
/// assert_eq!(sums.panes(..).collect::<Vec<_>>(), [0, 10_000]);
/// let first: Vec<_> = sums.take(0, 10).collect();
/// assert_eq!(first, [(7, 100), (8, 50)]);
/// ```
pub struct WindowTable<K, V> {
    rows: KeyedTable<EntryKey<K, Timestamp>, V>,
    panes: BTreeMap<Timestamp, VecDeque<u32>>,
    /// The hashes of the rows of the batch at hand; kept for their memory.
    hashes: Vec<u64>,
}

impl<K: Key, V: Record> Default for WindowTable<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Key, V: Record> WindowTable<K, V> {
    /// No values and no memory.
    pub fn new() -> Self {
        Self { rows: KeyedTable::new(), panes: BTreeMap::new(), hashes: Vec::new() }
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// What the table takes.
    pub fn memory_bytes(&self) -> usize {
        let panes = self.panes.values().map(|rows| rows.capacity() * size_of::<u32>());
        let hashes = self.hashes.capacity() * size_of::<u64>();
        self.rows.memory_bytes() + panes.sum::<usize>() + hashes
    }

    /// For each element in order: finds the value of its key in its pane, or makes it with `init`, and
    /// lets `f` change it. Element `i` is of the pane `panes[i]` and has the hash `hashes[i]` and the
    /// key `key(i)`.
    pub fn update_batch(
        &mut self,
        hashes: &[u64],
        panes: &[Timestamp],
        mut key: impl FnMut(usize) -> K,
        init: impl FnMut() -> V,
        f: impl FnMut(usize, &mut V),
    ) {
        let mut last = (0, 0_i64.hash64());
        self.hashes.clear();
        self.hashes.extend(hashes.iter().zip(panes).map(|(hash, pane)| {
            if *pane != last.0 {
                last = (*pane, pane.hash64());
            }
            entry_hash(*hash, last.1)
        }));
        let Self { rows, panes: rows_of, hashes } = self;
        let name = |i: usize| EntryKey { key: key(i), entry: panes[i] };
        let added = |i: usize, row| rows_of.entry(panes[i]).or_default().push_back(row);
        rows.update_rows(hashes, name, init, f, added);
    }

    /// The value of a key in a pane.
    pub fn get(&self, hash: u64, key: &K, pane: Timestamp) -> Option<V> {
        let row = self.rows.find_entry(entry_hash(hash, pane.hash64()), key, &pane);
        (row != 0).then(|| self.rows.value_at(row))
    }

    /// The panes of this range that have values, in order.
    pub fn panes(
        &self,
        range: impl RangeBounds<Timestamp>,
    ) -> impl DoubleEndedIterator<Item = Timestamp> + '_ {
        self.panes.range(range).map(|(pane, _)| *pane)
    }

    /// The rows of a pane with the hashes of their keys. A row's number holds until its pane is removed.
    pub fn rows(&self, pane: Timestamp) -> impl Iterator<Item = (u64, u32)> + '_ {
        let rows = self.panes.get(&pane).into_iter().flatten();
        rows.map(|row| (self.rows.key_at(*row).key.hash64(), *row))
    }

    /// What a row holds.
    pub fn row(&self, row: u32) -> (K, V) {
        (self.rows.key_at(row).key, self.rows.value_at(row))
    }

    /// Takes up to `limit` values out of a pane, in the order in which they came. They are taken out one
    /// by one as the iterator goes on; it has to be used up.
    pub fn take(&mut self, pane: Timestamp, limit: usize) -> impl Iterator<Item = (K, V)> + '_ {
        let pane_hash = pane.hash64();
        let mut taken = VecDeque::new();
        if let Some(rows) = self.panes.get_mut(&pane) {
            let rest = rows.split_off(limit.min(rows.len()));
            taken = std::mem::replace(rows, rest);
            if rows.is_empty() {
                self.panes.remove(&pane);
            }
        }
        taken.into_iter().map(move |row| {
            let (key, value) = self.row(row);
            self.rows.remove_row(entry_hash(key.hash64(), pane_hash), row);
            (key, value)
        })
    }

    /// Removes all values of a pane.
    pub fn remove_pane(&mut self, pane: Timestamp) {
        let pane_hash = pane.hash64();
        for row in self.panes.remove(&pane).into_iter().flatten() {
            let hash = self.rows.key_at(row).key.hash64();
            self.rows.remove_row(entry_hash(hash, pane_hash), row);
        }
    }

    /// What a table of this name holds.
    pub fn declared(name: &str) -> DeclaredState {
        declare_entries::<K, Timestamp, V>(name)
    }

    /// The values as they are now.
    pub fn freeze(&mut self, name: &str, max: MaxParallelism, base: bool) -> TableSnapshot {
        freeze_entries(&mut self.rows, name, max, base)
    }

    /// Takes over what snapshots hold.
    pub fn restore(
        &mut self,
        tables: Vec<RestoredTable>,
        max: MaxParallelism,
    ) -> Result<(), RestoreError> {
        restore_entries(&mut self.rows, tables, max)?;
        self.panes.clear();
        let (rows, _) = self.rows.rows_from(0, usize::MAX);
        for row in rows {
            let pane = self.rows.key_at(row).entry;
            self.panes.entry(pane).or_default().push_back(row);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(values: &[(u64, Timestamp, u64)]) -> WindowTable<u64, u64> {
        let mut table = WindowTable::new();
        let hashes: Vec<u64> = values.iter().map(|(key, _, _)| key.hash64()).collect();
        let panes: Vec<Timestamp> = values.iter().map(|(_, pane, _)| *pane).collect();
        let key = |i: usize| values[i].0;
        table.update_batch(&hashes, &panes, key, || 0, |i, sum| *sum += values[i].2);
        table
    }

    #[test]
    fn a_key_has_a_value_for_each_pane() {
        let table = filled(&[(1, 0, 1), (1, 10, 2), (2, 0, 4), (1, 0, 8), (1, -10, 16)]);
        let get = |key: u64, pane| table.get(key.hash64(), &key, pane);
        assert_eq!((get(1, 0), get(1, 10), get(2, 0)), (Some(9), Some(2), Some(4)));
        assert_eq!((get(1, -10), get(2, 10)), (Some(16), None));
        assert_eq!(table.panes(..).collect::<Vec<_>>(), [-10, 0, 10]);
        assert_eq!(table.panes(0..10).collect::<Vec<_>>(), [0]);
    }

    #[test]
    fn a_pane_is_taken_in_parts_and_leaves_nothing() {
        let values: Vec<_> = (0..1_000).map(|key| (key, 0, key)).collect();
        let mut table = filled(&values);
        let mut taken: Vec<_> = table.take(0, 400).collect();
        assert_eq!(table.len(), 600);
        taken.extend(table.take(0, 10_000));
        let expected: Vec<_> = (0..1_000).map(|key| (key, key)).collect();
        assert_eq!(taken, expected);
        assert!(table.is_empty() && table.panes(..).next().is_none());
    }

    #[test]
    fn rows_are_found_by_pane_and_removed_with_it() {
        let mut table = filled(&[(1, 0, 1), (2, 0, 2), (1, 10, 3)]);
        let rows: Vec<_> = table.rows(0).map(|(hash, row)| (hash, table.row(row))).collect();
        assert_eq!(rows, [(1_u64.hash64(), (1, 1)), (2_u64.hash64(), (2, 2))]);
        table.remove_pane(0);
        assert_eq!(table.len(), 1);
        assert_eq!(table.rows(0).count(), 0);
    }
}
