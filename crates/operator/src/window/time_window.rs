//! [`TimeWindow`]: a stretch of time, and what is computed for a key in one.

use millstream_core::Record;
use millstream_core::time::{MAX_WATERMARK, MIN_WATERMARK, Timestamp};

/// A stretch of time: from `start`, up to but without `end`.
///
/// ```
/// use millstream_operator::window::TimeWindow;
///
/// let hour = TimeWindow::new(0, 3_600_000);
/// assert!(hour.contains(3_599_999) && !hour.contains(3_600_000));
/// assert_eq!(hour.max_timestamp(), 3_599_999);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Record)]
pub struct TimeWindow {
    /// The first millisecond.
    pub start: Timestamp,
    /// The first millisecond after it.
    pub end: Timestamp,
}

impl TimeWindow {
    /// All of time: what global windows assign.
    pub const GLOBAL: Self = Self { start: MIN_WATERMARK, end: MAX_WATERMARK };

    /// From `start`, up to but without `end`.
    pub const fn new(start: Timestamp, end: Timestamp) -> Self {
        Self { start, end }
    }

    /// The last millisecond: results have this time.
    pub const fn max_timestamp(self) -> Timestamp {
        self.end.saturating_sub(1)
    }

    /// Whether a time is in it.
    pub const fn contains(self, time: Timestamp) -> bool {
        self.start <= time && time < self.end
    }

    /// Whether the two overlap or touch: sessions that do are one.
    pub const fn intersects(self, other: Self) -> bool {
        self.start <= other.end && other.start <= self.end
    }

    /// The least window that has both in it.
    pub fn cover(self, other: Self) -> Self {
        Self { start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    /// Whether it is all of time.
    pub fn is_global(self) -> bool {
        self == Self::GLOBAL
    }
}

/// What the records of a key in a window amount to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Record)]
pub struct Windowed<K, V> {
    /// Whose records they are.
    pub key: K,
    /// When they were.
    pub window: TimeWindow,
    /// What they amount to.
    pub value: V,
}
