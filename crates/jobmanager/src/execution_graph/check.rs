//! The invariants of the graph.
//!
//! - every split of a source is in one place;
//! - an attempt that was sent to a worker has a place, and one that never was has none;
//! - an attempt that counts reads only attempts that count: whoever restarts a producer restarts
//!   what has read from it.

use super::{ExecutionGraph, ExecutionVertexId};
use crate::execution_graph::failures::FAILURES_MAX;
use crate::execution_graph::splits::SplitAssigner;
use crate::execution_graph::vertex::FORMER_ATTEMPTS_MAX;
use millstream_core::status::ExecutionState;

impl ExecutionGraph {
    /// Panics if an invariant is broken. Subtasks that wait for their restart are exempt from
    /// reading what counts: nobody reads what they wrote.
    pub fn check(&self, waits_for_restart: impl Fn(ExecutionVertexId) -> bool) {
        self.splits.iter().for_each(SplitAssigner::check);
        assert!(self.failures().len() <= FAILURES_MAX);
        for (id, execution) in self.executions() {
            assert!(self.former_attempts(id).len() <= FORMER_ATTEMPTS_MAX);
            let placed = execution.place().is_some();
            let deployed = execution.state_times().contains_key(&ExecutionState::Deploying);
            assert!(
                placed == deployed,
                "execution {} is {} and its place is {:?}",
                self.attempt_id(id),
                execution.state(),
                execution.place()
            );
            let counts = execution.is_running() || execution.state() == ExecutionState::Finished;
            if counts && !waits_for_restart(id) {
                self.check_reads_what_counts(id);
            }
        }
    }

    fn check_reads_what_counts(&self, id: ExecutionVertexId) {
        let told = &self.execution(id).told;
        for ((_, edge), channels) in self.graph.inputs_of(id.vertex).zip(told) {
            for (producer, told) in self.producers(edge, id.subtask).zip(channels) {
                let source = ExecutionVertexId { vertex: edge.source, subtask: producer };
                let current = self.execution(source).number();
                assert!(
                    told.is_none_or(|told| told == current),
                    "execution {} reads attempt {told:?} of {}, which is at attempt {current}",
                    self.attempt_id(id),
                    self.task_name(source)
                );
            }
        }
    }
}
