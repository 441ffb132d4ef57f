//! What was set off and is asked for again: `TriggerResponse`, `SavepointInfo`, `CheckpointInfo`, and
//! the requests that set it off.

use millstream_checkpoint::coordinator::SnapshotProgress;
use millstream_core::ids::TriggerId;
use serde::{Deserialize, Serialize};

/// It has been set off: ask again with this.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Triggered {
    pub(crate) request_id: TriggerId,
}

/// How far it is.
#[derive(Serialize)]
pub(crate) struct Progress<T> {
    status: QueueStatus,
    /// As in Flink, nothing until it is done.
    operation: Option<T>,
}

#[derive(Serialize)]
struct QueueStatus {
    id: &'static str,
}

/// What became of a savepoint.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct SavepointInfo {
    location: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure_cause: Option<FailureCause>,
}

/// What became of a checkpoint.
#[derive(Serialize)]
pub(crate) struct CheckpointInfo {
    #[serde(rename = "checkpointId")]
    checkpoint: Option<u64>,
    #[serde(rename = "failureCause", skip_serializing_if = "Option::is_none")]
    failure_cause: Option<FailureCause>,
}

/// `SerializedThrowable`, without Java's serialised form.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct FailureCause {
    class: String,
    stack_trace: String,
    serialized_throwable: &'static str,
}

impl FailureCause {
    fn of(cause: String) -> Self {
        let class = super::exceptions::first_line(&cause).to_owned();
        Self { class, stack_trace: cause, serialized_throwable: "" }
    }
}

impl<T> Progress<T> {
    fn new(operation: Option<T>) -> Self {
        let id = if operation.is_some() { "COMPLETED" } else { "IN_PROGRESS" };
        Self { status: QueueStatus { id }, operation }
    }
}

impl Progress<SavepointInfo> {
    pub(crate) fn of_savepoint(progress: SnapshotProgress) -> Self {
        Self::new(match progress {
            SnapshotProgress::InProgress => None,
            SnapshotProgress::Completed { path, .. } => {
                Some(SavepointInfo { location: Some(path), failure_cause: None })
            }
            SnapshotProgress::Failed { cause } => {
                Some(SavepointInfo { location: None, failure_cause: Some(FailureCause::of(cause)) })
            }
        })
    }
}

impl Progress<CheckpointInfo> {
    pub(crate) fn of_checkpoint(progress: SnapshotProgress) -> Self {
        Self::new(match progress {
            SnapshotProgress::InProgress => None,
            SnapshotProgress::Completed { checkpoint, .. } => {
                Some(CheckpointInfo { checkpoint: Some(checkpoint.0), failure_cause: None })
            }
            SnapshotProgress::Failed { cause } => Some(CheckpointInfo {
                checkpoint: None,
                failure_cause: Some(FailureCause::of(cause)),
            }),
        })
    }
}

/// `SavepointTriggerRequestBody`. All savepoints are canonical: `formatType` changes nothing.
#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(crate) struct SavepointRequest {
    pub(crate) target_directory: Option<String>,
    pub(crate) cancel_job: Option<bool>,
    #[serde(rename = "triggerId")]
    pub(crate) trigger: Option<TriggerId>,
}

/// `StopWithSavepointRequestBody`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct StopRequest {
    pub(crate) target_directory: Option<String>,
    pub(crate) drain: Option<bool>,
    #[serde(rename = "triggerId")]
    pub(crate) trigger: Option<TriggerId>,
}

/// `CheckpointTriggerRequestBody`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct CheckpointRequest {
    pub(crate) checkpoint_type: Option<String>,
    #[serde(rename = "triggerId")]
    pub(crate) trigger: Option<TriggerId>,
}
