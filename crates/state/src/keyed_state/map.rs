//! [`MapState`]: a map per key, each entry a row of its own.

use super::field::{DefaultField, FieldSpec, StateField};
use super::scope::CallScope;
use super::ttl::{Expiring, Lasting, Stored, Ttl, TtlUpdate};
use super::{StateTable, remove_expired};
use crate::backend::KeyForm;
use crate::entry_rows::{EntryRows, EntryWalk, Hashed, Place};
use crate::entry_table::{EntryTable, declare_entries};
use crate::restore::RestoreError;
use crate::stored::entries::StoredEntries;
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
/// first; after a restore, and in a backend, in any order.
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
        while let Some((place, key, value)) = table.step(&mut walk) {
            if !keep(&key, &value) {
                table.remove_at(&place);
            }
        }
    }

    /// All entries.
    pub fn iter(&self) -> impl Iterator<Item = (K, V)> {
        let mut walk = self.table.borrow_mut().walk();
        std::iter::from_fn(move || {
            self.table.borrow_mut().step(&mut walk).map(|(_, key, value)| (key, value))
        })
    }

    /// How many entries there are. In a field that expires, each is looked at.
    pub fn len(&self) -> usize {
        self.table.borrow_mut().len()
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
    fn remove_at(&mut self, place: &Place);
    fn walk(&mut self) -> EntryWalk;
    fn step(&mut self, walk: &mut EntryWalk) -> Option<(Place, K, V)>;
    fn len(&mut self) -> usize;
    fn clear(&mut self);
    fn table(&mut self) -> &mut dyn StateTable;
}

/// The entries of all keys `P` of the stream, in a table of type `E`.
struct MapTable<P, K, V, S, E> {
    spec: FieldSpec,
    scope: Rc<CallScope<P>>,
    entries: E,
    /// Where the removal of expired entries goes on.
    cursor: Place,
    _types: PhantomData<fn(K, S) -> V>,
}

impl<P: Key, K: Key, V: Record, S: Stored<V>, E: EntryRows<P, K, S>> MapTable<P, K, V, S, E> {
    fn boxed(spec: FieldSpec, scope: &Rc<CallScope<P>>, entries: E) -> Box<Self> {
        let (scope, cursor) = (scope.clone(), Place::default());
        Box::new(Self { spec, scope, entries, cursor, _types: PhantomData })
    }

    /// Whether an entry of that time is not to be seen.
    fn hides(&self, stored: &S) -> bool {
        self.spec.ttl.is_some_and(|ttl| ttl.hides(stored.written_at(), self.scope.now()))
    }

    /// The entry has been looked at.
    fn touch(&mut self, place: &Place, stored: &mut S) {
        if self.spec.ttl.is_some_and(|ttl: Ttl| ttl.update == TtlUpdate::ReadWrite) {
            stored.touch(self.scope.now());
            self.entries.set(place, stored);
        }
    }

    /// Where an entry is and what it holds, unless it has expired.
    fn find(&mut self, key: &K) -> Option<(Place, S)> {
        let (of, hash) = self.scope.key();
        let found = self.entries.get(Hashed { hash, key: &of }, key);
        found.filter(|(_, stored)| !self.hides(stored))
    }
}

impl<P: Key, K: Key, V: Record, S: Stored<V>, E: EntryRows<P, K, S>> Entries<K, V>
    for MapTable<P, K, V, S, E>
{
    fn get(&mut self, key: &K) -> Option<V> {
        let (place, mut stored) = self.find(key)?;
        self.touch(&place, &mut stored);
        Some(stored.into_value())
    }

    fn contains(&mut self, key: &K) -> bool {
        self.find(key).map(|(place, mut stored)| self.touch(&place, &mut stored)).is_some()
    }

    fn insert(&mut self, key: K, value: V) {
        let (of, hash) = self.scope.key();
        self.entries.insert(Hashed { hash, key: &of }, key, &S::new(value, self.scope.now()));
    }

    fn update(&mut self, key: K, change: &mut dyn FnMut(Option<V>) -> V) {
        let scope = self.scope.clone();
        let (of, hash) = scope.key();
        let (of, now) = (Hashed { hash, key: &*of }, scope.now());
        match self.entries.get(of, &key) {
            Some((place, former)) => {
                let former = (!self.hides(&former)).then(|| former.into_value());
                self.entries.set(&place, &S::new(change(former), now));
            }
            None => self.entries.append(of, key, &S::new(change(None), now)),
        }
    }

    fn remove(&mut self, key: &K) -> Option<V> {
        let (of, hash) = self.scope.key();
        let (place, stored) = self.entries.get(Hashed { hash, key: &of }, key)?;
        self.entries.remove(&place);
        (!self.hides(&stored)).then(|| stored.into_value())
    }

    fn remove_at(&mut self, place: &Place) {
        self.entries.remove(place);
    }

    fn walk(&mut self) -> EntryWalk {
        let (key, hash) = self.scope.key();
        self.entries.walk(Hashed { hash, key: &key })
    }

    fn step(&mut self, walk: &mut EntryWalk) -> Option<(Place, K, V)> {
        loop {
            let (place, key, mut stored) = self.entries.step(walk)?;
            if !self.hides(&stored) {
                self.touch(&place, &mut stored);
                return Some((place, key, stored.into_value()));
            }
        }
    }

    fn len(&mut self) -> usize {
        let scope = self.scope.clone();
        let (key, hash) = scope.key();
        let key = Hashed { hash, key: &*key };
        let Some(ttl) = self.spec.ttl else { return self.entries.len(key) };
        let mut walk = self.entries.walk(key);
        let rows = std::iter::from_fn(|| self.entries.step(&mut walk));
        rows.filter(|(_, _, stored)| !ttl.hides(stored.written_at(), scope.now())).count()
    }

    fn clear(&mut self) {
        let (key, hash) = self.scope.key();
        self.entries.clear(Hashed { hash, key: &key });
    }

    fn table(&mut self) -> &mut dyn StateTable {
        self
    }
}

impl<P: Key, K: Key, V: Record, S: Stored<V>, E: EntryRows<P, K, S>> StateTable
    for MapTable<P, K, V, S, E>
{
    fn spec(&self) -> &FieldSpec {
        &self.spec
    }

    fn rows(&mut self) -> usize {
        self.entries.rows()
    }

    fn memory_bytes(&self) -> usize {
        self.entries.memory_bytes()
    }

    fn declared(&self) -> DeclaredState {
        declare_entries::<P, K, S>(self.spec.name).with_aliases(self.spec.aliases)
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
        remove_expired(&mut self.entries, &mut self.cursor, self.spec.ttl, now, limit);
    }
}

/// On the heap, or in the backend.
fn open<P: Key, K: Key, V: Record, S: Stored<V>>(
    spec: FieldSpec,
    scope: &Rc<CallScope<P>>,
) -> Box<dyn Entries<K, V>> {
    match scope.backing() {
        None => MapTable::boxed(spec, scope, EntryTable::<P, K, S>::new()),
        Some(backing) => {
            let entries = StoredEntries::<P, K, S>::new(spec.name, KeyForm::Row, backing);
            MapTable::boxed(spec, scope, entries)
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
        let table = match spec.ttl {
            None => open::<P, K, V, Lasting<V>>(spec, scope),
            Some(_) => open::<P, K, V, Expiring<V>>(spec, scope),
        };
        Self { table: RefCell::new(table) }
    }

    fn default_stored() {}

    fn reset(&mut self) {
        self.clear();
    }
}
