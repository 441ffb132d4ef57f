//! What became of jobs: the details of the latest, and the bare fate of many more.
//!
//! Details go after a while or when there are too many. Ids are kept longer, so that a job that is
//! submitted again long after it ended is still recognised.

use millstream_core::ids::JobId;
use millstream_core::status::JobStatus;
use millstream_core::time::Mono;
use millstream_rpc::protocol::details::{ExecutionGraphDetails, JobSummary};
use std::collections::{BTreeMap, VecDeque};

/// So many ids are remembered: some 5 MB at most.
const IDS_MAX: usize = 100_000;

/// Jobs that have ended.
#[derive(Debug)]
pub(super) struct EndedJobs {
    details_max: usize,
    ttl_ms: u64,
    details: BTreeMap<JobId, Box<ExecutionGraphDetails>>,
    /// The keys of `details`, oldest first, with the time at which they go.
    going: VecDeque<(Mono, JobId)>,
    statuses: BTreeMap<JobId, JobStatus>,
    /// The keys of `statuses`, oldest first.
    ids: VecDeque<JobId>,
}

impl EndedJobs {
    pub(super) fn new(details_max: usize, ttl_ms: u64) -> Self {
        Self {
            details_max,
            ttl_ms,
            details: BTreeMap::new(),
            going: VecDeque::new(),
            statuses: BTreeMap::new(),
            ids: VecDeque::new(),
        }
    }

    /// Keeps what became of a job. A job ends once.
    pub(super) fn insert(&mut self, now: Mono, job: JobId, details: Box<ExecutionGraphDetails>) {
        let status = details.summary.status;
        let former = self.statuses.insert(job, status);
        assert!(former.is_none(), "{job} has already ended: {former:?}");
        self.ids.push_back(job);
        self.details.insert(job, details);
        self.going.push_back((now + self.ttl_ms, job));
        self.trim(now);
    }

    /// Drops what is too old or too much.
    pub(super) fn trim(&mut self, now: Mono) {
        while let Some((at, job)) = self.going.front().copied() {
            if now < at && self.going.len() <= self.details_max {
                break;
            }
            self.going.pop_front();
            self.details.remove(&job);
        }
        while self.ids.len() > IDS_MAX {
            if let Some(job) = self.ids.pop_front() {
                self.statuses.remove(&job);
            }
        }
    }

    /// How the job ended, if it is known to have.
    pub(super) fn status(&self, job: JobId) -> Option<JobStatus> {
        self.statuses.get(&job).copied()
    }

    /// How everything stood at its end, if that is still kept.
    pub(super) fn details(&self, job: JobId) -> Option<&ExecutionGraphDetails> {
        self.details.get(&job).map(|details| &**details)
    }

    /// Those whose details are kept.
    pub(super) fn summaries(&self) -> impl Iterator<Item = &JobSummary> {
        self.details.values().map(|details| &details.summary)
    }

    /// Checks the bounds; a violation panics.
    pub(super) fn check(&self) {
        assert!(self.details.len() <= self.details_max);
        assert_eq!(self.details.len(), self.going.len());
        assert_eq!(self.statuses.len(), self.ids.len());
    }
}
