//! [`ValueState`]: a value that may be absent, and may expire.

use super::field::{DefaultField, FieldSpec};
use super::scope::CallScope;
use super::slot::{Slot, slot_field};
use super::ttl::Ttl;
use millstream_core::time::Timestamp;
use millstream_core::{Key, Record};
use std::rc::Rc;

/// A value per key that may be absent, and may expire. A key none of whose fields holds anything
/// takes no memory.
///
/// A plain field (`count: u64`) is simpler and faster; this is for values that come and go.
pub struct ValueState<T> {
    slot: Slot<T>,
}

impl<T: Record> ValueState<T> {
    /// The value, if there is one.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        self.slot.get()
    }

    /// Sets the value.
    #[inline]
    pub fn set(&mut self, value: T) {
        *self.slot.write() = Some(value);
    }

    /// The value to be changed; `init` makes it if there is none.
    #[inline]
    pub fn get_or_insert_with(&mut self, init: impl FnOnce() -> T) -> &mut T {
        self.slot.write().get_or_insert_with(init)
    }

    /// Takes the value out.
    #[inline]
    pub fn take(&mut self) -> Option<T> {
        self.slot.write().take()
    }

    /// Drops the value.
    #[inline]
    pub fn clear(&mut self) {
        *self.slot.write() = None;
    }
}

slot_field!(ValueState<T: Record>, T);

impl<T: Record> DefaultField for ValueState<T> {
    fn open<K: Key>(spec: FieldSpec, _scope: &Rc<CallScope<K>>) -> Self {
        Self { slot: Slot::new(spec.ttl) }
    }

    fn default_stored() -> Option<T> {
        None
    }

    fn reset(&mut self) {
        self.clear();
    }
}
