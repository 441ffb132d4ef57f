//! Rows by number, for those who keep numbers beside a table: a number holds until its row is removed.

use super::{FOUND, KeyedTable};
use crate::cell;
use crate::entry_key::EntryKey;
use millstream_core::record::{Key, Record};

impl<K: Key, V: Record> KeyedTable<K, V> {
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
