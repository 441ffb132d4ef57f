//! The operations, and what their shell owes us.
//!
//! Each operation ends with exactly one [`DispatcherDone`]. All of them may be repeated after an
//! outcome that is unknown or bad, and doing one twice is the same as doing it once. Those that
//! write to a store carry the dispatcher's term of leadership as `epoch`; the store refuses an
//! older one.

use crate::ha::ResultRecord;
use millstream_core::ids::{FencingToken, JobId};
use millstream_core::job_graph::JobGraph;
use millstream_core::time::{Mono, Timestamp};
use millstream_rpc::machine::OpId;
use std::sync::Arc;

/// The name of what no operation asked for.
pub const UNSOLICITED: OpId = OpId(0);

/// Work that the dispatcher has done by others.
#[derive(Clone, Debug, PartialEq)]
pub enum DispatcherOp {
    /// Put the plan into the plan store, so that the job survives us. Without high availability
    /// there is nothing to do. The same plan again is no error.
    PersistGraph {
        /// The job.
        job: JobId,
        /// Its plan.
        graph: Arc<JobGraph>,
        /// When it was submitted.
        submitted: Timestamp,
        /// Who writes.
        epoch: FencingToken,
    },
    /// Make the job's master as an endpoint of this process, with this token, and start it. Done
    /// when it can be spoken to. `Failed`: there is none and never will be, because this plan
    /// cannot be run; the submitter is told why.
    StartJobMaster {
        /// The job; also the endpoint's name.
        job: JobId,
        /// Its plan.
        graph: Arc<JobGraph>,
        /// The job master's term of leadership.
        token: FencingToken,
        /// When the job was submitted.
        submitted: Timestamp,
    },
    /// Write down that the job has ended, so that nobody ever runs it again. Without high
    /// availability there is nothing to do.
    RecordResult {
        /// The job.
        job: JobId,
        /// How it ended.
        result: ResultRecord,
        /// Who writes.
        epoch: FencingToken,
    },
    /// Stop the job's master (`Input::Stop`), wait until it has stopped, and take its endpoint
    /// away. Done also if there is none.
    StopJobMaster {
        /// The job.
        job: JobId,
    },
    /// Delete everything that the job left: plan, blobs, pointers in high-availability stores;
    /// last of all, mark its recorded result as clean.
    CleanUpJob {
        /// The job.
        job: JobId,
        /// Who deletes.
        epoch: FencingToken,
    },
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DispatcherDone {
    /// It is done.
    Done,
    /// It is not done and has left nothing behind that counts.
    Failed {
        /// Why.
        reason: String,
    },
    /// It may have been done.
    Unknown {
        /// What happened.
        reason: String,
    },
    /// By itself, under [`UNSOLICITED`]: this process does not lead any more.
    Deposed {
        /// Why.
        reason: String,
    },
}

/// How far the current operation of a job is.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub(super) state: WorkState,
    /// Bad or unknown outcomes in a row: the pause grows with them.
    failures: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum WorkState {
    /// There is nothing to do.
    #[default]
    Idle,
    /// Its end will be called so.
    Doing(OpId),
    /// It is repeated then.
    RepeatAt(Mono),
}

impl Work {
    pub(super) fn is_doing(&self, op: OpId) -> bool {
        self.state == WorkState::Doing(op)
    }

    pub(super) fn is_due(&self, now: Mono) -> bool {
        matches!(self.state, WorkState::RepeatAt(at) if at <= now)
    }

    pub(super) fn begin(&mut self, op: OpId) {
        self.state = WorkState::Doing(op);
    }

    /// The outcome was bad or unknown; when to try again. Pauses double up to the bound.
    pub(super) fn repeat(&mut self, now: Mono, initial_ms: u64, max_ms: u64) -> Mono {
        let factor = 1_u64 << self.failures.min(32);
        let pause = initial_ms.saturating_mul(factor).min(max_ms);
        self.failures = self.failures.saturating_add(1);
        let at = now + pause;
        self.state = WorkState::RepeatAt(at);
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_bound() {
        let mut work = Work::default();
        let pauses: Vec<u64> = (0..14).map(|_| work.repeat(Mono(0), 1_000, 3_600_000).0).collect();
        assert_eq!(pauses[..4], [1_000, 2_000, 4_000, 8_000]);
        assert_eq!(pauses[11..], [2_048_000, 3_600_000, 3_600_000]);
    }
}
