//! What people may ask: the facts behind REST and CLI. Wall-clock times are milliseconds UTC.

use super::job_master::TaskMetrics;
use super::resource::{ResourceProfile, SlotReport};
use super::resource_manager::TaskExecutorRegistration;
use millstream_checkpoint::coordinator::SnapshotProgress;
use millstream_core::accumulator::{self, AccumulatorValue};
use millstream_core::checkpoint::{CheckpointId, SnapshotKind};
use millstream_core::ids::{
    AllocationId, ExecutionAttemptId, InstanceId, JobId, ResourceId, TriggerId,
};
use millstream_core::job_graph::JobGraph;
use millstream_core::status::{ExecutionState, JobStatus};
use millstream_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How many workers and slots there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ClusterResources {
    /// Registered workers.
    pub task_managers: u32,
    /// Their slots.
    pub slots_total: u32,
    /// Slots that nobody has.
    pub slots_free: u32,
}

/// A worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskManagerDetails {
    /// What it said at registration.
    pub registration: TaskExecutorRegistration,
    /// Its registration.
    pub instance: InstanceId,
    /// Its slots.
    pub slots: SlotReport,
    /// When it was last heard of.
    pub last_heartbeat: Timestamp,
    /// What its free slots have together.
    pub free: ResourceProfile,
}

/// A job in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSummary {
    /// Its id.
    pub job: JobId,
    /// Its name.
    pub name: String,
    /// How it stands.
    pub status: JobStatus,
    /// When it was submitted.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// When its status last changed.
    pub last_modified: Timestamp,
    /// Its subtasks, by state.
    pub tasks: BTreeMap<ExecutionState, u32>,
}

/// A whole execution graph.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExecutionGraphDetails {
    /// The job in a list.
    pub summary: JobSummary,
    /// When the job entered each status that it has had (the last time).
    pub status_times: BTreeMap<JobStatus, Timestamp>,
    /// What was submitted.
    pub graph: JobGraph,
    /// In the order of the graph's vertices.
    pub vertices: Vec<VertexDetails>,
    /// Why the job failed, if it did: the root cause.
    pub root_failure: Option<FailureDetails>,
    /// Recent failures, newest first, at most 16.
    pub failures: Vec<FailureDetails>,
    /// What the job is waiting for, in a sentence, if it waits: slots, workers, a restart delay.
    pub waiting_for: Option<String>,
    /// How often tasks were restarted.
    pub restarts: u32,
    /// Its checkpoints; nothing for a job that takes none.
    pub checkpoints: Option<Box<CheckpointDetails>>,
}

impl ExecutionGraphDetails {
    /// What the accumulators of all tasks have come to.
    pub fn accumulators(&self) -> BTreeMap<String, AccumulatorValue> {
        let subtasks = self.vertices.iter().flat_map(|vertex| &vertex.subtasks);
        accumulator::join(subtasks.map(|subtask| &subtask.metrics.accumulators))
    }
}

/// The checkpoints of a job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointDetails {
    /// How many were completed, savepoints included.
    pub completed: u64,
    /// How many were given up.
    pub failed: u64,
    /// Those that are being taken.
    pub pending: Vec<CheckpointId>,
    /// Those that are kept, oldest first.
    pub retained: Vec<CompletedDetails>,
    /// What tasks would go on from after a failure.
    pub base: Option<CheckpointId>,
    /// What people asked for, and what has become of it.
    pub requests: Vec<(TriggerId, SnapshotProgress)>,
}

/// A completed checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompletedDetails {
    /// Its number.
    pub checkpoint: CheckpointId,
    /// What it was taken for.
    pub kind: SnapshotKind,
    /// When it was triggered.
    pub triggered: Timestamp,
    /// Bytes that it refers to.
    pub bytes: u64,
    /// Its directory.
    pub path: String,
}

/// How the subtasks of a vertex stand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VertexDetails {
    /// The current attempt of each subtask.
    pub subtasks: Vec<AttemptDetails>,
}

/// How an attempt stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptDetails {
    /// Which.
    pub attempt: ExecutionAttemptId,
    /// Its state.
    pub state: ExecutionState,
    /// When it entered each state that it has had.
    pub state_times: BTreeMap<ExecutionState, Timestamp>,
    /// Its worker and slot, if it has one.
    pub place: Option<(ResourceId, AllocationId)>,
    /// Host and data port of its worker.
    pub endpoint: Option<String>,
    /// Its counters.
    pub metrics: TaskMetrics,
}

/// A failure that the job has seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureDetails {
    /// When.
    pub at: Timestamp,
    /// What happened.
    pub message: String,
    /// The task, if one failed: its name and subtask, `map -> sink (2/4)`.
    pub task: Option<String>,
    /// Its worker.
    pub resource: Option<ResourceId>,
}
