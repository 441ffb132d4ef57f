//! `JobExecutionResultResponseBody`.

use crate::json::exceptions::first_line;
use millstream_core::ids::JobId;
use millstream_core::status::JobStatus;
use millstream_core::time::Timestamp;
use millstream_rpc::protocol::details::{ExecutionGraphDetails, FailureDetails};
use serde::Serialize;
use std::collections::BTreeMap;

/// How a job ended, if it has.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ExecutionResult {
    status: QueueStatus,
    /// As in Flink, not there while the job runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    job_execution_result: Option<JobResult>,
}

#[derive(Serialize)]
struct QueueStatus {
    id: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct JobResult {
    id: JobId,
    name: String,
    application_status: &'static str,
    accumulator_results: BTreeMap<String, String>,
    net_runtime: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure_cause: Option<FailureCause>,
    application_id: JobId,
    start_time: Timestamp,
    end_time: Timestamp,
}

/// `SerializedThrowable`. Java's serialised form does not exist here: it is empty.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct FailureCause {
    class: String,
    stack_trace: String,
    serialized_throwable: &'static str,
}

impl ExecutionResult {
    pub(crate) fn in_progress() -> Self {
        Self { status: QueueStatus { id: "IN_PROGRESS" }, job_execution_result: None }
    }

    pub(crate) fn of(details: &ExecutionGraphDetails) -> Self {
        if !details.summary.status.is_globally_terminal() {
            return Self::in_progress();
        }
        let result = Some(JobResult::of(details));
        Self { status: QueueStatus { id: "COMPLETED" }, job_execution_result: result }
    }
}

impl JobResult {
    fn of(details: &ExecutionGraphDetails) -> Self {
        let job = &details.summary;
        let end_time = job.ended.unwrap_or(job.last_modified);
        Self {
            id: job.job,
            name: job.name.clone(),
            application_status: match job.status {
                JobStatus::Finished => "SUCCEEDED",
                JobStatus::Canceled => "CANCELED",
                JobStatus::Failed => "FAILED",
                _ => "UNKNOWN",
            },
            accumulator_results: details
                .accumulators()
                .iter()
                .map(|(name, value)| (name.clone(), value.to_string()))
                .collect(),
            net_runtime: end_time - job.started,
            failure_cause: details.root_failure.as_ref().map(FailureCause::of),
            application_id: job.job,
            start_time: job.started,
            end_time,
        }
    }
}

impl FailureCause {
    fn of(failure: &FailureDetails) -> Self {
        Self {
            class: first_line(&failure.message).to_owned(),
            stack_trace: failure.message.clone(),
            serialized_throwable: "",
        }
    }
}
