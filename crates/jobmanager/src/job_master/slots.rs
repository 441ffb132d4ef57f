//! Slots come, serve and go: offers, matching with what the scheduler wants, losses, returns.

use super::asks::Ask;
use super::{Context, JobMaster, moment};
use crate::execution_graph::vertex::Place;
use crate::scheduler::Failure;
use millstream_core::ids::{AllocationId, ResourceId};
use millstream_rpc::protocol::job_master::JobMasterAnswer;
use millstream_rpc::protocol::resource::{ResourceProfile, SlotOffer};
use millstream_rpc::protocol::task_executor::ToTaskExecutor;
use millstream_rpc::protocol::{Answer, Refusal};

/// What every task needs of its slot, until vertices can say more.
const TASK_PROFILE: ResourceProfile = ResourceProfile::ANY;

impl JobMaster {
    pub(super) fn on_offers(
        &mut self,
        cx: &mut Context<'_>,
        resource: &ResourceId,
        offers: &[SlotOffer],
    ) -> Answer {
        if self.workers.get(resource).is_none() {
            self.counters.strangers += 1;
            let who = format!("task executor {resource}: it is not registered here");
            return Answer::Refused(Refusal::Unknown(who));
        }
        let accepted = offers.iter().filter(|offer| self.pool.offer(resource, offer, cx.now));
        let accepted = accepted.map(|offer| offer.allocation).collect();
        Answer::JobMaster(JobMasterAnswer::SlotsAccepted(accepted))
    }

    /// Tells the pool what is needed, and gives its free slots to whoever wants one.
    pub(super) fn match_slots(&mut self, cx: &mut Context<'_>) {
        self.pool.require(TASK_PROFILE, self.scheduler.slots().needed());
        let wanted = self.scheduler.slots().wanted();
        let wanted: Vec<_> =
            wanted.map(|(shared, previous, _)| (shared, previous.cloned())).collect();
        for (shared, allocation, resource) in self.pool.deal(TASK_PROFILE, &wanted) {
            let Some(worker) = self.workers.get(&resource) else {
                // `check` asserts that slots are of registered workers only.
                continue;
            };
            let data_address = worker.data_address.clone();
            let place = Place { resource, allocation, data_address };
            self.scheduler.on_slot_assigned(shared, place, moment(cx));
        }
        if self.scheduler.slots().placed() == self.scheduler.slots().needed() {
            self.link.shortage = None;
        }
    }

    /// The worker has lost a slot that we hold.
    pub(super) fn on_slot_failed(
        &mut self,
        cx: &mut Context<'_>,
        resource: &ResourceId,
        allocation: AllocationId,
        cause: &str,
    ) {
        if !self.pool.remove(resource, allocation) {
            self.counters.strangers += 1;
            return;
        }
        let failure = Failure::of_cluster(format!(
            "slot {allocation} of worker {resource} has failed: {cause}"
        ));
        let failure = failure.on_worker(resource);
        self.scheduler.on_slots_lost(&[allocation], None, failure, moment(cx), cx.rng);
    }

    /// Gives back what nobody has needed for a while. Workers that hold results which somebody has
    /// yet to read stay with us: without a slot they would let go of the results.
    pub(super) fn return_idle_slots(&mut self, cx: &mut Context<'_>) {
        let idle_ms = self.config.slot_idle_timeout_ms;
        let graph = self.scheduler.graph();
        let keep = |resource: &ResourceId| graph.has_unread_output_on(resource);
        for (allocation, resource) in self.pool.take_idle(cx.now, idle_ms, keep) {
            let cause = format!("no task has needed it for {idle_ms} ms (slot.idle.timeout)");
            let message = ToTaskExecutor::FreeSlot { allocation, cause };
            self.ask_worker(cx, &resource.clone(), message, Ask::FreeSlot(resource));
        }
    }

    /// A task may have waited for a slot for too long.
    pub(super) fn on_slot_request_timeout(&mut self, cx: &mut Context<'_>) {
        let hint = self.shortage_hint();
        let timeout_ms = self.config.slot_request_timeout_ms;
        self.scheduler.on_slot_timeout(timeout_ms, &hint, moment(cx), cx.rng);
    }
}
