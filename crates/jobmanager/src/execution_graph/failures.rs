//! The last failures of a job, for people.

use millstream_rpc::protocol::details::FailureDetails;
use std::collections::VecDeque;

/// How many failures are remembered (Flink: `web.exception-history-size`).
pub const FAILURES_MAX: usize = 16;

/// The last failures, newest first.
#[derive(Clone, Debug, Default)]
pub struct Failures {
    newest_first: VecDeque<FailureDetails>,
}

impl Failures {
    /// Remembers a failure, and forgets the oldest beyond [`FAILURES_MAX`].
    pub fn record(&mut self, failure: FailureDetails) {
        self.newest_first.push_front(failure);
        self.newest_first.truncate(FAILURES_MAX);
    }

    /// Newest first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &FailureDetails> {
        self.newest_first.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_sixteen_are_kept() {
        let mut failures = Failures::default();
        for at in 0..20 {
            failures.record(FailureDetails {
                at,
                message: String::new(),
                task: None,
                resource: None,
            });
        }
        let kept: Vec<i64> = failures.iter().map(|failure| failure.at).collect();
        assert_eq!(kept, (4..20).rev().collect::<Vec<_>>());
    }
}
