//! `JobVertexDetailsInfo`.

use crate::json::attempt::Attempt;
use crate::json::summary::Aggregated;
use crate::json::vertex_view::VertexView;
use millstream_core::ids::JobVertexId;
use millstream_core::time::Timestamp;
use serde::Serialize;

/// A vertex with its subtasks.
#[derive(Serialize)]
pub(crate) struct VertexDetailsBody {
    id: JobVertexId,
    name: String,
    parallelism: u32,
    #[serde(rename = "maxParallelism")]
    max_parallelism: u32,
    now: Timestamp,
    subtasks: Vec<Attempt>,
    aggregated: Aggregated,
}

impl VertexDetailsBody {
    pub(crate) fn of(view: &VertexView<'_>, now: Timestamp) -> Self {
        let attempts = view.attempts.iter();
        let subtasks: Vec<_> = attempts.map(|attempt| Attempt::of(attempt, now)).collect();
        Self {
            id: view.vertex.id,
            name: view.vertex.name.clone(),
            parallelism: view.vertex.parallelism,
            max_parallelism: view.vertex.max_parallelism.get(),
            now,
            aggregated: Aggregated::of(&subtasks),
            subtasks,
        }
    }
}
