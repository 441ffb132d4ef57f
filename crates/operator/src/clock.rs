//! [`ProcessingClock`]: where operators read processing time. The system's in production; set by hand
//! in tests.

use millstream_core::time::Timestamp;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Tells processing time. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct ProcessingClock(Hands);

#[derive(Clone, Debug, Default)]
enum Hands {
    #[default]
    System,
    Manual(Arc<AtomicI64>),
}

impl ProcessingClock {
    /// The time of day of this machine.
    pub fn system() -> Self {
        Self(Hands::System)
    }

    /// Milliseconds since 1970-01-01 UTC.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Hands::System => millis_since_epoch(SystemTime::now()),
            Hands::Manual(now) => now.load(Ordering::Relaxed),
        }
    }
}

/// A clock that is set by hand.
#[derive(Debug, Default)]
pub struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    /// Sets the time.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now, Ordering::Relaxed);
    }

    /// What operators read it with.
    pub fn clock(&self) -> ProcessingClock {
        ProcessingClock(Hands::Manual(self.0.clone()))
    }
}

fn millis_since_epoch(time: SystemTime) -> Timestamp {
    let millis = |duration: std::time::Duration| i64::try_from(duration.as_millis());
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => millis(after).unwrap_or(i64::MAX),
        Err(before) => millis(before.duration()).map_or(i64::MIN, |before| -before),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn time_counts_from_1970_in_both_directions() {
        let second = Duration::from_secs(1);
        assert_eq!(millis_since_epoch(UNIX_EPOCH + second), 1_000);
        assert_eq!(millis_since_epoch(UNIX_EPOCH - second), -1_000);
    }
}
