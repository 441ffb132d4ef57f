//! A vertex of the job graph with the current attempts of its subtasks.

use millstream_core::ids::{ExecutionAttemptId, ExecutionGraphId, JobVertexId};
use millstream_core::job_graph::JobVertex;
use millstream_core::status::ExecutionState;
use millstream_rpc::protocol::details::{AttemptDetails, ExecutionGraphDetails};
use millstream_rpc::protocol::job_master::TaskMetrics;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// A vertex with one attempt per subtask.
pub(crate) struct VertexView<'a> {
    pub(crate) vertex: &'a JobVertex,
    pub(crate) attempts: Cow<'a, [AttemptDetails]>,
}

impl<'a> VertexView<'a> {
    /// All vertices, producers first.
    pub(crate) fn all(
        details: &'a ExecutionGraphDetails,
    ) -> impl Iterator<Item = VertexView<'a>> + 'a {
        let vertices = details.graph.vertices.iter().enumerate();
        vertices.map(|(index, vertex)| {
            let told = details.vertices.get(index).map(|told| told.subtasks.as_slice());
            let attempts = match told {
                Some(subtasks) if !subtasks.is_empty() => Cow::Borrowed(subtasks),
                // The job has no execution graph yet.
                _ => Cow::Owned((0..vertex.parallelism).map(|i| created(vertex.id, i)).collect()),
            };
            VertexView { vertex, attempts }
        })
    }

    /// The vertex with this id.
    pub(crate) fn find(details: &'a ExecutionGraphDetails, id: JobVertexId) -> Option<Self> {
        Self::all(details).find(|view| view.vertex.id == id)
    }
}

fn created(vertex: JobVertexId, subtask: u32) -> AttemptDetails {
    let graph = ExecutionGraphId::default();
    AttemptDetails {
        attempt: ExecutionAttemptId { graph, vertex, subtask, attempt: 0 },
        state: ExecutionState::Created,
        state_times: BTreeMap::new(),
        place: None,
        endpoint: None,
        metrics: TaskMetrics::default(),
    }
}
