//! `IOMetricsInfo`.

use millstream_core::time::Timestamp;
use millstream_rpc::protocol::job_master::TaskMetrics;
use serde::Serialize;

/// What tasks have read and written. Every task has told its numbers, or begins at 0: they are
/// always complete. Times are told per second and not accumulated, so Flink's sums are 0 and the
/// last second stands beside them, under Flink's names of those metrics.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct IoMetrics {
    pub(crate) read_bytes: i64,
    read_bytes_complete: bool,
    pub(crate) write_bytes: i64,
    write_bytes_complete: bool,
    pub(crate) read_records: i64,
    read_records_complete: bool,
    pub(crate) write_records: i64,
    write_records_complete: bool,
    pub(crate) accumulated_backpressured_time: i64,
    pub(crate) accumulated_idle_time: i64,
    pub(crate) accumulated_busy_time: f64,
    #[serde(rename = "busyTimeMsPerSecond")]
    busy_ms: u64,
    #[serde(rename = "idleTimeMsPerSecond")]
    idle_ms: u64,
    #[serde(rename = "backPressuredTimeMsPerSecond")]
    back_pressured_ms: u64,
    #[serde(rename = "currentInputWatermark")]
    watermark: Option<Timestamp>,
}

impl IoMetrics {
    /// The sum over some tasks; of the last second the mean, of watermarks the least.
    pub(crate) fn of<'a>(all: impl Iterator<Item = &'a TaskMetrics> + Clone) -> Self {
        let sum = |value: fn(&TaskMetrics) -> u64| all.clone().map(value).sum::<u64>();
        let tasks = (all.clone().count() as u64).max(1);
        Self {
            read_bytes: sum(|m| m.bytes_in) as i64,
            read_bytes_complete: true,
            write_bytes: sum(|m| m.bytes_out) as i64,
            write_bytes_complete: true,
            read_records: sum(|m| m.records_in) as i64,
            read_records_complete: true,
            write_records: sum(|m| m.records_out) as i64,
            write_records_complete: true,
            accumulated_backpressured_time: 0,
            accumulated_idle_time: 0,
            accumulated_busy_time: 0.0,
            busy_ms: sum(|m| u64::from(m.busy_ms)) / tasks,
            idle_ms: sum(|m| u64::from(m.idle_ms)) / tasks,
            back_pressured_ms: sum(|m| u64::from(m.back_pressured_ms)) / tasks,
            watermark: all.filter_map(|m| m.watermark).min(),
        }
    }
}
