//! [`ReducingState`]: values that are joined to one as they come.

use super::field::FieldSpec;
use super::slot::{Slot, slot_field};
use super::ttl::Ttl;
use millstream_core::Record;
use millstream_core::time::Timestamp;

/// Values of a key, joined to one as they come by the function that the field names:
/// `#[state(reduce = i64::max)]`.
pub struct ReducingState<T> {
    slot: Slot<T>,
    reduce: fn(T, T) -> T,
}

impl<T: Record> ReducingState<T> {
    #[doc(hidden)]
    pub fn open(spec: FieldSpec, reduce: fn(T, T) -> T) -> Self {
        Self { slot: Slot::new(spec.ttl), reduce }
    }

    /// Joins a value to what is there.
    #[inline]
    pub fn add(&mut self, value: T) {
        let reduce = self.reduce;
        let slot = self.slot.write();
        *slot = Some(match slot.take() {
            None => value,
            Some(former) => reduce(former, value),
        });
    }

    /// What all values gave, if there was one.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        self.slot.get()
    }

    /// Forgets all values.
    #[inline]
    pub fn clear(&mut self) {
        *self.slot.write() = None;
    }
}

slot_field!(ReducingState<T: Record>, T);
