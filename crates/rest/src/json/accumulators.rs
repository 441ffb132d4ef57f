//! `JobAccumulatorsInfo`, `JobVertexAccumulatorsInfo`.

use crate::json::vertex_view::VertexView;
use millstream_core::accumulator::{AccumulatorValue, join};
use millstream_core::ids::JobVertexId;
use millstream_rpc::protocol::details::ExecutionGraphDetails;
use serde::Serialize;
use std::collections::BTreeMap;

/// The accumulators of all tasks of a job.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct JobAccumulators {
    /// Flink has none of these either.
    job_accumulators: [(); 0],
    user_task_accumulators: Vec<UserAccumulator>,
    /// Java's serialised form does not exist here.
    serialized_user_task_accumulators: BTreeMap<String, String>,
}

/// The accumulators of the tasks of a vertex.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct VertexAccumulators {
    id: JobVertexId,
    user_accumulators: Vec<UserAccumulator>,
}

#[derive(Serialize)]
struct UserAccumulator {
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    value: String,
}

impl JobAccumulators {
    pub(crate) fn of(details: &ExecutionGraphDetails) -> Self {
        Self {
            job_accumulators: [],
            user_task_accumulators: all(details.accumulators()),
            serialized_user_task_accumulators: BTreeMap::new(),
        }
    }
}

impl VertexAccumulators {
    pub(crate) fn of(view: &VertexView<'_>) -> Self {
        let attempts = view.attempts.iter();
        let joined = join(attempts.map(|attempt| &attempt.metrics.accumulators));
        Self { id: view.vertex.id, user_accumulators: all(joined) }
    }
}

fn all(values: BTreeMap<String, AccumulatorValue>) -> Vec<UserAccumulator> {
    let one = |(name, value): (String, AccumulatorValue)| UserAccumulator {
        name,
        kind: value.kind(),
        value: value.to_string(),
    };
    values.into_iter().map(one).collect()
}
