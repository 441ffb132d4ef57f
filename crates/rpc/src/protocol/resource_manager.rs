//! What is said to the resource manager. Fenced: every message carries its token.

use super::Address;
use super::details::{ClusterResources, TaskManagerDetails};
use super::resource::{ResourceProfile, ResourceRequirement, SlotReport};
use millstream_core::ids::{AllocationId, FencingToken, InstanceId, JobId, ResourceId};
use millstream_core::status::JobStatus;
use serde::{Deserialize, Serialize};

/// What is said to the resource manager.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ToResourceManager {
    /// Ask, of a task executor. Answers: [`ResourceManagerAnswer::TaskExecutorRegistered`],
    /// [`ResourceManagerAnswer::Rejected`] (final), or a refusal (try again later).
    RegisterTaskExecutor(Box<TaskExecutorRegistration>),
    /// Ask, of a task executor, after its registration: all its slots.
    SendSlotReport {
        /// Who.
        resource: ResourceId,
        /// Under which registration.
        instance: InstanceId,
        /// All its slots.
        report: SlotReport,
    },
    /// Tell, of a task executor: a slot has become free.
    NotifySlotAvailable {
        /// Who.
        resource: ResourceId,
        /// Under which registration.
        instance: InstanceId,
        /// Which slot.
        index: u32,
        /// The grant that ended.
        allocation: AllocationId,
    },
    /// Tell, of a task executor: the answer to a heartbeat.
    HeartbeatFromTaskExecutor {
        /// Who.
        resource: ResourceId,
        /// Under which registration.
        instance: InstanceId,
        /// All its slots.
        report: SlotReport,
    },
    /// Tell: a task executor is going away.
    DisconnectTaskExecutor {
        /// Who.
        resource: ResourceId,
        /// Why.
        cause: String,
    },
    /// Ask, of a job master. Answers: [`ResourceManagerAnswer::JobMasterRegistered`] or a refusal.
    RegisterJobMaster {
        /// The job.
        job: JobId,
        /// The job master's token.
        job_master: FencingToken,
        /// Where it is.
        address: Address,
        /// The process it is in.
        resource: ResourceId,
    },
    /// Ask, of a job master: all that the job needs from now on. Replaces what was declared before.
    DeclareRequiredResources {
        /// The job.
        job: JobId,
        /// The job master's token, as registered.
        job_master: FencingToken,
        /// All its needs; nothing: none.
        requirements: Vec<ResourceRequirement>,
    },
    /// Tell, of a job master: the answer to a heartbeat.
    HeartbeatFromJobMaster {
        /// The job.
        job: JobId,
        /// The job master's token.
        job_master: FencingToken,
    },
    /// Tell: a job master is going away. A globally terminal status clears the job's needs.
    DisconnectJobMaster {
        /// The job.
        job: JobId,
        /// How the job stands.
        status: JobStatus,
        /// Why.
        cause: String,
    },
    /// Ask, for people: how many workers and slots there are.
    RequestClusterResources,
    /// Ask, for people: all workers.
    RequestTaskManagers,
    /// Ask, for people: one worker.
    RequestTaskManager {
        /// Which.
        resource: ResourceId,
    },
}

/// Who a task executor is and what it offers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskExecutorRegistration {
    /// Where it is.
    pub address: Address,
    /// Who it is.
    pub resource: ResourceId,
    /// `host:port` of its data port.
    pub data_address: String,
    /// What its machine has.
    pub hardware: HardwareDescription,
    /// How its memory is divided, in bytes.
    pub memory: MemoryConfiguration,
    /// What a slot has unless asked otherwise.
    pub default_slot: ResourceProfile,
    /// What all slots have together.
    pub total: ResourceProfile,
    /// How many slots it has.
    pub slots: u32,
}

/// What a worker's machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HardwareDescription {
    /// Processors that the process may use.
    pub cpu_cores: u32,
    /// Bytes of memory of the machine.
    pub physical_memory: u64,
    /// Bytes that the process may use.
    pub free_memory: u64,
    /// Bytes of managed memory.
    pub managed_memory: u64,
}

/// How a worker divides its memory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MemoryConfiguration {
    /// The whole process.
    pub process: u64,
    /// For tasks.
    pub task: u64,
    /// For exchanges.
    pub network: u64,
    /// For state and sorting.
    pub managed: u64,
}

/// Answers of the resource manager.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ResourceManagerAnswer {
    /// Send your slot report under this registration.
    TaskExecutorRegistered {
        /// The registration.
        instance: InstanceId,
        /// The process that the resource manager is in.
        resource_manager: ResourceId,
        /// `host:port` of the blob server.
        blob_server: String,
    },
    /// You are not wanted; give up.
    Rejected {
        /// Why.
        cause: String,
    },
    /// Declare your needs.
    JobMasterRegistered {
        /// The process that the resource manager is in.
        resource_manager: ResourceId,
        /// The resource manager's token.
        token: FencingToken,
    },
    /// How many workers and slots there are.
    ClusterResources(ClusterResources),
    /// Workers.
    TaskManagers(Vec<TaskManagerDetails>),
}
