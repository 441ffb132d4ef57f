//! What can be configured, and the timers.

use millstream_core::ids::JobId;

/// The configuration of the dispatcher; the defaults are Flink's unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DispatcherConfig {
    /// `pekko.ask.timeout`: how long a job master has to acknowledge, in milliseconds.
    pub ask_timeout_ms: u64,
    /// How long people wait for a job master's answer before they are told what the dispatcher
    /// itself knows, in milliseconds. Ours: Flink lets them wait for `web.timeout`, 10 minutes.
    pub details_timeout_ms: u64,
    /// After that a job master that has not acknowledged a cancellation is told again, in
    /// milliseconds. Ours.
    pub cancel_retry_ms: u64,
    /// `cleanup-strategy.exponential-delay.initial-backoff`: the first pause before an operation
    /// is repeated, in milliseconds; it doubles each time.
    pub retry_initial_ms: u64,
    /// `cleanup-strategy.exponential-delay.max-backoff`: the longest such pause, in milliseconds.
    pub retry_max_ms: u64,
    /// `jobstore.max-capacity`: so many ended jobs are kept with their details. Ours: Flink bounds
    /// their bytes instead (`jobstore.cache-size`).
    pub ended_jobs_max: usize,
    /// `jobstore.expiration-time`: and for so long, in milliseconds.
    pub ended_jobs_ttl_ms: u64,
    /// So many may wait for the end of one job. Ours.
    pub waiters_max: usize,
    /// `cluster.services.shutdown-timeout`: how long a shutdown waits for its jobs, in milliseconds.
    pub shutdown_timeout_ms: u64,
    /// Whether plans outlive this process (`high-availability.type` is not `NONE`): a shutdown
    /// then suspends jobs for the next leader, else it cancels them.
    pub plans_survive: bool,
}

impl Default for DispatcherConfig {
    fn default() -> Self {
        Self {
            ask_timeout_ms: 10_000,
            details_timeout_ms: 1_000,
            cancel_retry_ms: 1_000,
            retry_initial_ms: 1_000,
            retry_max_ms: 3_600_000,
            ended_jobs_max: 1_000,
            ended_jobs_ttl_ms: 3_600_000,
            waiters_max: 1_000,
            shutdown_timeout_ms: 30_000,
            plans_survive: false,
        }
    }
}

/// The timers of the dispatcher. A timer that fires without being due does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DispatcherTimer {
    /// The job's operation is to be repeated.
    Retry(JobId),
    /// The job's master is to be told of the cancellation again.
    RetryCancel(JobId),
    /// The shutdown has waited long enough.
    Shutdown,
}
