//! Notices a failure that comes again and again: a bug or a poisoned record that no restart cures.
//!
//! Failures with one fingerprint (operator, error and source position) are the same failure. They
//! come in waves: four subtasks may fail of one bug at once. An attempt that ran already when the
//! failure was last counted belongs to that wave and does not count again.

use std::collections::VecDeque;

/// How many different failures are told apart; the ones longest unseen are forgotten.
const FINGERPRINTS_MAX: usize = 64;

#[derive(Clone, Copy, Debug)]
struct Seen {
    fingerprint: u64,
    waves: u32,
    /// When it was last counted, in the scheduler's order of deployments and failures.
    counted: u64,
}

/// Failures since the last completed checkpoint.
#[derive(Clone, Debug)]
pub struct RepeatedFailures {
    /// So many waves are too many; 0: there is no limit.
    limit: u32,
    /// The one counted last is at the end.
    seen: VecDeque<Seen>,
}

impl RepeatedFailures {
    /// Nothing was seen yet.
    pub fn new(limit: u32) -> Self {
        Self { limit, seen: VecDeque::new() }
    }

    /// An attempt, deployed at `deployed` in the scheduler's order, failed at `order`. How often
    /// this failure has come now, if that is too often.
    pub fn on_failure(&mut self, fingerprint: u64, deployed: u64, order: u64) -> Option<u32> {
        let known = self.seen.iter().position(|s| s.fingerprint == fingerprint);
        let former = known.and_then(|at| self.seen.remove(at));
        let mut seen = former.unwrap_or(Seen { fingerprint, waves: 0, counted: 0 });
        if seen.waves == 0 || deployed > seen.counted {
            seen.waves += 1;
            seen.counted = order;
        }
        self.seen.push_back(seen);
        if self.seen.len() > FINGERPRINTS_MAX {
            self.seen.pop_front();
        }
        (self.limit > 0 && seen.waves >= self.limit).then_some(seen.waves)
    }

    /// The job got somewhere: what comes now is no repetition.
    pub fn clear(&mut self) {
        self.seen.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `(fingerprint, deployed, order)`.
    #[track_caller]
    fn check(limit: u32, failures: &[(u64, u64, u64)], expected: &[Option<u32>]) {
        let mut repeats = RepeatedFailures::new(limit);
        let feed = |(f, d, o): &(u64, u64, u64)| repeats.on_failure(*f, *d, *o);
        assert_eq!(failures.iter().map(feed).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn the_third_time_is_too_often() {
        check(3, &[(7, 1, 2), (7, 3, 4), (7, 5, 6)], &[None, None, Some(3)]);
    }

    #[test]
    fn different_failures_are_counted_apart() {
        check(2, &[(7, 1, 2), (8, 3, 4), (7, 5, 6)], &[None, None, Some(2)]);
    }

    #[test]
    fn attempts_of_one_wave_count_once() {
        check(2, &[(7, 1, 5), (7, 2, 6), (7, 4, 7)], &[None, None, None]);
    }

    #[test]
    fn without_a_limit_nothing_is_too_often() {
        check(0, &[(7, 1, 2), (7, 3, 4)], &[None, None]);
    }

    #[test]
    fn a_completed_checkpoint_starts_the_count_over() {
        let mut repeats = RepeatedFailures::new(2);
        assert_eq!(repeats.on_failure(7, 1, 2), None);
        repeats.clear();
        assert_eq!(repeats.on_failure(7, 3, 4), None);
        assert_eq!(repeats.on_failure(7, 5, 6), Some(2));
    }
}
