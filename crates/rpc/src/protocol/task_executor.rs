//! What is said to a task executor. It is not fenced: each message names whom the sender believes
//! to be the leader, and the task executor compares that with its own connections.

use super::Address;
use super::deployment::{InputChannelDescriptor, TaskDeploymentDescriptor};
use super::resource::{ResourceProfile, SlotId};
use millstream_core::checkpoint::{Barrier, CheckpointId};
use millstream_core::ids::{AllocationId, ExecutionAttemptId, FencingToken, JobId, PartitionId};
use millstream_core::status::JobStatus;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What is said to a task executor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ToTaskExecutor {
    /// Ask, of the resource manager: hold the slot for the job and offer it to its job master.
    /// Answers: `Ack` (also for the same allocation again), [`TaskExecutorAnswer::SlotOccupied`],
    /// or a refusal.
    RequestSlot {
        /// Which slot.
        slot: SlotId,
        /// For whom.
        job: JobId,
        /// The grant.
        allocation: AllocationId,
        /// What is required of it.
        profile: ResourceProfile,
        /// Where to offer it.
        job_master: Address,
        /// The resource manager's token.
        resource_manager: FencingToken,
    },
    /// Tell, of the resource manager: slots that this job does not use are to be freed.
    FreeInactiveSlots {
        /// The job.
        job: JobId,
        /// The resource manager's token.
        resource_manager: FencingToken,
    },
    /// Tell, of the resource manager: are you there? Answered by a tell.
    HeartbeatFromResourceManager {
        /// The resource manager's token.
        resource_manager: FencingToken,
    },
    /// Tell: the resource manager has closed its side.
    DisconnectResourceManager {
        /// The resource manager's token.
        resource_manager: FencingToken,
        /// Why.
        cause: String,
    },
    /// Ask, of a job master: start the attempt. Acknowledged when its task exists, not when it runs.
    SubmitTask {
        /// What to run.
        descriptor: Box<TaskDeploymentDescriptor>,
        /// What the job process needs to start, in case it is not running yet.
        job: Box<super::job_link::JobInformation>,
        /// The job master's token.
        job_master: FencingToken,
    },
    /// Ask, of a job master: stop the attempt. An unknown attempt is an error.
    CancelTask {
        /// Which.
        attempt: ExecutionAttemptId,
        /// The job master's token.
        job_master: FencingToken,
    },
    /// Ask, of a job master: producers of a running consumer have (new) places. An unknown attempt
    /// is acknowledged.
    UpdatePartitions {
        /// The consumer.
        attempt: ExecutionAttemptId,
        /// The channels that are known now: gate, channel, and what it reads.
        channels: Vec<(u32, u32, InputChannelDescriptor)>,
    },
    /// Tell, of a job master: begin this checkpoint at a task that reads no running task. An attempt
    /// that does not run here declines it.
    TriggerCheckpoint {
        /// Which task.
        attempt: ExecutionAttemptId,
        /// Which checkpoint.
        barrier: Barrier,
        /// The job master's token.
        job_master: FencingToken,
    },
    /// Tell, of a job master: a checkpoint is complete. Everything up to it may be committed.
    NotifyCheckpointCompleted {
        /// Who has to know.
        attempt: ExecutionAttemptId,
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// The job master's token.
        job_master: FencingToken,
    },
    /// Tell, of a job master: a checkpoint will never be complete.
    NotifyCheckpointAborted {
        /// Who has to know.
        attempt: ExecutionAttemptId,
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// The job master's token.
        job_master: FencingToken,
    },
    /// Tell, of a job master: so far the source of an alignment group may read.
    AlignWatermark {
        /// Which task reads it.
        attempt: ExecutionAttemptId,
        /// The group.
        group: String,
        /// When its event time has passed this, it waits.
        watermark: i64,
        /// The job master's token.
        job_master: FencingToken,
    },
    /// Ask, of a job master: the slot is no longer needed; its tasks fail.
    FreeSlot {
        /// Which.
        allocation: AllocationId,
        /// Why.
        cause: String,
    },
    /// Tell, of a job master: are you there, and is this what you hold for me?
    HeartbeatFromJobMaster {
        /// The job.
        job: JobId,
        /// The job master's token.
        job_master: FencingToken,
        /// Slots that the job master believes to have here.
        allocations: BTreeSet<AllocationId>,
    },
    /// Tell: the job master has closed its side. If the job has ended for good, its slots are free
    /// and its process is no longer needed; else they wait for its next master.
    DisconnectJobMaster {
        /// The job.
        job: JobId,
        /// The job master's token.
        job_master: FencingToken,
        /// How the job stands.
        status: JobStatus,
        /// Why.
        cause: String,
    },
    /// Ask, for people: the last lines of a job's output here, or of the worker's own log.
    RequestLog {
        /// A job's output; nothing: the worker's own log.
        job: Option<JobId>,
        /// At most so many bytes from the end.
        bytes_max: u32,
    },
    /// Tell, of a job master: nobody will read these partitions of blocking exchanges any more.
    ReleasePartitions {
        /// The job.
        job: JobId,
        /// Which.
        partitions: Vec<PartitionId>,
        /// The job master's token.
        job_master: FencingToken,
    },
}

/// Answers of a task executor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum TaskExecutorAnswer {
    /// The slot is another's.
    SlotOccupied {
        /// The grant under which it is held.
        allocation: AllocationId,
        /// Who holds it.
        job: JobId,
    },
    /// The end of a log.
    Log(String),
}
