//! The conversation between a task executor and a job process, versioned on its own: a cluster
//! accepts programs that were built with this version or the two before it.

use super::deployment::{InputChannelDescriptor, TaskDeploymentDescriptor};
use super::job_master::{SnapshotMetrics, TaskExecutionState, TaskMetrics, WatermarkReport};
use millstream_checkpoint::handle::TaskState;
use millstream_core::checkpoint::{Barrier, CheckpointId};
use millstream_core::ids::{ExecutionAttemptId, JobId, JobVertexId, ResourceId};
use millstream_core::job_graph::{JobGraph, SourceSplit};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version of this file's messages.
pub const JOB_LINK_VERSION: u32 = 3;

/// The oldest version that is still understood. Those before were never released.
pub const JOB_LINK_VERSION_MIN: u32 = 3;

/// What a job process must know before its first task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobInformation {
    /// The job.
    pub job: JobId,
    /// What was submitted; names the program.
    pub graph: JobGraph,
}

/// What a job process is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ToJobProcess {
    /// First of all: what to be.
    Start {
        /// The job.
        information: Box<JobInformation>,
        /// The worker it belongs to.
        resource: ResourceId,
    },
    /// Run the attempt.
    Deploy(Box<TaskDeploymentDescriptor>),
    /// Stop the attempt. Its end is reported as a change of state.
    Cancel {
        /// Which.
        attempt: ExecutionAttemptId,
    },
    /// Producers of a running consumer have (new) places.
    UpdatePartitions {
        /// The consumer.
        attempt: ExecutionAttemptId,
        /// Gate, channel, and what it reads.
        channels: Vec<(u32, u32, InputChannelDescriptor)>,
    },
    /// The answer to [`FromJobProcess::RequestNextSplit`].
    NextSplit {
        /// Who asked.
        attempt: ExecutionAttemptId,
        /// Nothing: that was all.
        split: Option<SourceSplit>,
    },
    /// Begin this checkpoint at a task that reads no running task.
    TriggerCheckpoint {
        /// Which task.
        attempt: ExecutionAttemptId,
        /// Which checkpoint.
        barrier: Barrier,
    },
    /// A checkpoint is complete.
    CheckpointCompleted {
        /// Who has to know.
        attempt: ExecutionAttemptId,
        /// Which checkpoint.
        checkpoint: CheckpointId,
    },
    /// A checkpoint will never be complete.
    CheckpointAborted {
        /// Who has to know.
        attempt: ExecutionAttemptId,
        /// Which checkpoint.
        checkpoint: CheckpointId,
    },
    /// End the process: no task is left.
    Dismiss,
    /// So far the source of an alignment group may read. Since version 3; only who has reported hears it.
    AlignWatermark {
        /// Which task reads it.
        attempt: ExecutionAttemptId,
        /// The group.
        group: String,
        /// When its event time has passed this, it waits.
        watermark: i64,
    },
}

/// What a job process says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum FromJobProcess {
    /// First of all, before it has run any user code.
    Hello {
        /// Its version of this file.
        version: u32,
        /// Its process id.
        pid: u32,
    },
    /// The program was run up to its `execute` and its plan is the submitted one.
    Ready,
    /// It cannot serve this job; no other attempt can succeed.
    Unfit {
        /// Why: the plans differ, the program failed or never came to its `execute`.
        reason: String,
    },
    /// An attempt has changed its state.
    TaskState(Box<TaskExecutionState>),
    /// A source wants more to read.
    RequestNextSplit {
        /// The source's vertex.
        vertex: JobVertexId,
        /// Who asks.
        attempt: ExecutionAttemptId,
    },
    /// A task's part of a checkpoint is durable.
    AcknowledgeCheckpoint {
        /// Which task.
        attempt: ExecutionAttemptId,
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// Where its state is.
        state: Box<TaskState>,
        /// How it went.
        metrics: SnapshotMetrics,
    },
    /// A task cannot take part in a checkpoint.
    DeclineCheckpoint {
        /// Which task.
        attempt: ExecutionAttemptId,
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// Why.
        cause: String,
    },
    /// A task has processed all its records and waits for a checkpoint that says so.
    EndOfData {
        /// Which task.
        attempt: ExecutionAttemptId,
    },
    /// Counters of all attempts, once a second.
    Metrics(BTreeMap<ExecutionAttemptId, TaskMetrics>),
    /// How far a source of an alignment group is. Since version 3.
    ReportWatermark(WatermarkReport),
}
