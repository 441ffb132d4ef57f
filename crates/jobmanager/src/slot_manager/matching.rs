//! Which free slot goes to whom.
//!
//! Jobs are served in the order in which they first asked, and each as far as it goes: two jobs
//! that ask at once do not each end with half of what they need. Within a job the most demanding
//! requirement comes first, since the fewest slots meet it.

use super::manager::{SlotManager, Worker};
use super::slot::{Cause, Grant, Slot, SlotState};
use crate::mutant;
use millstream_core::ids::{AllocationId, JobId, ResourceId};
use millstream_rpc::machine::Rng;
use millstream_rpc::protocol::resource::{ResourceProfile, SlotId};
use std::collections::VecDeque;

/// How a worker is chosen among several, Flink's `taskmanager.load-balance.mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoadBalanceMode {
    /// Any that fits: one worker is filled before the next.
    #[default]
    None,
    /// The one with the smallest share of its slots in use.
    Slots,
}

/// A slot that its worker is to be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantedSlot {
    /// Which.
    pub slot: SlotId,
    /// For whom.
    pub grant: Grant,
    /// What is required of it.
    pub profile: ResourceProfile,
}

/// A worker with free slots that meet a requirement.
struct Candidate<'a> {
    resource: &'a ResourceId,
    /// Slots in any hands.
    used: u64,
    /// All slots.
    total: u64,
    /// Free ones that fit: refusals and number, the most promising first.
    fitting: VecDeque<(u32, u32)>,
}

impl SlotManager {
    /// Gives free slots to the jobs that are short of them and `ready` to take them. Each slot
    /// that comes out is pending from now on.
    pub fn grant_missing(
        &mut self,
        ready: impl Fn(JobId) -> bool,
        rng: &mut Rng,
    ) -> Vec<GrantedSlot> {
        let mut granted = Vec::new();
        for job in self.jobs_by_age() {
            if !ready(job) {
                continue;
            }
            for (profile, count) in self.missing(job) {
                for slot in self.choose(&profile, count) {
                    granted.push(self.grant(slot, job, profile, rng));
                }
            }
        }
        granted
    }

    /// Whether [`SlotManager::grant_missing`] would have something to give.
    pub fn could_grant(&self, ready: impl Fn(JobId) -> bool) -> bool {
        self.demands.keys().filter(|job| ready(**job)).flat_map(|job| self.missing(*job)).any(
            |(profile, _)| {
                let mut slots = self.workers.values().flat_map(|w| w.slots.values());
                slots.any(|slot| fits(slot, &profile))
            },
        )
    }

    fn grant(
        &mut self,
        slot: SlotId,
        job: JobId,
        profile: ResourceProfile,
        rng: &mut Rng,
    ) -> GrantedSlot {
        let allocation = AllocationId(rng.next_u128());
        let grant = Grant { allocation, job };
        self.change(&slot, SlotState::Pending(grant), Cause::Granted);
        GrantedSlot { slot, grant, profile }
    }

    fn jobs_by_age(&self) -> Vec<JobId> {
        let mut jobs: Vec<JobId> = self.demands.keys().copied().collect();
        jobs.sort_by_key(|job| self.demands[job].rank);
        jobs
    }

    /// Up to `count` free slots that meet the profile, best first.
    fn choose(&self, profile: &ResourceProfile, count: u64) -> Vec<SlotId> {
        let mut candidates: Vec<Candidate<'_>> = self
            .workers
            .iter()
            .map(|(resource, worker)| Candidate::new(resource, worker, profile))
            .filter(|candidate| !candidate.fitting.is_empty())
            .collect();
        let mut chosen = Vec::new();
        while (chosen.len() as u64) < count {
            let Some(slot) = self.take_best(&mut candidates) else {
                break;
            };
            chosen.push(slot);
        }
        chosen
    }

    /// The best slot of all candidates; the tie is broken by the worker's id.
    fn take_best(&self, candidates: &mut Vec<Candidate<'_>>) -> Option<SlotId> {
        let best = (0..candidates.len()).min_by(|a, b| {
            let (a, b) = (&candidates[*a], &candidates[*b]);
            let by_refusals = a.fitting[0].0.cmp(&b.fitting[0].0);
            match self.mode {
                LoadBalanceMode::None => by_refusals,
                // used / total, without leaving the whole numbers.
                LoadBalanceMode::Slots => {
                    by_refusals.then((a.used * b.total).cmp(&(b.used * a.total)))
                }
            }
        })?;
        let candidate = &mut candidates[best];
        let (_, index) = candidate.fitting.pop_front()?;
        candidate.used += 1;
        let resource = candidate.resource.clone();
        if candidate.fitting.is_empty() {
            candidates.remove(best);
        }
        Some(SlotId { resource, index })
    }
}

impl<'a> Candidate<'a> {
    fn new(resource: &'a ResourceId, worker: &Worker, profile: &ResourceProfile) -> Self {
        let is_used = |slot: &&Slot| slot.state != SlotState::Free;
        let mut fitting: Vec<(u32, u32)> = worker
            .slots
            .iter()
            .filter(|(_, slot)| fits(slot, profile))
            .map(|(index, slot)| (slot.refusals, *index))
            .collect();
        fitting.sort_unstable();
        Self {
            resource,
            used: worker.slots.values().filter(is_used).count() as u64,
            total: worker.slots.len() as u64,
            fitting: fitting.into(),
        }
    }
}

fn fits(slot: &Slot, profile: &ResourceProfile) -> bool {
    let pending = matches!(slot.state, SlotState::Pending(_));
    let available =
        slot.state == SlotState::Free || (pending && mutant::on("double_grant_pending_slot"));
    available && slot.profile.meets(profile)
}
