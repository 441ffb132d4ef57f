//! [`StateBackend`]: where tables lie that are not on the heap, and what it has to be able to do.
//!
//! The heap knows keys and values by their types and is no backend in this sense: it is what an
//! operator without one has. A backend sees bytes: a key as [`stored`](crate::stored) puts it
//! together, a value as its row. So it is compiled once, in a crate that nobody needs who stays on
//! the heap, and a program chooses between both when it starts.
//!
//! One call is for a block of keys wherever possible: what lies on a disk is asked for in one go.

use millstream_checkpoint::native::NativeTable;
use millstream_checkpoint::snapshot::{BlockSource, FrozenTable};
use millstream_core::key_group::{KeyGroupRange, MaxParallelism};
use std::ops::ControlFlow;
use std::sync::Arc;

/// Keeps tables somewhere else than on the heap. One per process.
pub trait StateBackend: Send + Sync {
    /// What `state.backend.type` calls it.
    fn name(&self) -> &'static str;

    /// A table of one subtask, with nothing in it. Takes neither memory nor disk before it is used,
    /// and leaves nothing behind when it is dropped.
    fn table(&self, spec: &StoreSpec) -> Box<dyn RowStore>;
}

/// A backend, and what its tables have to know of the operator.
#[derive(Clone)]
pub struct Backing {
    /// The backend.
    pub backend: Arc<dyn StateBackend>,
    /// How many key groups there are.
    pub max: MaxParallelism,
}

impl Backing {
    /// A table with this name.
    pub(crate) fn table(&self, name: &str, form: KeyForm) -> (StoreSpec, Box<dyn RowStore>) {
        let spec = StoreSpec { name: name.to_owned(), max: self.max, form };
        let store = self.backend.table(&spec);
        (spec, store)
    }
}

/// What a table is.
#[derive(Clone, Debug)]
pub struct StoreSpec {
    /// Its name within its operator: for messages and directories.
    pub name: String,
    /// How many key groups there are.
    pub max: MaxParallelism,
    /// What the bytes of its keys are.
    pub form: KeyForm,
}

/// What follows the key group, whose two bytes begin each key, highest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyForm {
    /// Key and namespace as a state file has them.
    Row,
    /// The same, but the last eight bytes, a number, have the highest first: so the items of a list are
    /// in order.
    RowWithPlace,
    /// The last eight bytes, a time, come first, and such that the bytes are in the order of times: so
    /// timers are in order.
    TimeFirst,
}

/// Of the highest byte of a signed number: times before 1970 come first.
const SIGN: u8 = 0x80;

/// Bytes of the key group.
pub const GROUP_BYTES: usize = 2;

impl KeyForm {
    /// Makes what follows the key group of key and namespace as a state file has them.
    #[inline]
    pub fn make_key(self, row: &mut [u8]) {
        match self {
            Self::Row => (),
            Self::RowWithPlace => {
                if let Some(place) = row.last_chunk_mut::<8>() {
                    place.reverse();
                }
            }
            Self::TimeFirst if row.len() >= 8 => {
                row.rotate_right(8);
                row[..8].reverse();
                row[0] ^= SIGN;
            }
            Self::TimeFirst => (),
        }
    }

    /// Undoes [`make_key`](Self::make_key).
    #[inline]
    pub fn make_row(self, key: &mut [u8]) {
        match self {
            Self::Row | Self::RowWithPlace => self.make_key(key),
            Self::TimeFirst if key.len() >= 8 => {
                key[0] ^= SIGN;
                key[..8].reverse();
                key.rotate_left(8);
            }
            Self::TimeFirst => (),
        }
    }
}

/// A backend has failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("could not {attempt} state `{table}` in {place}: {cause}")]
pub struct StoreError {
    /// What was tried.
    pub attempt: &'static str,
    /// The table.
    pub table: String,
    /// Where it lies.
    pub place: String,
    /// Why.
    pub cause: String,
}

/// A change: a key, and its value from now on; nothing: the key is gone.
pub type Change<'a> = (&'a [u8], Option<&'a [u8]>);

/// Is shown the key and the value of a row.
pub type ShowRow<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>;

/// The rows of one table of one subtask, by the bytes of their keys, in the order of those.
pub trait RowStore {
    /// Tells the values of those keys that are there, by their numbers. Keys ascend, none is there
    /// twice.
    fn get_many(
        &mut self,
        keys: &[&[u8]],
        found: &mut dyn FnMut(usize, &[u8]),
    ) -> Result<(), StoreError>;

    /// Makes changes, of which no key is there twice.
    fn write(&mut self, changes: &[Change<'_>]) -> Result<(), StoreError>;

    /// Shows rows in order, the first of them at or after `from`, as long as keys begin with `prefix`,
    /// until `row` breaks.
    fn scan(&mut self, from: &[u8], prefix: &[u8], row: ShowRow<'_>) -> Result<(), StoreError>;

    /// Shows the last key that begins with `prefix`.
    fn last(&mut self, prefix: &[u8], key: &mut dyn FnMut(&[u8])) -> Result<(), StoreError>;

    /// What the table has in memory that is its own.
    fn memory_bytes(&self) -> usize;

    /// The table as it is now, to be written by another thread while this one goes on.
    fn freeze(&mut self) -> Result<Box<dyn FrozenTable>, StoreError>;

    /// Takes files of this backend over, before anything else is done with the table, for these key
    /// groups. What it cannot take as it is, it gives as rows. `as_they_are`: rows mean the same now.
    fn take_over(
        &mut self,
        native: &mut dyn NativeTable,
        groups: &KeyGroupRange,
        as_they_are: bool,
    ) -> Result<TakenOver, StoreError>;
}

/// What became of files.
pub enum TakenOver {
    /// Their rows are in the table.
    Whole,
    /// These rows are still to be put into it.
    Rows(Box<dyn BlockSource>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_undone_and_times_are_in_order_with_every_name() {
        for form in [KeyForm::Row, KeyForm::RowWithPlace, KeyForm::TimeFirst] {
            for length in [0, 7, 8, 9, 16, 33] {
                let row: Vec<u8> = (0..length).collect();
                let mut key = row.clone();
                form.make_key(&mut key);
                form.make_row(&mut key);
                assert_eq!(key, row);
            }
        }
        let key = |name: &[u8], time: i64| {
            let mut key = [name, &time.to_le_bytes()].concat();
            KeyForm::TimeFirst.make_key(&mut key);
            key
        };
        let times = [i64::MIN, -70_000, -1, 0, 1, 255, 256, 70_000, i64::MAX];
        for pair in times.windows(2) {
            assert!(key(b"zz", pair[0]) < key(b"a", pair[1]), "{pair:?}");
        }
    }
}
