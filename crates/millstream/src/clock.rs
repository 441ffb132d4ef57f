//! Times of sources and sinks on one scale: to measure how long records are under way.

use millstream_task::stream_task::source_clock;
use std::time::{Instant, SystemTime};

/// Wall-clock time in microseconds since 1970: comparable between processes of one machine.
pub fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_micros() as u64)
}

/// When something was due, on the scale of [`now_us`]: `due_us` is what
/// [`generator_with_due`](crate::source::generator_with_due) gives to its function.
pub fn due_at_us(due_us: u64) -> u64 {
    let late = source_clock(Instant::now()).now_us.saturating_sub(due_us);
    now_us().saturating_sub(late)
}
