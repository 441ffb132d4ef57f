//! Time as the engine knows it.
//!
//! Event time is `i64` milliseconds since 1970-01-01 UTC ([`Timestamp`]). Timeouts of deciding code
//! count [`Mono`] milliseconds from an origin that its owner chose; it is an argument, never read.

use serde::{Deserialize, Serialize};
use std::ops::{Add, Sub};

/// Event or processing time: milliseconds since 1970-01-01 UTC, negative before.
pub type Timestamp = i64;

/// The watermark after which no record can come: bounded input has ended.
pub const MAX_WATERMARK: Timestamp = i64::MAX;

/// No watermark has been seen yet.
pub const MIN_WATERMARK: Timestamp = i64::MIN;

/// What stands in place of a timestamp where a record has none, in a stream whose others have one.
pub const NO_TIMESTAMP: Timestamp = i64::MIN;

/// A point of monotonic time, in milliseconds from an origin of the owner's choice.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Mono(pub u64);

impl Mono {
    /// Milliseconds from `earlier` to here; 0 if `earlier` is later.
    pub fn since(self, earlier: Mono) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<u64> for Mono {
    type Output = Mono;

    fn add(self, millis: u64) -> Mono {
        Mono(self.0.saturating_add(millis))
    }
}

impl Sub<u64> for Mono {
    type Output = Mono;

    fn sub(self, millis: u64) -> Mono {
        Mono(self.0.saturating_sub(millis))
    }
}
