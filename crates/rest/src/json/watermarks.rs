//! `MetricCollectionResponseBody`, of watermarks.

use crate::json::vertex_view::VertexView;
use millstream_core::time::MIN_WATERMARK;
use millstream_rpc::protocol::details::AttemptDetails;
use serde::Serialize;

/// How far event time is in each subtask: one metric, in Flink's words for it.
#[derive(Serialize)]
pub(crate) struct Watermark {
    id: String,
    value: String,
}

impl Watermark {
    /// Of all subtasks of a vertex. One that knows of no time yet has Flink's least.
    pub(crate) fn all(view: &VertexView<'_>) -> Vec<Self> {
        let of = |(subtask, attempt): (usize, &AttemptDetails)| Self {
            id: format!("{subtask}.currentInputWatermark"),
            value: attempt.metrics.watermark.unwrap_or(MIN_WATERMARK).to_string(),
        };
        view.attempts.iter().enumerate().map(of).collect()
    }
}
