//! [`AsyncOptions`]: how asynchronous calls are made.

use millstream_core::OperatorError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// So many records may be under way in each subtask, unless the program says otherwise.
const CAPACITY: usize = 100;

/// A call that has not answered by then has failed, unless the program says otherwise.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How asynchronous calls are made: whether results keep the order of the records, how many records may
/// be under way, how long an answer may take, and what is tried again.
///
/// ```
/// use millstream_operator::asynchronous::{AsyncOptions, AsyncRetry};
/// use std::time::Duration;
///
/// let options = AsyncOptions::unordered()
///     .capacity(1_000)
///     .timeout(Duration::from_secs(5))
///     .retry(AsyncRetry::exponential(4, Duration::from_millis(50), Duration::from_secs(1)));
/// # let _ = options;
/// ```
#[derive(Clone, Debug)]
pub struct AsyncOptions {
    pub(super) ordered: bool,
    pub(super) capacity: usize,
    pub(super) timeout: Option<Duration>,
    pub(super) retry: AsyncRetry,
}

impl AsyncOptions {
    /// Results come in the order of their records: one slow answer holds up those behind it.
    pub fn ordered() -> Self {
        let (capacity, timeout) = (CAPACITY, Some(TIMEOUT));
        Self { ordered: true, capacity, timeout, retry: AsyncRetry::never() }
    }

    /// Results come as they are there, but never on the other side of a watermark than their record.
    pub fn unordered() -> Self {
        Self { ordered: false, ..Self::ordered() }
    }

    /// How many records of a subtask may be under way; 100 without this. When there are so many, no
    /// further ones are read.
    pub fn capacity(self, records: usize) -> Self {
        Self { capacity: records, ..self }
    }

    /// How long the answer about a record may take, retries included; a minute without this.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }

    /// Answers are waited for as long as it takes: one that never comes stops the stream for ever.
    pub fn without_timeout(self) -> Self {
        Self { timeout: None, ..self }
    }

    /// Which failures are tried again, and when; none without this.
    pub fn retry(self, retry: AsyncRetry) -> Self {
        Self { retry, ..self }
    }
}

/// Which failed calls are made again, and when.
#[derive(Clone)]
pub struct AsyncRetry {
    calls_max: u32,
    delay: Duration,
    delay_max: Duration,
    is_worth_it: Arc<dyn Fn(&OperatorError) -> bool + Send + Sync>,
}

impl AsyncRetry {
    /// The first failure counts.
    pub fn never() -> Self {
        Self::fixed(1, Duration::ZERO)
    }

    /// At most so many calls per record, with the same pause between two of them.
    pub fn fixed(calls_max: u32, delay: Duration) -> Self {
        Self { calls_max, delay, delay_max: delay, is_worth_it: Arc::new(|_| true) }
    }

    /// At most so many calls per record, with pauses that double from the first to the longest.
    pub fn exponential(calls_max: u32, first: Duration, longest: Duration) -> Self {
        Self { delay_max: longest, ..Self::fixed(calls_max, first) }
    }

    /// Only errors for which this is true are worth another call.
    pub fn only_if(self, worth: impl Fn(&OperatorError) -> bool + Send + Sync + 'static) -> Self {
        Self { is_worth_it: Arc::new(worth), ..self }
    }

    /// After so many calls, of which the last has failed like this: the pause before the next one.
    pub(super) fn pause(&self, calls: u32, error: &OperatorError) -> Option<Duration> {
        if calls >= self.calls_max || !(self.is_worth_it)(error) {
            return None;
        }
        let doubled = 1_u32.checked_shl(calls.saturating_sub(1)).unwrap_or(u32::MAX);
        Some(self.delay.saturating_mul(doubled).min(self.delay_max))
    }
}

impl fmt::Debug for AsyncRetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { calls_max, delay, delay_max, .. } = self;
        write!(f, "at most {calls_max} calls, pauses from {delay:?} to {delay_max:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn pauses_double_up_to_the_longest_and_end_with_the_calls() {
        let (retry, error) = (AsyncRetry::exponential(5, 10 * MS, 35 * MS), OperatorError::new(""));
        let pauses: Vec<_> = (1..=5).map(|calls| retry.pause(calls, &error)).collect();
        let expected = [Some(10 * MS), Some(20 * MS), Some(35 * MS), Some(35 * MS), None];
        assert_eq!(pauses, expected);
        assert_eq!(AsyncRetry::exponential(100, MS, 9 * MS).pause(90, &error), Some(9 * MS));
        assert_eq!(AsyncRetry::never().pause(1, &error), None);
    }

    #[test]
    fn an_error_that_is_not_worth_it_is_not_tried_again() {
        let retry = AsyncRetry::fixed(9, MS).only_if(|error| error.message.contains("busy"));
        assert_eq!(retry.pause(1, &OperatorError::new("busy")), Some(MS));
        assert_eq!(retry.pause(1, &OperatorError::new("no such user")), None);
    }
}
