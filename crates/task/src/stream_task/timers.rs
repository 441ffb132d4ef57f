//! Timers in processing time: when operators want to be called, and how they are.
//!
//! Timers fire between batches, when the chain is empty. An operator fires some and then gives way: to
//! a barrier that waits, and to one batch of input, so that timers that register timers stop neither.

use super::chain::Chain;
use super::{Phase, Step, StreamTask};
use crate::failure::TaskError;
use millstream_core::time::Timestamp;
use millstream_operator::clock::ProcessingClock;
use std::time::{Duration, Instant};

/// Nobody sleeps longer for a timer: the machine's clock may be set meanwhile.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// When operators want to be called for their timers.
#[derive(Default)]
pub(super) struct Timers {
    pub(super) clock: ProcessingClock,
    /// More are due, but the input has its turn first.
    gave_way: bool,
}

impl Timers {
    /// Whether timers are to fire now. Says no once after an operator has given way.
    pub(super) fn are_due(&mut self, chain: &Chain) -> bool {
        if std::mem::take(&mut self.gave_way) {
            return false;
        }
        chain.next_timer().is_some_and(|time| time <= self.clock.now())
    }

    /// When an idle task is to be stepped again: at `until`, or for a timer.
    pub(super) fn deadline(
        &self,
        chain: &Chain,
        until: Option<Instant>,
        now: Instant,
    ) -> Option<Instant> {
        let Some(time) = chain.next_timer() else { return until };
        let millis = time.saturating_sub(self.clock.now()).max(0) as u64;
        let timer = now + Duration::from_millis(millis).min(SLEEP_MAX);
        Some(until.map_or(timer, |until| until.min(timer)))
    }
}

impl StreamTask {
    /// Operators from `next` on are still to be told that it is this time.
    pub(super) fn fire_next(
        &mut self,
        next: usize,
        time: Timestamp,
        now: Instant,
    ) -> Result<Step, TaskError> {
        self.held_since.get_or_insert(now);
        if next == self.chain.len() {
            self.phase = Phase::Running;
        } else if self.chain.advance_time(next, time)? {
            self.phase = Phase::Firing(next + 1, time);
        } else {
            self.phase = Phase::Running;
            self.timers.gave_way = true;
        }
        Ok(Step::Progress)
    }
}
