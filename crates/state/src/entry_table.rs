//! [`EntryTable`]: any number of rows for each key, in order: the entries of a map, the items of a list.
//!
//! The rows of a key form a ring in the order in which they came. The links are beside the rows, by row
//! number, and not in them: rows stay where they are, so the links hold, and a snapshot has only what
//! the user put in. The head of a ring is its last row, in a table by key. Going through the rows of a
//! key, and removing them, takes time in proportion to their number; a row that is there is read and
//! changed without a look at the ring.

use crate::entry_key::{EntryKey, entry_hash};
use crate::entry_rows::{EntryRows, EntryWalk, Hashed, Place};
use crate::restore::RestoreError;
use crate::table::KeyedTable;
use millstream_checkpoint::handle::TableSchema;
use millstream_checkpoint::snapshot::{RestoredTable, TableSnapshot};
use millstream_core::job_state::DeclaredState;
use millstream_core::key_group::MaxParallelism;
use millstream_core::record::{DecodeError, Input, Output, Schema};
use millstream_core::{Key, Record};

/// Rows of type `V`, named by a key `K` and an entry `N`.
pub(crate) struct EntryTable<K, N, V> {
    rows: KeyedTable<EntryKey<K, N>, V>,
    /// By row number.
    links: Vec<Link>,
    heads: KeyedTable<K, Head>,
}

/// A table of named rows as it is now: in a snapshot, entries are namespaces of their key.
pub(crate) fn freeze_entries<K: Key, N: Key, V: Record>(
    rows: &mut KeyedTable<EntryKey<K, N>, V>,
    name: &str,
    max: MaxParallelism,
    base: bool,
) -> TableSnapshot {
    let schema = TableSchema { key: K::schema(), namespace: N::schema(), value: V::schema() };
    TableSnapshot { name: name.to_owned(), schema, content: Box::new(rows.freeze(max, base)) }
}

/// What snapshots of such a table hold, as the job graph names it.
pub(crate) fn declare_entries<K: Key, N: Key, V: Record>(name: &str) -> DeclaredState {
    DeclaredState::keyed(name, K::schema(), N::schema(), V::schema())
}

/// Takes over what snapshots of such a table hold.
pub(crate) fn restore_entries<K: Key, N: Key, V: Record>(
    rows: &mut KeyedTable<EntryKey<K, N>, V>,
    tables: Vec<RestoredTable>,
    max: MaxParallelism,
) -> Result<(), RestoreError> {
    tables.into_iter().try_for_each(|table| rows.restore(joined(table), max))
}

/// The same table, in which key and namespace are one: they are encoded one after the other either
/// way.
pub(crate) fn joined(table: RestoredTable) -> RestoredTable {
    let RestoredTable { name, schema, blocks } = table;
    let TableSchema { key, namespace, value } = schema;
    let key = Schema::Tuple(vec![key, namespace]);
    RestoredTable { name, schema: TableSchema { key, namespace: <()>::schema(), value }, blocks }
}

/// The rows of the same key before and after a row.
#[derive(Clone, Copy, Default)]
struct Link {
    before: u32,
    after: u32,
}

/// The ring of a key.
#[derive(Clone, Copy, Default)]
struct Head {
    /// The row that came last; the one after it is the first. 0: there is none.
    last: u32,
    len: u32,
}

impl Record for Head {
    const FIXED: Option<usize> = Some(8);
    const CANONICAL: bool = true;

    fn schema() -> Schema {
        <(u32, u32)>::schema()
    }

    #[inline]
    fn encode<O: Output>(&self, out: &mut O) {
        self.last.encode(out);
        self.len.encode(out);
    }

    #[inline]
    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        Ok(Self { last: u32::decode(input)?, len: u32::decode(input)? })
    }
}

/// Where a walk over the rows of a key is.
#[derive(Clone, Copy, Default)]
pub(crate) struct Walk {
    row: u32,
    left: u32,
}

impl<K: Key, N: Key, V: Record> EntryTable<K, N, V> {
    /// No rows and no memory.
    pub(crate) fn new() -> Self {
        Self { rows: KeyedTable::new(), links: Vec::new(), heads: KeyedTable::new() }
    }

    /// The number of a row; nothing if there is none.
    #[inline]
    fn find(&self, key: Hashed<'_, K>, entry: &N) -> Option<u32> {
        let hash = entry_hash(key.hash, entry.hash64());
        let row = self.rows.find_entry(hash, key.key, entry);
        (row != 0).then_some(row)
    }

    /// Begins a walk over the rows of the key, first to last.
    fn begin(&self, key: Hashed<'_, K>) -> Walk {
        let Head { last, len } = self.head(key);
        let row = if len == 0 { 0 } else { self.links[last as usize].after };
        Walk { row, left: len }
    }

    /// The next row of a walk.
    fn next(&self, walk: &mut Walk) -> Option<u32> {
        walk.left = walk.left.checked_sub(1)?;
        let row = walk.row;
        walk.row = self.links[row as usize].after;
        Some(row)
    }

    /// Links all rows, by key in ascending order.
    fn relink(&mut self, order: impl Fn(&N) -> u64) {
        self.links.clear();
        self.heads.clear();
        let (rows, _) = self.rows.rows_from(0, usize::MAX);
        let mut rows: Vec<(u64, u32)> =
            rows.into_iter().map(|row| (order(&self.rows.key_at(row).entry), row)).collect();
        rows.sort_unstable();
        for (_, row) in rows {
            let key = self.rows.key_at(row).key;
            self.link(Hashed { hash: key.hash64(), key: &key }, row);
        }
    }

    fn head(&self, key: Hashed<'_, K>) -> Head {
        self.heads.get(key.hash, key.key).unwrap_or_default()
    }

    fn link(&mut self, key: Hashed<'_, K>, row: u32) {
        if self.links.len() <= row as usize {
            self.links.resize(row as usize + 1, Link::default());
        }
        let links = &mut self.links;
        self.heads.update_batch(
            &[key.hash],
            |_| key.key,
            Head::default,
            |_, _, head| {
                if head.len == 0 {
                    links[row as usize] = Link { before: row, after: row };
                } else {
                    let first = links[head.last as usize].after;
                    links[row as usize] = Link { before: head.last, after: first };
                    links[head.last as usize].after = row;
                    links[first as usize].before = row;
                }
                *head = Head { last: row, len: head.len + 1 };
            },
        );
    }

    fn unlink(&mut self, key: Hashed<'_, K>, row: u32) {
        let links = &mut self.links;
        let Link { before, after } = links[row as usize];
        links[before as usize].after = after;
        links[after as usize].before = before;
        self.heads.upsert_batch(
            &[key.hash],
            |_| key.key,
            |_, _, head| {
                let Head { last, len } = head.take().expect("a key with a row has a head");
                if len > 1 {
                    let last = if last == row { before } else { last };
                    *head = Some(Head { last, len: len - 1 });
                }
            },
        );
    }
}

fn number(place: &Place) -> u32 {
    match place {
        Place::Row(row) => *row,
        Place::Key(_) => 0,
    }
}

impl<K: Key, N: Key, V: Record> EntryRows<K, N, V> for EntryTable<K, N, V> {
    fn rows(&mut self) -> usize {
        self.rows.len()
    }

    fn memory_bytes(&self) -> usize {
        self.rows.memory_bytes()
            + self.links.capacity() * size_of::<Link>()
            + self.heads.memory_bytes()
    }

    fn len(&mut self, key: Hashed<'_, K>) -> usize {
        self.head(key).len as usize
    }

    #[inline]
    fn get(&mut self, key: Hashed<'_, K>, entry: &N) -> Option<(Place, V)> {
        let row = self.find(key, entry)?;
        Some((Place::Row(row), self.rows.value_at(row)))
    }

    #[inline]
    fn set(&mut self, place: &Place, value: &V) {
        self.rows.set_at(number(place), value);
    }

    fn insert(&mut self, key: Hashed<'_, K>, entry: N, value: &V) {
        match self.find(key, &entry) {
            Some(row) => self.rows.set_at(row, value),
            None => self.append(key, entry, value),
        }
    }

    fn append(&mut self, key: Hashed<'_, K>, entry: N, value: &V) {
        let hash = entry_hash(key.hash, entry.hash64());
        let row = self.rows.insert(hash, &EntryKey { key: key.key.clone(), entry }, value);
        self.link(key, row);
    }

    fn last(&mut self, key: Hashed<'_, K>) -> Option<N> {
        let last = self.head(key).last;
        (last != 0).then(|| self.rows.key_at(last).entry)
    }

    fn walk(&mut self, key: Hashed<'_, K>) -> EntryWalk {
        EntryWalk { rows: self.begin(key), ..EntryWalk::default() }
    }

    fn step(&mut self, walk: &mut EntryWalk) -> Option<(Place, N, V)> {
        let row = self.next(&mut walk.rows)?;
        Some((Place::Row(row), self.rows.key_at(row).entry, self.rows.value_at(row)))
    }

    fn remove(&mut self, place: &Place) {
        let row = number(place);
        let EntryKey { key, entry } = self.rows.key_at(row);
        let key = Hashed { hash: key.hash64(), key: &key };
        self.unlink(key, row);
        self.rows.remove_row(entry_hash(key.hash, entry.hash64()), row);
    }

    fn clear(&mut self, key: Hashed<'_, K>) {
        let mut walk = self.begin(key);
        while let Some(row) = self.next(&mut walk) {
            let entry = self.rows.key_at(row).entry;
            self.rows.remove_row(entry_hash(key.hash, entry.hash64()), row);
        }
        self.heads.remove(key.hash, key.key);
    }

    fn next_rows(&mut self, cursor: &mut Place, limit: usize) -> Vec<(Place, V)> {
        let (rows, next) = self.rows.rows_from(number(cursor), limit);
        *cursor = Place::Row(next.unwrap_or(0));
        rows.into_iter().map(|row| (Place::Row(row), self.rows.value_at(row))).collect()
    }

    fn freeze(&mut self, name: &str, max: MaxParallelism, base: bool) -> TableSnapshot {
        freeze_entries(&mut self.rows, name, max, base)
    }

    fn restore(
        &mut self,
        tables: Vec<RestoredTable>,
        max: MaxParallelism,
        order: fn(&N) -> u64,
    ) -> Result<(), RestoreError> {
        restore_entries(&mut self.rows, tables, max)?;
        self.relink(order);
        Ok(())
    }
}
