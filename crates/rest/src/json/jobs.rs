//! `JobIdsWithStatusOverview`, `MultipleJobsDetails`, `JobStatusInfo`.

use crate::json::states::task_counters;
use millstream_core::ids::JobId;
use millstream_core::job_graph::RuntimeMode;
use millstream_core::status::JobStatus;
use millstream_core::time::Timestamp;
use millstream_rpc::protocol::details::JobSummary;
use serde::Serialize;
use std::collections::BTreeMap;

/// All jobs with their status only.
#[derive(Serialize)]
pub(crate) struct JobIdsWithStatus {
    jobs: Vec<JobIdWithStatus>,
}

#[derive(Serialize)]
struct JobIdWithStatus {
    id: JobId,
    status: JobStatus,
}

/// All jobs.
#[derive(Serialize)]
pub(crate) struct JobsOverview {
    jobs: Vec<ListedJob>,
}

/// A status alone.
#[derive(Serialize)]
pub(crate) struct JobStatusBody {
    pub(crate) status: JobStatus,
}

/// `JobDetails`: a job in the list.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct ListedJob {
    jid: JobId,
    name: String,
    #[serde(rename = "jobType")]
    job_type: RuntimeMode,
    #[serde(rename = "schedulerType")]
    scheduler_type: &'static str,
    #[serde(flatten)]
    span: JobSpan,
    state: JobStatus,
    last_modification: Timestamp,
    tasks: BTreeMap<String, u32>,
    pending_operators: u32,
}

/// When a job began and ended, and how long it has run.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct JobSpan {
    pub(crate) start_time: Timestamp,
    /// -1 until the job has ended for good.
    pub(crate) end_time: Timestamp,
    pub(crate) duration: i64,
}

impl JobSpan {
    pub(crate) fn of(job: &JobSummary, now: Timestamp) -> Self {
        let ended = job.ended.filter(|_| job.status.is_globally_terminal());
        Self {
            start_time: job.started,
            end_time: ended.unwrap_or(-1),
            duration: ended.unwrap_or(now) - job.started,
        }
    }
}

impl JobIdsWithStatus {
    pub(crate) fn of(jobs: &[JobSummary]) -> Self {
        let jobs = jobs.iter().map(|job| JobIdWithStatus { id: job.job, status: job.status });
        Self { jobs: jobs.collect() }
    }
}

impl JobsOverview {
    /// A job whose type is not known is taken for a streaming job.
    pub(crate) fn of(
        jobs: &[JobSummary],
        types: &BTreeMap<JobId, RuntimeMode>,
        now: Timestamp,
    ) -> Self {
        let listed = jobs.iter().map(|job| ListedJob {
            jid: job.job,
            name: job.name.clone(),
            job_type: types.get(&job.job).copied().unwrap_or(RuntimeMode::Streaming),
            scheduler_type: "Default",
            span: JobSpan::of(job, now),
            state: job.status,
            last_modification: job.last_modified,
            tasks: task_counters(&job.tasks),
            pending_operators: 0,
        });
        Self { jobs: listed.collect() }
    }
}
