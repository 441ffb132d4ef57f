//! What can be configured, where others are, and the timers.

use crate::scheduler::pending::RestartId;
use millstream_core::config::Configuration;
use millstream_core::ids::{FencingToken, JobId, ResourceId};
use millstream_rpc::heartbeat::HeartbeatConfig;
use millstream_rpc::protocol::{Address, EndpointName};
use millstream_rpc::registration::RegistrationConfig;

/// The cluster's part of a job master's configuration; the defaults are Flink's. The job's own part
/// (restarts, failover) comes with its graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobMasterConfig {
    /// `heartbeat.*`.
    pub heartbeat: HeartbeatConfig,
    /// `cluster.registration.*`.
    pub registration: RegistrationConfig,
    /// `pekko.ask.timeout`: how long a worker has to answer, in milliseconds.
    pub ask_timeout_ms: u64,
    /// `slot.request.max-interval`: needs that change within this time of a declaration are
    /// declared together, in milliseconds.
    pub slot_request_max_interval_ms: u64,
    /// `slot.request.timeout`: how long a task waits for a slot, in milliseconds.
    pub slot_request_timeout_ms: u64,
    /// `slot.idle.timeout`: how long a slot that nobody needs is kept, in milliseconds.
    pub slot_idle_timeout_ms: u64,
    /// The cluster's values of options that a job may set itself: `execution.checkpointing.*` and
    /// `state.*`.
    pub defaults: Configuration,
}

impl Default for JobMasterConfig {
    fn default() -> Self {
        Self {
            heartbeat: HeartbeatConfig::default(),
            registration: RegistrationConfig::default(),
            ask_timeout_ms: 10_000,
            slot_request_max_interval_ms: 20,
            slot_request_timeout_ms: 300_000,
            slot_idle_timeout_ms: 50_000,
            defaults: Configuration::default(),
        }
    }
}

/// Who leads an endpoint, as far as is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// Where it is.
    pub address: Address,
    /// Its term of leadership.
    pub token: FencingToken,
}

/// Where a job master is, and where the others are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surroundings {
    /// Its own term of leadership.
    pub token: FencingToken,
    /// Its own address.
    pub address: Address,
    /// The process that it is in.
    pub resource: ResourceId,
    /// The resource manager. Another token is learnt from its refusals and answers.
    pub resource_manager: Leader,
    /// The dispatcher, in the same process.
    pub dispatcher: Leader,
}

impl Surroundings {
    /// Dispatcher, resource manager and job master in one process (`host:port`), in one term.
    pub fn in_process(
        process: &str,
        resource: ResourceId,
        job: JobId,
        token: FencingToken,
    ) -> Self {
        let address = |endpoint| Address { process: process.to_owned(), endpoint };
        let leader = |endpoint| Leader { address: address(endpoint), token };
        Self {
            token,
            address: address(EndpointName::JobMaster(job)),
            resource,
            resource_manager: leader(EndpointName::ResourceManager),
            dispatcher: leader(EndpointName::Dispatcher),
        }
    }
}

/// The timers of a job master. A timer that fires without being due does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum JobMasterTimer {
    /// A pause in registering at the resource manager is over.
    Registration,
    /// Time to ask all workers whether they are still there.
    HeartbeatRound,
    /// A worker may have been silent for too long.
    WorkerTimeout,
    /// The resource manager may have been silent for too long.
    ResourceManagerTimeout,
    /// Needs that changed shortly after a declaration are to be declared.
    Declaration,
    /// A task may have waited for a slot for too long.
    SlotRequestTimeout,
    /// A slot that nobody needs may have been kept for long enough.
    SlotIdle,
    /// A checkpoint is due, or takes too long.
    Checkpoint,
    /// The backoff of this restart is over.
    Restart(RestartId),
}
