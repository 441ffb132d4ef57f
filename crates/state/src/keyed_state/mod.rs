//! Keyed state as users declare it: a struct with `#[derive(KeyedState)]`, one of which each key of a
//! stream seems to have.
//!
//! There is one struct per subtask. Before a call of the user's function, what the key has is put into
//! its fields; after it, taken out again. In reading order:
//! - [`field`]: what a field has to be able to do; plain records can;
//! - [`value`], [`reducing`], [`aggregating`]: handles on a value of the key's row, through `slot`;
//! - [`map`], [`list`]: handles on rows of their own;
//! - [`ttl`]: how long state lives; [`scope`]: whose call is under way;
//! - [`store`]: the struct and its tables, as an operator drives them.

pub mod aggregating;
pub mod field;
pub mod list;
pub mod map;
pub mod reducing;
pub mod scope;
mod slot;
pub mod store;
pub mod ttl;
pub mod value;

pub use aggregating::{AggregateFunction, AggregatingState};
pub use field::{DefaultField, FieldSpec, StateField};
pub use list::ListState;
pub use map::MapState;
pub use reducing::ReducingState;
pub use scope::CallScope;
pub use store::KeyedStateStore;
pub use ttl::{Ttl, TtlUpdate, TtlVisibility};
pub use value::ValueState;

use crate::entry_rows::{EntryRows, Place};
use crate::restore::RestoreError;
use millstream_checkpoint::snapshot::{RestoredTable, TableSnapshot};
#[doc(hidden)]
pub use millstream_core::Key;
use millstream_core::Record;
use millstream_core::job_state::DeclaredState;
use millstream_core::key_group::MaxParallelism;
use millstream_core::time::Timestamp;
use std::rc::Rc;
use ttl::Stored;

/// The state of a key, as declared by a struct with `#[derive(KeyedState)]`.
///
/// What the derive writes is for [`KeyedStateStore`] only.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a state struct",
    note = "declare it: `#[derive(KeyedState)] struct {Self} {{ ... }}`; `()` for no state"
)]
pub trait KeyedState: Sized + 'static {
    /// What of the fields lies in the row of a key.
    #[doc(hidden)]
    type Row: Record;

    /// Some field lies in the row.
    #[doc(hidden)]
    const HAS_ROW: bool;

    /// Some field keeps rows of its own.
    #[doc(hidden)]
    const HAS_TABLES: bool;

    /// Some field in the row expires.
    #[doc(hidden)]
    const ROW_EXPIRES: bool;

    /// The struct, before the first call.
    #[doc(hidden)]
    fn open<K: Key>(scope: &Rc<CallScope<K>>) -> Self;

    /// What a new key has.
    #[doc(hidden)]
    fn new_row() -> Self::Row;

    /// Puts into the fields what the key has.
    #[doc(hidden)]
    fn begin(&mut self, row: &mut Self::Row, now: Timestamp);

    /// Takes it out of the fields again.
    #[doc(hidden)]
    fn end(&mut self, row: &mut Self::Row, now: Timestamp);

    /// Whether the row says no more than that there is nothing.
    #[doc(hidden)]
    fn is_absent(row: &Self::Row) -> bool;

    /// Drops from the row what is over.
    #[doc(hidden)]
    fn expire(row: &mut Self::Row, now: Timestamp);

    /// All fields as a new key has them.
    #[doc(hidden)]
    fn reset(&mut self);

    /// Shows the tables of the fields that have one.
    #[doc(hidden)]
    fn tables(&mut self, visit: &mut dyn FnMut(&mut dyn StateTable));
}

/// No state.
impl KeyedState for () {
    type Row = ();

    const HAS_ROW: bool = false;
    const HAS_TABLES: bool = false;
    const ROW_EXPIRES: bool = false;

    fn open<K: Key>(_scope: &Rc<CallScope<K>>) -> Self {}

    fn new_row() {}

    fn begin(&mut self, _row: &mut (), _now: Timestamp) {}

    fn end(&mut self, _row: &mut (), _now: Timestamp) {}

    fn is_absent(_row: &()) -> bool {
        true
    }

    fn expire(_row: &mut (), _now: Timestamp) {}

    fn reset(&mut self) {}

    fn tables(&mut self, _visit: &mut dyn FnMut(&mut dyn StateTable)) {}
}

/// The table of a field that keeps its own rows.
pub trait StateTable {
    /// What the attributes of the field say.
    fn spec(&self) -> &FieldSpec;

    /// How many rows there are, of all keys. A backend has to count them.
    fn rows(&mut self) -> usize;

    /// What it takes.
    fn memory_bytes(&self) -> usize;

    /// What its snapshots hold, under the name of its field.
    fn declared(&self) -> DeclaredState;

    /// The table as it is now, under the name of its field.
    fn freeze(&mut self, max: MaxParallelism, base: bool) -> TableSnapshot;

    /// Takes over what snapshots hold.
    fn restore(
        &mut self,
        tables: Vec<RestoredTable>,
        max: MaxParallelism,
    ) -> Result<(), RestoreError>;

    /// Looks at up to so many rows and removes those that have expired.
    fn sweep(&mut self, now: Timestamp, limit: usize);
}

/// Looks at the next `limit` rows and removes those that have expired. The cursor goes round. Values
/// that were written before their field began to expire count from now on.
fn remove_expired<K, N, V, S: Stored<V>>(
    table: &mut impl EntryRows<K, N, S>,
    cursor: &mut Place,
    ttl: Option<Ttl>,
    now: Timestamp,
    limit: usize,
) {
    let Some(ttl) = ttl else { return };
    for (place, mut stored) in table.next_rows(cursor, limit) {
        if stored.written_at() == ttl::UNKNOWN {
            stored.touch(now);
            table.set(&place, &stored);
        } else if ttl.is_over(stored.written_at(), now) {
            table.remove(&place);
        }
    }
}
