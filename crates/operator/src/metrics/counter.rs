//! [`Counter`] and [`Gauge`]: a number that goes up and down, and one that is set.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Counts. Cheap to clone: all clones are one counter.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicI64>);

impl Counter {
    /// One more.
    #[inline]
    pub fn inc(&self) {
        self.inc_by(1);
    }

    /// So many more.
    #[inline]
    pub fn inc_by(&self, n: i64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// One less.
    #[inline]
    pub fn dec(&self) {
        self.inc_by(-1);
    }

    /// So many less.
    #[inline]
    pub fn dec_by(&self, n: i64) {
        self.inc_by(n.wrapping_neg());
    }

    /// How many there are.
    pub fn count(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Shows what it was set to last. Cheap to clone: all clones are one gauge.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<AtomicU64>);

impl Gauge {
    /// Shows this from now on. Whole numbers are exact up to 2^53, a time in milliseconds among them.
    #[inline]
    pub fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }

    /// What it shows; 0 before anything was set.
    pub fn value(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}
