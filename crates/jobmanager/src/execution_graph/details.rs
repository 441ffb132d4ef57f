//! What people may see of the graph.

use super::{ExecutionGraph, ExecutionVertexId};
use crate::execution_graph::vertex::FormerAttempt;
use millstream_core::ids::ExecutionAttemptId;
use millstream_core::status::ExecutionState;
use millstream_rpc::protocol::details::{AttemptDetails, FailureDetails, VertexDetails};
use millstream_rpc::protocol::job_master::TaskMetrics;
use std::collections::BTreeMap;

impl ExecutionGraph {
    /// The current attempts, in the order of the graph's vertices.
    pub fn vertex_details(&self) -> Vec<VertexDetails> {
        let subtasks = |vertex: usize| {
            (0..self.vertices[vertex].len() as u32)
                .map(|subtask| self.attempt_details(ExecutionVertexId { vertex, subtask }))
                .collect()
        };
        (0..self.vertices.len())
            .map(|vertex| VertexDetails { subtasks: subtasks(vertex) })
            .collect()
    }

    fn attempt_details(&self, id: ExecutionVertexId) -> AttemptDetails {
        let execution = self.execution(id);
        let place = execution.place();
        AttemptDetails {
            attempt: self.attempt_id(id),
            state: execution.state(),
            state_times: execution.state_times().clone(),
            place: place.map(|place| (place.resource.clone(), place.allocation)),
            endpoint: place.map(|place| place.data_address.clone()),
            metrics: execution.metrics().clone(),
        }
    }

    /// How many subtasks are in each state.
    pub fn task_counts(&self) -> BTreeMap<ExecutionState, u32> {
        let mut counts = BTreeMap::new();
        for (_, execution) in self.executions() {
            *counts.entry(execution.state()).or_default() += 1;
        }
        counts
    }

    /// Attempts of the subtask that are over, oldest first.
    pub fn former_attempts(
        &self,
        id: ExecutionVertexId,
    ) -> impl ExactSizeIterator<Item = &FormerAttempt> {
        self.vertices[id.vertex][id.subtask as usize].former()
    }

    /// The last failures, newest first.
    pub fn failures(&self) -> impl ExactSizeIterator<Item = &FailureDetails> {
        self.failures.iter()
    }

    /// Remembers a failure.
    pub fn record_failure(&mut self, failure: FailureDetails) {
        self.failures.record(failure);
    }

    /// Counters of an attempt have been heard; those of former attempts are ignored.
    pub fn record_metrics(&mut self, attempt: ExecutionAttemptId, metrics: TaskMetrics) {
        if let Some(id) = self.find(attempt) {
            self.current_mut(id).metrics = metrics;
        }
    }
}
