//! [`Loading`]: rows of a snapshot on their way into a table.
//!
//! The rows of the first part of an empty table are put one behind the other without a look at the index,
//! which is made of all of them at once. Rows that come later may replace others, and are put as any are.

use super::KeyedTable;
use crate::index::Index;
use crate::restore::RowTarget;
use millstream_checkpoint::state_file::{Block, BlockKind};
use millstream_core::key_group::KeyGroup;
use millstream_core::record::{Key, Record};

/// A table that takes over rows. It is whole when this is dropped, whatever has happened.
pub(crate) struct Loading<'a, K: Key, V: Record> {
    table: &'a mut KeyedTable<K, V>,
    /// The tags of the rows from the first on, which the index does not know yet; nothing: it knows
    /// all rows.
    tags: Option<Vec<u32>>,
    /// Of the last block.
    group: Option<KeyGroup>,
}

impl<'a, K: Key, V: Record> Loading<'a, K, V> {
    pub(crate) fn new(table: &'a mut KeyedTable<K, V>) -> Self {
        let tags = table.is_untouched().then(Vec::new);
        Self { table, tags, group: None }
    }

    /// Makes the index of the rows that it does not know.
    fn index(&mut self) {
        if let Some(tags) = self.tags.take() {
            self.table.index_rows(&tags);
        }
    }
}

impl<K: Key, V: Record> RowTarget<K, V> for Loading<'_, K, V> {
    fn begin(&mut self, block: &Block) {
        // Within a part groups ascend, and no key is there twice.
        if block.kind != BlockKind::Rows || block.group < self.group {
            self.index();
        }
        self.group = block.group;
    }

    fn put_rows(&mut self, hashes: &[u64], keys: &[K], values: &[V]) {
        let Some(tags) = &mut self.tags else { return self.table.put_batch(hashes, keys, values) };
        tags.extend(hashes.iter().map(|hash| Index::tag(*hash)));
        for (key, value) in keys.iter().zip(values) {
            self.table.append(key, value);
        }
    }

    fn remove_rows(&mut self, hashes: &[u64], keys: &[K]) {
        for (hash, key) in hashes.iter().zip(keys) {
            self.table.remove(*hash, key);
        }
    }
}

impl<K: Key, V: Record> Drop for Loading<'_, K, V> {
    fn drop(&mut self) {
        self.index();
    }
}

impl<K: Key, V: Record> KeyedTable<K, V> {
    /// Whether no row was ever given out, and no snapshot was taken.
    fn is_untouched(&self) -> bool {
        self.core.rows.end() == 1 && !self.core.changes.is_tracked()
    }

    /// Adds a row that the index does not know.
    fn append(&mut self, key: &K, value: &V) {
        let row = self.new_row(key, value);
        self.core.live.set(row, self.core.rows.end());
    }

    /// Makes the index of all rows, which have these tags. Of rows with the same key the last one stays.
    fn index_rows(&mut self, tags: &[u32]) {
        let mut index = std::mem::replace(&mut self.core.index, Index::new());
        let lost = index.build(tags, &mut |a, b| self.key_at(a) == self.key_at(b));
        self.core.index = index;
        for row in lost {
            self.release(row);
            self.core.live.unset(row);
            self.core.rows.free(row);
        }
    }
}
