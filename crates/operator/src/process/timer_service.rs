//! [`TimerService`]: the timers of an operator in both kinds of time, and how far each kind is.

use super::function::TimeDomain;
use millstream_core::Key;
use millstream_core::time::{MIN_WATERMARK, Timestamp};
use millstream_state::TimerQueue;
use millstream_state::timers::Due;

/// The timers of the keys of one subtask.
pub struct TimerService<K> {
    pub(super) event: TimerQueue<K, ()>,
    pub(super) processing: TimerQueue<K, ()>,
    pub(super) watermark: Timestamp,
    pub(super) now: Timestamp,
}

impl<K: Key> TimerService<K> {
    pub(super) fn new() -> Self {
        Self {
            event: TimerQueue::new(),
            processing: TimerQueue::new(),
            watermark: MIN_WATERMARK,
            now: 0,
        }
    }

    /// Takes out the first timer that is due.
    pub(super) fn pop(&mut self, domain: TimeDomain) -> Option<Due<K, ()>> {
        match domain {
            TimeDomain::EventTime => self.event.pop(self.watermark),
            TimeDomain::ProcessingTime => self.processing.pop(self.now),
        }
    }

    /// Whether a timer is due.
    pub(super) fn is_due(&self, domain: TimeDomain) -> bool {
        let (next, reached) = match domain {
            TimeDomain::EventTime => (self.event.next(), self.watermark),
            TimeDomain::ProcessingTime => (self.processing.next(), self.now),
        };
        next.is_some_and(|time| time <= reached)
    }

    /// What all timers take.
    pub(super) fn memory_bytes(&self) -> usize {
        self.event.memory_bytes() + self.processing.memory_bytes()
    }
}
