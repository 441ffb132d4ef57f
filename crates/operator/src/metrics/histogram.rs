//! [`Histogram`]: how recent values spread.

use millstream_core::metric::Spread;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// So many values are kept: what a histogram shows is about the last of them, as in Flink.
const RECENT_MAX: usize = 1_024;

/// Shows how values spread: the last 1,024 of them. Cheap to clone: all clones are one histogram.
#[derive(Clone, Debug)]
pub struct Histogram(Arc<Values>);

#[derive(Debug)]
struct Values {
    count: AtomicU64,
    /// Value `n` is at `n` modulo their number. While another thread puts one in, a reader may see what was
    /// in its place before.
    recent: Box<[AtomicI64]>,
}

impl Histogram {
    pub(super) fn new() -> Self {
        let recent = (0..RECENT_MAX).map(|_| AtomicI64::new(0)).collect();
        Self(Arc::new(Values { count: AtomicU64::new(0), recent }))
    }

    /// Takes a value.
    #[inline]
    pub fn update(&self, value: i64) {
        let index = self.0.count.fetch_add(1, Ordering::Relaxed) as usize % RECENT_MAX;
        self.0.recent[index].store(value, Ordering::Relaxed);
    }

    /// How many values have come.
    pub fn count(&self) -> u64 {
        self.0.count.load(Ordering::Relaxed)
    }

    /// How the recent ones spread.
    pub fn spread(&self) -> Spread {
        let count = self.count();
        let filled = usize::try_from(count).unwrap_or(usize::MAX).min(RECENT_MAX);
        let recent = self.0.recent[..filled].iter().map(|value| value.load(Ordering::Relaxed));
        Spread::of(recent.collect(), count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_about_the_last_values() {
        let histogram = Histogram::new();
        assert_eq!(histogram.spread(), Spread::default());
        (0..10).for_each(|n| histogram.update(n));
        assert_eq!((histogram.spread().min, histogram.spread().max), (0, 9));
        (10..3_000).for_each(|n| histogram.update(n));
        let spread = histogram.spread();
        assert_eq!((spread.count, spread.min, spread.max), (3_000, 3_000 - 1_024, 2_999));
    }
}
