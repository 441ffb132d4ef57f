//! [`StoredTable`]: one row per key in a backend, updated in batches.
//!
//! A batch goes in blocks. The distinct keys of a block are fetched in one go, in the order of their
//! bytes; the user's function sees values in memory, one record after the other; what has changed is
//! written back in one go. So a key that comes a hundred times in a block costs one read and one write.

use super::{begin_key, decode, decode_key, frozen, must};
use crate::backend::{
    self, Backing, GROUP_BYTES, KeyForm, RowStore, StoreError, StoreSpec, TakenOver,
};
use crate::restore::{RestoreError, RowTarget, evolution, restore_rows};
use millstream_checkpoint::handle::TableSchema;
use millstream_checkpoint::snapshot::{FrozenTable, RestoredTable};
use millstream_core::record::{Key, Record};
use std::borrow::Borrow;
use std::marker::PhantomData;
use std::ops::{ControlFlow, Range};

/// So many records share their reads and writes.
const BLOCK: usize = 512;

/// A value of type `V` for each key of type `K`.
pub struct StoredTable<K, V> {
    pub(super) store: Box<dyn RowStore>,
    pub(super) spec: StoreSpec,
    block: Block<V>,
    _key: PhantomData<fn(K)>,
}

/// Gets the number, the key and the value of an element; leaves what the key has from now on.
type Change<'a, Q, V> = &'a mut dyn FnMut(usize, Q, &mut Option<V>) -> ControlFlow<()>;

/// The keys of a block and what they have; kept for its memory.
struct Block<V> {
    /// The bytes of keys, one behind the other, and then those of values that have changed.
    bytes: Vec<u8>,
    /// Per record: where its key is.
    keys: Vec<Range<usize>>,
    /// Records in the order of their keys.
    order: Vec<u16>,
    /// Per record: which of the slots has its key.
    slot_of: Vec<u16>,
    /// One for each distinct key, in order.
    slots: Vec<Slot<V>>,
    /// Rows as they were fetched, one behind the other.
    fetched: Vec<u8>,
}

/// A distinct key of a block.
struct Slot<V> {
    key: Range<usize>,
    /// Where its row is among those that were fetched.
    before: Option<Range<usize>>,
    value: Option<V>,
}

impl<V> Block<V> {
    fn new() -> Self {
        Self {
            bytes: Vec::new(),
            keys: Vec::new(),
            order: Vec::new(),
            slot_of: Vec::new(),
            slots: Vec::new(),
            fetched: Vec::new(),
        }
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.keys.clear();
        self.order.clear();
        self.slot_of.clear();
        self.slots.clear();
        self.fetched.clear();
    }

    /// Finds the distinct keys.
    fn sort(&mut self) {
        let Self { bytes, keys, order, slot_of, slots, .. } = self;
        let key = |record: u16| &bytes[keys[usize::from(record)].clone()];
        order.extend(0..keys.len() as u16);
        order.sort_unstable_by(|a, b| key(*a).cmp(key(*b)));
        slot_of.resize(keys.len(), 0);
        for record in &*order {
            let range = keys[usize::from(*record)].clone();
            let is_new = slots
                .last()
                .is_none_or(|slot: &Slot<V>| bytes[slot.key.clone()] != bytes[range.clone()]);
            if is_new {
                slots.push(Slot { key: range, before: None, value: None });
            }
            slot_of[usize::from(*record)] = (slots.len() - 1) as u16;
        }
    }
}

impl<K: Key, V: Record> StoredTable<K, V> {
    /// A table with nothing in it.
    pub(crate) fn new(name: &str, form: KeyForm, backing: &Backing) -> Self {
        const { assert!(K::CANONICAL, "equal keys must have equal encodings") };
        let (spec, store) = backing.table(name, form);
        Self { store, spec, block: Block::new(), _key: PhantomData }
    }

    /// For each element in order: `f` gets its key and value, `None` for a key that is not there, and
    /// leaves what is there from now on; until it breaks. How many elements are done. Keys are asked
    /// for ahead of their calls.
    pub(crate) fn update<Q: Borrow<K>>(
        &mut self,
        hashes: &[u64],
        key: &mut dyn FnMut(usize) -> Q,
        f: Change<'_, Q, V>,
    ) -> usize {
        let mut done = 0;
        let mut keys = Vec::with_capacity(hashes.len().min(BLOCK));
        for block in hashes.chunks(BLOCK) {
            keys.extend((0..block.len()).map(|i| key(done + i)));
            self.fetch(block, &keys);
            let mut flow = ControlFlow::Continue(());
            for (i, key) in keys.drain(..).enumerate() {
                let slot = usize::from(self.block.slot_of[i]);
                flow = f(done, key, &mut self.block.slots[slot].value);
                done += 1;
                if flow.is_break() {
                    break;
                }
            }
            must(self.write_back());
            if flow.is_break() {
                break;
            }
        }
        done
    }

    /// Brings the values of these keys in.
    fn fetch<Q: Borrow<K>>(&mut self, hashes: &[u64], keys: &[Q]) {
        let Self { store, spec, block, .. } = self;
        block.clear();
        for (hash, key) in hashes.iter().zip(keys) {
            let begin = block.bytes.len();
            begin_key(*hash, spec.max, &mut block.bytes);
            key.borrow().encode(&mut block.bytes);
            spec.form.make_key(&mut block.bytes[begin + GROUP_BYTES..]);
            block.keys.push(begin..block.bytes.len());
        }
        block.sort();
        let Block { bytes, slots, fetched, .. } = block;
        let wanted: Vec<&[u8]> = slots.iter().map(|slot| &bytes[slot.key.clone()]).collect();
        let mut found = Vec::with_capacity(wanted.len());
        must(store.get_many(&wanted, &mut |i, row| {
            found.push((i, fetched.len()..fetched.len() + row.len()));
            fetched.extend_from_slice(row);
        }));
        for (i, row) in found {
            slots[i].value = Some(decode(&fetched[row.clone()]));
            slots[i].before = Some(row);
        }
    }

    /// Writes what has changed.
    fn write_back(&mut self) -> Result<(), StoreError> {
        let Block { bytes, slots, fetched, .. } = &mut self.block;
        let mut changed: Vec<(Range<usize>, Option<Range<usize>>)> = Vec::new();
        for Slot { key, before, value } in slots {
            let begin = bytes.len();
            let former = before.as_ref().map(|before| &fetched[before.clone()]);
            match value {
                Some(value) => {
                    value.encode(bytes);
                    if former == Some(&bytes[begin..]) {
                        bytes.truncate(begin);
                    } else {
                        changed.push((key.clone(), Some(begin..bytes.len())));
                    }
                }
                None if former.is_some() => changed.push((key.clone(), None)),
                None => (),
            }
        }
        let changes: Vec<backend::Change<'_>> = changed
            .into_iter()
            .map(|(key, value)| (&bytes[key], value.map(|value| &bytes[value])))
            .collect();
        if changes.is_empty() { Ok(()) } else { self.store.write(&changes) }
    }

    /// The value of a key.
    pub(crate) fn get(&mut self, hash: u64, key: &K) -> Option<V> {
        self.fetch(&[hash], &[key]);
        self.block.slots.pop().and_then(|slot| slot.value)
    }

    /// Gives a key this value, whether it is there or not.
    pub(crate) fn put(&mut self, hash: u64, key: &K, value: &V) {
        let mut value = Some(value.clone());
        self.update(&[hash], &mut |_| key, &mut |_, _, stored| {
            *stored = value.take();
            ControlFlow::Continue(())
        });
    }

    /// Removes a key; its value, if it was there.
    pub(crate) fn remove(&mut self, hash: u64, key: &K) -> Option<V> {
        let mut removed = None;
        self.update(&[hash], &mut |_| key, &mut |_, _, stored| {
            removed = stored.take();
            ControlFlow::Continue(())
        });
        removed
    }

    /// Shows up to `limit` rows from the key `cursor` on; whether there are more, the first of which is
    /// then the cursor.
    pub(crate) fn visit_from(
        &mut self,
        cursor: &mut Vec<u8>,
        limit: usize,
        f: &mut dyn FnMut(u64, K, V),
    ) -> bool {
        let from = std::mem::take(cursor);
        let (form, mut seen) = (self.spec.form, 0);
        must(self.store.scan(&from, &[], &mut |key, value| {
            if seen == limit {
                cursor.extend_from_slice(key);
                return ControlFlow::Break(());
            }
            seen += 1;
            let key: K = decode_key(key, form);
            f(key.hash64(), key, decode(value));
            ControlFlow::Continue(())
        }));
        !cursor.is_empty()
    }

    /// How many keys there are: all of them are looked at.
    pub(crate) fn count(&mut self) -> usize {
        count(self.store.as_mut(), &[])
    }

    /// What it has in memory.
    pub(crate) fn memory_bytes(&self) -> usize {
        let Block { bytes, fetched, slots, .. } = &self.block;
        let block = bytes.capacity() + fetched.capacity() + slots.capacity() * size_of::<Slot<V>>();
        self.store.memory_bytes() + block
    }

    /// The table as it is now.
    pub(crate) fn freeze(&mut self) -> Box<dyn FrozenTable> {
        frozen(self.store.freeze())
    }

    /// Takes over what snapshots hold, whichever backend they are of.
    pub(crate) fn restore(
        &mut self,
        table: RestoredTable,
        wanted: &TableSchema,
    ) -> Result<(), RestoreError> {
        let RestoredTable { name, schema, mut blocks } = table;
        let groups = blocks.groups().clone();
        if let Some(native) = blocks.native() {
            let as_they_are = evolution(&name, &schema, wanted)?.is_none();
            let taken = self.store.take_over(native, &groups, as_they_are);
            let told = |cause: StoreError| RestoreError::Store { table: name.clone(), cause };
            match taken.map_err(told)? {
                TakenOver::Whole => return Ok(()),
                TakenOver::Rows(rows) => blocks = rows,
            }
        }
        let max = self.spec.max;
        restore_rows(self, RestoredTable { name, schema, blocks }, wanted, max)
    }
}

/// How many rows begin with this prefix.
pub(super) fn count(store: &mut dyn RowStore, prefix: &[u8]) -> usize {
    let mut count = 0;
    must(store.scan(prefix, prefix, &mut |_, _| {
        count += 1;
        ControlFlow::Continue(())
    }));
    count
}

/// Restored rows come a thousand at a time, and no key twice in a part: they are put without a look.
impl<K: Key, V: Record> RowTarget<K, V> for StoredTable<K, V> {
    fn put_rows(&mut self, hashes: &[u64], keys: &[K], values: &[V]) {
        let mut bytes = Vec::new();
        let mut rows = Vec::with_capacity(keys.len());
        for (hash, (key, value)) in hashes.iter().zip(keys.iter().zip(values)) {
            let begin = bytes.len();
            begin_key(*hash, self.spec.max, &mut bytes);
            key.encode(&mut bytes);
            self.spec.form.make_key(&mut bytes[begin + GROUP_BYTES..]);
            let middle = bytes.len();
            value.encode(&mut bytes);
            rows.push((begin..middle, middle..bytes.len()));
        }
        let changes = rows.into_iter().map(|(key, value)| (&bytes[key], Some(&bytes[value])));
        must(self.store.write(&changes.collect::<Vec<_>>()));
    }

    fn remove_rows(&mut self, hashes: &[u64], keys: &[K]) {
        for (hash, key) in hashes.iter().zip(keys) {
            self.remove(*hash, key);
        }
    }
}
