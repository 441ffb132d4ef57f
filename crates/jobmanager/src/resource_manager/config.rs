//! What can be configured, and the timers.

use crate::slot_manager::LoadBalanceMode;
use millstream_core::ids::JobId;
use millstream_rpc::heartbeat::HeartbeatConfig;

/// The configuration of the resource manager; the defaults are Flink's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResourceManagerConfig {
    /// `heartbeat.interval`, `heartbeat.timeout`, `heartbeat.rpc-failure-threshold`.
    pub heartbeat: HeartbeatConfig,
    /// `pekko.ask.timeout`: how long a worker has to answer, in milliseconds.
    pub ask_timeout_ms: u64,
    /// `resourcemanager.standalone.start-up-time`, else `slot.request.timeout`: so long after the
    /// start, workers are still expected, and a job hears of its shortage only when that changes.
    pub startup_grace_ms: u64,
    /// `slotmanager.requirement-check.delay`: what follows the first event of a burst within this
    /// time is handled together, in milliseconds.
    pub requirement_check_delay_ms: u64,
    /// `resourcemanager.job.timeout`: a job without job master is forgotten after that, in
    /// milliseconds.
    pub job_timeout_ms: u64,
    /// `slotmanager.number-of-slots.max`: workers beyond that are turned away; nothing: no bound.
    pub slots_max: Option<u32>,
    /// `taskmanager.load-balance.mode`.
    pub load_balance: LoadBalanceMode,
}

impl Default for ResourceManagerConfig {
    fn default() -> Self {
        Self {
            heartbeat: HeartbeatConfig::default(),
            ask_timeout_ms: 10_000,
            startup_grace_ms: 300_000,
            requirement_check_delay_ms: 50,
            job_timeout_ms: 300_000,
            slots_max: None,
            load_balance: LoadBalanceMode::None,
        }
    }
}

/// The timers of the resource manager. A timer that fires without being due does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceManagerTimer {
    /// Time to ask everybody whether they are still there.
    Heartbeat,
    /// Somebody may have been silent for too long.
    HeartbeatTimeout,
    /// Needs and slots are to be compared.
    RequirementCheck,
    /// The start-up grace is over.
    StartupGrace,
    /// The job has had no job master for too long.
    JobTimeout(JobId),
}
