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
}

/// Bytes of the key group.
pub const GROUP_BYTES: usize = 2;

impl KeyForm {
    /// Turns what follows the key group into key and namespace as a state file has them, or back.
    #[inline]
    pub fn turn(self, row: &mut [u8]) {
        if self == Self::RowWithPlace
            && let Some(place) = row.last_chunk_mut::<8>()
        {
            place.reverse();
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
