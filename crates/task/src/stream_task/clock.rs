//! One origin for all clocks of a process: what sources see, how long alignment took, and when a
//! checkpoint began elsewhere.

use millstream_core::time::{Mono, Timestamp};
use millstream_operator::source::SourceClock;
use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime};

/// The origin, and what the wall clock showed then.
static ORIGIN: LazyLock<(Instant, Timestamp)> = LazyLock::new(|| {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    (Instant::now(), since_1970.as_millis() as Timestamp)
});

fn since_origin(now: Instant) -> Duration {
    now.saturating_duration_since(ORIGIN.0)
}

/// The source clock at an instant.
pub fn source_clock(now: Instant) -> SourceClock {
    SourceClock { now_us: since_origin(now).as_micros() as u64 }
}

/// The instant at which the source clock shows this.
pub(super) fn instant_of(source_us: u64) -> Instant {
    ORIGIN.0 + Duration::from_micros(source_us)
}

/// The instant of a point of monotonic time.
pub fn instant_at(at: Mono) -> Instant {
    ORIGIN.0 + Duration::from_millis(at.0)
}

/// What the wall clock shows at an instant, unless somebody has set it since.
pub fn wall_clock_at(now: Instant) -> Timestamp {
    wall_clock(mono(now))
}

/// Milliseconds since the origin.
pub(super) fn mono(now: Instant) -> Mono {
    Mono(since_origin(now).as_millis() as u64)
}

/// The wall clock at a point of monotonic time, unless somebody has set it since.
pub(super) fn wall_clock(at: Mono) -> Timestamp {
    ORIGIN.1.saturating_add_unsigned(at.0)
}
