//! All options that processes read, in one list.
//!
//! Options of a single job (restart strategy, runtime mode) are read where they act; their keys are
//! listed here as well, so that they are known.

use super::option::ConfigOption;
use super::value;

macro_rules! options {
    ($($(#[doc = $doc:literal])+ $name:ident: $type:ty = $key:literal $(or $fallback:literal)*, $default:literal, $read:path;)*) => {
        $(
            $(#[doc = $doc])+
            pub const $name: ConfigOption<$type> = ConfigOption {
                key: $key,
                fallback_keys: &[$($fallback),*],
                default: || $read($default).expect("the default can be read"),
                default_text: $default,
                read: $read,
                doc: concat!($($doc),+),
            };
        )*

        /// Key, default and meaning of every option: the reference page is made from this.
        pub const ALL: &[(&str, &str, &str)] = &[$(($key, $default, concat!($($doc),+))),*];

        const FALLBACKS: &[&str] = &[$($($fallback,)*)*];
    };
}

options! {
    /// Where the JobManager can be reached by other processes.
    JOBMANAGER_ADDRESS: String = "jobmanager.rpc.address", "127.0.0.1", value::text;
    /// The JobManager's port for messages; 0: any free one.
    JOBMANAGER_PORT: u16 = "jobmanager.rpc.port", "6123", value::port;
    /// The address to which the JobManager's message port is bound.
    JOBMANAGER_BIND: String = "jobmanager.bind-host", "127.0.0.1", value::text;
    /// The port of the blob server; 0: any free one.
    BLOB_PORT: u16 = "blob.server.port", "6124", value::port;
    /// How long a blob that nobody uses is kept.
    BLOB_CLEANUP: u64 = "blob.service.cleanup.interval", "3600 s", value::millis;
    /// The REST port; in embedded mode the first free one from there; 0: any free one.
    REST_PORT: u16 = "rest.port", "8081", value::port;
    /// Where clients find REST.
    REST_ADDRESS: String = "rest.address", "127.0.0.1", value::text;
    /// The address to which REST is bound.
    REST_BIND: String = "rest.bind-address", "127.0.0.1", value::text;
    /// Slots per TaskManager.
    TASKMANAGER_SLOTS: u32 = "taskmanager.numberOfTaskSlots", "1", value::count;
    /// The TaskManager's port for messages; 0: any free one.
    TASKMANAGER_PORT: u16 = "taskmanager.rpc.port", "0", value::port;
    /// The TaskManager's port for data; 0: any free one.
    TASKMANAGER_DATA_PORT: u16 = "taskmanager.data.port", "0", value::port;
    /// Where the TaskManager can be reached by other processes.
    TASKMANAGER_HOST: String = "taskmanager.host", "127.0.0.1", value::text;
    /// The address to which the TaskManager's ports are bound.
    TASKMANAGER_BIND: String = "taskmanager.bind-host", "127.0.0.1", value::text;
    /// The TaskManager's own name; empty: made of its address and a random part.
    TASKMANAGER_RESOURCE_ID: String = "taskmanager.resource-id", "", value::text;
    /// All memory of a TaskManager and its job processes.
    TASKMANAGER_MEMORY: u64 = "taskmanager.memory.process.size", "1728m", value::bytes;
    /// How long a TaskManager tries to register before it ends.
    TASKMANAGER_REGISTRATION_TIMEOUT: u64 = "taskmanager.registration.timeout", "5 min", value::millis;
    /// How long a slot waits for its job master to take it.
    TASKMANAGER_SLOT_TIMEOUT: u64 = "taskmanager.slot.timeout", "10 s", value::millis;
    /// Directories for temporary files.
    TMP_DIRS: Vec<String> = "io.tmp.dirs" or "taskmanager.tmp.dirs", "", value::directories;
    /// How often the active side of a heartbeat asks.
    HEARTBEAT_INTERVAL: u64 = "heartbeat.interval", "10 s", value::millis;
    /// How long silence is borne.
    HEARTBEAT_TIMEOUT: u64 = "heartbeat.timeout", "50 s", value::millis;
    /// Unreachable calls in a row that mean lost; -1: never.
    HEARTBEAT_FAILURES: Option<u32> = "heartbeat.rpc-failure-threshold", "2", value::limit;
    /// How long an endpoint waits for an answer.
    ASK_TIMEOUT: u64 = "pekko.ask.timeout", "10 s", value::millis;
    /// How long a job waits for its slots.
    SLOT_REQUEST_TIMEOUT: u64 = "slot.request.timeout", "5 min", value::millis;
    /// How long a job's idle slots are kept before they are given back.
    SLOT_IDLE_TIMEOUT: u64 = "slot.idle.timeout", "50 s", value::millis;
    /// How long a shortage of slots is not held against jobs after the start; -1 ms: as `slot.request.timeout`.
    STANDALONE_START_UP: u64 = "resourcemanager.standalone.start-up-time" or "slot.request.timeout", "5 min", value::millis;
    /// How many ended jobs are remembered.
    JOB_STORE_MAX: u32 = "jobstore.max-capacity", "1000", value::count;
    /// The parallelism of jobs that set none.
    PARALLELISM: u32 = "parallelism.default", "1", value::count;
    /// Whether REST accepts uploads and submissions.
    WEB_SUBMIT: bool = "web.submit.enable", "true", value::boolean;
    /// Whether REST accepts cancellations.
    WEB_CANCEL: bool = "web.cancel.enable", "true", value::boolean;
    /// Where uploaded artefacts are kept; empty: in the process's working directory.
    WEB_UPLOAD_DIR: String = "web.upload.dir", "", value::text;
    /// The largest artefact that is accepted.
    UPLOAD_MAX: u64 = "rest.server.max-content-length", "1g", value::bytes;
    /// How often a dashboard should refresh.
    WEB_REFRESH: u64 = "web.refresh-interval", "3 s", value::millis;
    /// How often a checkpoint is taken; 0: never by itself.
    CHECKPOINT_INTERVAL: u64 = "execution.checkpointing.interval", "10 s", value::millis;
    /// Whether checkpoints are taken at all.
    CHECKPOINTING: bool = "execution.checkpointing.enabled", "true", value::boolean;
    /// How long a checkpoint may take before it is given up.
    CHECKPOINT_TIMEOUT: u64 = "execution.checkpointing.timeout", "10 min", value::millis;
    /// How long tasks are left alone between the end of a checkpoint and the begin of the next.
    CHECKPOINT_MIN_PAUSE: u64 = "execution.checkpointing.min-pause", "0 ms", value::millis;
    /// How many checkpoints may be taken at the same time: at most 8, and 1 if they are unaligned.
    CHECKPOINTS_CONCURRENT: u32 = "execution.checkpointing.max-concurrent-checkpoints", "1", value::count;
    /// How many checkpoints in a row may fail before the job starts over from the last good one.
    CHECKPOINT_FAILURES: u32 = "execution.checkpointing.tolerable-failed-checkpoints", "0", value::number;
    /// What becomes of checkpoints when the job ends: `NO_EXTERNALIZED_CHECKPOINTS`, `DELETE_ON_CANCELLATION` (kept if the job fails) or `RETAIN_ON_CANCELLATION` (also if it is cancelled).
    CHECKPOINT_RETENTION: String = "execution.checkpointing.externalized-checkpoint-retention", "NO_EXTERNALIZED_CHECKPOINTS", value::text;
    /// How many completed checkpoints are kept while the job runs.
    CHECKPOINTS_RETAINED: u32 = "execution.checkpointing.num-retained" or "state.checkpoints.num-retained", "1", value::count;
    /// The directory below which each job keeps its checkpoints: a path or `s3://...`; empty: one of the process's own.
    CHECKPOINT_DIR: String = "execution.checkpointing.dir" or "state.checkpoints.dir", "", value::text;
    /// The directory of savepoints for which none is named.
    SAVEPOINT_DIR: String = "execution.checkpointing.savepoint-dir" or "state.savepoints.dir", "", value::text;
    /// What a restored job guarantees: `EXACTLY_ONCE`, or `AT_LEAST_ONCE`, where no channel ever waits for another.
    CHECKPOINT_MODE: String = "execution.checkpointing.mode", "EXACTLY_ONCE", value::text;
    /// Whether barriers overtake data, which becomes part of the checkpoint; never over broadcast, forward, rescale and custom exchanges, and never those of savepoints.
    UNALIGNED: bool = "execution.checkpointing.unaligned.enabled" or "execution.checkpointing.unaligned", "false", value::boolean;
    /// How long an unaligned checkpoint tries to be an aligned one first.
    ALIGNED_TIMEOUT: u64 = "execution.checkpointing.aligned-checkpoint-timeout", "0 ms", value::millis;
    /// Whether checkpoints may refer to files of earlier ones and write only what has changed.
    INCREMENTAL: bool = "execution.checkpointing.incremental" or "state.backend.incremental", "false", value::boolean;
    /// State of less than this travels inside the checkpoint's metadata.
    INLINE_STATE_MAX: u64 = "execution.checkpointing.data-inline-threshold" or "state.storage.fs.memory-threshold", "20kb", value::bytes;
    /// Where keyed state is: `hashmap` (in memory) or `rocksdb` (on local disk, for more state than memory; for programs that are built with the feature `lsm`).
    STATE_BACKEND: String = "state.backend.type" or "state.backend", "hashmap", value::text;
    /// What all state that is on local disk may have in memory, per job process.
    LSM_MEMORY: u64 = "state.backend.rocksdb.memory.fixed-per-tm" or "state.backend.lsm.memory", "256m", value::bytes;
    /// The part of that memory that collects writes; the other part holds what was read.
    LSM_WRITE_BUFFER_RATIO: f64 = "state.backend.rocksdb.memory.write-buffer-ratio", "0.5", value::part;
    /// The directory for the files of state that is on local disk; empty: one of the process's own.
    LSM_DIRECTORY: String = "state.backend.rocksdb.localdir", "", value::text;
    /// The checkpoint or savepoint that a job goes on from: its directory, or the `_metadata` in it; empty: none.
    RECOVERY_PATH: String = "execution.state-recovery.path" or "execution.savepoint.path", "", value::text;
    /// Whether state of operators that the job does not have any more is left behind in silence.
    RECOVERY_IGNORE_UNCLAIMED: bool = "execution.state-recovery.ignore-unclaimed-state" or "execution.savepoint.ignore-unclaimed-state", "false", value::boolean;
    /// Who owns what a job goes on from: `NO_CLAIM` (its owner; it is never deleted) or `CLAIM` (the job; it is deleted like a checkpoint of its own).
    RECOVERY_CLAIM_MODE: String = "execution.state-recovery.claim-mode" or "execution.savepoint-restore-mode", "NO_CLAIM", value::text;
    /// Whether workers keep copies of the state files that their tasks write, and tasks that start over there read those first.
    RECOVERY_FROM_LOCAL: bool = "execution.state-recovery.from-local" or "state.backend.local-recovery" or "execution.checkpointing.local-backup.enabled", "false", value::boolean;
    /// Directories for these copies; a worker that is started in place of another finds that one's there. Empty: in the process's working directory, which goes with it.
    LOCAL_STATE_DIRS: Vec<String> = "taskmanager.state.local.root-dirs" or "execution.checkpointing.local-backup.dirs", "", value::directories;
    /// How often watermarks are made of what has come; 0: only by generators that do so on a record.
    AUTO_WATERMARK_INTERVAL: u64 = "pipeline.auto-watermark-interval", "200 ms", value::millis;
    /// When consumers read in BATCH mode: `ALL_EXCHANGES_BLOCKING`: after their producers have finished, from the disks of their workers, so that each stage needs slots of its own time only and a failure costs what it hit; `ALL_EXCHANGES_PIPELINED`: at the same time.
    BATCH_SHUFFLE_MODE: String = "execution.batch-shuffle-mode", "ALL_EXCHANGES_BLOCKING", value::text;
    /// Whether keyed operators get their records sorted by keys in BATCH mode, and hold the state of a few keys at a time. Aggregates (`count`, `sum`, `fold`, `reduce`) hold one row per key and never need it.
    SORTED_INPUTS: bool = "execution.sorted-inputs.enabled", "true", value::boolean;
    /// What the sorting of one task may have in memory; what does not fit goes to `io.tmp.dirs`.
    SORTED_INPUTS_MEMORY: u64 = "execution.sorted-inputs.memory", "128mb", value::bytes;
    /// How long a cancelled task may take before its job process is killed.
    CANCELLATION_TIMEOUT: u64 = "task.cancellation.timeout", "3 min", value::millis;
    /// How often a sink tries again to commit what a checkpoint holds before its task fails.
    SINK_COMMITTER_RETRIES: u32 = "sink.committer.retries", "10", value::number;
    /// Where the object store is that `s3://` means; empty: Amazon's, in the region. One that begins with `http://` is reached without TLS.
    S3_ENDPOINT: String = "s3.endpoint", "", value::text;
    /// The region of the buckets.
    S3_REGION: String = "s3.region" or "s3.endpoint.region", "us-east-1", value::text;
    /// Who we are to the object store; empty: what `AWS_ACCESS_KEY_ID` or the machine's role says.
    S3_ACCESS_KEY: String = "s3.access-key" or "s3.access.key", "", value::text;
    /// The secret that belongs to `s3.access-key`.
    S3_SECRET_KEY: String = "s3.secret-key" or "s3.secret.key", "", value::text;
    /// The token of a session, where credentials are lent.
    S3_SESSION_TOKEN: String = "s3.session-token" or "s3.session.token", "", value::text;
    /// Whether buckets are named in the path of a request and not in its host.
    S3_PATH_STYLE: bool = "s3.path-style-access" or "s3.path.style.access", "true", value::boolean;
    /// For how many seconds a request that fails is repeated.
    S3_RETRIES: u32 = "s3.retry-timeout-seconds", "60", value::number;
    /// Whether another JobManager can take over: `NONE`, `filesystem`, or `object-store`.
    HA_TYPE: String = "high-availability.type" or "high-availability", "NONE", value::text;
    /// The directory, the same for all processes, that holds what outlives a JobManager: on one machine any, on several a shared one; with `object-store` `s3://...`.
    HA_DIRECTORY: String = "high-availability.storageDir", "", value::text;
    /// Tells clusters in one directory apart.
    HA_CLUSTER: String = "high-availability.cluster-id", "/default", value::text;
    /// The JobManager's port for messages under high availability; 0: any free one.
    HA_PORT: u16 = "high-availability.jobmanager.port", "0", value::port;
    /// So long a JobManager must have been silent before another one takes over, unless its process is known to be gone.
    HA_LEASE: u64 = "high-availability.filesystem.lease-duration" or "high-availability.object-store.lease-duration" or "high-availability.kubernetes.leader-election.lease-duration", "15 s", value::millis;
    /// Told by a JobManager to its clients: its term of leadership. Nothing to set.
    LEADER_SESSION_ID: String = "internal.jobmanager.leader-session-id", "", value::text;
    /// Listen beyond loopback without TLS and authentication. Only for networks that nobody else can reach.
    INSECURE: bool = "security.insecure", "false", value::boolean;
}

/// Keys of single jobs, read where they act.
const JOB_KEYS: [&str; 18] = [
    "execution.runtime-mode",
    "jobmanager.execution.failover-strategy",
    "restart-strategy.type",
    "restart-strategy.repeat-limit",
    "restart-strategy.fixed-delay.attempts",
    "restart-strategy.fixed-delay.delay",
    "restart-strategy.failure-rate.delay",
    "restart-strategy.failure-rate.failure-rate-interval",
    "restart-strategy.failure-rate.max-failures-per-interval",
    "restart-strategy.exponential-delay.initial-backoff",
    "restart-strategy.exponential-delay.max-backoff",
    "restart-strategy.exponential-delay.backoff-multiplier",
    "restart-strategy.exponential-delay.reset-backoff-threshold",
    "restart-strategy.exponential-delay.jitter-factor",
    "restart-strategy.exponential-delay.attempts-before-reset-backoff",
    "pipeline.name",
    "pipeline.max-parallelism",
    "pipeline.operator-chaining.enabled",
];

/// Every known key.
pub fn keys() -> Vec<&'static str> {
    let all = ALL.iter().map(|(key, ..)| *key);
    all.chain(FALLBACKS.iter().copied()).chain(JOB_KEYS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_declared_once() {
        let mut keys: Vec<_> = ALL.iter().map(|(key, ..)| *key).collect();
        keys.sort_unstable();
        let all = keys.len();
        keys.dedup();
        assert_eq!(keys.len(), all);
    }
}
