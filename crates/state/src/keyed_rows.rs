//! [`KeyedRows`]: one value per key, on the heap or in a backend, as operators use it.
//!
//! Which of both it is is asked once per batch, so the heap's loops are the same as without backends.

use crate::backend::{Backing, KeyForm};
use crate::restore::RestoreError;
use crate::stored::table::StoredTable;
use crate::table::{KeyedTable, Visited};
use millstream_checkpoint::snapshot::{FrozenTable, RestoredTable, TableSnapshot};
use millstream_core::Record;
use millstream_core::key_group::MaxParallelism;
use millstream_core::record::Key;
use std::borrow::Borrow;
use std::ops::ControlFlow;

/// A value of type `V` for each key of type `K` of one subtask. The calls are those of [`KeyedTable`];
/// keys may be asked for ahead of their calls.
#[expect(clippy::large_enum_variant, reason = "one per operator; the heap's is at hand at once")]
pub enum KeyedRows<K, V> {
    /// In memory.
    Heap(KeyedTable<K, V>),
    /// In a backend.
    Stored(Box<StoredTable<K, V>>),
}

/// Where a visit of all rows goes on.
#[derive(Clone, Debug, Default)]
pub struct Cursor {
    row: u32,
    key: Vec<u8>,
}

impl<K: Key, V: Record> KeyedRows<K, V> {
    /// A table with nothing in it; on the heap, if there is no backend.
    pub fn open(name: &str, backing: Option<&Backing>) -> Self {
        match backing {
            None => Self::Heap(KeyedTable::new()),
            Some(backing) => Self::Stored(Box::new(StoredTable::new(name, KeyForm::Row, backing))),
        }
    }

    /// Forgets what takes memory: everything, if it lies on the heap, else nothing.
    pub fn free_memory(&mut self) {
        if let Self::Heap(table) = self {
            *table = KeyedTable::new();
        }
    }

    /// See [`KeyedTable::update_batch`].
    #[inline]
    pub fn update_batch<Q: Borrow<K>>(
        &mut self,
        hashes: &[u64],
        mut key: impl FnMut(usize) -> Q,
        mut init: impl FnMut() -> V,
        mut f: impl FnMut(usize, Q, &mut V),
    ) {
        match self {
            Self::Heap(table) => table.update_batch(hashes, key, init, f),
            Self::Stored(table) => {
                table.update(hashes, &mut key, &mut |i, key, value| {
                    f(i, key, value.get_or_insert_with(&mut init));
                    ControlFlow::Continue(())
                });
            }
        }
    }

    /// See [`KeyedTable::upsert_batch`].
    #[inline]
    pub fn upsert_batch<Q: Borrow<K>>(
        &mut self,
        hashes: &[u64],
        mut key: impl FnMut(usize) -> Q,
        mut f: impl FnMut(usize, &K, &mut Option<V>),
    ) {
        match self {
            Self::Heap(table) => table.upsert_batch(hashes, key, f),
            Self::Stored(table) => {
                table.update(hashes, &mut key, &mut |i, key, value| {
                    f(i, key.borrow(), value);
                    ControlFlow::Continue(())
                });
            }
        }
    }

    /// See [`KeyedTable::visit_batch`].
    #[inline]
    pub fn visit_batch<Q: Borrow<K>>(
        &mut self,
        hashes: &[u64],
        mut key: impl FnMut(usize) -> Q,
        mut init: impl FnMut() -> V,
        mut f: impl FnMut(usize, &K, &mut V, bool) -> Visited,
    ) -> usize {
        match self {
            Self::Heap(table) => table.visit_batch(hashes, key, init, f),
            Self::Stored(table) => table.update(hashes, &mut key, &mut |i, key, stored| {
                let is_new = stored.is_none();
                let Visited { keep, go_on } =
                    f(i, key.borrow(), stored.get_or_insert_with(&mut init), is_new);
                if !keep {
                    *stored = None;
                }
                if go_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            }),
        }
    }

    /// The value of a key.
    pub fn get(&mut self, hash: u64, key: &K) -> Option<V> {
        match self {
            Self::Heap(table) => table.get(hash, key),
            Self::Stored(table) => table.get(hash, key),
        }
    }

    /// Removes a key; its value, if it was there.
    pub fn remove(&mut self, hash: u64, key: &K) -> Option<V> {
        match self {
            Self::Heap(table) => table.remove(hash, key),
            Self::Stored(table) => table.remove(hash, key),
        }
    }

    /// Gives a key this value, whether it is there or not.
    pub fn put(&mut self, hash: u64, key: &K, value: &V) {
        match self {
            Self::Heap(table) => table.put(hash, key, value),
            Self::Stored(table) => table.put(hash, key, value),
        }
    }

    /// Visits up to `limit` keys from the cursor on, and moves it; whether there are more. After the last
    /// one it is where it was in the beginning.
    pub fn visit_from(
        &mut self,
        cursor: &mut Cursor,
        limit: usize,
        mut f: impl FnMut(u64, K, V),
    ) -> bool {
        match self {
            Self::Heap(table) => {
                let next = table.visit_from(cursor.row, limit, f);
                cursor.row = next.unwrap_or(0);
                next.is_some()
            }
            Self::Stored(table) => table.visit_from(&mut cursor.key, limit, &mut f),
        }
    }

    /// How many keys there are. A backend has to count them.
    pub fn count(&mut self) -> usize {
        match self {
            Self::Heap(table) => table.len(),
            Self::Stored(table) => table.count(),
        }
    }

    /// What it has in memory.
    pub fn memory_bytes(&self) -> usize {
        match self {
            Self::Heap(table) => table.memory_bytes(),
            Self::Stored(table) => table.memory_bytes(),
        }
    }

    /// The table as it is now, under this name; see [`KeyedTable::freeze`].
    pub fn freeze(&mut self, name: &str, max: MaxParallelism, base: bool) -> TableSnapshot {
        let content: Box<dyn FrozenTable> = match self {
            Self::Heap(table) => Box::new(table.freeze(max, base)),
            Self::Stored(table) => table.freeze(),
        };
        TableSnapshot { name: name.to_owned(), schema: KeyedTable::<K, V>::schema(), content }
    }

    /// Takes over what a snapshot holds; see [`KeyedTable::restore`].
    pub fn restore(
        &mut self,
        table: RestoredTable,
        max: MaxParallelism,
    ) -> Result<(), RestoreError> {
        match self {
            Self::Heap(rows) => rows.restore(table, max),
            Self::Stored(rows) => rows.restore(table, &KeyedTable::<K, V>::schema()),
        }
    }
}
