//! Rows by number, for those who keep numbers beside a table: a number holds until its row is removed.

use super::{BLOCK, FOUND, KeyedTable};
use crate::cell;
use crate::entry_key::EntryKey;
use millstream_core::record::{Key, Record};

impl<K: Key, V: Record> KeyedTable<K, V> {
    /// As [`update_batch`](Self::update_batch); `added` hears of the rows that came into being. If `f`
    /// panics, a run of elements with one key is not done as a whole.
    #[inline(never)]
    pub(crate) fn update_rows(
        &mut self,
        hashes: &[u64],
        mut key: impl FnMut(usize) -> K,
        mut init: impl FnMut() -> V,
        mut f: impl FnMut(usize, &mut V),
        mut added: impl FnMut(usize, u32),
    ) {
        let mut rows = [0; BLOCK];
        let mut start = 0;
        // The value at hand: where keys come in runs, it is loaded and stored once for each run.
        let mut open: Option<(u32, V)> = None;
        while start < hashes.len() {
            let block = self.core.locate(hashes, start, &mut rows);
            self.core.changes.mark_all(&rows[..block.len()], Self::STRIDE);
            for (i, (&hash, &guess)) in block.iter().zip(&rows).enumerate() {
                let key = key(start + i);
                let row = match self.found(guess, hash, &key) {
                    0 => {
                        let row = self.insert(hash, &key, &init());
                        added(start + i, row);
                        row
                    }
                    row => row,
                };
                match &mut open {
                    Some((at, value)) if *at == row => f(start + i, value),
                    _ => {
                        if let Some((at, value)) = open.take() {
                            self.store(at, &value);
                        }
                        let mut value = self.value_at(row);
                        f(start + i, &mut value);
                        open = Some((row, value));
                    }
                }
            }
            start += block.len();
        }
        if let Some((at, value)) = open {
            self.store(at, &value);
        }
    }

    /// The key of a row.
    #[inline]
    pub(crate) fn key_at(&self, row: u32) -> K {
        let cells = self.core.rows.get(row, Self::STRIDE).expect(FOUND);
        cell::load(&cells[..Self::KEY], &self.core.slabs)
    }

    /// The value of the key of this row.
    #[inline]
    pub(crate) fn value_at(&self, row: u32) -> V {
        self.value(row).expect(FOUND)
    }

    /// Changes the value of the key of this row.
    #[inline]
    pub(crate) fn set_at(&mut self, row: u32, value: &V) {
        self.core.changes.mark(row, Self::STRIDE);
        self.store(row, value);
    }

    /// Whether the row holds a key.
    #[inline]
    pub(crate) fn is_live(&self, row: u32) -> bool {
        self.core.live.has(row)
    }

    /// Up to `limit` rows that hold a key, from this number on, and where to go on if there are more.
    pub(crate) fn rows_from(&self, cursor: u32, limit: usize) -> (Vec<u32>, Option<u32>) {
        let mut rows = self.core.live.rows_from(cursor);
        (rows.by_ref().take(limit).collect(), rows.next())
    }
}

/// Keys that consist of the stream's key and an entry: found without being put together.
impl<K: Key, N: Key, V: Record> KeyedTable<EntryKey<K, N>, V> {
    /// The row of an entry, or 0.
    pub(crate) fn find_entry(&self, hash: u64, key: &K, entry: &N) -> u32 {
        self.core.index.search(hash, &mut |row| match self.core.rows.get(row, Self::STRIDE) {
            Some(cells) => cell::holds_entry(&cells[..Self::KEY], key, entry, &self.core.slabs),
            None => false,
        })
    }
}
