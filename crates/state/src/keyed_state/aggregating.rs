//! [`AggregatingState`]: values that are added to an accumulator as they come.

use super::field::{DefaultField, FieldSpec};
use super::scope::CallScope;
use super::slot::{Slot, slot_field};
use super::ttl::Ttl;
use millstream_core::time::Timestamp;
use millstream_core::{Key, Record};
use std::rc::Rc;

/// How values are added up. The accumulator is what is kept.
///
/// ```
/// use millstream_state::AggregateFunction;
///
/// struct Average;
///
/// impl AggregateFunction for Average {
///     type In = i64;
///     type Accumulator = (i64, u64);
///     type Out = f64;
///
///     fn create_accumulator() -> (i64, u64) {
///         (0, 0)
///     }
///
///     fn add((sum, count): &mut (i64, u64), value: i64) {
///         *sum += value;
///         *count += 1;
///     }
///
///     fn merge((sum, count): &mut (i64, u64), other: (i64, u64)) {
///         *sum += other.0;
///         *count += other.1;
///     }
///
///     fn get_result((sum, count): &(i64, u64)) -> f64 {
///         *sum as f64 / *count as f64
///     }
/// }
/// ```
pub trait AggregateFunction: 'static {
    /// What is added.
    type In;
    /// What is kept.
    type Accumulator: Record;
    /// What is read.
    type Out;

    /// What to begin with.
    fn create_accumulator() -> Self::Accumulator;

    /// Adds a value.
    fn add(accumulator: &mut Self::Accumulator, value: Self::In);

    /// Adds what another accumulator has added up: of values that came later, where order matters.
    fn merge(accumulator: &mut Self::Accumulator, other: Self::Accumulator);

    /// What the values amount to.
    fn get_result(accumulator: &Self::Accumulator) -> Self::Out;
}

/// Values of a key, added up as they come by an [`AggregateFunction`].
pub struct AggregatingState<A: AggregateFunction> {
    slot: Slot<A::Accumulator>,
}

impl<A: AggregateFunction> AggregatingState<A> {
    /// Adds a value.
    #[inline]
    pub fn add(&mut self, value: A::In) {
        A::add(self.slot.write().get_or_insert_with(A::create_accumulator), value);
    }

    /// What all values amount to, if there was one.
    #[inline]
    pub fn get(&self) -> Option<A::Out> {
        self.slot.get().map(A::get_result)
    }

    /// Forgets all values.
    #[inline]
    pub fn clear(&mut self) {
        *self.slot.write() = None;
    }
}

slot_field!(AggregatingState<A: AggregateFunction>, A::Accumulator);

impl<A: AggregateFunction> DefaultField for AggregatingState<A> {
    fn open<K: Key>(spec: FieldSpec, _scope: &Rc<CallScope<K>>) -> Self {
        Self { slot: Slot::new(spec.ttl) }
    }

    fn default_stored() -> Option<A::Accumulator> {
        None
    }

    fn reset(&mut self) {
        self.clear();
    }
}
