//! [`ListState`]: a list per key, each item a row of its own.

use super::field::{DefaultField, FieldSpec, StateField};
use super::scope::CallScope;
use super::ttl::{Expiring, Lasting, Stored, TtlUpdate};
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
        let (row, item) = table.step(&mut walk)?;
        table.remove_row(row);
        Some(item)
    }

    /// Has these items and no others.
    pub fn replace(&mut self, items: impl IntoIterator<Item = T>) {
        self.clear();
        self.extend(items);
    }

    /// All items in order.
    pub fn iter(&self) -> impl Iterator<Item = T> {
        let mut walk = self.table.borrow().walk();
        std::iter::from_fn(move || self.table.borrow_mut().step(&mut walk).map(|(_, item)| item))
    }

    /// How many items there are. In a field that expires, each is looked at.
    pub fn len(&self) -> usize {
        self.table.borrow().len()
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
    fn remove_row(&mut self, row: u32);
    fn walk(&self) -> Walk;
    fn step(&mut self, walk: &mut Walk) -> Option<(u32, T)>;
    fn len(&self) -> usize;
    fn clear(&mut self);
    fn table(&mut self) -> &mut dyn StateTable;
}

/// The items of all keys `P` of the stream, each named by its place, which only grows.
struct ListTable<P, T, S> {
    spec: FieldSpec,
    scope: Rc<CallScope<P>>,
    items: EntryTable<P, u64, S>,
    /// Where the removal of expired items goes on.
    cursor: u32,
    _item: PhantomData<fn() -> T>,
}

impl<P: Key, T: Record, S: Stored<T>> ListTable<P, T, S> {
    fn boxed(spec: FieldSpec, scope: &Rc<CallScope<P>>) -> Box<Self> {
        let (scope, items) = (scope.clone(), EntryTable::new());
        Box::new(Self { spec, scope, items, cursor: 0, _item: PhantomData })
    }

    fn hides(&self, stored: &S) -> bool {
        self.spec.ttl.is_some_and(|ttl| ttl.hides(stored.written_at(), self.scope.now()))
    }
}

impl<P: Key, T: Record, S: Stored<T>> Items<T> for ListTable<P, T, S> {
    fn push(&mut self, item: T) {
        let (key, hash) = self.scope.key();
        let key = Hashed { hash, key: &*key };
        let place = self.items.last(key).map_or(0, |row| self.items.row(row).0 + 1);
        self.items.append(key, place, &S::new(item, self.scope.now()));
    }

    fn remove_row(&mut self, row: u32) {
        self.items.remove(row);
    }

    fn walk(&self) -> Walk {
        let (key, hash) = self.scope.key();
        self.items.walk(Hashed { hash, key: &key })
    }

    fn step(&mut self, walk: &mut Walk) -> Option<(u32, T)> {
        loop {
            let row = self.items.step(walk)?;
            let mut stored = self.items.value(row);
            if self.hides(&stored) {
                continue;
            }
            if self.spec.ttl.is_some_and(|ttl| ttl.update == TtlUpdate::ReadWrite) {
                stored.touch(self.scope.now());
                self.items.set(row, &stored);
            }
            return Some((row, stored.into_value()));
        }
    }

    fn len(&self) -> usize {
        let (key, hash) = self.scope.key();
        let key = Hashed { hash, key: &*key };
        if self.spec.ttl.is_none() {
            return self.items.len(key) as usize;
        }
        let mut walk = self.items.walk(key);
        let rows = std::iter::from_fn(|| self.items.step(&mut walk));
        rows.filter(|row| !self.hides(&self.items.value(*row))).count()
    }

    fn clear(&mut self) {
        let (key, hash) = self.scope.key();
        self.items.clear(Hashed { hash, key: &key });
    }

    fn table(&mut self) -> &mut dyn StateTable {
        self
    }
}

impl<P: Key, T: Record, S: Stored<T>> StateTable for ListTable<P, T, S> {
    fn spec(&self) -> &FieldSpec {
        &self.spec
    }

    fn rows(&self) -> usize {
        self.items.rows().len()
    }

    fn memory_bytes(&self) -> usize {
        self.items.memory_bytes()
    }

    fn declared(&self) -> DeclaredState {
        self.items.declared(self.spec.name).with_aliases(self.spec.aliases)
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
        let ttl = self.spec.ttl.as_ref();
        for row in expired_rows(&mut self.items, &mut self.cursor, ttl, now, limit) {
            self.items.remove(row);
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
        let table: Box<dyn Items<T>> = match spec.ttl {
            None => ListTable::<P, T, Lasting<T>>::boxed(spec, scope),
            Some(_) => ListTable::<P, T, Expiring<T>>::boxed(spec, scope),
        };
        Self { table: RefCell::new(table) }
    }

    fn default_stored() {}

    fn reset(&mut self) {
        self.clear();
    }
}
