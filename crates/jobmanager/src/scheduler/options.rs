//! What a job may configure about restarts, with Flink's keys and defaults.
//!
//! A value that cannot be read is an error that names key and value: the job then fails at its
//! start instead of running with something that nobody asked for.

use super::restart::{Backoff, ExponentialDelay, FailureRate, FixedDelay, RestartStrategy};
use millstream_core::config::value::millis;
use std::collections::BTreeMap;

/// `restart-strategy.type`: `none`, `fixed-delay`, `exponential-delay` (default) or `failure-rate`.
pub const RESTART_STRATEGY: &str = "restart-strategy.type";
/// What Flink called [`RESTART_STRATEGY`] before 2.0.
pub const RESTART_STRATEGY_FORMER: &str = "restart-strategy";
/// `restart-strategy.fixed-delay.attempts` (1).
pub const FIXED_DELAY_ATTEMPTS: &str = "restart-strategy.fixed-delay.attempts";
/// `restart-strategy.fixed-delay.delay` (1 s).
pub const FIXED_DELAY_DELAY: &str = "restart-strategy.fixed-delay.delay";
/// `restart-strategy.exponential-delay.initial-backoff` (1 s).
pub const EXPONENTIAL_INITIAL: &str = "restart-strategy.exponential-delay.initial-backoff";
/// `restart-strategy.exponential-delay.max-backoff` (1 min).
pub const EXPONENTIAL_MAX: &str = "restart-strategy.exponential-delay.max-backoff";
/// `restart-strategy.exponential-delay.backoff-multiplier` (1.5).
pub const EXPONENTIAL_MULTIPLIER: &str = "restart-strategy.exponential-delay.backoff-multiplier";
/// `restart-strategy.exponential-delay.reset-backoff-threshold` (1 h).
pub const EXPONENTIAL_RESET: &str = "restart-strategy.exponential-delay.reset-backoff-threshold";
/// `restart-strategy.exponential-delay.jitter-factor` (0.1).
pub const EXPONENTIAL_JITTER: &str = "restart-strategy.exponential-delay.jitter-factor";
/// `restart-strategy.exponential-delay.attempts-before-reset-backoff` (no bound).
pub const EXPONENTIAL_ATTEMPTS: &str =
    "restart-strategy.exponential-delay.attempts-before-reset-backoff";
/// `restart-strategy.failure-rate.max-failures-per-interval` (1).
pub const FAILURE_RATE_MAX: &str = "restart-strategy.failure-rate.max-failures-per-interval";
/// `restart-strategy.failure-rate.failure-rate-interval` (1 min).
pub const FAILURE_RATE_INTERVAL: &str = "restart-strategy.failure-rate.failure-rate-interval";
/// `restart-strategy.failure-rate.delay` (1 s).
pub const FAILURE_RATE_DELAY: &str = "restart-strategy.failure-rate.delay";
/// `restart-strategy.repeat-limit` (3; 0: none): the same failure so often without a completed
/// checkpoint in between fails the job. Ours: Flink restarts for ever.
pub const REPEAT_LIMIT: &str = "restart-strategy.repeat-limit";
/// `jobmanager.execution.failover-strategy`: `region` (default) or `full`.
pub const FAILOVER_STRATEGY: &str = "jobmanager.execution.failover-strategy";

/// What starts over with a failed subtask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailoverStrategy {
    /// Its region and the regions tied to it by lost or consumed results.
    #[default]
    Region,
    /// The whole job.
    Full,
}

/// What a job has configured.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether and when a failed job runs again.
    pub restart: RestartStrategy,
    /// See [`REPEAT_LIMIT`].
    pub repeat_limit: u32,
    /// What starts over.
    pub failover: FailoverStrategy,
}

/// A value that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadOption {
    /// Its key.
    pub key: String,
    /// What was found.
    pub value: String,
    /// What would have been right.
    pub expected: String,
}

impl std::fmt::Display for BadOption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "option `{}` is `{}`, expected {}", self.key, self.value, self.expected)
    }
}

impl std::error::Error for BadOption {}

impl Options {
    /// Reads a job's configuration. Keys that are not ours are left to others.
    pub fn parse(configuration: &BTreeMap<String, String>) -> Result<Self, BadOption> {
        let source = Source(configuration);
        Ok(Self {
            restart: source.restart()?,
            repeat_limit: source.number(REPEAT_LIMIT, 3)?,
            failover: source.failover()?,
        })
    }

    /// What a job without configuration gets.
    pub fn defaults() -> Self {
        Self {
            restart: RestartStrategy::ExponentialDelay(ExponentialDelay::new(Backoff::default())),
            repeat_limit: 3,
            failover: FailoverStrategy::default(),
        }
    }
}

struct Source<'a>(&'a BTreeMap<String, String>);

impl Source<'_> {
    fn restart(&self) -> Result<RestartStrategy, BadOption> {
        let key = [RESTART_STRATEGY, RESTART_STRATEGY_FORMER]
            .into_iter()
            .find(|key| self.0.contains_key(*key))
            .unwrap_or(RESTART_STRATEGY);
        let value = self.text(key).unwrap_or("exponential-delay");
        match value.to_ascii_lowercase().as_str() {
            "none" | "off" | "disable" => Ok(RestartStrategy::None),
            "fixed-delay" | "fixeddelay" => self.fixed_delay(),
            "exponential-delay" | "exponentialdelay" => self.exponential_delay(),
            "failure-rate" | "failurerate" => self.failure_rate(),
            _ => Err(self.bad(key, "`none`, `fixed-delay`, `exponential-delay` or `failure-rate`")),
        }
    }

    fn fixed_delay(&self) -> Result<RestartStrategy, BadOption> {
        Ok(RestartStrategy::FixedDelay(FixedDelay::new(
            self.number(FIXED_DELAY_ATTEMPTS, 1)?,
            self.duration_ms(FIXED_DELAY_DELAY, 1_000)?,
        )))
    }

    fn failure_rate(&self) -> Result<RestartStrategy, BadOption> {
        Ok(RestartStrategy::FailureRate(FailureRate::new(
            self.number(FAILURE_RATE_MAX, 1)?,
            self.duration_ms(FAILURE_RATE_INTERVAL, 60_000)?,
            self.duration_ms(FAILURE_RATE_DELAY, 1_000)?,
        )))
    }

    fn exponential_delay(&self) -> Result<RestartStrategy, BadOption> {
        let default = Backoff::default();
        let backoff = Backoff {
            initial_ms: self.duration_ms(EXPONENTIAL_INITIAL, default.initial_ms)?,
            max_ms: self.duration_ms(EXPONENTIAL_MAX, default.max_ms)?,
            multiplier: self.factor(EXPONENTIAL_MULTIPLIER, default.multiplier)?,
            reset_ms: self.duration_ms(EXPONENTIAL_RESET, default.reset_ms)?,
            jitter: self.factor(EXPONENTIAL_JITTER, default.jitter)?,
            attempts_max: self.number(EXPONENTIAL_ATTEMPTS, default.attempts_max)?,
        };
        if backoff.initial_ms == 0 {
            return Err(self.bad(EXPONENTIAL_INITIAL, "at least 1 ms"));
        }
        if backoff.max_ms < backoff.initial_ms {
            let least = format!("at least {} ms, the initial backoff", backoff.initial_ms);
            return Err(self.bad(EXPONENTIAL_MAX, &least));
        }
        if backoff.multiplier <= 1.0 {
            return Err(self.bad(EXPONENTIAL_MULTIPLIER, "a number above 1"));
        }
        if !(0.0..=1.0).contains(&backoff.jitter) {
            return Err(self.bad(EXPONENTIAL_JITTER, "a number from 0 to 1"));
        }
        Ok(RestartStrategy::ExponentialDelay(ExponentialDelay::new(backoff)))
    }

    fn failover(&self) -> Result<FailoverStrategy, BadOption> {
        match self.text(FAILOVER_STRATEGY) {
            None | Some("region") => Ok(FailoverStrategy::Region),
            Some("full") => Ok(FailoverStrategy::Full),
            Some(_) => Err(self.bad(FAILOVER_STRATEGY, "`region` or `full`")),
        }
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(|value| value.trim())
    }

    fn number(&self, key: &str, default: u32) -> Result<u32, BadOption> {
        let read = |text: &str| text.parse().ok();
        self.read(key, default, "a whole number", read)
    }

    fn factor(&self, key: &str, default: f64) -> Result<f64, BadOption> {
        let read = |text: &str| text.parse().ok().filter(|factor: &f64| factor.is_finite());
        self.read(key, default, "a number", read)
    }

    fn duration_ms(&self, key: &str, default: u64) -> Result<u64, BadOption> {
        let expected = "a duration such as `10 s`, `500 ms` or `1 min`";
        self.read(key, default, expected, |text| millis(text).ok())
    }

    fn read<T>(
        &self,
        key: &str,
        default: T,
        expected: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<T, BadOption> {
        let Some(text) = self.text(key) else {
            return Ok(default);
        };
        read(text).ok_or_else(|| self.bad(key, expected))
    }

    fn bad(&self, key: &str, expected: &str) -> BadOption {
        BadOption {
            key: key.to_owned(),
            value: self.text(key).unwrap_or_default().to_owned(),
            expected: expected.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<Options, String> {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Options::parse(&pairs.iter().map(own).collect()).map_err(|bad| bad.to_string())
    }

    #[test]
    fn defaults_are_those_of_a_cluster() {
        let options = parse(&[("parallelism.default", "4")]).expect("nothing of ours is set");
        assert_eq!(format!("{options:?}"), format!("{:?}", Options::defaults()));
        assert_eq!(options.repeat_limit, 3);
        assert_eq!(options.failover, FailoverStrategy::Region);
        assert_eq!(options.restart.name(), "exponential-delay");
    }

    #[test]
    fn strategies_are_chosen_by_flinks_names() {
        for (key, value, expected) in [
            (RESTART_STRATEGY, "none", "none"),
            (RESTART_STRATEGY, "off", "none"),
            (RESTART_STRATEGY, "Fixed-Delay", "fixed-delay"),
            (RESTART_STRATEGY_FORMER, "failurerate", "failure-rate"),
            (RESTART_STRATEGY, " exponentialdelay ", "exponential-delay"),
        ] {
            let options = parse(&[(key, value)]).expect("a known name");
            assert_eq!(options.restart.name(), expected, "{key}: {value}");
        }
    }

    #[test]
    fn a_bad_value_is_told_with_its_key() {
        let fixed = (RESTART_STRATEGY, "fixed-delay");
        let cases: [(&[(&str, &str)], &str); 8] = [
            (
                &[(RESTART_STRATEGY, "sometimes")],
                "option `restart-strategy.type` is `sometimes`, expected `none`, `fixed-delay`, \
                 `exponential-delay` or `failure-rate`",
            ),
            (
                &[fixed, (FIXED_DELAY_ATTEMPTS, "-1")],
                "option `restart-strategy.fixed-delay.attempts` is `-1`, expected a whole number",
            ),
            (
                &[fixed, (FIXED_DELAY_DELAY, "10 parsecs")],
                "option `restart-strategy.fixed-delay.delay` is `10 parsecs`, expected a duration \
                 such as `10 s`, `500 ms` or `1 min`",
            ),
            (
                &[(EXPONENTIAL_MAX, "1 ms")],
                "option `restart-strategy.exponential-delay.max-backoff` is `1 ms`, expected at \
                 least 1000 ms, the initial backoff",
            ),
            (
                &[(EXPONENTIAL_MULTIPLIER, "1")],
                "option `restart-strategy.exponential-delay.backoff-multiplier` is `1`, expected \
                 a number above 1",
            ),
            (
                &[(EXPONENTIAL_JITTER, "NaN")],
                "option `restart-strategy.exponential-delay.jitter-factor` is `NaN`, expected a \
                 number",
            ),
            (
                &[(REPEAT_LIMIT, "")],
                "option `restart-strategy.repeat-limit` is ``, expected a whole number",
            ),
            (
                &[(FAILOVER_STRATEGY, "half")],
                "option `jobmanager.execution.failover-strategy` is `half`, expected `region` or \
                 `full`",
            ),
        ];
        for (pairs, expected) in cases {
            assert_eq!(parse(pairs).expect_err(expected), expected);
        }
    }

    #[test]
    fn a_value_of_a_strategy_that_is_not_chosen_is_not_read() {
        assert!(parse(&[(FIXED_DELAY_DELAY, "soon")]).is_ok());
    }
}
