//! [`KeyedStateStore`]: a state struct and its tables, as an operator drives them.

use super::scope::CallScope;
use super::{FieldSpec, KeyedState, StateTable};
use crate::backend::Backing;
use crate::keyed_rows::{Cursor, KeyedRows};
use crate::restore::RestoreError;
use crate::table::{KeyedTable, Visited};
use millstream_checkpoint::handle::TableSchema;
use millstream_checkpoint::snapshot::{OperatorSnapshot, RestoredOperator};
use millstream_core::job_state::DeclaredState;
use millstream_core::key_group::MaxParallelism;
use millstream_core::time::Timestamp;
use millstream_core::{Key, Record};
use std::borrow::Borrow;
use std::ops::ControlFlow;
use std::rc::Rc;

/// The name of the state that holds the rows: of all fields but maps and lists. No field has it.
const ROW: &str = "value-fields";

/// The state of all keys of one subtask.
pub struct KeyedStateStore<K, S: KeyedState> {
    /// What the user's function sees: for the length of a call, the state of its key.
    state: S,
    scope: Rc<CallScope<K>>,
    rows: KeyedRows<K, S::Row>,
    /// The encoding of what a new key has: such a row need not be kept.
    new_row: Vec<u8>,
    scratch: Vec<u8>,
    /// Where the removal of expired values goes on.
    cursor: Cursor,
}

impl<K: Key, S: KeyedState> KeyedStateStore<K, S> {
    /// No keys and no memory; on the heap.
    pub fn new() -> Self {
        Self::open(None)
    }

    /// No keys and no memory; in this backend, if there is one.
    pub fn open(backing: Option<Backing>) -> Self {
        let rows = KeyedRows::open(ROW, backing.as_ref());
        let scope = Rc::new(CallScope::new(backing));
        let mut new_row = Vec::new();
        S::new_row().encode(&mut new_row);
        let state = S::open(&scope);
        Self { state, scope, rows, new_row, scratch: Vec::new(), cursor: Cursor::default() }
    }

    /// For each element in order: puts the state of its key into the struct, calls `f` with it, and
    /// takes it back; until `f` breaks. How many calls there were. Element `i` has the hash
    /// `hashes[i]` and the key `key(i)`, for which it may be asked ahead of its call.
    #[inline]
    pub fn each<Q: Borrow<K>>(
        &mut self,
        hashes: &[u64],
        mut key: impl FnMut(usize) -> Q,
        now: Timestamp,
        mut f: impl FnMut(usize, &K, &mut S, &mut Cleared) -> ControlFlow<()>,
    ) -> usize {
        let Self { state, scope, rows, new_row, scratch, .. } = self;
        scope.set_now(now);
        let mut call = |i: usize, key: &K, state: &mut S| {
            if S::HAS_TABLES {
                scope.enter(hashes[i], key);
            }
            let mut cleared = Cleared(false);
            let flow = f(i, key, state, &mut cleared);
            (flow, cleared.0)
        };
        if !S::HAS_ROW {
            for i in 0..hashes.len() {
                if call(i, key(i).borrow(), state).0.is_break() {
                    return i + 1;
                }
            }
            return hashes.len();
        }
        rows.visit_batch(hashes, key, S::new_row, |i, key, row, is_new| {
            state.begin(row, now);
            let (flow, cleared) = call(i, key, state);
            state.end(row, now);
            let mut keep = !S::is_absent(row);
            if is_new || cleared {
                scratch.clear();
                row.encode(scratch);
                keep &= scratch != new_row;
            }
            Visited { keep, go_on: flow.is_continue() }
        })
    }

    /// As [`each`](Self::each), for a single key.
    pub fn one<R>(
        &mut self,
        hash: u64,
        key: &K,
        now: Timestamp,
        f: impl FnOnce(&mut S, &mut Cleared) -> R,
    ) -> R {
        let mut f = Some(f);
        let mut result = None;
        self.each(
            &[hash],
            |_| key,
            now,
            |_, _, state, cleared| {
                result = f.take().map(|f| f(state, cleared));
                ControlFlow::Continue(())
            },
        );
        result.expect("one element, one call")
    }

    /// What the state takes.
    pub fn memory_bytes(&mut self) -> usize {
        let mut bytes =
            self.rows.memory_bytes() + self.new_row.capacity() + self.scratch.capacity();
        self.state.tables(&mut |table| bytes += table.memory_bytes());
        bytes
    }

    /// How many keys have a row. A backend has to count them.
    pub fn rows(&mut self) -> usize {
        self.rows.count()
    }

    /// Looks at up to so many rows of each table that may hold expired values, and removes those.
    pub fn sweep(&mut self, now: Timestamp, limit: usize) {
        if S::ROW_EXPIRES {
            self.sweep_rows(now, limit);
        }
        if S::HAS_TABLES {
            self.state.tables(&mut |table| {
                if table.spec().ttl.is_some() {
                    table.sweep(now, limit);
                }
            });
        }
    }

    fn sweep_rows(&mut self, now: Timestamp, limit: usize) {
        let mut changed = Vec::new();
        let Self { rows, cursor, scratch, .. } = self;
        rows.visit_from(cursor, limit, |hash, key, mut row| {
            scratch.clear();
            row.encode(scratch);
            let before = scratch.len();
            S::expire(&mut row, now);
            row.encode(scratch);
            let (before, after) = scratch.split_at(before);
            if before != after {
                changed.push((hash, key, row));
            }
        });
        for (hash, key, row) in changed {
            if S::is_absent(&row) {
                self.rows.remove(hash, &key);
            } else {
                self.rows.put(hash, &key, &row);
            }
        }
    }

    /// What its snapshots hold, as the job graph names it.
    pub fn states(&mut self) -> Vec<DeclaredState> {
        let mut states = Vec::new();
        if S::HAS_ROW {
            let TableSchema { key, namespace, value } = KeyedTable::<K, S::Row>::schema();
            states.push(DeclaredState::keyed(ROW, key, namespace, value));
        }
        self.state.tables(&mut |table| states.push(table.declared()));
        states
    }

    /// Hands over all state as it is now; `base` as for [`KeyedTable::freeze`].
    pub fn snapshot(&mut self, max: MaxParallelism, base: bool, snapshot: &mut OperatorSnapshot) {
        if S::HAS_ROW {
            snapshot.tables.push(self.rows.freeze(ROW, max, base));
        }
        self.state.tables(&mut |table| snapshot.tables.push(table.freeze(max, base)));
    }

    /// Takes over what snapshots hold. Fields that this program does not have are dropped.
    pub fn restore(
        &mut self,
        max: MaxParallelism,
        restored: &mut RestoredOperator,
    ) -> Result<(), RestoreError> {
        if S::HAS_ROW {
            for table in restored.take_tables(ROW) {
                self.rows.restore(table, max)?;
            }
        }
        let mut result = Ok(());
        self.state.tables(&mut |table| {
            let FieldSpec { name, aliases, .. } = *table.spec();
            let names = std::iter::once(&name).chain(aliases);
            let tables = names.flat_map(|name| restored.take_tables(name)).collect();
            if result.is_ok() {
                result = table.restore(tables, max);
            }
        });
        result
    }

    /// Shows the tables of the fields that have one.
    pub fn tables(&mut self, visit: &mut dyn FnMut(&mut dyn StateTable)) {
        self.state.tables(visit);
    }
}

impl<K: Key, S: KeyedState> Default for KeyedStateStore<K, S> {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether the user's function has cleared the state of its key.
pub struct Cleared(bool);

impl Cleared {
    /// Resets the fields to what a new key has; the key is forgotten unless they are changed again.
    pub fn clear<S: KeyedState>(&mut self, state: &mut S) {
        state.reset();
        self.0 = true;
    }
}
