//! `CheckpointingStatistics` and `CheckpointConfigInfo`.

use millstream_checkpoint::config::{CheckpointConfig, CheckpointingMode, Retention};
use millstream_core::checkpoint::{CheckpointId, SnapshotKind};
use millstream_core::time::Timestamp;
use millstream_rpc::protocol::details::{
    CheckpointDetails, CompletedDetails, ExecutionGraphDetails,
};
use serde::Serialize;
use std::collections::BTreeMap;

/// Not known: timings are not kept per checkpoint.
const UNKNOWN: i64 = -1;

/// How a job's checkpoints have gone.
#[derive(Serialize)]
pub(crate) struct Checkpoints {
    counts: Counts,
    summary: Summary,
    latest: Latest,
    history: Vec<Completed>,
}

#[derive(Serialize)]
struct Counts {
    restored: u64,
    total: u64,
    in_progress: usize,
    completed: u64,
    failed: u64,
}

#[derive(Serialize)]
struct Summary {
    checkpointed_size: Spread,
    state_size: Spread,
    end_to_end_duration: Spread,
    alignment_buffered: Spread,
    processed_data: Spread,
    persisted_data: Spread,
}

/// Least, greatest, mean and percentiles of one number over the checkpoints that are kept.
#[derive(Clone, Default, Serialize)]
struct Spread {
    min: i64,
    max: i64,
    avg: i64,
    p50: f64,
    p90: f64,
    p95: f64,
    p99: f64,
    p999: f64,
}

#[derive(Serialize)]
struct Latest {
    completed: Option<Completed>,
    savepoint: Option<Completed>,
    failed: Option<Completed>,
    restored: Option<Restored>,
}

#[derive(Serialize)]
struct Restored {
    id: u64,
    restore_timestamp: Timestamp,
    is_savepoint: bool,
    external_path: Option<String>,
}

/// `CompletedCheckpointStatistics`.
#[derive(Clone, Serialize)]
struct Completed {
    id: u64,
    status: &'static str,
    is_savepoint: bool,
    #[serde(rename = "savepointFormat")]
    savepoint_format: Option<&'static str>,
    trigger_timestamp: Timestamp,
    latest_ack_timestamp: Timestamp,
    checkpointed_size: i64,
    state_size: i64,
    end_to_end_duration: i64,
    alignment_buffered: i64,
    processed_data: i64,
    persisted_data: i64,
    num_subtasks: u32,
    num_acknowledged_subtasks: u32,
    checkpoint_type: &'static str,
    tasks: BTreeMap<String, ()>,
    external_path: String,
    discarded: bool,
}

impl Checkpoints {
    pub(crate) fn of(details: &ExecutionGraphDetails) -> Self {
        let none = CheckpointDetails::default();
        let checkpoints = details.checkpoints.as_deref().unwrap_or(&none);
        let subtasks = details.graph.vertices.iter().map(|vertex| vertex.parallelism).sum();
        let kept = checkpoints.retained.iter();
        let history: Vec<Completed> =
            kept.rev().map(|completed| Completed::of(completed, subtasks)).collect();
        let latest = |savepoint: bool| {
            history.iter().find(|completed| completed.is_savepoint == savepoint).cloned()
        };
        let restored = checkpoints.base.filter(|_| details.restarts > 0);
        let restored = restored.map(|base| Restored {
            id: base.0,
            restore_timestamp: UNKNOWN,
            is_savepoint: false,
            external_path: path_of(checkpoints, base),
        });
        Self {
            counts: Counts {
                restored: u64::from(restored.is_some()),
                total: checkpoints.completed
                    + checkpoints.failed
                    + checkpoints.pending.len() as u64,
                in_progress: checkpoints.pending.len(),
                completed: checkpoints.completed,
                failed: checkpoints.failed,
            },
            summary: Summary::of(&history),
            latest: Latest {
                completed: latest(false),
                savepoint: latest(true),
                failed: None,
                restored,
            },
            history,
        }
    }
}

/// Where a checkpoint is, if it is still kept.
fn path_of(checkpoints: &CheckpointDetails, id: CheckpointId) -> Option<String> {
    let found = checkpoints.retained.iter().find(|completed| completed.checkpoint == id);
    found.map(|completed| completed.path.clone())
}

impl Summary {
    fn of(history: &[Completed]) -> Self {
        let sizes = Spread::of(history.iter().map(|completed| completed.state_size).collect());
        Self {
            checkpointed_size: sizes.clone(),
            state_size: sizes,
            end_to_end_duration: Spread::default(),
            alignment_buffered: Spread::default(),
            processed_data: Spread::default(),
            persisted_data: Spread::default(),
        }
    }
}

impl Spread {
    fn of(mut values: Vec<i64>) -> Self {
        values.sort_unstable();
        let (Some(min), Some(max)) = (values.first(), values.last()) else {
            return Self::default();
        };
        let at = |share: f64| {
            let index = ((values.len() - 1) as f64 * share).round() as usize;
            values[index] as f64
        };
        Self {
            min: *min,
            max: *max,
            avg: values.iter().sum::<i64>() / values.len() as i64,
            p50: at(0.5),
            p90: at(0.9),
            p95: at(0.95),
            p99: at(0.99),
            p999: at(0.999),
        }
    }
}

impl Completed {
    fn of(completed: &CompletedDetails, subtasks: u32) -> Self {
        let is_savepoint = completed.kind.is_savepoint();
        let bytes = i64::try_from(completed.bytes).unwrap_or(i64::MAX);
        Self {
            id: completed.checkpoint.0,
            status: "COMPLETED",
            is_savepoint,
            savepoint_format: is_savepoint.then_some("CANONICAL"),
            trigger_timestamp: completed.triggered,
            latest_ack_timestamp: UNKNOWN,
            checkpointed_size: bytes,
            state_size: bytes,
            end_to_end_duration: UNKNOWN,
            alignment_buffered: 0,
            processed_data: 0,
            persisted_data: 0,
            num_subtasks: subtasks,
            num_acknowledged_subtasks: subtasks,
            checkpoint_type: match completed.kind {
                SnapshotKind::Checkpoint | SnapshotKind::FullCheckpoint => "CHECKPOINT",
                SnapshotKind::Savepoint => "SAVEPOINT",
                SnapshotKind::Suspend | SnapshotKind::Drain => "SYNC_SAVEPOINT",
            },
            tasks: BTreeMap::new(),
            external_path: completed.path.clone(),
            discarded: false,
        }
    }
}

/// `CheckpointConfigInfo`.
#[derive(Serialize)]
pub(crate) struct CheckpointConfigBody {
    mode: &'static str,
    interval: u64,
    timeout: u64,
    min_pause: u64,
    max_concurrent: u32,
    externalization: Externalization,
    state_backend: &'static str,
    checkpoint_storage: String,
    unaligned_checkpoints: bool,
    tolerable_failed_checkpoints: u32,
    aligned_checkpoint_timeout: u64,
    checkpoints_after_tasks_finish: bool,
    state_changelog_enabled: bool,
    changelog_periodic_materialization_interval: u64,
    changelog_storage: &'static str,
}

#[derive(Serialize)]
struct Externalization {
    enabled: bool,
    delete_on_cancellation: bool,
}

impl CheckpointConfigBody {
    pub(crate) fn of(config: &CheckpointConfig) -> Self {
        Self {
            mode: match config.mode {
                CheckpointingMode::ExactlyOnce => "EXACTLY_ONCE",
                CheckpointingMode::AtLeastOnce => "AT_LEAST_ONCE",
            },
            // Flink's word for "never".
            interval: config.interval_ms.unwrap_or(i64::MAX as u64),
            timeout: config.timeout_ms,
            min_pause: config.min_pause_ms,
            max_concurrent: config.concurrent_max,
            externalization: Externalization {
                enabled: config.retention != Retention::Never,
                delete_on_cancellation: config.retention != Retention::OnCancellation,
            },
            state_backend: "HashMapStateBackend",
            checkpoint_storage: config.directory.clone().unwrap_or_default(),
            unaligned_checkpoints: config.unaligned,
            tolerable_failed_checkpoints: config.failures_max,
            aligned_checkpoint_timeout: config.aligned_timeout_ms,
            checkpoints_after_tasks_finish: true,
            state_changelog_enabled: false,
            changelog_periodic_materialization_interval: 0,
            changelog_storage: "memory",
        }
    }
}
