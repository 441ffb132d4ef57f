//! What holds after every step. A violation panics: going on wrong is worse than stopping.

use super::election::{Io, LeaderElection, Role};

impl LeaderElection {
    pub(super) fn check_invariants(&self) {
        match &self.role {
            Role::Leading(term) => {
                assert_eq!(term.epoch, self.last_epoch, "it leads in a term that is not its own");
                assert_eq!(term.record.epoch, term.epoch, "the record is of another term");
                assert!(term.record.is_led_by(&self.config.process), "the record names another");
                let end = term.lease_end(&self.config);
                assert!(self.now < end, "it leads although its lease is over");
                if let Some(proposal) = &term.proposal {
                    assert_eq!(proposal.record.epoch, term.epoch, "a write of another term");
                    assert!(proposal.record.beat > term.record.beat, "a write that is not new");
                }
            }
            Role::Following => {
                let waits = self.io.is_some() || self.poll_at > self.now;
                assert!(waits, "a contender that never looks again");
            }
            Role::Created | Role::Leaving { .. } | Role::Stopped => (),
        }
        if let Some((_, Io::TakeOver { record, .. })) = &self.io {
            assert!(record.epoch > self.last_epoch, "a term begins twice");
        }
    }
}
