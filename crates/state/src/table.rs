//! [`KeyedTable`]: one value per key, updated in batches.
//!
//! A batch goes in blocks of 128: index lines are prefetched a block ahead, rows are located and
//! prefetched for the whole block, and only then is each key verified and its value updated. What the
//! first pass found is a guess: a tag that agrees, as of the start of the block. The second pass
//! checks it against the key and searches anew where it is wrong: after two keys with one tag, and for
//! a key that came into being within the block. Tried and given up: smaller steps with a sliding lead,
//! which spread the prefetches evenly over time. Memory sets the pace either way.
//!
//! The value is loaded from its row, given to the user's function, and stored back. So the function
//! sees no memory of the table, and when it panics the row still holds what it held before.
//!
//! The parts that know no types (`Core`) are compiled once, in this crate; what a program compiles
//! per key and value type is small.

pub(crate) mod loading;
mod rows;

use crate::bits::Bits;
use crate::cell::{self, Stored};
use crate::changes::Changes;
use crate::index::Index;
use crate::pages::{Pages, stride_for};
use crate::slabs::Slabs;
use crate::snapshot::{FrozenKeyedTable, Layout};
use millstream_checkpoint::handle::TableSchema;
use millstream_core::key_group::MaxParallelism;
use millstream_core::record::{Key, Record};
use std::borrow::Borrow;
use std::marker::PhantomData;

/// How many records are located before the first of them is updated: as many cache lines are then
/// on their way at once, and all of them fit into the first-level cache.
const BLOCK: usize = 128;

/// Tables whose index is no larger stay in the second-level cache: fetching ahead would cost more than
/// it saves.
const NEAR_BYTES: usize = 512 << 10;

/// Keyed state of one subtask: a value of type `V` for each key of type `K`.
///
/// Each call gives the key's hash: always [`Record::hash64`], which the stream carries anyway.
///
/// ```
/// use millstream_core::Record;
/// use millstream_state::KeyedTable;
///
/// let bids = [(7_u64, 100_i64), (8, 50), (7, 1)];
/// let hashes = bids.map(|(auction, _)| auction.hash64());
///
/// let mut sums = KeyedTable::<u64, i64>::new();
/// let mut running = Vec::new();
/// sums.update_batch(&hashes, |i| bids[i].0, || 0, |i, auction, sum| {
///     *sum += bids[i].1;
///     running.push((auction, *sum));
/// });
/// assert_eq!(running, [(7, 100), (8, 50), (7, 101)]);
/// assert_eq!(sums.get(hashes[0], &7), Some(101));
/// ```
pub struct KeyedTable<K, V> {
    core: Core,
    /// Where an encoding is built that is too long for a cell.
    spill: Vec<u8>,
    _types: PhantomData<fn(K) -> V>,
}

/// What a function of [`KeyedTable::visit_batch`] decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Visited {
    /// The key is there from now on, with the value as it is now; else it is gone.
    pub keep: bool,
    /// The next element comes.
    pub go_on: bool,
}

impl<K: Key, V: Record> Default for KeyedTable<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Key, V: Record> KeyedTable<K, V> {
    const KEY: usize = cell::size::<K>();
    const CELLS: usize = Self::KEY + cell::size::<V>();
    const STRIDE: usize = stride_for(Self::CELLS);

    const LAYOUT: Layout = Layout {
        key: Self::KEY,
        key_is_fixed: K::FIXED.is_some(),
        value: Self::CELLS - Self::KEY,
        value_is_fixed: V::FIXED.is_some(),
        hash: K::hash_of_row,
        stride: Self::STRIDE,
    };

    /// An empty table, which takes no memory.
    pub fn new() -> Self {
        const { assert!(K::CANONICAL, "equal keys must have equal encodings") };
        Self { core: Core::new(Self::STRIDE), spill: Vec::new(), _types: PhantomData }
    }

    /// For each element in order: finds its key, or makes it with `init`, and lets `f` change the
    /// value. Element `i` has the hash `hashes[i]` and the key `key(i)`, by value or by reference;
    /// `f` gets the key as well.
    ///
    /// If a function panics, the elements before are done and the others are not; a key that this
    /// element has made may stay, with the value that `init` gave it.
    #[inline(never)]
    pub fn update_batch<Q: Borrow<K>>(
        &mut self,
        hashes: &[u64],
        mut key: impl FnMut(usize) -> Q,
        mut init: impl FnMut() -> V,
        mut f: impl FnMut(usize, Q, &mut V),
    ) {
        let mut rows = [0; BLOCK];
        let mut start = 0;
        while start < hashes.len() {
            let block = self.core.locate(hashes, start, &mut rows);
            self.core.changes.mark_all(&rows[..block.len()], Self::STRIDE);
            for (i, (&hash, &guess)) in block.iter().zip(&rows).enumerate() {
                let key = key(start + i);
                let cells = match self.core.rows.get_mut(guess, Self::STRIDE) {
                    Some(cells) if Self::has(cells, key.borrow(), &self.core.slabs) => cells,
                    _ => {
                        let row = self.find_or_insert(hash, key.borrow(), &mut init);
                        self.core.changes.mark(row, Self::STRIDE);
                        self.core.rows.get_mut(row, Self::STRIDE).expect(FOUND)
                    }
                };
                let value_cell = &mut cells[Self::KEY..Self::CELLS];
                let mut value = cell::load(value_cell, &self.core.slabs);
                f(start + i, key, &mut value);
                cell::store(&value, value_cell, &mut self.core.slabs, &mut self.spill);
            }
            start += block.len();
        }
    }

    /// As [`update_batch`](Self::update_batch), for functions that treat absence as a value: `f`
    /// gets `None` for a key that is not there, and the key is removed if `f` leaves `None`.
    ///
    /// If `f` panics, the elements before are done, and this one and the others are not.
    #[inline(never)]
    pub fn upsert_batch<Q: Borrow<K>>(
        &mut self,
        hashes: &[u64],
        mut key: impl FnMut(usize) -> Q,
        mut f: impl FnMut(usize, &K, &mut Option<V>),
    ) {
        let mut rows = [0; BLOCK];
        let mut start = 0;
        while start < hashes.len() {
            let block = self.core.locate(hashes, start, &mut rows);
            self.core.changes.mark_all(&rows[..block.len()], Self::STRIDE);
            for (i, &hash) in block.iter().enumerate() {
                let key = key(start + i);
                let key = key.borrow();
                let row = self.found(rows[i], hash, key);
                let mut value = self.value(row);
                f(start + i, key, &mut value);
                match value {
                    Some(value) if row != 0 => self.store(row, &value),
                    Some(value) => {
                        self.insert(hash, key, &value);
                    }
                    None if row != 0 => {
                        self.remove_row(hash, row);
                        // The row may be given out again: later guesses must not find it.
                        for guess in rows.iter_mut().filter(|guess| **guess == row) {
                            *guess = 0;
                        }
                    }
                    None => (),
                }
            }
            start += block.len();
        }
    }

    /// As [`update_batch`](Self::update_batch), for functions that decide what becomes of the key and
    /// when to stop: `f` also gets whether the key is new. How many elements are done.
    ///
    /// If `f` panics, the elements before are done, and this one and the others are not.
    #[inline(never)]
    pub fn visit_batch<Q: Borrow<K>>(
        &mut self,
        hashes: &[u64],
        mut key: impl FnMut(usize) -> Q,
        mut init: impl FnMut() -> V,
        mut f: impl FnMut(usize, &K, &mut V, bool) -> Visited,
    ) -> usize {
        let mut rows = [0; BLOCK];
        let mut start = 0;
        while start < hashes.len() {
            let block = self.core.locate(hashes, start, &mut rows);
            self.core.changes.mark_all(&rows[..block.len()], Self::STRIDE);
            for (i, &hash) in block.iter().enumerate() {
                let key = key(start + i);
                let key = key.borrow();
                let row = self.found(rows[i], hash, key);
                let visited = match self.core.rows.get_mut(row, Self::STRIDE) {
                    Some(cells) => {
                        let value_cell = &mut cells[Self::KEY..Self::CELLS];
                        let mut value = cell::load(value_cell, &self.core.slabs);
                        let visited = f(start + i, key, &mut value, false);
                        if visited.keep {
                            cell::store(&value, value_cell, &mut self.core.slabs, &mut self.spill);
                        } else {
                            self.remove_row(hash, row);
                            // The row may be given out again: later guesses must not find it.
                            for guess in rows.iter_mut().filter(|guess| **guess == row) {
                                *guess = 0;
                            }
                        }
                        visited
                    }
                    None => {
                        let mut value = init();
                        let visited = f(start + i, key, &mut value, true);
                        if visited.keep {
                            self.insert(hash, key, &value);
                        }
                        visited
                    }
                };
                if !visited.go_on {
                    return start + i + 1;
                }
            }
            start += block.len();
        }
        start
    }

    /// The value of a key.
    pub fn get(&self, hash: u64, key: &K) -> Option<V> {
        self.value(self.find(hash, key))
    }

    /// Removes a key; its value, if it was there.
    pub fn remove(&mut self, hash: u64, key: &K) -> Option<V> {
        let row = self.find(hash, key);
        let value = self.value(row)?;
        self.remove_row(hash, row);
        Some(value)
    }

    /// Gives a key this value, whether it is there or not.
    pub fn put(&mut self, hash: u64, key: &K, value: &V) {
        match self.find(hash, key) {
            0 => {
                self.insert(hash, key, value);
            }
            row => {
                self.core.changes.mark(row, Self::STRIDE);
                self.store(row, value);
            }
        }
    }

    /// Gives each key its value, in order. Made for keys that are new, as in a restore.
    pub(crate) fn put_batch(&mut self, hashes: &[u64], keys: &[K], values: &[V]) {
        let mut rows = [0; BLOCK];
        let mut start = 0;
        while start < hashes.len() {
            let block = self.core.locate(hashes, start, &mut rows);
            self.core.changes.mark_all(&rows[..block.len()], Self::STRIDE);
            // Some bits of the hashes that came earlier in the block. A key without a guess and
            // without its bit was not there before the block and did not come in it.
            let mut came = [0_u64; BLOCK / 8];
            for (i, &hash) in block.iter().enumerate() {
                let (key, value) = (&keys[start + i], &values[start + i]);
                let bit = hash as usize % (64 * came.len());
                let (word, mask) = (&mut came[bit / 64], 1 << (bit % 64));
                let is_new = rows[i] == 0 && *word & mask == 0;
                *word |= mask;
                let row = if is_new { 0 } else { self.found(rows[i], hash, key) };
                if row == 0 {
                    self.insert(hash, key, value);
                } else {
                    self.store(row, value);
                }
            }
            start += block.len();
        }
    }

    /// Visits every key with its hash and value, in the order in which the rows lie in memory.
    pub fn for_each(&self, f: impl FnMut(u64, K, V)) {
        self.visit_from(0, usize::MAX, f);
    }

    /// Visits up to `limit` keys, as [`for_each`](Self::for_each) does, from the row `cursor` on
    /// (0 at first). Where to go on, if there is more. The table must not change in between.
    pub fn visit_from(
        &self,
        cursor: u32,
        limit: usize,
        mut f: impl FnMut(u64, K, V),
    ) -> Option<u32> {
        let mut rows = self.core.live.rows_from(cursor);
        for row in rows.by_ref().take(limit) {
            let cells = self.core.rows.get(row, Self::STRIDE).expect(FOUND);
            let key_cell = &cells[..Self::KEY];
            let key = cell::load(key_cell, &self.core.slabs);
            let hash = cell::hash::<K>(key_cell, &key, &self.core.slabs);
            f(hash, key, cell::load(&cells[Self::KEY..Self::CELLS], &self.core.slabs));
        }
        rows.next()
    }

    /// What the rows of a snapshot hold.
    pub fn schema() -> TableSchema {
        TableSchema { key: K::schema(), namespace: <()>::schema(), value: V::schema() }
    }

    /// The table as it is now, to be written by another thread while this one goes on: takes time for
    /// the number of pages, not of rows. The first write to a page then copies it, for as long as the
    /// frozen table lives.
    ///
    /// With `base`, the next snapshot knows what has changed since this one. A snapshot on which none
    /// will build, such as a savepoint, must not be a base: changes are told since the last base.
    pub fn freeze(&mut self, max: MaxParallelism, base: bool) -> FrozenKeyedTable {
        let Core { rows, live, slabs, changes, .. } = &mut self.core;
        let changes = if base { changes.freeze(rows.end(), Self::STRIDE) } else { None };
        let (live, rows, slabs) = (live.clone(), rows.freeze(), slabs.freeze());
        FrozenKeyedTable::new(Self::LAYOUT, max, live, rows, slabs, changes)
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        self.core.index.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the table has allocated: all of it, to the byte.
    pub fn memory_bytes(&self) -> usize {
        self.core.memory_bytes() + self.spill.capacity()
    }

    /// Removes every key and gives all memory back.
    pub fn clear(&mut self) {
        *self = Self::new();
    }

    /// Whether the row is there and has this key.
    #[inline(always)]
    fn holds(&self, row: u32, key: &K) -> bool {
        match self.core.rows.get(row, Self::STRIDE) {
            Some(cells) => Self::has(cells, key, &self.core.slabs),
            None => false,
        }
    }

    /// Whether a row with these cells has this key.
    #[inline(always)]
    fn has(cells: &[u8], key: &K, slabs: &Slabs) -> bool {
        cell::holds(&cells[..Self::KEY], key, slabs)
    }

    /// The row of a key, or 0.
    #[inline(never)]
    fn find(&self, hash: u64, key: &K) -> u32 {
        self.core.index.search(hash, &mut |row| self.holds(row, key))
    }

    /// The row of a key that is about to be changed, or 0. The guess has been marked as changed.
    #[inline(always)]
    fn found(&mut self, guess: u32, hash: u64, key: &K) -> u32 {
        if self.holds(guess, key) {
            return guess;
        }
        let row = self.find(hash, key);
        self.core.changes.mark(row, Self::STRIDE);
        row
    }

    #[cold]
    #[inline(never)]
    fn find_or_insert(&mut self, hash: u64, key: &K, init: &mut dyn FnMut() -> V) -> u32 {
        match self.find(hash, key) {
            0 => self.insert(hash, key, &init()),
            row => row,
        }
    }

    /// Adds a key that is not there.
    #[inline(never)]
    pub(crate) fn insert(&mut self, hash: u64, key: &K, value: &V) -> u32 {
        let row = self.new_row(key, value);
        self.core.add(hash, row);
        row
    }

    /// A row with this key and value, which nobody knows yet.
    #[inline]
    fn new_row(&mut self, key: &K, value: &V) -> u32 {
        let row = self.core.rows.allocate().unwrap_or_else(|| full::<K>());
        let cells = self.core.rows.get_mut(row, Self::STRIDE).expect(FOUND);
        let (key_cell, value_cell) = cells[..Self::CELLS].split_at_mut(Self::KEY);
        cell::clear::<K>(key_cell);
        cell::clear::<V>(value_cell);
        cell::store(key, key_cell, &mut self.core.slabs, &mut self.spill);
        cell::store(value, value_cell, &mut self.core.slabs, &mut self.spill);
        row
    }

    /// Removes the key of this row.
    pub(crate) fn remove_row(&mut self, hash: u64, row: u32) {
        if self.core.changes.wants_tombstone(row) {
            self.core.bury(hash, row, Self::LAYOUT);
        }
        self.release(row);
        self.core.forget(hash, row);
    }

    /// Gives back what a row has outside of it.
    fn release(&mut self, row: u32) {
        let cells = self.core.rows.get(row, Self::STRIDE).expect(FOUND);
        cell::release::<K>(&cells[..Self::KEY], &mut self.core.slabs);
        cell::release::<V>(&cells[Self::KEY..Self::CELLS], &mut self.core.slabs);
    }

    #[inline(always)]
    fn value(&self, row: u32) -> Option<V> {
        let cells = self.core.rows.get(row, Self::STRIDE)?;
        Some(cell::load(&cells[Self::KEY..Self::CELLS], &self.core.slabs))
    }

    /// Changes the value of a row that has been marked as changed.
    #[inline(always)]
    fn store(&mut self, row: u32, value: &V) {
        let cells = self.core.rows.get_mut(row, Self::STRIDE).expect(FOUND);
        let value_cell = &mut cells[Self::KEY..Self::CELLS];
        cell::store(value, value_cell, &mut self.core.slabs, &mut self.spill);
    }
}

const FOUND: &str = "the index names rows that were given out";

#[cold]
fn full<K>() -> ! {
    let key = std::any::type_name::<K>();
    let max = crate::pages::ROWS_MAX;
    panic!(
        "keyed state is full: one subtask holds at most {max} keys of type {key}; \
         raise the parallelism of this operator"
    )
}

/// What does not depend on the types of key and value.
struct Core {
    index: Index,
    rows: Pages,
    /// Which rows hold a key, for those who go through all rows.
    live: Bits,
    slabs: Slabs,
    changes: Changes,
}

impl Core {
    fn new(stride: usize) -> Self {
        Self {
            index: Index::new(),
            rows: Pages::new(stride),
            live: Bits::default(),
            slabs: Slabs::new(),
            changes: Changes::default(),
        }
    }

    fn memory_bytes(&self) -> usize {
        self.index.memory_bytes()
            + self.rows.memory_bytes()
            + self.live.memory_bytes()
            + self.slabs.memory_bytes()
            + self.changes.memory_bytes()
    }

    /// The block of hashes from `start` on. Guesses a row for each of them and has the rows and the
    /// index lines of the next block brought near.
    #[inline(never)]
    fn locate<'a>(&self, hashes: &'a [u64], start: usize, rows: &mut [u32; BLOCK]) -> &'a [u64] {
        let rest = &hashes[start..];
        let (block, after) = rest.split_at(rest.len().min(BLOCK));
        if self.index.memory_bytes() <= NEAR_BYTES {
            for (row, hash) in rows.iter_mut().zip(block) {
                *row = self.index.first(*hash).unwrap_or_else(|| self.index.first_beyond(*hash));
            }
            return block;
        }
        if start == 0 {
            for hash in block {
                self.index.prefetch(*hash);
            }
        }
        for hash in after.iter().take(BLOCK) {
            self.index.prefetch(*hash);
        }
        let mut beyond = [0; BLOCK];
        let mut beyond_len = 0;
        for (i, (row, hash)) in rows.iter_mut().zip(block).enumerate() {
            if let Some(found) = self.index.first(*hash) {
                *row = found;
                self.rows.prefetch(found);
            } else {
                self.index.prefetch_beyond(*hash);
                beyond[beyond_len] = i as u8;
                beyond_len += 1;
            }
        }
        for i in &beyond[..beyond_len] {
            let i = usize::from(*i);
            rows[i] = self.index.first_beyond(block[i]);
            self.rows.prefetch(rows[i]);
        }
        block
    }

    fn add(&mut self, hash: u64, row: u32) {
        self.live.set(row, self.rows.end());
        self.changes.add(row, self.rows.end(), self.rows.stride());
        self.index.insert(hash, row);
    }

    /// Remembers that the key of this row is going.
    fn bury(&mut self, hash: u64, row: u32, layout: Layout) {
        let cells = self.rows.get(row, layout.stride).expect(FOUND);
        match cell::stored(&cells[..layout.key], layout.key_is_fixed) {
            Stored::Here(key) => self.changes.bury(hash, key),
            Stored::At(place) => self.changes.bury(hash, self.slabs.get(place)),
        }
    }

    fn forget(&mut self, hash: u64, row: u32) {
        let found = self.index.remove(hash, row);
        debug_assert!(found, "a row that was found is in the index");
        self.live.unset(row);
        self.rows.free(row);
    }
}

#[cfg(test)]
#[path = "table_test.rs"]
mod tests;
