//! The life of a job: its status, with every legal move, and when each was entered.

use millstream_core::status::JobStatus;
use millstream_core::time::Timestamp;
use std::collections::BTreeMap;

/// Every legal move of a job at its master; [`Life::enter`] asserts it.
pub fn may_become(current: JobStatus, next: JobStatus) -> bool {
    use JobStatus::{
        Canceled, Cancelling, Created, Failed, Failing, Finished, Initializing, Reconciling,
        Restarting, Running, Suspended,
    };
    match current {
        Initializing => matches!(next, Created | Failing | Suspended),
        Created => matches!(next, Running | Failing | Cancelling | Suspended),
        Running => {
            matches!(next, Restarting | Failing | Cancelling | Finished | Suspended)
        }
        Restarting => matches!(next, Running | Failing | Cancelling | Suspended),
        Failing => matches!(next, Failed | Suspended),
        Cancelling => matches!(next, Canceled | Suspended),
        Failed | Canceled | Finished | Suspended | Reconciling => false,
    }
}

/// Nothing follows at this job master.
pub fn is_over(status: JobStatus) -> bool {
    status.is_globally_terminal() || status == JobStatus::Suspended
}

/// A job's status.
#[derive(Clone, Debug)]
pub struct Life {
    status: JobStatus,
    /// When each status was entered last.
    times: BTreeMap<JobStatus, Timestamp>,
    /// When the status changed last.
    changed: Timestamp,
    /// How often the job came to its end: at most once.
    ends: u32,
}

impl Life {
    /// The job is being started.
    pub fn new(wall: Timestamp) -> Self {
        let status = JobStatus::Initializing;
        Self { status, times: BTreeMap::from([(status, wall)]), changed: wall, ends: 0 }
    }

    /// The one place where the status changes.
    pub fn enter(&mut self, next: JobStatus, wall: Timestamp) {
        assert!(may_become(self.status, next), "a job cannot go from {} to {next}", self.status);
        self.status = next;
        self.times.insert(next, wall);
        self.changed = wall;
        self.ends += u32::from(is_over(next));
    }

    /// How the job stands.
    pub fn status(&self) -> JobStatus {
        self.status
    }

    /// When each status was entered last.
    pub fn times(&self) -> &BTreeMap<JobStatus, Timestamp> {
        &self.times
    }

    /// When the status changed last.
    pub fn changed(&self) -> Timestamp {
        self.changed
    }

    /// Whether this job master has nothing more to do with it.
    pub fn is_over(&self) -> bool {
        is_over(self.status)
    }

    /// The end is reached once.
    pub fn check(&self) {
        assert_eq!(self.ends, u32::from(self.is_over()), "a job has {} ends", self.ends);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_follows_an_end_and_every_other_status_can_be_left() {
        for status in JobStatus::ALL {
            let next = JobStatus::ALL.into_iter().filter(|next| may_become(status, *next));
            let over = is_over(status) || status == JobStatus::Reconciling;
            assert_eq!(next.count() == 0, over, "{status}");
        }
    }

    #[test]
    fn whatever_lives_can_be_suspended() {
        for status in JobStatus::ALL.into_iter().filter(|status| !is_over(*status)) {
            let reserved = status == JobStatus::Reconciling;
            assert!(reserved || may_become(status, JobStatus::Suspended), "{status}");
        }
    }

    #[test]
    #[should_panic(expected = "cannot go from FINISHED to FAILING")]
    fn a_second_end_is_a_bug() {
        let mut life = Life::new(0);
        for status in
            [JobStatus::Created, JobStatus::Running, JobStatus::Finished, JobStatus::Failing]
        {
            life.enter(status, 1);
        }
    }
}
