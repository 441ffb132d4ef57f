//! [`StoredTimers`]: timers in a backend.
//!
//! A row per timer, whose key has the time right behind the key group: so the timers of a group are in
//! order there. Those that come next, of all groups, are in memory as well; where those end is the
//! horizon. What is registered before it goes to both, what is registered behind it only to the backend.
//! When the near ones are used up, the next ones are fetched from each group that has some. So timers that
//! have fired, of which a log-structured store remembers for a while that they are gone, are not gone through
//! again.

use super::table::StoredTable;
use super::{begin_key, decode, must};
use crate::backend::{Backing, GROUP_BYTES, KeyForm};
use crate::entry_key::EntryKey;
use crate::entry_table::joined;
use crate::restore::RestoreError;
use crate::table::KeyedTable;
use crate::timers::{Due, Name};
use millstream_checkpoint::handle::TableSchema;
use millstream_checkpoint::snapshot::{RestoredTable, TableSnapshot};
use millstream_core::Key;
use millstream_core::record::Record;
use millstream_core::time::Timestamp;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ops::ControlFlow;

/// No more timers are near.
const NEAR_MAX: usize = 8_192;

/// So many are fetched at once, of all groups together; one of each at least.
const FETCHED: usize = 2_048;

/// Bytes of a time.
const TIME: usize = 8;

/// What a near timer takes beside its bytes: its part of a node.
const NODE_BYTES: usize = size_of::<Position>() * 3 / 2;

/// A timer among all others: its time, its key group, its key and namespace. The bytes are in order.
type Position = Vec<u8>;

/// Timers of keys `K`, divided by namespaces `N`.
pub struct StoredTimers<K, N> {
    rows: StoredTable<EntryKey<K, Name<N>>, ()>,
    /// All timers before the horizon. There is one, if there is any timer.
    near: BTreeSet<Position>,
    /// The first position behind those that are near, if there are others.
    horizon: Position,
    /// The key groups that may have timers at the horizon or behind it; if there are none, all are near.
    far: BTreeSet<u16>,
}

/// Where a timer is, from the bytes of its row's key, or these from that: group and time change places.
fn position_of(key: &[u8]) -> Position {
    let (group, rest) = key.split_at(GROUP_BYTES);
    let (time, rest) = rest.split_at(TIME);
    [time, group, rest].concat()
}

fn key_of(position: &[u8]) -> Vec<u8> {
    let (time, rest) = position.split_at(TIME);
    let (group, rest) = rest.split_at(GROUP_BYTES);
    [group, time, rest].concat()
}

fn group_of(position: &[u8]) -> u16 {
    u16::from_be_bytes([position[TIME], position[TIME + 1]])
}

/// Where the timers of a group begin that are not before the horizon: the bytes of a key.
fn first_key(group: u16, horizon: &[u8]) -> Vec<u8> {
    let Some((time, rest)) = horizon.split_first_chunk::<TIME>() else {
        return group.to_be_bytes().into();
    };
    let rest = match group.cmp(&group_of(horizon)) {
        Ordering::Equal => &rest[GROUP_BYTES..],
        Ordering::Greater => &[],
        // Those of the horizon's time are before it.
        Ordering::Less => match u64::from_be_bytes(*time).checked_add(1) {
            Some(time) => return [&group.to_be_bytes()[..], &time.to_be_bytes()].concat(),
            None => return (group + 1).to_be_bytes().into(),
        },
    };
    [&group.to_be_bytes()[..], time, rest].concat()
}

impl<K: Key, N: Key> StoredTimers<K, N> {
    /// No timers.
    pub(crate) fn new(name: &str, backing: &Backing) -> Self {
        let rows = StoredTable::new(name, KeyForm::TimeFirst, backing);
        Self { rows, near: BTreeSet::new(), horizon: Position::new(), far: BTreeSet::new() }
    }

    /// How many there are: all of them are looked at.
    pub(crate) fn count(&mut self) -> usize {
        self.rows.count()
    }

    /// The time of the first one.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.near.first().map(|first| self.read(first).1)
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let near = self.near.iter().map(|position| position.capacity() + NODE_BYTES);
        self.rows.memory_bytes() + near.sum::<usize>() + self.far.len() * size_of::<u16>()
    }

    pub(crate) fn register(&mut self, hash: u64, key: &K, namespace: N, time: Timestamp) {
        let key = self.key(hash, key, (namespace, time));
        // Whether it is there or not.
        must(self.rows.store.write(&[(&key, Some(&[]))]));
        let position = position_of(&key);
        if self.is_near(&position) {
            self.near.insert(position);
            self.bound();
        } else {
            self.far.insert(group_of(&position));
        }
    }

    pub(crate) fn delete(&mut self, hash: u64, key: &K, namespace: N, time: Timestamp) -> bool {
        let key = self.key(hash, key, (namespace, time));
        let position = position_of(&key);
        let mut was_there = self.near.remove(&position);
        if !self.is_near(&position) {
            must(self.rows.store.get_many(&[&key], &mut |_, _| was_there = true));
        }
        if was_there {
            must(self.rows.store.write(&[(&key, None)]));
            self.fetch();
        }
        was_there
    }

    pub(crate) fn pop(&mut self, until: Timestamp) -> Option<Due<K, N>> {
        let (name, time) = self.read(self.near.first()?);
        if time > until {
            return None;
        }
        let position = self.near.pop_first()?;
        must(self.rows.store.write(&[(&key_of(&position), None)]));
        self.fetch();
        let EntryKey { key, entry: (namespace, time) } = name;
        Some(Due { hash: key.hash64(), key, namespace, time })
    }

    pub(crate) fn freeze(&mut self, name: &str) -> TableSnapshot {
        let (namespace, value) = (Name::<N>::schema(), <()>::schema());
        let schema = TableSchema { key: K::schema(), namespace, value };
        TableSnapshot { name: name.to_owned(), schema, content: self.rows.freeze() }
    }

    pub(crate) fn restore(&mut self, tables: Vec<RestoredTable>) -> Result<(), RestoreError> {
        let wanted = KeyedTable::<EntryKey<K, Name<N>>, ()>::schema();
        if tables.is_empty() {
            return Ok(());
        }
        for table in tables {
            self.rows.restore(joined(table), &wanted)?;
        }
        self.near.clear();
        self.horizon.clear();
        self.far = self.groups();
        self.fetch();
        Ok(())
    }

    /// The bytes of a row's key.
    fn key(&self, hash: u64, key: &K, entry: Name<N>) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64);
        begin_key(hash, self.rows.spec.max, &mut bytes);
        key.encode(&mut bytes);
        entry.encode(&mut bytes);
        self.rows.spec.form.make_key(&mut bytes[GROUP_BYTES..]);
        bytes
    }

    /// A timer, and its time.
    fn read(&self, position: &[u8]) -> (EntryKey<K, Name<N>>, Timestamp) {
        let mut row = [&position[..TIME], &position[TIME + GROUP_BYTES..]].concat();
        self.rows.spec.form.make_row(&mut row);
        let name: EntryKey<K, Name<N>> = decode(&row);
        let time = name.entry.1;
        (name, time)
    }

    fn is_near(&self, position: &Position) -> bool {
        self.far.is_empty() || *position < self.horizon
    }

    /// Leaves the later half to the backend, if too many are near.
    fn bound(&mut self) {
        if self.near.len() <= NEAR_MAX {
            return;
        }
        let Some(middle) = self.near.iter().nth(NEAR_MAX / 2).cloned() else { return };
        let rest = self.near.split_off(&middle);
        self.far.extend(rest.iter().map(|position| group_of(position)));
        self.horizon = middle;
    }

    /// Makes the next timers near, if none is.
    fn fetch(&mut self) {
        while self.near.is_empty() && !self.far.is_empty() {
            let each = (FETCHED / self.far.len()).max(1);
            let mut fetched = Vec::new();
            // The first of those that were the last ones of their group to be fetched.
            let mut end: Option<Position> = None;
            for group in &self.far {
                let (begin, mut more) = (fetched.len(), false);
                let (from, prefix) = (first_key(*group, &self.horizon), group.to_be_bytes());
                must(self.rows.store.scan(&from, &prefix, &mut |key, _| {
                    if fetched.len() - begin == each {
                        more = true;
                        return ControlFlow::Break(());
                    }
                    fetched.push(position_of(key));
                    ControlFlow::Continue(())
                }));
                if let Some(last) = fetched.last().filter(|_| more)
                    && end.as_ref().is_none_or(|end| last < end)
                {
                    end = Some(last.clone());
                }
            }
            self.take(fetched, end);
        }
    }

    /// Of those that were fetched, those up to the end are near now, and all others are far.
    fn take(&mut self, fetched: Vec<Position>, end: Option<Position>) {
        let Some(end) = end else {
            self.far.clear();
            self.near.extend(fetched);
            return;
        };
        self.near.extend(fetched.into_iter().filter(|position| *position <= end));
        // Nothing is between a position and the same with a zero behind it.
        self.horizon = end;
        self.horizon.push(0);
    }

    /// The key groups that have timers.
    fn groups(&mut self) -> BTreeSet<u16> {
        let mut groups = BTreeSet::new();
        let mut from = Some(0_u16);
        while let Some(first) = from {
            let mut found = None;
            must(self.rows.store.scan(&first.to_be_bytes(), &[], &mut |key, _| {
                found = Some(u16::from_be_bytes([key[0], key[1]]));
                ControlFlow::Break(())
            }));
            groups.extend(found);
            from = found.and_then(|group| group.checked_add(1));
        }
        groups
    }
}
