//! [`ListState`]: a list per key, each item a row of its own.

use super::field::{DefaultField, FieldSpec, StateField};
use super::scope::CallScope;
use super::ttl::{Expiring, Lasting, Stored, TtlUpdate};
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

/// A list per key of the stream. Each item is a row of its own: adding one takes the same time
/// whatever the length of the list.
pub struct ListState<T> {
    table: RefCell<Box<dyn Items<T>>>,
}

impl<T: Record> ListState<T> {
    /// Adds an item at the end.
    pub fn push(&mut self, item: T) {
        self.table.get_mut().push(item);
    }

    /// Takes the first item out.
    pub fn pop_front(&mut self) -> Option<T> {
        let table = self.table.get_mut();
        let mut walk = table.walk();
        let (place, item) = table.step(&mut walk)?;
        table.remove_at(&place);
        Some(item)
    }

    /// Has these items and no others.
    pub fn replace(&mut self, items: impl IntoIterator<Item = T>) {
        self.clear();
        self.extend(items);
    }

    /// All items in order.
    pub fn iter(&self) -> impl Iterator<Item = T> {
        let mut walk = self.table.borrow_mut().walk();
        std::iter::from_fn(move || self.table.borrow_mut().step(&mut walk).map(|(_, item)| item))
    }

    /// How many items there are. In a field that expires, each is looked at.
    pub fn len(&self) -> usize {
        self.table.borrow_mut().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes all items, in time proportional to their number.
    pub fn clear(&mut self) {
        self.table.get_mut().clear();
    }
}

impl<T: Record> Extend<T> for ListState<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, items: I) {
        for item in items {
            self.push(item);
        }
    }
}

/// The items of the key of the call that is under way.
trait Items<T> {
    fn push(&mut self, item: T);
    fn remove_at(&mut self, place: &Place);
    fn walk(&mut self) -> EntryWalk;
    fn step(&mut self, walk: &mut EntryWalk) -> Option<(Place, T)>;
    fn len(&mut self) -> usize;
    fn clear(&mut self);
    fn table(&mut self) -> &mut dyn StateTable;
}

/// The items of all keys `P` of the stream in a table of type `E`, each named by its place, which only
/// grows.
struct ListTable<P, T, S, E> {
    spec: FieldSpec,
    scope: Rc<CallScope<P>>,
    items: E,
    /// Where the removal of expired items goes on.
    cursor: Place,
    _types: PhantomData<fn(S) -> T>,
}

impl<P: Key, T: Record, S: Stored<T>, E: EntryRows<P, u64, S>> ListTable<P, T, S, E> {
    fn boxed(spec: FieldSpec, scope: &Rc<CallScope<P>>, items: E) -> Box<Self> {
        let (scope, cursor) = (scope.clone(), Place::default());
        Box::new(Self { spec, scope, items, cursor, _types: PhantomData })
    }

    fn hides(&self, stored: &S) -> bool {
        self.spec.ttl.is_some_and(|ttl| ttl.hides(stored.written_at(), self.scope.now()))
    }
}

impl<P: Key, T: Record, S: Stored<T>, E: EntryRows<P, u64, S>> Items<T> for ListTable<P, T, S, E> {
    fn push(&mut self, item: T) {
        let (key, hash) = self.scope.key();
        let key = Hashed { hash, key: &*key };
        let place = self.items.last(key).map_or(0, |last| last + 1);
        self.items.append(key, place, &S::new(item, self.scope.now()));
    }

    fn remove_at(&mut self, place: &Place) {
        self.items.remove(place);
    }

    fn walk(&mut self) -> EntryWalk {
        let (key, hash) = self.scope.key();
        self.items.walk(Hashed { hash, key: &key })
    }

    fn step(&mut self, walk: &mut EntryWalk) -> Option<(Place, T)> {
        loop {
            let (place, _, mut stored) = self.items.step(walk)?;
            if self.hides(&stored) {
                continue;
            }
            if self.spec.ttl.is_some_and(|ttl| ttl.update == TtlUpdate::ReadWrite) {
                stored.touch(self.scope.now());
                self.items.set(&place, &stored);
            }
            return Some((place, stored.into_value()));
        }
    }

    fn len(&mut self) -> usize {
        let scope = self.scope.clone();
        let (key, hash) = scope.key();
        let key = Hashed { hash, key: &*key };
        let Some(ttl) = self.spec.ttl else { return self.items.len(key) };
        let mut walk = self.items.walk(key);
        let rows = std::iter::from_fn(|| self.items.step(&mut walk));
        rows.filter(|(_, _, stored)| !ttl.hides(stored.written_at(), scope.now())).count()
    }

    fn clear(&mut self) {
        let (key, hash) = self.scope.key();
        self.items.clear(Hashed { hash, key: &key });
    }

    fn table(&mut self) -> &mut dyn StateTable {
        self
    }
}

impl<P: Key, T: Record, S: Stored<T>, E: EntryRows<P, u64, S>> StateTable
    for ListTable<P, T, S, E>
{
    fn spec(&self) -> &FieldSpec {
        &self.spec
    }

    fn rows(&mut self) -> usize {
        self.items.rows()
    }

    fn memory_bytes(&self) -> usize {
        self.items.memory_bytes()
    }

    fn declared(&self) -> DeclaredState {
        declare_entries::<P, u64, S>(self.spec.name).with_aliases(self.spec.aliases)
    }

    fn freeze(&mut self, max: MaxParallelism, base: bool) -> TableSnapshot {
        self.items.freeze(self.spec.name, max, base)
    }

    fn restore(
        &mut self,
        tables: Vec<RestoredTable>,
        max: MaxParallelism,
    ) -> Result<(), RestoreError> {
        self.items.restore(tables, max, |place| *place)
    }

    fn sweep(&mut self, now: Timestamp, limit: usize) {
        remove_expired(&mut self.items, &mut self.cursor, self.spec.ttl, now, limit);
    }
}

/// On the heap, or in the backend.
fn open<P: Key, T: Record, S: Stored<T>>(
    spec: FieldSpec,
    scope: &Rc<CallScope<P>>,
) -> Box<dyn Items<T>> {
    match scope.backing() {
        None => ListTable::boxed(spec, scope, EntryTable::<P, u64, S>::new()),
        Some(backing) => {
            let form = KeyForm::RowWithPlace;
            let items = StoredEntries::<P, u64, S>::new(spec.name, form, backing);
            ListTable::boxed(spec, scope, items)
        }
    }
}

impl<T: Record> StateField for ListState<T> {
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

impl<T: Record> DefaultField for ListState<T> {
    fn open<P: Key>(spec: FieldSpec, scope: &Rc<CallScope<P>>) -> Self {
        let table = match spec.ttl {
            None => open::<P, T, Lasting<T>>(spec, scope),
            Some(_) => open::<P, T, Expiring<T>>(spec, scope),
        };
        Self { table: RefCell::new(table) }
    }

    fn default_stored() {}

    fn reset(&mut self) {
        self.clear();
    }
}
