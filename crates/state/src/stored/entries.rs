//! [`StoredEntries`]: any number of rows for each key, in a backend: the entries of a map, the items of
//! a list. The rows of a key are a range; nothing is kept beside them.

use super::table::{StoredTable, count};
use super::{begin_key, decode, must};
use crate::backend::{Backing, GROUP_BYTES, KeyForm};
use crate::entry_key::EntryKey;
use crate::entry_rows::{EntryRows, EntryWalk, Hashed, Place};
use crate::entry_table::joined;
use crate::restore::RestoreError;
use crate::table::KeyedTable;
use millstream_checkpoint::handle::TableSchema;
use millstream_checkpoint::snapshot::{RestoredTable, TableSnapshot};
use millstream_core::key_group::MaxParallelism;
use millstream_core::record::{Key, Record};
use std::collections::VecDeque;
use std::ops::ControlFlow;

/// A walk fetches one row first, and twice as many each time up to this: most walks look for the first
/// row, or for all.
const FETCHED_MAX: usize = 256;

/// Rows of type `V`, named by a key `K` and an entry `N`.
pub(crate) struct StoredEntries<K, N, V> {
    /// Key and entry are encoded one after the other, whether they are two or one.
    rows: StoredTable<EntryKey<K, N>, V>,
    /// Where a value is put together.
    scratch: Vec<u8>,
}

/// Where a walk over the rows of a key is.
#[derive(Default)]
pub(crate) struct StoredWalk {
    prefix: Vec<u8>,
    /// Where the next rows are.
    from: Vec<u8>,
    fetched: VecDeque<(Vec<u8>, Vec<u8>)>,
    /// How many rows are fetched next; 0: there are none.
    next: usize,
}

impl<K: Key, N: Key, V: Record> StoredEntries<K, N, V> {
    /// No rows.
    pub(crate) fn new(name: &str, form: KeyForm, backing: &Backing) -> Self {
        Self { rows: StoredTable::new(name, form, backing), scratch: Vec::new() }
    }

    /// What the bytes of all rows of the key begin with.
    fn prefix(&self, key: Hashed<'_, K>) -> Vec<u8> {
        let mut prefix = Vec::with_capacity(64);
        begin_key(key.hash, self.rows.spec.max, &mut prefix);
        key.key.encode(&mut prefix);
        prefix
    }

    /// The bytes of a row's key.
    fn place(&self, key: Hashed<'_, K>, entry: &N) -> Vec<u8> {
        let mut bytes = self.prefix(key);
        entry.encode(&mut bytes);
        self.rows.spec.form.make_key(&mut bytes[GROUP_BYTES..]);
        bytes
    }

    fn put(&mut self, place: &[u8], value: &V) {
        self.scratch.clear();
        value.encode(&mut self.scratch);
        must(self.rows.store.write(&[(place, Some(&self.scratch))]));
    }

    fn entry_of(&self, place: &[u8], prefix: usize) -> N {
        let mut entry = place[prefix..].to_vec();
        self.rows.spec.form.make_row(&mut entry);
        decode(&entry)
    }

    fn fetch(&mut self, walk: &mut StoredWalk) {
        let StoredWalk { prefix, from, fetched, next } = walk;
        let mut after = None;
        must(self.rows.store.scan(from, prefix, &mut |key, value| {
            if fetched.len() == *next {
                after = Some(key.to_vec());
                return ControlFlow::Break(());
            }
            fetched.push_back((key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        }));
        *next = if after.is_some() { (*next * 2).min(FETCHED_MAX) } else { 0 };
        *from = after.unwrap_or_default();
    }
}

impl<K: Key, N: Key, V: Record> EntryRows<K, N, V> for StoredEntries<K, N, V> {
    fn rows(&mut self) -> usize {
        count(self.rows.store.as_mut(), &[])
    }

    fn memory_bytes(&self) -> usize {
        self.rows.memory_bytes() + self.scratch.capacity()
    }

    fn len(&mut self, key: Hashed<'_, K>) -> usize {
        let prefix = self.prefix(key);
        count(self.rows.store.as_mut(), &prefix)
    }

    fn get(&mut self, key: Hashed<'_, K>, entry: &N) -> Option<(Place, V)> {
        let place = self.place(key, entry);
        let mut found = None;
        must(self.rows.store.get_many(&[&place], &mut |_, row| found = Some(decode(row))));
        found.map(|value| (Place::Key(place), value))
    }

    fn set(&mut self, place: &Place, value: &V) {
        if let Place::Key(place) = place {
            self.put(place, value);
        }
    }

    fn insert(&mut self, key: Hashed<'_, K>, entry: N, value: &V) {
        let place = self.place(key, &entry);
        self.put(&place, value);
    }

    fn append(&mut self, key: Hashed<'_, K>, entry: N, value: &V) {
        self.insert(key, entry, value);
    }

    fn last(&mut self, key: Hashed<'_, K>) -> Option<N> {
        let prefix = self.prefix(key);
        let mut last = None;
        must(self.rows.store.last(&prefix, &mut |key| last = Some(key.to_vec())));
        last.map(|place| self.entry_of(&place, prefix.len()))
    }

    fn walk(&mut self, key: Hashed<'_, K>) -> EntryWalk {
        let prefix = self.prefix(key);
        let stored = StoredWalk { from: prefix.clone(), prefix, fetched: VecDeque::new(), next: 1 };
        EntryWalk { stored, ..EntryWalk::default() }
    }

    fn step(&mut self, walk: &mut EntryWalk) -> Option<(Place, N, V)> {
        let walk = &mut walk.stored;
        if walk.fetched.is_empty() && walk.next > 0 {
            self.fetch(walk);
        }
        let (place, row) = walk.fetched.pop_front()?;
        let entry = self.entry_of(&place, walk.prefix.len());
        Some((Place::Key(place), entry, decode(&row)))
    }

    fn remove(&mut self, place: &Place) {
        if let Place::Key(place) = place {
            must(self.rows.store.write(&[(place, None)]));
        }
    }

    fn clear(&mut self, key: Hashed<'_, K>) {
        let mut walk = self.walk(key);
        while let Some((place, _, _)) = self.step(&mut walk) {
            self.remove(&place);
        }
    }

    fn next_rows(&mut self, cursor: &mut Place, limit: usize) -> Vec<(Place, V)> {
        let from = match std::mem::take(cursor) {
            Place::Key(from) => from,
            Place::Row(_) => Vec::new(),
        };
        let mut rows = Vec::new();
        must(self.rows.store.scan(&from, &[], &mut |key, value| {
            if rows.len() == limit {
                *cursor = Place::Key(key.to_vec());
                return ControlFlow::Break(());
            }
            rows.push((Place::Key(key.to_vec()), decode(value)));
            ControlFlow::Continue(())
        }));
        rows
    }

    fn freeze(&mut self, name: &str, _max: MaxParallelism, _base: bool) -> TableSnapshot {
        let schema = TableSchema { key: K::schema(), namespace: N::schema(), value: V::schema() };
        TableSnapshot { name: name.to_owned(), schema, content: self.rows.freeze() }
    }

    fn restore(
        &mut self,
        tables: Vec<RestoredTable>,
        _max: MaxParallelism,
        _order: fn(&N) -> u64,
    ) -> Result<(), RestoreError> {
        let wanted = KeyedTable::<EntryKey<K, N>, V>::schema();
        tables.into_iter().try_for_each(|table| self.rows.restore(joined(table), &wanted))
    }
}
