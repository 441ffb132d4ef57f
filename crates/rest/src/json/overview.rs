//! `ClusterOverviewWithVersion`.

use crate::config::version;
use millstream_core::status::JobStatus;
use millstream_rpc::protocol::details::{ClusterResources, JobSummary};
use serde::Serialize;

/// Workers, slots and jobs, counted.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ClusterOverview {
    taskmanagers: u32,
    slots_total: u32,
    slots_available: u32,
    taskmanagers_blocked: u32,
    slots_free_and_blocked: u32,
    /// All that have not ended.
    jobs_running: usize,
    jobs_finished: usize,
    jobs_cancelled: usize,
    jobs_failed: usize,
    flink_version: String,
    flink_commit: String,
    millstream_version: &'static str,
}

impl ClusterOverview {
    pub(crate) fn of(resources: ClusterResources, jobs: &[JobSummary], revision: &str) -> Self {
        let count = |wanted| jobs.iter().filter(|job| job.status == wanted).count();
        Self {
            taskmanagers: resources.task_managers,
            slots_total: resources.slots_total,
            slots_available: resources.slots_free,
            taskmanagers_blocked: 0,
            slots_free_and_blocked: 0,
            jobs_running: jobs.iter().filter(|job| !job.status.is_globally_terminal()).count(),
            jobs_finished: count(JobStatus::Finished),
            jobs_cancelled: count(JobStatus::Canceled),
            jobs_failed: count(JobStatus::Failed),
            flink_version: version(),
            flink_commit: revision.to_owned(),
            millstream_version: env!("CARGO_PKG_VERSION"),
        }
    }
}
