//! [`EntryRows`]: any number of rows for each key, in order: what maps and lists need of the table that
//! holds their entries and items, on the heap (`entry_table`) or in a backend (`stored::entries`).

use crate::entry_table::Walk;
use crate::restore::RestoreError;
use crate::stored::entries::StoredWalk;
use millstream_checkpoint::snapshot::{RestoredTable, TableSnapshot};
use millstream_core::key_group::MaxParallelism;

/// A key and its hash.
pub(crate) struct Hashed<'a, K> {
    pub(crate) hash: u64,
    pub(crate) key: &'a K,
}

impl<K> Copy for Hashed<'_, K> {}

impl<K> Clone for Hashed<'_, K> {
    fn clone(&self) -> Self {
        *self
    }
}

/// Where a row is; it holds until the row is removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// On the heap: its number.
    Row(u32),
    /// In a backend: the bytes of its key.
    Key(Vec<u8>),
}

/// Before all rows.
impl Default for Place {
    fn default() -> Self {
        Self::Row(0)
    }
}

/// Where a walk over the rows of a key is: on the heap or in a backend.
#[derive(Default)]
pub(crate) struct EntryWalk {
    pub(crate) rows: Walk,
    pub(crate) stored: StoredWalk,
}

/// Rows of type `V`, named by a key `K` and an entry `N`. Those of a key are in the order in which they
/// came, or in that of their names if it is the same for whoever asks.
pub(crate) trait EntryRows<K, N, V> {
    /// How many rows there are, of all keys. A backend has to count them.
    fn rows(&mut self) -> usize;

    /// What they have in memory.
    fn memory_bytes(&self) -> usize;

    /// How many rows the key has. A backend has to count them.
    fn len(&mut self, key: Hashed<'_, K>) -> usize;

    /// Where a row is and what it holds; nothing if there is none.
    fn get(&mut self, key: Hashed<'_, K>, entry: &N) -> Option<(Place, V)>;

    /// Changes what a row holds.
    fn set(&mut self, place: &Place, value: &V);

    /// Puts a row, whether it is there or not.
    fn insert(&mut self, key: Hashed<'_, K>, entry: N, value: &V);

    /// Adds a row that is not there, behind all others of its key.
    fn append(&mut self, key: Hashed<'_, K>, entry: N, value: &V);

    /// The name of the key's last row.
    fn last(&mut self, key: Hashed<'_, K>) -> Option<N>;

    /// Begins a walk over the rows of the key, first to last.
    fn walk(&mut self, key: Hashed<'_, K>) -> EntryWalk;

    /// The next row of a walk. Only rows that have been passed may be changed or removed meanwhile.
    fn step(&mut self, walk: &mut EntryWalk) -> Option<(Place, N, V)>;

    /// Removes a row.
    fn remove(&mut self, place: &Place);

    /// Removes all rows of the key.
    fn clear(&mut self, key: Hashed<'_, K>);

    /// Up to `limit` rows from the cursor on, which goes on, and round.
    fn next_rows(&mut self, cursor: &mut Place, limit: usize) -> Vec<(Place, V)>;

    /// The table as it is now.
    fn freeze(&mut self, name: &str, max: MaxParallelism, base: bool) -> TableSnapshot;

    /// Takes over what snapshots hold; the rows of a key by `order`.
    fn restore(
        &mut self,
        tables: Vec<RestoredTable>,
        max: MaxParallelism,
        order: fn(&N) -> u64,
    ) -> Result<(), RestoreError>;
}
