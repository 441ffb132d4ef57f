//! [`StateField`]: what a field of a state struct has to be able to do. Plain records are fields;
//! the handles beside this file are the others.

use super::scope::CallScope;
use super::ttl::Ttl;
use crate::keyed_state::StateTable;
use millstream_core::time::Timestamp;
use millstream_core::{Key, Record};
use std::rc::Rc;

/// What the attributes of a field say.
#[derive(Clone, Copy, Debug)]
pub struct FieldSpec {
    /// The field's name, which is its state's name.
    pub name: &'static str,
    /// Names it had before.
    pub aliases: &'static [&'static str],
    /// How long its values live; nothing: for ever.
    pub ttl: Option<Ttl>,
}

/// A field of a state struct.
///
/// Part of it may lie in the row of the key: that part is exchanged with the row before and after
/// each call of the user's function. Rows beyond that one it keeps in a table of its own.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a field of a state struct",
    note = "a field is a `Record`, or one of `ValueState`, `ListState`, `MapState`, \
            `ReducingState`, `AggregatingState`"
)]
pub trait StateField: Sized {
    /// What of it is in the row of the key: `()` for what keeps its own rows.
    type Stored: Record;

    /// The time in the row, if the field expires.
    type Stamp: Record;

    /// Whether there is something in the row of the key.
    const IN_ROW: bool;

    /// Whether `ttl` is possible.
    const MAY_EXPIRE: bool;

    /// Exchanges what the user sees with what is in the row.
    fn swap(&mut self, stored: &mut Self::Stored);

    /// Whether what is in the row says no more than that there is nothing.
    #[inline]
    fn is_absent(_stored: &Self::Stored) -> bool {
        !Self::IN_ROW
    }

    /// No time.
    fn no_stamp() -> Self::Stamp;

    /// After [`swap`](Self::swap) into the field, if it expires: drops it if it is over.
    #[inline]
    fn begin(&mut self, _stamp: &Self::Stamp, _now: Timestamp) {}

    /// Before [`swap`](Self::swap) out of the field, if it expires: its time from now on.
    #[inline]
    fn end(&mut self, stamp: &mut Self::Stamp, _now: Timestamp) {
        let _ = stamp;
    }

    /// Drops what is in the row if it is over. What has no time yet has this one from now on.
    #[inline]
    fn expire(_stored: &mut Self::Stored, stamp: &mut Self::Stamp, _ttl: &Ttl, _now: Timestamp) {
        let _ = stamp;
    }

    /// The table of the field, if it keeps its own rows.
    fn table(&mut self) -> Option<&mut dyn StateTable> {
        None
    }
}

/// A field that needs nothing more than its type to begin with.
#[diagnostic::on_unimplemented(
    message = "the state field of type `{Self}` needs to be told what it begins with",
    note = "implement `Default`, or say `#[state(default = ...)]`; for a `ReducingState` say \
            `#[state(reduce = ...)]`"
)]
pub trait DefaultField: StateField {
    /// The field, before the first call.
    fn open<K: Key>(spec: FieldSpec, scope: &Rc<CallScope<K>>) -> Self;

    /// What the row of a new key holds.
    fn default_stored() -> Self::Stored;

    /// Back to what a new key has.
    fn reset(&mut self);
}

impl<T: Record> StateField for T {
    type Stored = T;
    type Stamp = ();

    const IN_ROW: bool = true;
    const MAY_EXPIRE: bool = false;

    #[inline(always)]
    fn swap(&mut self, stored: &mut T) {
        std::mem::swap(self, stored);
    }

    fn no_stamp() {}
}

impl<T: Record + Default> DefaultField for T {
    fn open<K: Key>(_spec: FieldSpec, _scope: &Rc<CallScope<K>>) -> Self {
        T::default()
    }

    #[inline]
    fn default_stored() -> T {
        T::default()
    }

    fn reset(&mut self) {
        *self = T::default();
    }
}
