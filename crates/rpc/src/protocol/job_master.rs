//! What is said to a job master. Fenced: every message carries its token.

use super::Address;
use super::details::ExecutionGraphDetails;
use super::resource::{ResourceRequirement, SlotOffer};
use millstream_checkpoint::coordinator::SnapshotProgress;
use millstream_checkpoint::handle::TaskState;
use millstream_core::accumulator::AccumulatorValue;
use millstream_core::checkpoint::CheckpointId;
use millstream_core::ids::{
    AllocationId, ExecutionAttemptId, FencingToken, JobId, JobVertexId, ResourceId, TriggerId,
};
use millstream_core::job_graph::SourceSplit;
use millstream_core::metric::MetricValue;
use millstream_core::status::ExecutionState;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What is said to a job master.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ToJobMaster {
    /// Ask, of a task executor. Answers: [`JobMasterAnswer::TaskExecutorRegistered`],
    /// [`JobMasterAnswer::Rejected`] (final) or a refusal.
    RegisterTaskExecutor {
        /// Must be this job.
        job: JobId,
        /// Who.
        resource: ResourceId,
        /// Where it is.
        address: Address,
        /// `host:port` of its data port.
        data_address: String,
    },
    /// Ask, of a task executor: use these slots. Answers: [`JobMasterAnswer::SlotsAccepted`] or a
    /// refusal when the worker is not registered here.
    OfferSlots {
        /// Who.
        resource: ResourceId,
        /// Which.
        slots: Vec<SlotOffer>,
    },
    /// Tell, of a task executor: a slot has failed.
    FailSlot {
        /// Who.
        resource: ResourceId,
        /// Which.
        allocation: AllocationId,
        /// Why.
        cause: String,
    },
    /// Ask, of a task executor: an attempt has changed its state. An unknown attempt is refused,
    /// and the task executor then fails it.
    UpdateTaskExecutionState(Box<TaskExecutionState>),
    /// Ask, of a task executor for one of its tasks: the next part of a source's input.
    RequestNextSplit {
        /// The source's vertex.
        vertex: JobVertexId,
        /// Who asks.
        attempt: ExecutionAttemptId,
    },
    /// Tell, of a task executor for one of its tasks: its part of a checkpoint is durable.
    AcknowledgeCheckpoint {
        /// Which task.
        attempt: ExecutionAttemptId,
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// Where its state is.
        state: Box<TaskState>,
        /// How long it took, and how much it was.
        metrics: SnapshotMetrics,
    },
    /// Tell, of a task executor for one of its tasks: it cannot take part in a checkpoint.
    DeclineCheckpoint {
        /// Which task.
        attempt: ExecutionAttemptId,
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// Why.
        cause: String,
    },
    /// Tell, of a task executor for one of its tasks: all its records are processed; it waits for a
    /// checkpoint that says so, and then ends.
    EndOfData {
        /// Which task.
        attempt: ExecutionAttemptId,
    },
    /// Tell, of a task executor for one of its tasks: how far a source of an alignment group is.
    ReportWatermark(WatermarkReport),
    /// Tell, of a task executor: the answer to a heartbeat.
    HeartbeatFromTaskExecutor {
        /// Who.
        resource: ResourceId,
        /// Attempts that exist there for this job.
        executions: BTreeSet<ExecutionAttemptId>,
        /// Counters of those attempts.
        metrics: BTreeMap<ExecutionAttemptId, TaskMetrics>,
    },
    /// Tell, of the resource manager: are you there? Answered by a tell.
    HeartbeatFromResourceManager {
        /// The resource manager's process.
        resource_manager: ResourceId,
    },
    /// Tell, of the resource manager: this is all you will get for now.
    NotifyNotEnoughResources {
        /// What the job has.
        acquired: Vec<ResourceRequirement>,
    },
    /// Tell: a task executor is going away.
    DisconnectTaskExecutor {
        /// Who.
        resource: ResourceId,
        /// Why.
        cause: String,
    },
    /// Tell: the resource manager is going away.
    DisconnectResourceManager {
        /// The resource manager's token.
        token: FencingToken,
        /// Why.
        cause: String,
    },
    /// Ask, of the dispatcher: end the job. Acknowledged at once.
    Cancel,
    /// Ask, of the dispatcher: take a savepoint, or end the job with one. Acknowledged at once; the
    /// same trigger again is the same savepoint. Its result: [`ToJobMaster::RequestSnapshotProgress`].
    TriggerSavepoint {
        /// What its result is asked for by.
        trigger: TriggerId,
        /// It gets a directory of its own below this one; nothing: the configured one.
        directory: Option<String>,
        /// End the job with it: whether all input counts as ended before.
        stop: Option<Drain>,
    },
    /// Ask, of the dispatcher: take a checkpoint now. Like [`ToJobMaster::TriggerSavepoint`].
    TriggerCheckpoint {
        /// What its result is asked for by.
        trigger: TriggerId,
        /// It must refer to no file of an earlier one.
        full: bool,
    },
    /// Ask, of the dispatcher: what has become of a savepoint or checkpoint that was asked for.
    RequestSnapshotProgress {
        /// Which.
        trigger: TriggerId,
    },
    /// Ask, of the dispatcher: how everything stands.
    RequestDetails,
}

/// How a job ends with a savepoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Drain {
    /// It stops where it is, and is meant to go on from there.
    No,
    /// All input counts as ended: windows and timers fire, and it is not meant to go on.
    Yes,
}

/// What a task executor gives as the cause when it declines a checkpoint for a task that has ended or
/// is ending: no failure of the checkpoint.
pub const NOT_RUNNING: &str = "the task does not run";

/// A change of an attempt's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskExecutionState {
    /// Which attempt.
    pub attempt: ExecutionAttemptId,
    /// Its new state.
    pub state: ExecutionState,
    /// Why, if it failed.
    pub failure: Option<TaskFailure>,
    /// Its counters at that moment.
    pub metrics: TaskMetrics,
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskFailure {
    /// What kind of failure.
    pub kind: TaskFailureKind,
    /// The whole story: operator, source line, message, last output of the process.
    pub message: String,
    /// Two failures with the same fingerprint are the same bug: operator, error and source position.
    /// 0: a fault of the cluster, which never counts as a repetition.
    pub fingerprint: u64,
}

/// What kind of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskFailureKind {
    /// An error or panic of user code, or anything else that a new attempt may survive.
    Recoverable,
    /// No attempt can succeed: plan mismatch, artefact for another machine.
    NonRecoverable,
    /// The input could not be read: this producer has to run again.
    PartitionUnavailable(millstream_core::ids::PartitionId),
}

/// Counters of one attempt.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TaskMetrics {
    /// Records read.
    pub records_in: u64,
    /// Records written.
    pub records_out: u64,
    /// Bytes read from other processes.
    pub bytes_in: u64,
    /// Bytes sent to other processes.
    pub bytes_out: u64,
    /// Milliseconds of the last second in which the task worked.
    pub busy_ms: u32,
    /// Milliseconds in which it had no input.
    pub idle_ms: u32,
    /// Milliseconds in which it had no room for its output.
    pub back_pressured_ms: u32,
    /// The least watermark it has seen.
    pub watermark: Option<i64>,
    /// What the accumulators of its functions have come to.
    pub accumulators: BTreeMap<String, AccumulatorValue>,
    /// What the metrics of its functions show, by `operator.group.metric`.
    pub user: BTreeMap<String, MetricValue>,
}

/// How far a source of an alignment group is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatermarkReport {
    /// Which task reads it.
    pub attempt: ExecutionAttemptId,
    /// The group.
    pub group: String,
    /// So many milliseconds it may be ahead of the least of the group.
    pub drift_ms: i64,
    /// How far it is; nothing: nobody has to wait for it.
    pub watermark: Option<i64>,
}

/// How a task's part of a checkpoint went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SnapshotMetrics {
    /// Milliseconds from the trigger to the barrier's arrival.
    pub start_delay_ms: u32,
    /// Milliseconds from the first barrier to the last.
    pub alignment_ms: u32,
    /// Microseconds in which the task stood still.
    pub sync_us: u32,
    /// Milliseconds from there until all was durable.
    pub async_ms: u32,
    /// Bytes that were written for this checkpoint.
    pub written_bytes: u64,
    /// Bytes that it refers to.
    pub state_bytes: u64,
}

/// Answers of a job master.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum JobMasterAnswer {
    /// Offer your slots.
    TaskExecutorRegistered {
        /// The process that the job master is in.
        job_master: ResourceId,
    },
    /// You are not wanted; release everything of the job.
    Rejected {
        /// Why.
        cause: String,
    },
    /// The slots that the job takes; the others are to be freed.
    SlotsAccepted(BTreeSet<AllocationId>),
    /// The next part of a source's input; nothing: that was all.
    NextSplit(Option<SourceSplit>),
    /// How everything stands.
    Details(Box<ExecutionGraphDetails>),
    /// What has become of a savepoint or checkpoint.
    SnapshotProgress(SnapshotProgress),
}
