//! Restart strategies: whether a failed job runs again, and after which pause.

use millstream_core::time::Mono;
use millstream_rpc::machine::Rng;
use std::collections::VecDeque;

/// What a strategy says to a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Run again after so many milliseconds.
    RestartAfter(u64),
    /// Do not, and this is why.
    GiveUp(String),
}

/// Whether and when a failed job runs again.
#[derive(Clone, Debug)]
pub enum RestartStrategy {
    /// Never.
    None,
    /// So many times, each after the same pause.
    FixedDelay(FixedDelay),
    /// After pauses that grow.
    ExponentialDelay(ExponentialDelay),
    /// As long as failures are rare.
    FailureRate(FailureRate),
}

impl RestartStrategy {
    /// Counts the failure and judges it.
    pub fn on_failure(&mut self, now: Mono, rng: &mut Rng) -> Verdict {
        match self {
            Self::None => Verdict::GiveUp("restart-strategy.type is none".to_owned()),
            Self::FixedDelay(strategy) => strategy.on_failure(),
            Self::ExponentialDelay(strategy) => strategy.on_failure(now, rng),
            Self::FailureRate(strategy) => strategy.on_failure(now),
        }
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::FixedDelay(_) => "fixed-delay",
            Self::ExponentialDelay(_) => "exponential-delay",
            Self::FailureRate(_) => "failure-rate",
        }
    }
}

/// So many times, each after the same pause.
#[derive(Clone, Debug)]
pub struct FixedDelay {
    attempts_max: u32,
    delay_ms: u64,
    attempts: u32,
}

impl FixedDelay {
    /// At most `attempts_max` restarts.
    pub fn new(attempts_max: u32, delay_ms: u64) -> Self {
        Self { attempts_max, delay_ms, attempts: 0 }
    }

    fn on_failure(&mut self) -> Verdict {
        if self.attempts >= self.attempts_max {
            let all = self.attempts_max;
            return Verdict::GiveUp(format!(
                "all {all} restart(s) of restart-strategy fixed-delay are used up"
            ));
        }
        self.attempts += 1;
        Verdict::RestartAfter(self.delay_ms)
    }
}

/// How pauses grow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// The first pause.
    pub initial_ms: u64,
    /// The longest.
    pub max_ms: u64,
    /// From pause to pause.
    pub multiplier: f64,
    /// So long without a failure, and counting starts over.
    pub reset_ms: u64,
    /// The part of a pause by which it is varied.
    pub jitter: f64,
    /// Restarts without a healthy time in between.
    pub attempts_max: u32,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            initial_ms: 1_000,
            max_ms: 60_000,
            multiplier: 1.5,
            reset_ms: 3_600_000,
            jitter: 0.1,
            attempts_max: u32::MAX,
        }
    }
}

/// After pauses that grow, and shrink again after a healthy time.
///
/// Failures that come before the pause of an earlier one is over belong to that one: they neither
/// count nor lengthen the pause.
#[derive(Clone, Debug)]
pub struct ExponentialDelay {
    backoff: Backoff,
    /// Restarts so far.
    attempts: u32,
    /// The last pause, before it was varied.
    pause_ms: u64,
    /// When the last pause is or was over.
    restart_at: Option<Mono>,
}

impl ExponentialDelay {
    /// No failure so far.
    pub fn new(backoff: Backoff) -> Self {
        Self { backoff, attempts: 0, pause_ms: 0, restart_at: None }
    }

    fn on_failure(&mut self, now: Mono, rng: &mut Rng) -> Verdict {
        if let Some(restart_at) = self.restart_at {
            if now < restart_at {
                return Verdict::RestartAfter(restart_at.since(now));
            }
            if now.since(restart_at) >= self.backoff.reset_ms {
                self.attempts = 0;
            }
        }
        if self.attempts >= self.backoff.attempts_max {
            let all = self.backoff.attempts_max;
            return Verdict::GiveUp(format!(
                "all {all} restart(s) of restart-strategy exponential-delay are used up"
            ));
        }
        self.attempts += 1;
        let longer_ms = (self.pause_ms as f64 * self.backoff.multiplier) as u64;
        self.pause_ms = match self.attempts {
            1 => self.backoff.initial_ms,
            _ => longer_ms.min(self.backoff.max_ms),
        };
        let delay_ms = self.varied(rng);
        self.restart_at = Some(now + delay_ms);
        Verdict::RestartAfter(delay_ms)
    }

    /// The pause, give or take the jitter, so that jobs that failed together do not return together.
    fn varied(&self, rng: &mut Rng) -> u64 {
        let most = (self.pause_ms as f64 * self.backoff.jitter) as u64;
        let varied = self.pause_ms - most + rng.below(2 * most + 1);
        varied.clamp(self.backoff.initial_ms, self.backoff.max_ms)
    }
}

/// As long as failures are rare.
#[derive(Clone, Debug)]
pub struct FailureRate {
    failures_max: u32,
    interval_ms: u64,
    delay_ms: u64,
    /// When the failures of the last interval were, oldest first.
    failures: VecDeque<Mono>,
}

impl FailureRate {
    /// At most `failures_max` failures in an interval.
    pub fn new(failures_max: u32, interval_ms: u64, delay_ms: u64) -> Self {
        Self { failures_max, interval_ms, delay_ms, failures: VecDeque::new() }
    }

    fn on_failure(&mut self, now: Mono) -> Verdict {
        self.failures.push_back(now);
        let interval_ms = self.interval_ms;
        self.failures.retain(|at| now.since(*at) <= interval_ms);
        if self.failures.len() > self.failures_max as usize {
            return Verdict::GiveUp(format!(
                "{} failures within {interval_ms} ms are more than restart-strategy failure-rate \
                 allows",
                self.failures.len()
            ));
        }
        Verdict::RestartAfter(self.delay_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds failures at these times; `None` is giving up.
    fn verdicts(mut strategy: RestartStrategy, times: &[u64]) -> Vec<Option<u64>> {
        let mut rng = Rng::new(1);
        let mut judge = |at: &u64| match strategy.on_failure(Mono(*at), &mut rng) {
            Verdict::RestartAfter(delay_ms) => Some(delay_ms),
            Verdict::GiveUp(_) => None,
        };
        times.iter().map(&mut judge).collect()
    }

    fn exponential(jitter: f64, attempts_max: u32) -> RestartStrategy {
        RestartStrategy::ExponentialDelay(ExponentialDelay::new(Backoff {
            jitter,
            attempts_max,
            ..Backoff::default()
        }))
    }

    #[test]
    fn none_gives_up_at_once() {
        assert_eq!(verdicts(RestartStrategy::None, &[0]), [None]);
    }

    #[test]
    fn fixed_delay_restarts_so_often_and_no_more() {
        let strategy = RestartStrategy::FixedDelay(FixedDelay::new(2, 700));
        assert_eq!(verdicts(strategy, &[0, 1, 2, 9_999_999]), [Some(700), Some(700), None, None]);
    }

    #[test]
    fn pauses_grow_by_half_up_to_a_minute_and_start_over_after_a_healthy_hour() {
        let mut at = 0;
        let mut times = Vec::new();
        for _ in 0..12 {
            times.push(at);
            at += 100_000;
        }
        times.push(at + 3_700_000);
        let pauses: Vec<u64> =
            verdicts(exponential(0.0, u32::MAX), &times).into_iter().flatten().collect();
        assert_eq!(pauses[..5], [1_000, 1_500, 2_250, 3_375, 5_062]);
        assert_eq!(pauses[11..], [60_000, 1_000]);
    }

    #[test]
    fn failures_within_one_pause_count_once() {
        assert_eq!(
            verdicts(exponential(0.0, 2), &[0, 400, 999, 1_000, 1_100, 9_000]),
            [Some(1_000), Some(600), Some(1), Some(1_500), Some(1_400), None]
        );
    }

    #[test]
    fn jitter_stays_within_its_part_of_the_pause() {
        let times: Vec<u64> = (0..200).map(|n| n * 100_000).collect();
        let pauses: Vec<u64> =
            verdicts(exponential(0.1, u32::MAX), &times).into_iter().flatten().collect();
        assert!(pauses[20..].iter().all(|ms| (54_000..=60_000).contains(ms)));
        assert!(pauses[20..].iter().any(|ms| *ms < 57_000));
        assert!((1_350..=1_650).contains(&pauses[1]));
    }

    #[test]
    fn rare_failures_are_borne_and_frequent_ones_are_not() {
        let strategy = || RestartStrategy::FailureRate(FailureRate::new(1, 60_000, 5));
        assert_eq!(verdicts(strategy(), &[0, 60_001, 130_000]), [Some(5), Some(5), Some(5)]);
        assert_eq!(verdicts(strategy(), &[0, 60_000]), [Some(5), None]);
    }
}
