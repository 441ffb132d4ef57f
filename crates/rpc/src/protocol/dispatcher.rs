//! What is said to the dispatcher. Fenced: every message carries its token.

use super::details::{ExecutionGraphDetails, JobSummary};
use millstream_core::ids::JobId;
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
