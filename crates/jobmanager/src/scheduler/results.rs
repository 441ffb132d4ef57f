//! What blocking exchanges hold is given up when nobody will read it any more.
//!
//! That is when all who read it have finished, and all who live and die with them: until then one of them
//! may start over and read it again. Should a reader have to start over later, for what it produced itself
//! is lost, its producers start over with it: to the rest of the scheduler results that were given up are
//! lost results.

use super::{Command, Scheduler};
use crate::execution_graph::ExecutionVertexId;
use crate::execution_graph::regions::RegionId;
use crate::mutant;
use millstream_core::job_graph::JobEdge;
use millstream_core::status::ExecutionState;
use std::collections::BTreeSet;

impl Scheduler {
    /// The subtask has finished: what its region has read may not be needed any more.
    pub(super) fn release_results(&mut self, finished: ExecutionVertexId) {
        let region = self.graph.region_of(finished);
        if !self.has_read(region) {
            return;
        }
        let mut producers = BTreeSet::new();
        for (edge, member) in self.graph.outside_inputs(region) {
            if self.have_all_read(edge) {
                let subtasks = self.graph.producers(edge, member.subtask);
                let ids =
                    subtasks.map(|subtask| ExecutionVertexId { vertex: edge.source, subtask });
                producers.extend(ids.filter(|id| self.graph.region_of(*id) != region));
            }
        }
        for producer in producers {
            if self.can_be_read(producer) && self.is_read_by_all(producer) {
                let attempt = self.graph.attempt_id(producer);
                self.graph.release_output(producer);
                self.commands.push(Command::Release(attempt));
            }
        }
    }

    fn is_read_by_all(&self, producer: ExecutionVertexId) -> bool {
        let mut readers = self.graph.blocking_readers(producer);
        readers.all(|reader| self.has_read(self.graph.region_of(reader)))
            || mutant::on("released_before_all_have_read")
    }

    /// Nobody of the region will read again, as far as is known.
    fn has_read(&self, region: RegionId) -> bool {
        self.graph.regions().members(region).iter().all(|member| {
            self.graph.state(*member) == ExecutionState::Finished
                && !self.restarts.contains(*member)
        })
    }

    /// Saves looking at every producer each time that one of many consumers finishes.
    fn have_all_read(&self, edge: &JobEdge) -> bool {
        let all = 0..self.graph.graph().vertices[edge.target].parallelism;
        let vertex = edge.target;
        let has_finished = |subtask| {
            self.graph.state(ExecutionVertexId { vertex, subtask }) == ExecutionState::Finished
        };
        edge.ship.is_pointwise()
            || mutant::on("released_before_all_have_read")
            || all.into_iter().all(has_finished)
    }
}
