//! What can be configured about a TaskManager, with Flink's keys and defaults.

use millstream_core::config::value::millis;
use millstream_core::ids::{FencingToken, ResourceId};
use millstream_core::job_graph::JobGraph;
use millstream_rpc::heartbeat::HeartbeatConfig;
use millstream_rpc::protocol::Address;
use millstream_rpc::protocol::resource::ResourceProfile;
use millstream_rpc::protocol::resource_manager::{
    HardwareDescription, MemoryConfiguration, TaskExecutorRegistration,
};
use millstream_rpc::registration::RegistrationConfig;

/// The key under which a job may set how long a cancelled task may take.
pub const TASK_CANCELLATION_TIMEOUT: &str = "task.cancellation.timeout";

/// Who leads an endpoint, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// Where.
    pub address: Address,
    /// Its term.
    pub token: FencingToken,
}

/// Everything that a task executor must be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskExecutorConfig {
    /// Who it is. A restarted process must have another one.
    pub resource: ResourceId,
    /// Where it is.
    pub address: Address,
    /// `host:port` of its data port.
    pub data_address: String,
    /// What its machine has.
    pub hardware: HardwareDescription,
    /// How its memory is divided. A process of 0 bytes: nobody watches (embedded).
    pub memory: MemoryConfiguration,
    /// What each slot has.
    pub slot_profile: ResourceProfile,
    /// `taskmanager.numberOfTaskSlots` (1).
    pub slots: u32,
    /// The resource manager, if it is known from the start (no high availability). Else it is told
    /// by [`Done::ResourceManagerLeader`](crate::op::Done::ResourceManagerLeader).
    pub resource_manager: Option<Leader>,
    /// `heartbeat.*`; this side only listens, so the interval is not used.
    pub heartbeat: HeartbeatConfig,
    /// `cluster.registration.*`.
    pub registration: RegistrationConfig,
    /// `taskmanager.registration.timeout` (5 min): so long without a resource manager, and the
    /// process ends.
    pub registration_timeout_ms: u64,
    /// `taskmanager.slot.timeout` (10 s): so long a slot waits for its job master.
    pub slot_timeout_ms: u64,
    /// `pekko.ask.timeout` (10 s).
    pub ask_timeout_ms: u64,
    /// The pause before an ask that failed for a passing reason is repeated (1 s; ours).
    pub retry_delay_ms: u64,
    /// `task.cancellation.timeout` (3 min; 0: never): so long a task may take to stop, then its
    /// process is killed. A job's own configuration goes before.
    pub task_cancellation_timeout_ms: u64,
    /// Of the job processes.
    pub child: ChildConfig,
}

/// How patient a worker is with its job processes. All ours: Flink has no job processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChildConfig {
    /// `taskmanager.job-process.start-timeout` (60 s): from its start to "ready".
    pub start_timeout_ms: u64,
    /// `taskmanager.job-process.linger` (10 s): how long it is kept without a slot of its job.
    pub linger_ms: u64,
    /// `taskmanager.job-process.dismiss-timeout` (10 s): from dismissal to its end, else it is killed.
    pub dismiss_timeout_ms: u64,
    /// `taskmanager.job-process.kill-timeout` (30 s): from the kill to its end, else it is given up.
    pub kill_timeout_ms: u64,
}

/// What job processes may use together, of `taskmanager.memory.process.size`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryBudget {
    /// For all job processes, each slot an equal share.
    pub bytes: u64,
    /// Above this somebody has to go.
    pub limit: u64,
}

/// The worker's own process needs so much of the whole at least, with what a limit of the kernel
/// counts in.
const OWN_MEMORY_MIN: u64 = 64 << 20;

impl Default for ChildConfig {
    fn default() -> Self {
        Self {
            start_timeout_ms: 60_000,
            linger_ms: 10_000,
            dismiss_timeout_ms: 10_000,
            kill_timeout_ms: 30_000,
        }
    }
}

impl TaskExecutorConfig {
    /// Flink's defaults for a worker of this name and place, with these slots.
    pub fn new(resource: ResourceId, address: Address, data_address: String, slots: u32) -> Self {
        Self {
            resource,
            address,
            data_address,
            hardware: HardwareDescription::default(),
            memory: MemoryConfiguration::default(),
            slot_profile: ResourceProfile::ANY,
            slots,
            resource_manager: None,
            heartbeat: HeartbeatConfig::default(),
            registration: RegistrationConfig::default(),
            registration_timeout_ms: 300_000,
            slot_timeout_ms: 10_000,
            ask_timeout_ms: 10_000,
            retry_delay_ms: 1_000,
            task_cancellation_timeout_ms: 180_000,
            child: ChildConfig::default(),
        }
    }

    /// What job processes may use together; nothing: nobody watches.
    ///
    /// A tenth of the whole is for the worker itself, and half of that tenth is the margin: so the
    /// worker acts before a limit of the kernel on the whole does.
    pub fn memory_budget(&self) -> Option<MemoryBudget> {
        let process = Some(self.memory.process).filter(|bytes| *bytes > 0)?;
        let own = (process / 10).max(OWN_MEMORY_MIN).min(process / 2);
        Some(MemoryBudget { bytes: process - own, limit: process - own / 2 })
    }

    /// What is said to the resource manager.
    pub fn registration_message(&self) -> TaskExecutorRegistration {
        let slots = u64::from(self.slots);
        TaskExecutorRegistration {
            address: self.address.clone(),
            resource: self.resource.clone(),
            data_address: self.data_address.clone(),
            hardware: self.hardware,
            memory: self.memory,
            default_slot: self.slot_profile,
            total: ResourceProfile {
                cpu_millis: self.slot_profile.cpu_millis.saturating_mul(self.slots),
                task_memory: self.slot_profile.task_memory.saturating_mul(slots),
                managed_memory: self.slot_profile.managed_memory.saturating_mul(slots),
                network_memory: self.slot_profile.network_memory.saturating_mul(slots),
            },
            slots: self.slots,
        }
    }

    /// How long an offer waits for its answer: short enough that a lost one can be repeated twice
    /// before the slot times out. (Flink waits as long as the slot does, so it never repeats one.)
    pub fn offer_timeout_ms(&self) -> u64 {
        self.ask_timeout_ms.min(self.slot_timeout_ms / 3).max(1)
    }

    /// How long a cancelled task of this job may take; 0: for ever. An unreadable value is the
    /// client's to refuse; here it counts as absent.
    pub fn cancellation_timeout_of(&self, graph: &JobGraph) -> u64 {
        graph
            .configuration
            .get(TASK_CANCELLATION_TIMEOUT)
            .and_then(|text| millis(text).ok())
            .unwrap_or(self.task_cancellation_timeout_ms)
    }
}
