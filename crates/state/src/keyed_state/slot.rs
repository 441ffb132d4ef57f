//! [`Slot`]: a value or nothing in the row of the key, with its time. What `ValueState`,
//! `ReducingState` and `AggregatingState` have in common.

use super::ttl::{Ttl, TtlUpdate, UNKNOWN};
use millstream_core::time::Timestamp;
use std::cell::Cell;

/// A value or nothing.
pub(crate) struct Slot<X> {
    value: Option<X>,
    ttl: Option<Ttl>,
    /// The value counts anew from this call on.
    touched: Cell<bool>,
}

impl<X> Slot<X> {
    /// Nothing.
    pub(crate) fn new(ttl: Option<Ttl>) -> Self {
        Self { value: None, ttl, touched: Cell::new(false) }
    }

    /// To look at.
    #[inline]
    pub(crate) fn get(&self) -> Option<&X> {
        if self.ttl.is_some_and(|ttl| ttl.update == TtlUpdate::ReadWrite) {
            self.touched.set(true);
        }
        self.value.as_ref()
    }

    /// To change.
    #[inline]
    pub(crate) fn write(&mut self) -> &mut Option<X> {
        self.touched.set(true);
        &mut self.value
    }

    #[inline(always)]
    pub(crate) fn swap(&mut self, stored: &mut Option<X>) {
        std::mem::swap(&mut self.value, stored);
    }

    #[inline]
    pub(crate) fn begin(&mut self, written_at: Timestamp, now: Timestamp) {
        self.touched.set(false);
        if self.ttl.is_some_and(|ttl| ttl.hides(written_at, now)) {
            self.value = None;
        }
    }

    #[inline]
    pub(crate) fn end(&self, written_at: &mut Timestamp, now: Timestamp) {
        if self.value.is_none() {
            *written_at = UNKNOWN;
        } else if self.touched.get() || *written_at == UNKNOWN {
            *written_at = now;
        }
    }

    #[inline]
    pub(crate) fn expire(
        stored: &mut Option<X>,
        written_at: &mut Timestamp,
        ttl: &Ttl,
        now: Timestamp,
    ) {
        if stored.is_some() && *written_at == UNKNOWN {
            *written_at = now;
        }
        if ttl.is_over(*written_at, now) {
            (*stored, *written_at) = (None, UNKNOWN);
        }
    }
}

/// A handle on a [`Slot`] as a field of a state struct.
macro_rules! slot_field {
    ($handle:ident < $parameter:ident : $bound:path >, $stored:ty) => {
        impl<$parameter: $bound> $crate::keyed_state::StateField for $handle<$parameter> {
            type Stored = Option<$stored>;
            type Stamp = Timestamp;

            const IN_ROW: bool = true;
            const MAY_EXPIRE: bool = true;

            #[inline(always)]
            fn swap(&mut self, stored: &mut Self::Stored) {
                self.slot.swap(stored);
            }

            #[inline]
            fn is_absent(stored: &Self::Stored) -> bool {
                stored.is_none()
            }

            fn no_stamp() -> Timestamp {
                $crate::keyed_state::ttl::UNKNOWN
            }

            #[inline]
            fn begin(&mut self, stamp: &Timestamp, now: Timestamp) {
                self.slot.begin(*stamp, now);
            }

            #[inline]
            fn end(&mut self, stamp: &mut Timestamp, now: Timestamp) {
                self.slot.end(stamp, now);
            }

            #[inline]
            fn expire(stored: &mut Self::Stored, stamp: &mut Timestamp, ttl: &Ttl, now: Timestamp) {
                Slot::expire(stored, stamp, ttl, now);
            }
        }
    };
}

pub(crate) use slot_field;
