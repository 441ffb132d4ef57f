//! Tables that lie in a [`StateBackend`](crate::backend::StateBackend): the same calls as on the heap,
//! on bytes.
//!
//! The key of a row is its key group (two bytes, highest first), then key and namespace as a state
//! file has them. So rows are in the order in which a snapshot writes them, those of one key group are
//! a range, and so are those of one key: no key's encoding is the begin of another one's.
//!
//! - [`table`]: one row per key; a block of keys is fetched at once, and written back at once;
//! - [`entries`]: any number of rows per key;
//! - [`timers`]: times per key, in order.
//!
//! A backend that fails has lost the task's state: the calls of a user's function have no way to say
//! so, hence it panics, which fails the task with the name of the operator, and the job goes on from its
//! last checkpoint.

pub(crate) mod entries;
pub(crate) mod table;
pub(crate) mod timers;

use crate::backend::{GROUP_BYTES, KeyForm, StoreError};
use millstream_checkpoint::snapshot::{FrozenTable, RowSink, SnapshotError};
use millstream_core::Record;
use millstream_core::key_group::{KeyGroup, MaxParallelism};
use millstream_core::record::Input;

/// Begins the bytes of a key with this hash.
#[inline]
fn begin_key(hash: u64, max: MaxParallelism, out: &mut Vec<u8>) {
    let group = KeyGroup::of_hash(hash, max).index() as u16;
    out.extend_from_slice(&group.to_be_bytes());
}

/// What a key was made of.
fn decode_key<T: Record>(bytes: &[u8], form: KeyForm) -> T {
    let row = &bytes[GROUP_BYTES..];
    if form == KeyForm::Row {
        return decode(row);
    }
    let mut row = row.to_vec();
    form.make_row(&mut row);
    decode(&row)
}

/// A row, which this program has written or read through a schema.
fn decode<T: Record>(row: &[u8]) -> T {
    T::decode(&mut Input::new(row)).unwrap_or_else(|error| {
        let name = std::any::type_name::<T>();
        panic!("state of type {name} does not read back what it wrote: {error}")
    })
}

/// See the module's doc.
fn must<T>(result: Result<T, StoreError>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

/// A table that could not be frozen: the checkpoint fails, the task goes on.
struct Unfrozen(StoreError);

impl FrozenTable for Unfrozen {
    fn write(self: Box<Self>, _out: &mut dyn RowSink) -> Result<(), SnapshotError> {
        Err(SnapshotError::Operator(self.0.to_string()))
    }
}

/// The table, or why not.
fn frozen(result: Result<Box<dyn FrozenTable>, StoreError>) -> Box<dyn FrozenTable> {
    result.unwrap_or_else(|error| Box::new(Unfrozen(error)))
}
