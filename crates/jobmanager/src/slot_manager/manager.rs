//! All workers, all grants, all demands.
//!
//! Invariants, checked by `check` in `invariants`: the slots of a worker are free, pending or
//! allocated and nothing else; a grant lives in exactly one slot; the indices say what the slots
//! say.

use super::matching::LoadBalanceMode;
use super::requirements::{self, ProfileCounts};
use super::slot::{Cause, Grant, Slot, SlotState};
use crate::mutant;
use millstream_core::ids::{AllocationId, InstanceId, JobId, ResourceId};
use millstream_rpc::protocol::resource::{
    ResourceProfile, ResourceRequirement, SlotId, SlotReport, SlotStatus,
};
use std::collections::{BTreeMap, BTreeSet};

/// Knows every slot, every grant and every demand.
#[derive(Debug)]
pub struct SlotManager {
    /// How a worker is chosen among several.
    pub(super) mode: LoadBalanceMode,
    /// Registered workers; their slots are known from their first report on.
    pub(super) workers: BTreeMap<ResourceId, Worker>,
    /// What jobs asked for. A job without needs is not in here.
    pub(super) demands: BTreeMap<JobId, Demand>,
    /// Ranks demands by age: the older job is served first.
    demands_seen: u64,
    /// Where each grant lives; follows the slots' states.
    pub(super) grants: BTreeMap<AllocationId, SlotId>,
    /// The grants of each job; follows the slots' states.
    pub(super) grants_of: BTreeMap<JobId, BTreeSet<AllocationId>>,
}

/// A worker's slots.
#[derive(Debug)]
pub(super) struct Worker {
    /// The registration that they belong to.
    pub(super) instance: InstanceId,
    /// By number, as the worker last reported them.
    pub(super) slots: BTreeMap<u32, Slot>,
}

/// What a job asked for.
#[derive(Debug)]
pub(super) struct Demand {
    /// All of it: a new declaration replaces it.
    pub(super) required: ProfileCounts,
    /// Lower is older.
    pub(super) rank: u64,
}

impl SlotManager {
    /// Knows nobody.
    pub fn new(mode: LoadBalanceMode) -> Self {
        Self {
            mode,
            workers: BTreeMap::new(),
            demands: BTreeMap::new(),
            demands_seen: 0,
            grants: BTreeMap::new(),
            grants_of: BTreeMap::new(),
        }
    }

    /// A worker has registered. A former registration of the same worker is forgotten with all its
    /// slots: what is still true of them comes back with the report.
    pub fn register_worker(&mut self, resource: ResourceId, instance: InstanceId) {
        self.unregister_worker(&resource);
        let slots = BTreeMap::new();
        self.workers.insert(resource, Worker { instance, slots });
    }

    /// The worker and its slots are gone; whether they were known.
    pub fn unregister_worker(&mut self, resource: &ResourceId) -> bool {
        let Some(worker) = self.workers.remove(resource) else {
            return false;
        };
        for grant in worker.slots.values().filter_map(|slot| slot.state.grant()) {
            self.unindex(grant);
        }
        true
    }

    /// The worker's registration.
    pub fn instance(&self, resource: &ResourceId) -> Option<InstanceId> {
        self.workers.get(resource).map(|worker| worker.instance)
    }

    /// The worker says how all its slots stand; whether that is news.
    pub fn report(&mut self, resource: &ResourceId, report: &SlotReport) -> bool {
        let mut news = self.drop_unreported(resource, report);
        for (index, status) in &report.slots {
            let id = SlotId { resource: resource.clone(), index: *index };
            news |= self.report_slot(&id, status);
        }
        news
    }

    /// The worker says that a grant is over; whether that is news. A grant that the slot does not
    /// hold is an old story.
    pub fn slot_available(&mut self, id: &SlotId, ended: AllocationId) -> bool {
        let Some(grant) = self.state(id).and_then(|state| state.grant()) else {
            return false;
        };
        if grant.allocation != ended && !mutant::on("stale_availability_frees_slot") {
            return false;
        }
        self.change(id, SlotState::Free, Cause::Available(ended));
        true
    }

    /// The worker holds the slot as it was asked to; whether the slot is in that grant's hands.
    pub fn acknowledged(&mut self, id: &SlotId, asked: AllocationId) -> bool {
        if let Some(grant) = self.pending_grant(id, asked) {
            self.change(id, SlotState::Allocated(grant), Cause::Acknowledged);
            self.slot_mut(id).refusals = 0;
        }
        // A report may have told it before the answer did.
        self.grants.get(&asked) == Some(id)
    }

    /// The worker does not hold the slot; how often in a row it has refused it now, or nothing if
    /// the refused grant is an old story.
    pub fn refused(&mut self, id: &SlotId, asked: AllocationId) -> Option<u32> {
        self.pending_grant(id, asked)?;
        self.change(id, SlotState::Free, Cause::Refused);
        let slot = self.slot_mut(id);
        slot.refusals = slot.refusals.saturating_add(1);
        Some(slot.refusals)
    }

    /// Nobody knows whether the worker holds the slot; whether that leaves a question open.
    pub fn outcome_unknown(&mut self, id: &SlotId, asked: AllocationId) -> bool {
        let Some(grant) = self.pending_grant(id, asked) else {
            return false;
        };
        self.change(id, SlotState::Unconfirmed(grant), Cause::OutcomeUnknown);
        true
    }

    /// The worker holds the slot for somebody else; whether that is news.
    pub fn occupied(&mut self, id: &SlotId, asked: AllocationId, holder: Grant) -> bool {
        if self.pending_grant(id, asked).is_none() {
            return false;
        }
        self.change(id, SlotState::Allocated(holder), Cause::Occupied);
        true
    }

    /// From now on the job needs exactly this; whether that is less than before and leaves it with
    /// more than it needs.
    pub fn declare(&mut self, job: JobId, required: &[ResourceRequirement]) -> bool {
        let required = requirements::collect(required);
        if required.is_empty() {
            self.demands.remove(&job);
            return self.grants_of.contains_key(&job);
        }
        let count = requirements::total(&required);
        let excess = count < requirements::total(&self.held(job));
        if let Some(demand) = self.demands.get_mut(&job) {
            let former = requirements::total(&demand.required);
            demand.required = required;
            return excess && count < former;
        }
        self.demands_seen += 1;
        let rank = self.demands_seen;
        self.demands.insert(job, Demand { required, rank });
        false
    }

    /// What the job needs and has not been granted, most demanding first.
    pub fn missing(&self, job: JobId) -> Vec<(ResourceProfile, u64)> {
        match self.demands.get(&job) {
            Some(demand) => requirements::unmet(&demand.required, self.held(job)),
            None => Vec::new(),
        }
    }

    /// What the job has or is about to get.
    pub fn acquired(&self, job: JobId) -> Vec<ResourceRequirement> {
        requirements::to_message(&self.held(job))
    }

    /// Workers of which the job has a slot, or may have one.
    pub fn workers_of(&self, job: JobId) -> BTreeSet<ResourceId> {
        self.grants_of(job).map(|allocation| self.grants[&allocation].resource.clone()).collect()
    }

    /// Slots that wait for their worker's answer.
    pub fn pending(&self) -> impl Iterator<Item = (SlotId, Grant)> {
        self.grants.values().filter_map(|id| match self.state(id)? {
            SlotState::Pending(grant) => Some((id.clone(), grant)),
            _ => None,
        })
    }

    /// Who has the slot; nothing for a slot that does not exist.
    pub fn state(&self, id: &SlotId) -> Option<SlotState> {
        let slot = self.workers.get(&id.resource)?.slots.get(&id.index)?;
        Some(slot.state)
    }

    fn grants_of(&self, job: JobId) -> impl Iterator<Item = AllocationId> {
        self.grants_of.get(&job).into_iter().flatten().copied()
    }

    /// The profiles of the slots that the job can count on.
    fn held(&self, job: JobId) -> ProfileCounts {
        let mut held = ProfileCounts::new();
        for allocation in self.grants_of(job) {
            let id = &self.grants[&allocation];
            let slot = &self.workers[&id.resource].slots[&id.index];
            if slot.state.counts_for_job() {
                *held.entry(slot.profile).or_default() += 1;
            }
        }
        held
    }

    /// Forgets slots that the worker no longer has; whether there were any.
    fn drop_unreported(&mut self, resource: &ResourceId, report: &SlotReport) -> bool {
        let Some(worker) = self.workers.get_mut(resource) else {
            return false;
        };
        let is_gone = |index: &u32, _: &mut Slot| !report.slots.contains_key(index);
        let gone: Vec<(u32, Slot)> = worker.slots.extract_if(.., is_gone).collect();
        for grant in gone.iter().filter_map(|(_, slot)| slot.state.grant()) {
            self.unindex(grant);
        }
        !gone.is_empty()
    }

    /// Takes over what the worker says of one slot; whether that is news.
    fn report_slot(&mut self, id: &SlotId, status: &SlotStatus) -> bool {
        let Some(worker) = self.workers.get_mut(&id.resource) else {
            return false;
        };
        let is_new = !worker.slots.contains_key(&id.index);
        let slot = worker.slots.entry(id.index).or_insert_with(|| Slot::free(status.profile));
        let news = is_new || slot.profile != status.profile;
        slot.profile = status.profile;
        let state = slot.state;
        let next = match status.allocation {
            Some((allocation, job)) => SlotState::Allocated(Grant { allocation, job }),
            // The report may be older than our ask, whose answer will tell.
            None if matches!(state, SlotState::Pending(_))
                && !mutant::on("old_report_frees_pending_slot") =>
            {
                state
            }
            None => SlotState::Free,
        };
        if next == state {
            return news;
        }
        self.change(id, next, Cause::Reported);
        true
    }

    /// The grant under which the slot is pending, if that is the one that was asked for.
    fn pending_grant(&self, id: &SlotId, asked: AllocationId) -> Option<Grant> {
        match self.state(id)? {
            SlotState::Pending(grant) if grant.allocation == asked => Some(grant),
            _ => None,
        }
    }

    /// The one place where a slot changes hands. The slot exists.
    pub(super) fn change(&mut self, id: &SlotId, next: SlotState, cause: Cause) {
        let state = self.slot_mut(id).state;
        assert!(
            state.may_become(&next, cause),
            "slot {id} may not go from {state:?} to {next:?}: {cause:?}"
        );
        if let Some(grant) = next.grant() {
            self.displace(id, grant);
        }
        if let Some(former) = state.grant() {
            self.unindex(former);
        }
        if let Some(grant) = next.grant() {
            self.grants.insert(grant.allocation, id.clone());
            let of_job = self.grants_of.entry(grant.job).or_default();
            of_job.insert(grant.allocation);
        }
        self.slot_mut(id).state = next;
    }

    /// A grant turns up in a slot: no other slot can have it, whatever was said before.
    fn displace(&mut self, id: &SlotId, grant: Grant) {
        let elsewhere = self.grants.get(&grant.allocation);
        if let Some(other) = elsewhere.filter(|other| *other != id).cloned() {
            self.change(&other, SlotState::Free, Cause::Displaced);
        }
    }

    fn unindex(&mut self, grant: Grant) {
        self.grants.remove(&grant.allocation);
        if let Some(of_job) = self.grants_of.get_mut(&grant.job) {
            of_job.remove(&grant.allocation);
            if of_job.is_empty() {
                self.grants_of.remove(&grant.job);
            }
        }
    }

    fn slot_mut(&mut self, id: &SlotId) -> &mut Slot {
        self.workers
            .get_mut(&id.resource)
            .and_then(|worker| worker.slots.get_mut(&id.index))
            .expect("the caller has looked the slot up")
    }
}
