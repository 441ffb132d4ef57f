//! [`Meter`]: how many events a second, over the last minute.

use super::Counter;
use crate::clock::ProcessingClock;
use millstream_core::time::Timestamp;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// The rate is that of so many milliseconds.
const SPAN_MS: i64 = 60_000;

/// How far apart the moments are between which it is measured.
const STEP_MS: i64 = 5_000;

/// Measures how often something happens. Cheap to clone: all clones are one meter.
#[derive(Clone, Debug)]
pub struct Meter {
    events: Counter,
    past: Arc<Mutex<Past>>,
}

/// What had been counted when: at most one moment per step, and no more than a span of them.
#[derive(Debug)]
struct Past {
    clock: ProcessingClock,
    moments: VecDeque<(Timestamp, i64)>,
}

impl Meter {
    pub(super) fn new(clock: ProcessingClock) -> Self {
        let moments = VecDeque::from([(clock.now(), 0)]);
        Self { events: Counter::default(), past: Arc::new(Mutex::new(Past { clock, moments })) }
    }

    /// It has happened.
    #[inline]
    pub fn mark(&self) {
        self.events.inc();
    }

    /// It has happened so many times.
    #[inline]
    pub fn mark_n(&self, n: u32) {
        self.events.inc_by(i64::from(n));
    }

    /// How often it has happened in all.
    pub fn count(&self) -> u64 {
        self.events.count() as u64
    }

    /// How often a second: over the last minute, or since the beginning if that is less.
    pub fn rate(&self) -> f64 {
        let mut past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        past.rate(self.events.count())
    }
}

impl Past {
    fn rate(&mut self, count: i64) -> f64 {
        let now = self.clock.now();
        let last = self.moments.back().map_or(Timestamp::MIN, |(time, _)| *time);
        if now < last {
            // The machine's clock was set back: what was is of no use.
            self.moments.clear();
        }
        while self.moments.get(1).is_some_and(|(time, _)| now.saturating_sub(*time) >= SPAN_MS) {
            self.moments.pop_front();
        }
        let (since, before) = self.moments.front().copied().unwrap_or((now, count));
        if self.moments.is_empty() || now.saturating_sub(last) >= STEP_MS {
            self.moments.push_back((now, count));
        }
        match now.saturating_sub(since) {
            0 => 0.0,
            passed => count.wrapping_sub(before) as f64 * 1_000.0 / passed as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn a_rate_is_that_of_the_last_minute() {
        let clock = ManualClock::default();
        let meter = Meter::new(clock.clock());
        assert_eq!(meter.rate(), 0.0);
        for second in 1..=100 {
            meter.mark_n(10);
            clock.set(second * 1_000);
            assert_eq!(meter.rate(), 10.0);
        }
        for second in 101..=200 {
            clock.set(second * 1_000);
            meter.rate();
        }
        assert_eq!((meter.rate(), meter.count()), (0.0, 1_000));
        let moments = meter.past.lock().expect("unbroken").moments.len();
        assert!(moments <= 14, "{moments} moments are kept");
    }

    #[test]
    fn a_clock_that_is_set_back_begins_anew() {
        let clock = ManualClock::default();
        clock.set(1_000_000);
        let meter = Meter::new(clock.clock());
        meter.mark_n(500);
        clock.set(10_000);
        assert_eq!(meter.rate(), 0.0);
        meter.mark();
        clock.set(11_000);
        assert_eq!(meter.rate(), 1.0);
    }
}
