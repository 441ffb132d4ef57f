//! [`MapState`]: a map per key, each entry a row of its own.

use super::field::{DefaultField, FieldSpec, StateField};
use super::scope::CallScope;
use super::ttl::{Expiring, Lasting, Stored, Ttl, TtlUpdate};
use super::{StateTable, expired_rows};
use crate::entry_table::{EntryTable, Hashed, Walk};
use crate::restore::RestoreError;
use millstream_checkpoint::snapshot::{RestoredTable, TableSnapshot};
use millstream_core::job_state::DeclaredState;
use millstream_core::key_group::MaxParallelism;
use millstream_core::time::Timestamp;
use millstream_core::{Key, Record};
use std::cell::RefCell;
use std::marker::PhantomData;
use std::rc::Rc;

/// A map per key of the stream. Each entry is a row of its own: reading or changing one takes the
/// same time whatever the size of the map. Entries are iterated in the order in which they were put
/// first; after a restore in any order.
pub struct MapState<K, V> {
    table: RefCell<Box<dyn Entries<K, V>>>,
}

impl<K: Key, V: Record> MapState<K, V> {
    /// The value of an entry.
    pub fn get(&self, key: &K) -> Option<V> {
        self.table.borrow_mut().get(key)
    }

    /// Whether there is such an entry.
    pub fn contains_key(&self, key: &K) -> bool {
        self.table.borrow_mut().contains(key)
    }

    /// Puts an entry, whether it is there or not.
    pub fn insert(&mut self, key: K, value: V) {
        self.table.get_mut().insert(key, value);
    }

    /// Changes the value of an entry, which `init` makes if it is not there.
    pub fn update(&mut self, key: K, init: impl FnOnce() -> V, change: impl FnOnce(&mut V)) {
        let mut functions = Some((init, change));
        self.table.get_mut().update(key, &mut |value| {
            let (init, change) = functions.take().expect("called once");
            let mut value = value.unwrap_or_else(init);
            change(&mut value);
            value
        });
    }

    /// Takes an entry out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.table.get_mut().remove(key)
    }

    /// Keeps the entries for which the predicate is true.
    pub fn retain(&mut self, keep: impl Fn(&K, &V) -> bool) {
        let table = self.table.get_mut();
        let mut walk = table.walk();
        while let Some((row, key, value)) = table.step(&mut walk) {
            if !keep(&key, &value) {
                table.remove_row(row);
            }
        }
    }

    /// All entries.
    pub fn iter(&self) -> impl Iterator<Item = (K, V)> {
        let mut walk = self.table.borrow().walk();
        std::iter::from_fn(move || {
            self.table.borrow_mut().step(&mut walk).map(|(_, key, value)| (key, value))
        })
    }

    /// How many entries there are. In a field that expires, each is looked at.
    pub fn len(&self) -> usize {
        self.table.borrow().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes all entries, in time proportional to their number.
    pub fn clear(&mut self) {
        self.table.get_mut().clear();
    }
}

/// The entries of the key of the call that is under way.
trait Entries<K, V> {
    fn get(&mut self, key: &K) -> Option<V>;
    fn contains(&mut self, key: &K) -> bool;
    fn insert(&mut self, key: K, value: V);
    fn update(&mut self, key: K, change: &mut dyn FnMut(Option<V>) -> V);
    fn remove(&mut self, key: &K) -> Option<V>;
    fn remove_row(&mut self, row: u32);
    fn walk(&self) -> Walk;
    fn step(&mut self, walk: &mut Walk) -> Option<(u32, K, V)>;
    fn len(&self) -> usize;
    fn clear(&mut self);
    fn table(&mut self) -> &mut dyn StateTable;
}

/// The entries of all keys `P` of the stream.
struct MapTable<P, K, V, S> {
    spec: FieldSpec,
    scope: Rc<CallScope<P>>,
    entries: EntryTable<P, K, S>,
    /// Where the removal of expired entries goes on.
    cursor: u32,
    _value: PhantomData<fn() -> V>,
}

impl<P: Key, K: Key, V: Record, S: Stored<V>> MapTable<P, K, V, S> {
    fn boxed(spec: FieldSpec, scope: &Rc<CallScope<P>>) -> Box<Self> {
        let (scope, entries) = (scope.clone(), EntryTable::new());
        Box::new(Self { spec, scope, entries, cursor: 0, _value: PhantomData })
    }

    /// Whether an entry of that time is not to be seen.
    fn hides(&self, stored: &S) -> bool {
        self.spec.ttl.is_some_and(|ttl| ttl.hides(stored.written_at(), self.scope.now()))
    }

    /// The entry has been looked at.
    fn touch(&mut self, row: u32, stored: &mut S) {
        if self.spec.ttl.is_some_and(|ttl: Ttl| ttl.update == TtlUpdate::ReadWrite) {
            stored.touch(self.scope.now());
            self.entries.set(row, stored);
        }
    }

    /// The row of an entry and what it holds, unless it has expired.
    fn find(&self, key: &K) -> Option<(u32, S)> {
        let (of, hash) = self.scope.key();
        let row = self.entries.find(Hashed { hash, key: &of }, key)?;
        let stored = self.entries.value(row);
        (!self.hides(&stored)).then_some((row, stored))
    }
}

impl<P: Key, K: Key, V: Record, S: Stored<V>> Entries<K, V> for MapTable<P, K, V, S> {
    fn get(&mut self, key: &K) -> Option<V> {
        let (row, mut stored) = self.find(key)?;
        self.touch(row, &mut stored);
        Some(stored.into_value())
    }

    fn contains(&mut self, key: &K) -> bool {
        self.find(key).map(|(row, mut stored)| self.touch(row, &mut stored)).is_some()
    }

    fn insert(&mut self, key: K, value: V) {
        let (of, hash) = self.scope.key();
        let of = Hashed { hash, key: &*of };
        let stored = S::new(value, self.scope.now());
        match self.entries.find(of, &key) {
            Some(row) => self.entries.set(row, &stored),
            None => self.entries.append(of, key, &stored),
        }
    }

    fn update(&mut self, key: K, change: &mut dyn FnMut(Option<V>) -> V) {
        let (of, hash) = self.scope.key();
        let (of, now) = (Hashed { hash, key: &*of }, self.scope.now());
        match self.entries.find(of, &key) {
            Some(row) => {
                let former = self.entries.value(row);
                let former = (!self.hides(&former)).then(|| former.into_value());
                self.entries.set(row, &S::new(change(former), now));
            }
            None => self.entries.append(of, key, &S::new(change(None), now)),
        }
    }

    fn remove(&mut self, key: &K) -> Option<V> {
        let (of, hash) = self.scope.key();
        let row = self.entries.find(Hashed { hash, key: &of }, key)?;
        let stored = self.entries.value(row);
        self.entries.remove(row);
        (!self.hides(&stored)).then(|| stored.into_value())
    }

    fn remove_row(&mut self, row: u32) {
        self.entries.remove(row);
    }

    fn walk(&self) -> Walk {
        let (key, hash) = self.scope.key();
        self.entries.walk(Hashed { hash, key: &key })
    }

    fn step(&mut self, walk: &mut Walk) -> Option<(u32, K, V)> {
        loop {
            let row = self.entries.step(walk)?;
            let (key, mut stored) = self.entries.row(row);
            if !self.hides(&stored) {
                self.touch(row, &mut stored);
                return Some((row, key, stored.into_value()));
            }
        }
    }

    fn len(&self) -> usize {
        let (key, hash) = self.scope.key();
        let key = Hashed { hash, key: &*key };
        if self.spec.ttl.is_none() {
            return self.entries.len(key) as usize;
        }
        let mut walk = self.entries.walk(key);
        let rows = std::iter::from_fn(|| self.entries.step(&mut walk));
        rows.filter(|row| !self.hides(&self.entries.value(*row))).count()
    }

    fn clear(&mut self) {
        let (key, hash) = self.scope.key();
        self.entries.clear(Hashed { hash, key: &key });
    }

    fn table(&mut self) -> &mut dyn StateTable {
        self
    }
}

impl<P: Key, K: Key, V: Record, S: Stored<V>> StateTable for MapTable<P, K, V, S> {
    fn spec(&self) -> &FieldSpec {
        &self.spec
    }

    fn rows(&self) -> usize {
        self.entries.rows().len()
    }

    fn memory_bytes(&self) -> usize {
        self.entries.memory_bytes()
    }

    fn declared(&self) -> DeclaredState {
        self.entries.declared(self.spec.name).with_aliases(self.spec.aliases)
    }

    fn freeze(&mut self, max: MaxParallelism, base: bool) -> TableSnapshot {
        self.entries.freeze(self.spec.name, max, base)
    }

    fn restore(
        &mut self,
        tables: Vec<RestoredTable>,
        max: MaxParallelism,
    ) -> Result<(), RestoreError> {
        self.entries.restore(tables, max, |_| 0)
    }

    fn sweep(&mut self, now: Timestamp, limit: usize) {
        let ttl = self.spec.ttl.as_ref();
        for row in expired_rows(&mut self.entries, &mut self.cursor, ttl, now, limit) {
            self.entries.remove(row);
        }
    }
}

impl<K: Key, V: Record> StateField for MapState<K, V> {
    type Stored = ();
    type Stamp = ();

    const IN_ROW: bool = false;
    const MAY_EXPIRE: bool = true;

    #[inline(always)]
    fn swap(&mut self, _stored: &mut ()) {}

    fn no_stamp() {}

    fn table(&mut self) -> Option<&mut dyn StateTable> {
        Some(self.table.get_mut().table())
    }
}

impl<K: Key, V: Record> DefaultField for MapState<K, V> {
    fn open<P: Key>(spec: FieldSpec, scope: &Rc<CallScope<P>>) -> Self {
        const { assert!(K::CANONICAL, "a map's key needs one encoding: no floats, no unordered maps") };
        let table: Box<dyn Entries<K, V>> = match spec.ttl {
            None => MapTable::<P, K, V, Lasting<V>>::boxed(spec, scope),
            Some(_) => MapTable::<P, K, V, Expiring<V>>::boxed(spec, scope),
        };
        Self { table: RefCell::new(table) }
    }

    fn default_stored() {}

    fn reset(&mut self) {
        self.clear();
    }
}
