//! Regions get their slots and go to work.
//!
//! A region is scheduled when everything that it reads from other regions has been produced. It is
//! deployed as a whole, when each of its subtasks' shared slots has a place: half a region could
//! only wait for the other half.

use super::{Casualties, Command, Failure, Moment, Scheduler};
use crate::execution_graph::ExecutionVertexId;
use crate::execution_graph::regions::RegionId;
use crate::execution_graph::vertex::Place;
use crate::mutant;
use crate::scheduler::slot_sharing::SharedSlotId;
use millstream_core::job_graph::{ExchangeMode, JobEdge};
use millstream_core::status::ExecutionState;
use millstream_core::time::Mono;
use millstream_rpc::machine::Rng;
use std::collections::BTreeSet;

impl Scheduler {
    /// The job starts: whatever reads nothing unproduced is scheduled.
    pub fn start(&mut self, at: Moment) {
        self.schedule_ready(self.graph.regions().ids(), at);
    }

    pub(super) fn schedule_ready(
        &mut self,
        candidates: impl IntoIterator<Item = RegionId>,
        at: Moment,
    ) {
        for region in candidates {
            if self.is_ready(region) {
                self.schedule(region, at);
            }
        }
    }

    fn is_ready(&self, region: RegionId) -> bool {
        let mut members = self.graph.regions().members(region).iter();
        let untouched = members.all(|member| {
            self.graph.state(*member) == ExecutionState::Created && !self.restarts.contains(*member)
        });
        let mut inputs = self.graph.outside_inputs(region);
        let readable = |(edge, member): (&JobEdge, ExecutionVertexId)| {
            let subtasks = self.graph.producers(edge, member.subtask);
            let mut producers =
                subtasks.map(|subtask| ExecutionVertexId { vertex: edge.source, subtask });
            producers.all(|id| self.graph.region_of(id) == region || self.can_be_read(id))
        };
        let produced = inputs.all(readable) || mutant::on("reader_starts_early");
        !self.stopping && untouched && produced
    }

    /// What the subtask produced is there and will not be produced again.
    pub(super) fn can_be_read(&self, producer: ExecutionVertexId) -> bool {
        self.graph.execution(producer).has_output() && !self.restarts.contains(producer)
    }

    fn schedule(&mut self, region: RegionId, at: Moment) {
        for member in self.graph.regions().members(region).to_vec() {
            self.graph.change(member, ExecutionState::Scheduled, at.wall);
            self.slots.reserve(member, at.now);
        }
        self.waiting.insert(region);
        self.deploy_if_placed(region, at);
    }

    fn deploy_if_placed(&mut self, region: RegionId, at: Moment) {
        if !self.waiting.contains(&region) {
            return;
        }
        let members = self.graph.regions().members(region).to_vec();
        let places: Option<Vec<Place>> =
            members.iter().map(|member| self.slots.place_of(*member).cloned()).collect();
        let Some(places) = places else { return };
        self.waiting.remove(&region);
        for (member, place) in members.iter().zip(places) {
            let order = self.next_order();
            self.graph.deploy(*member, place, order, at.wall);
        }
        let attempts = members.iter().map(|member| self.graph.attempt_id(*member));
        self.commands.push(Command::Deploy(attempts.collect()));
    }

    /// A shared slot got a place: regions that waited for it alone are deployed.
    pub fn on_slot_assigned(&mut self, slot: SharedSlotId, place: Place, at: Moment) {
        self.slots.assign(slot, place);
        let members = self.slots.members(slot);
        let regions: BTreeSet<RegionId> = members.map(|m| self.graph.region_of(m)).collect();
        for region in regions {
            self.deploy_if_placed(region, at);
        }
    }

    /// The subtask has finished: those who waited for its result may be scheduled.
    pub(super) fn schedule_consumers(&mut self, producer: ExecutionVertexId, at: Moment) {
        let mut candidates = BTreeSet::new();
        for (_, edge) in self.graph.graph().outputs_of(producer.vertex) {
            if edge.exchange != ExchangeMode::Blocking || !self.may_have_readers(edge) {
                continue;
            }
            let vertex = edge.target;
            for subtask in self.graph.consumers(edge, producer.subtask) {
                candidates.insert(self.graph.region_of(ExecutionVertexId { vertex, subtask }));
            }
        }
        self.schedule_ready(candidates, at);
    }

    /// Saves looking at every consumer each time that one of many producers finishes.
    fn may_have_readers(&self, edge: &JobEdge) -> bool {
        edge.ship.is_pointwise() || self.graph.is_produced(edge, 0)
    }

    /// A subtask that is over and will not start over gives back its share of a slot.
    pub(super) fn release_if_done(&mut self, id: ExecutionVertexId) {
        let needs_slot = !self.graph.state(id).is_terminal() || self.restarts.contains(id);
        if needs_slot {
            return;
        }
        self.release(id);
    }

    pub(super) fn release(&mut self, id: ExecutionVertexId) {
        if let Some(allocation) = self.slots.release(id) {
            self.commands.push(Command::Free(allocation));
        }
    }

    /// The shared slots without a place that a scheduled subtask waits for, and since when.
    fn awaited(&self) -> impl Iterator<Item = (SharedSlotId, Mono)> + '_ {
        let is_scheduled = |id| self.graph.state(id) == ExecutionState::Scheduled;
        self.slots
            .wanted()
            .filter(move |(slot, _, _)| self.slots.members(*slot).any(is_scheduled))
            .map(|(slot, _, since)| (slot, since))
    }

    /// Since when a scheduled subtask has been waiting for a slot.
    pub fn waiting_since(&self) -> Option<Mono> {
        self.awaited().map(|(_, since)| since).min()
    }

    /// A subtask may have waited for a slot for too long. `hint` says what is known of the reason.
    pub fn on_slot_timeout(&mut self, timeout_ms: u64, hint: &str, at: Moment, rng: &mut Rng) {
        let overdue: Vec<SharedSlotId> = self
            .awaited()
            .filter(|(_, since)| *since + timeout_ms <= at.now)
            .map(|(slot, _)| slot)
            .collect();
        if overdue.is_empty() {
            return;
        }
        // Tasks of a batch job give their slots back when they are done: waiting is not in vain.
        if self.is_batch() && self.graph.executions().any(|(_, e)| e.is_running()) {
            self.slots.wait_anew(at.now);
            return;
        }
        let members = overdue.iter().flat_map(|slot| self.slots.members(*slot));
        let failed: Vec<ExecutionVertexId> =
            members.filter(|id| self.graph.state(*id) == ExecutionState::Scheduled).collect();
        let failure = Failure::of_cluster(format!(
            "{} of {} slots are missing, and have been for {} s (slot.request.timeout); {hint}",
            self.slots.needed() - self.slots.placed(),
            self.slots.needed(),
            timeout_ms / 1_000
        ));
        // Who never ran cannot run here at all: the cluster is too small. Who ran before lost a
        // worker, and waits for its replacement as long as the restart strategy allows.
        let never_ran = failed.iter().any(|id| self.graph.execution(*id).number() == 0);
        if never_ran {
            self.fail_job(failure, "no slots for its first attempt", at);
        } else {
            let lost = Vec::new();
            self.fail(&Casualties { failed, lost }, failure, at, rng);
        }
    }
}
