//! The `aggregated` parts: least, greatest, sum, mean and percentiles over subtasks.

use crate::json::attempt::{Attempt, COUNTED_STATES};
use serde::Serialize;
use std::collections::BTreeMap;

/// One number over some subtasks.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Summary {
    min: i64,
    max: i64,
    avg: i64,
    sum: i64,
    median: i64,
    p25: i64,
    p75: i64,
    p95: i64,
}

/// `AggregatedTaskDetailsInfo`.
#[derive(Serialize)]
pub(crate) struct Aggregated {
    metrics: BTreeMap<&'static str, Summary>,
    #[serde(rename = "status-duration")]
    status_duration: BTreeMap<String, Summary>,
}

impl Aggregated {
    pub(crate) fn of(attempts: &[Attempt]) -> Self {
        let over = |value: &dyn Fn(&Attempt) -> i64| Summary::of(attempts.iter().map(value));
        let metric = |name, value: &dyn Fn(&Attempt) -> i64| (name, over(value));
        let metrics = [
            metric("read-bytes", &|a| a.metrics.read_bytes),
            metric("write-bytes", &|a| a.metrics.write_bytes),
            metric("read-records", &|a| a.metrics.read_records),
            metric("write-records", &|a| a.metrics.write_records),
            metric("accumulated-backpressured-time", &|a| a.metrics.accumulated_backpressured_time),
            metric("accumulated-idle-time", &|a| a.metrics.accumulated_idle_time),
            metric("accumulated-busy-time", &|a| a.metrics.accumulated_busy_time as i64),
        ];
        let durations = COUNTED_STATES.map(|state| {
            let name = state.to_string();
            let summary = over(&|a| a.status_duration[&name]);
            (name, summary)
        });
        Self { metrics: metrics.into(), status_duration: durations.into() }
    }
}

impl Summary {
    pub(crate) fn of(values: impl Iterator<Item = i64>) -> Self {
        let mut sorted: Vec<i64> = values.collect();
        sorted.sort_unstable();
        let sum: i64 = sorted.iter().sum();
        Self {
            min: sorted.first().copied().unwrap_or(0),
            max: sorted.last().copied().unwrap_or(0),
            avg: sum.checked_div(sorted.len() as i64).unwrap_or(0),
            sum,
            median: percentile(&sorted, 0.5),
            p25: percentile(&sorted, 0.25),
            p75: percentile(&sorted, 0.75),
            p95: percentile(&sorted, 0.95),
        }
    }
}

/// As Flink computes it (the default of Apache Commons Math): between the two nearest ranks, where
/// the rank of `p` is `p * (n + 1)`, counted from 1.
fn percentile(sorted: &[i64], p: f64) -> i64 {
    let (Some(first), Some(last)) = (sorted.first(), sorted.last()) else { return 0 };
    let rank = p * (sorted.len() as f64 + 1.0);
    let below = rank.floor() as usize;
    if below < 1 {
        return *first;
    }
    if below >= sorted.len() {
        return *last;
    }
    let (lower, upper) = (sorted[below - 1] as f64, sorted[below] as f64);
    (lower + (rank - rank.floor()) * (upper - lower)) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_values_are_summed_up_as_flink_does() {
        // Recorded from Flink 2.3.0: `fixtures/rest/recorded.jsonl`.
        let expected = Summary {
            min: 34_511,
            max: 86_360,
            avg: 60_435,
            sum: 120_871,
            median: 60_435,
            p25: 34_511,
            p75: 86_360,
            p95: 86_360,
        };
        assert_eq!(Summary::of([86_360, 34_511].into_iter()), expected);
    }

    #[test]
    fn nothing_sums_up_to_zeros() {
        let zeros = Summary { min: 0, max: 0, avg: 0, sum: 0, median: 0, p25: 0, p75: 0, p95: 0 };
        assert_eq!(Summary::of([].into_iter()), zeros);
    }
}
