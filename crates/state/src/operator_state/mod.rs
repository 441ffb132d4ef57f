//! Operator state as users declare it: a struct with `#[derive(OperatorState)]`, one of which each
//! subtask has. It belongs to no key; what becomes of it when the parallelism changes is said by the
//! type of each field:
//! - [`SplitListState`]: items are dealt out, each to one subtask;
//! - [`UnionListState`]: every subtask gets all items of all subtasks;
//! - [`BroadcastState`]: all subtasks have the same map; each gets a copy.
//!
//! It is small: all of it is copied when a barrier passes. [`store`] is the struct as an operator drives
//! it.

pub mod broadcast;
pub mod list;
pub mod store;

pub use broadcast::BroadcastState;
pub use list::{SplitListState, UnionListState};
pub use store::OperatorStateStore;

use millstream_core::DecodeError;
use millstream_core::job_state::ListMode;
use millstream_core::record::{Input, Schema};

/// The state of a subtask, as declared by a struct with `#[derive(OperatorState)]`.
///
/// What the derive writes is for [`OperatorStateStore`] only.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a struct of operator state",
    note = "declare it: `#[derive(OperatorState)] struct {Self} {{ ... }}`; `()` for no state"
)]
pub trait OperatorState: Sized + 'static {
    /// As it is where nothing has been written.
    #[doc(hidden)]
    fn open() -> Self;

    /// Shows all fields.
    #[doc(hidden)]
    fn fields(&mut self, visit: &mut dyn FnMut(OperatorFieldSpec, &mut dyn OperatorField));
}

/// No state.
impl OperatorState for () {
    fn open() -> Self {}

    fn fields(&mut self, _visit: &mut dyn FnMut(OperatorFieldSpec, &mut dyn OperatorField)) {}
}

/// What the attributes of a field say.
#[derive(Clone, Copy, Debug)]
pub struct OperatorFieldSpec {
    /// The field's name, which is its state's name.
    pub name: &'static str,
    /// Names it had before.
    pub aliases: &'static [&'static str],
}

/// A field of a struct of operator state: a list of rows.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a field of operator state",
    note = "a field is a `SplitListState`, a `UnionListState` or a `BroadcastState`: \
            they say what becomes of it when the parallelism changes"
)]
pub trait OperatorField {
    /// What becomes of it when the parallelism changes.
    fn mode(&self) -> ListMode;

    /// What a row holds.
    fn schema(&self) -> Schema;

    /// The rows.
    fn rows(&self) -> Vec<Vec<u8>>;

    /// Takes a row over.
    fn add_row(&mut self, row: &mut Input<'_>) -> Result<(), DecodeError>;
}
