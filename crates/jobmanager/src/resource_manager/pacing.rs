//! How often needs and slots are compared: the first event of a burst acts at once, what follows
//! within the delay is handled together at its end.

use millstream_core::time::Mono;

/// When to check next.
#[derive(Debug)]
pub(super) struct Pacing {
    delay_ms: u64,
    /// Slots have just been given away; until then nothing acts at once.
    quiet_until: Mono,
    /// A check is arranged for then.
    due: Option<Mono>,
}

/// What the owner does about a wish to check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// Check, and say so with [`Pacing::checked`].
    Now,
    /// Set the timer.
    At(Mono),
    /// Nothing: a check is already arranged.
    Arranged,
}

impl Pacing {
    pub(super) fn new(delay_ms: u64) -> Self {
        Self { delay_ms, quiet_until: Mono(0), due: None }
    }

    /// Something has happened that asks for a check.
    pub(super) fn request(&mut self, now: Mono) -> Pace {
        if self.quiet_until <= now {
            return Pace::Now;
        }
        self.arrange(self.quiet_until)
    }

    /// As [`Pacing::request`], but with what follows within one delay.
    pub(super) fn request_later(&mut self, now: Mono) -> Pace {
        self.arrange(now + self.delay_ms)
    }

    /// The same slot has been refused so many times in a row: the more often, the later it is tried
    /// again, 128 delays at most. Anything else that happens still leads to an earlier check.
    pub(super) fn request_retry(&mut self, now: Mono, refusals: u32) -> Pace {
        let delay = self.delay_ms.max(1) << refusals.clamp(1, 8).saturating_sub(1);
        self.arrange(now + delay)
    }

    /// The timer has fired; whether a check is due.
    pub(super) fn is_due(&self, now: Mono) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    /// Whether a check is arranged.
    pub(super) fn is_arranged(&self) -> bool {
        self.due.is_some()
    }

    /// A check has been made. One that gave nothing away leaves the next event free to act at once:
    /// the slots of the first worker come a moment after the needs of the first job.
    pub(super) fn checked(&mut self, now: Mono, acted: bool) {
        self.due = None;
        if acted {
            self.quiet_until = now + self.delay_ms;
        }
    }

    fn arrange(&mut self, at: Mono) -> Pace {
        if self.due.is_some_and(|due| due <= at) {
            return Pace::Arranged;
        }
        self.due = Some(at);
        Pace::At(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_event_acts_at_once_and_a_burst_is_handled_together() {
        let mut pacing = Pacing::new(50);
        assert_eq!(pacing.request(Mono(1000)), Pace::Now);
        pacing.checked(Mono(1000), true);
        assert_eq!(pacing.request(Mono(1010)), Pace::At(Mono(1050)));
        assert_eq!(pacing.request(Mono(1020)), Pace::Arranged);
        assert!(!pacing.is_due(Mono(1049)));
        assert!(pacing.is_due(Mono(1050)));
        pacing.checked(Mono(1050), true);
        assert!(!pacing.is_due(Mono(1050)), "the timer may fire twice");
        assert_eq!(pacing.request(Mono(1100)), Pace::Now);
    }

    #[test]
    fn a_check_that_gave_nothing_away_does_not_hold_up_the_next_event() {
        let mut pacing = Pacing::new(50);
        pacing.checked(Mono(1000), false);
        assert_eq!(pacing.request(Mono(1001)), Pace::Now);
    }

    #[test]
    fn retries_come_later_and_later_but_do_not_hold_up_others() {
        let mut pacing = Pacing::new(50);
        let mut delay = |refusals| {
            pacing.checked(Mono(0), true);
            pacing.request_retry(Mono(0), refusals)
        };
        let delays: Vec<Pace> = [1, 2, 3, 100].into_iter().map(&mut delay).collect();
        let expected = [50, 100, 200, 6400].map(|at| Pace::At(Mono(at)));
        assert_eq!(delays, expected);
        assert_eq!(pacing.request(Mono(20)), Pace::At(Mono(50)));
    }
}
