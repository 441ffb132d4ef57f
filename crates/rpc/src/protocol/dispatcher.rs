//! What is said to the dispatcher. Fenced: every message carries its token.

use super::details::{ExecutionGraphDetails, JobSummary};
use super::job_master::Drain;
use millstream_core::ids::{JobId, TriggerId};
use millstream_core::job_graph::JobGraph;
use serde::{Deserialize, Serialize};

/// What is said to the dispatcher.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ToDispatcher {
    /// Ask: run the job under this id. A known id is refused.
    SubmitJob {
        /// Chosen by the client, so that a repeated submission is noticed.
        job: JobId,
        /// What to run.
        graph: Box<JobGraph>,
    },
    /// Ask: end the job. Acknowledged at once.
    CancelJob {
        /// Which.
        job: JobId,
    },
    /// Ask: all jobs, running and ended.
    ListJobs,
    /// Ask: how everything of a job stands.
    RequestJobDetails {
        /// Which.
        job: JobId,
    },
    /// Ask that is answered when the job has ended: with its details.
    AwaitJobEnd {
        /// Which.
        job: JobId,
    },
    /// Ask, passed on: see [`super::job_master::ToJobMaster::TriggerSavepoint`].
    TriggerSavepoint {
        /// Which job.
        job: JobId,
        /// What its result is asked for by.
        trigger: TriggerId,
        /// Below which directory.
        directory: Option<String>,
        /// End the job with it.
        stop: Option<Drain>,
    },
    /// Ask, passed on: see [`super::job_master::ToJobMaster::TriggerCheckpoint`].
    TriggerCheckpoint {
        /// Which job.
        job: JobId,
        /// What its result is asked for by.
        trigger: TriggerId,
        /// It must refer to no file of an earlier one.
        full: bool,
    },
    /// Ask, passed on; of a job that has ended the dispatcher knows it. Answer:
    /// [`super::job_master::JobMasterAnswer::SnapshotProgress`].
    RequestSnapshotProgress {
        /// Which job.
        job: JobId,
        /// What was triggered.
        trigger: TriggerId,
    },
    /// Ask: end the cluster.
    Shutdown,
    /// Tell, of a job master in the same process: the job has ended.
    JobEnded {
        /// Which.
        job: JobId,
        /// How everything stood at the end.
        details: Box<ExecutionGraphDetails>,
    },
}

/// Answers of the dispatcher.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum DispatcherAnswer {
    /// All jobs.
    Jobs(Vec<JobSummary>),
    /// How everything of a job stands, or stood at its end.
    Details(Box<ExecutionGraphDetails>),
}
