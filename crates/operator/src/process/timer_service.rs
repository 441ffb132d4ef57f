//! [`TimerService`]: the timers of an operator in both kinds of time, and how far each kind is.

use super::function::TimeDomain;
use millstream_checkpoint::snapshot::{OperatorSnapshot, RestoredOperator};
use millstream_core::Key;
use millstream_core::job_state::DeclaredState;
use millstream_core::key_group::MaxParallelism;
use millstream_core::time::{MIN_WATERMARK, Timestamp};
use millstream_state::restore::RestoreError;
use millstream_state::timers::Due;
use millstream_state::{Backing, TimerQueue};

/// The names of the states that hold the timers. No field of a state struct has such a name.
const EVENT: &str = "timers-event";
const PROCESSING: &str = "timers-processing";

/// The timers of the keys of one subtask.
pub struct TimerService<K> {
    pub(super) event: TimerQueue<K, ()>,
    pub(super) processing: TimerQueue<K, ()>,
    pub(super) watermark: Timestamp,
    pub(super) now: Timestamp,
}

impl<K: Key> TimerService<K> {
    pub(super) fn open(backing: Option<&Backing>) -> Self {
        Self {
            event: TimerQueue::open(EVENT, backing),
            processing: TimerQueue::open(PROCESSING, backing),
            watermark: MIN_WATERMARK,
            now: 0,
        }
    }

    /// No timers, and no time has passed.
    pub(super) fn begin_anew(&mut self) {
        self.event.clear();
        self.processing.clear();
        (self.watermark, self.now) = (MIN_WATERMARK, 0);
    }

    /// What state it has, as the job graph names it.
    pub(super) fn states() -> Vec<DeclaredState> {
        [EVENT, PROCESSING].map(TimerQueue::<K, ()>::declared).into()
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

    pub(super) fn snapshot(
        &mut self,
        max: MaxParallelism,
        base: bool,
        snapshot: &mut OperatorSnapshot,
    ) {
        snapshot.tables.push(self.event.freeze(EVENT, max, base));
        snapshot.tables.push(self.processing.freeze(PROCESSING, max, base));
    }

    pub(super) fn restore(
        &mut self,
        max: MaxParallelism,
        restored: &mut RestoredOperator,
    ) -> Result<(), RestoreError> {
        self.event.restore(restored.take_tables(EVENT), max)?;
        self.processing.restore(restored.take_tables(PROCESSING), max)
    }

    /// What all timers take.
    pub(super) fn memory_bytes(&self) -> usize {
        self.event.memory_bytes() + self.processing.memory_bytes()
    }
}
