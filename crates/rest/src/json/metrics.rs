//! `MetricCollectionResponseBody`, `AggregatedMetricsResponseBody`.

use crate::json::vertex_view::VertexView;
use millstream_core::time::MIN_WATERMARK;
use millstream_rpc::protocol::job_master::TaskMetrics;
use serde::Serialize;
use std::collections::BTreeMap;

/// A metric: in a list of those that there are its name only.
#[derive(Serialize)]
pub(crate) struct Metric {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
}

/// A metric of several subtasks, brought together.
#[derive(Serialize)]
pub(crate) struct AggregatedMetric {
    id: String,
    #[serde(flatten)]
    values: BTreeMap<&'static str, f64>,
}

/// A way to bring numbers together.
#[derive(Clone, Copy)]
pub(crate) struct Aggregation {
    name: &'static str,
    of: fn(&[f64]) -> f64,
}

/// All metrics that there are, with what they show.
pub(crate) type Shown = BTreeMap<String, String>;

/// Of all subtasks of a vertex, each with its subtask before its name.
pub(crate) fn of_vertex(view: &VertexView<'_>) -> Shown {
    let subtasks = view.attempts.iter().enumerate();
    let named = subtasks.flat_map(|(subtask, attempt)| {
        let shown = of_task(&attempt.metrics).into_iter();
        shown.map(move |(name, value)| (format!("{subtask}.{name}"), value))
    });
    named.collect()
}

/// Of one task: what the engine counts, and what its functions show.
pub(crate) fn of_task(metrics: &TaskMetrics) -> Shown {
    let watermark = metrics.watermark.unwrap_or(MIN_WATERMARK);
    let own = [
        ("numRecordsIn", metrics.records_in.to_string()),
        ("numRecordsOut", metrics.records_out.to_string()),
        ("numBytesIn", metrics.bytes_in.to_string()),
        ("numBytesOut", metrics.bytes_out.to_string()),
        ("busyTimeMsPerSecond", metrics.busy_ms.to_string()),
        ("idleTimeMsPerSecond", metrics.idle_ms.to_string()),
        ("backPressuredTimeMsPerSecond", metrics.back_pressured_ms.to_string()),
        ("currentInputWatermark", watermark.to_string()),
    ];
    let own = own.into_iter().map(|(name, value)| (name.to_owned(), value));
    own.chain(metrics.user.iter().flat_map(|(name, value)| value.lines(name))).collect()
}

impl Metric {
    /// Those that are asked for and that there are; if none is asked for, the names of all.
    pub(crate) fn chosen(shown: &Shown, asked: Option<&str>) -> Vec<Self> {
        let Some(asked) = asked else {
            return shown.keys().map(|id| Self { id: id.clone(), value: None }).collect();
        };
        let found = asked.split(',').filter_map(|id| shown.get_key_value(id));
        found.map(|(id, value)| Self { id: id.clone(), value: Some(value.clone()) }).collect()
    }
}

impl AggregatedMetric {
    /// Those that are asked for, of all these tasks together; if none is asked for, the names of all.
    pub(crate) fn chosen(
        tasks: &[Shown],
        asked: Option<&str>,
        aggregations: &[Aggregation],
    ) -> Vec<Self> {
        let named = |id: &str, values| Self { id: id.to_owned(), values };
        let Some(asked) = asked else {
            let names: std::collections::BTreeSet<&String> =
                tasks.iter().flat_map(Shown::keys).collect();
            return names.into_iter().map(|id| named(id, BTreeMap::new())).collect();
        };
        let together = |id: &str| {
            let numbers = tasks.iter().filter_map(|shown| shown.get(id)?.parse().ok());
            let numbers: Vec<f64> = numbers.filter(|number: &f64| number.is_finite()).collect();
            let value = |aggregation: &Aggregation| (aggregation.name, (aggregation.of)(&numbers));
            (!numbers.is_empty()).then(|| named(id, aggregations.iter().map(value).collect()))
        };
        asked.split(',').filter_map(together).collect()
    }
}

impl Aggregation {
    const ALL: [Self; 5] = [
        Self { name: "min", of: |all| all.iter().copied().fold(f64::INFINITY, f64::min) },
        Self { name: "max", of: |all| all.iter().copied().fold(f64::NEG_INFINITY, f64::max) },
        Self { name: "sum", of: |all| all.iter().sum() },
        Self { name: "avg", of: mean },
        Self { name: "skew", of: skew },
    ];

    /// Those that are named, separated by commas; all, if none is. Nothing: there is no such one.
    pub(crate) fn parse(text: Option<&str>) -> Option<Vec<Self>> {
        let Some(text) = text else { return Some(Self::ALL.to_vec()) };
        let named = |name: &str| Self::ALL.iter().find(|known| known.name == name).copied();
        text.split(',').map(named).collect()
    }
}

fn mean(all: &[f64]) -> f64 {
    all.iter().sum::<f64>() / all.len() as f64
}

/// The mean distance from the mean, in per cent of that, at most 100: Flink's measure.
fn skew(all: &[f64]) -> f64 {
    let middle = mean(all);
    if middle == 0.0 {
        return 0.0;
    }
    let distance = all.iter().map(|number| (number - middle).abs()).sum::<f64>() / all.len() as f64;
    (distance / middle * 100.0).min(100.0)
}
