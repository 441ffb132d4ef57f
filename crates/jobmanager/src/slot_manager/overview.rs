//! How workers stand, in numbers: for people, metrics and checks.

use super::manager::SlotManager;
use super::slot::{Slot, SlotState};
use millstream_core::ids::ResourceId;
use millstream_rpc::protocol::resource::{ResourceProfile, SlotReport, SlotStatus};

/// How many slots are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotCounts {
    /// Nobody's.
    pub free: u32,
    /// Asked for, or asked for with an outcome that nobody knows.
    pub pending: u32,
    /// Held for a job.
    pub allocated: u32,
}

impl SlotCounts {
    /// All slots.
    pub fn total(&self) -> u32 {
        self.free + self.pending + self.allocated
    }
}

impl SlotManager {
    /// How many slots of the worker are in which state.
    pub fn counts_of(&self, resource: &ResourceId) -> SlotCounts {
        let mut counts = SlotCounts::default();
        for slot in self.slots_of(resource) {
            match slot.state {
                SlotState::Free => counts.free += 1,
                SlotState::Pending(_) | SlotState::Unconfirmed(_) => counts.pending += 1,
                SlotState::Allocated(_) => counts.allocated += 1,
            }
        }
        counts
    }

    /// How many slots of all workers are in which state.
    pub fn counts(&self) -> SlotCounts {
        self.workers.keys().map(|resource| self.counts_of(resource)).fold(
            SlotCounts::default(),
            |sum, of_worker| SlotCounts {
                free: sum.free + of_worker.free,
                pending: sum.pending + of_worker.pending,
                allocated: sum.allocated + of_worker.allocated,
            },
        )
    }

    /// The worker's slots for people: a slot that is asked for counts as given.
    pub fn describe(&self, resource: &ResourceId) -> SlotReport {
        let status = |slot: &Slot| SlotStatus {
            profile: slot.profile,
            allocation: slot.state.grant().map(|grant| (grant.allocation, grant.job)),
        };
        let slots = self.workers.get(resource).map(|worker| {
            let of_slot = |(index, slot): (&u32, &Slot)| (*index, status(slot));
            worker.slots.iter().map(of_slot).collect()
        });
        SlotReport { slots: slots.unwrap_or_default() }
    }

    /// What the worker's free slots have together.
    pub fn free_resources(&self, resource: &ResourceId) -> ResourceProfile {
        self.slots_of(resource).filter(|slot| slot.state == SlotState::Free).fold(
            ResourceProfile::ANY,
            |sum, slot| ResourceProfile {
                cpu_millis: sum.cpu_millis.saturating_add(slot.profile.cpu_millis),
                task_memory: sum.task_memory.saturating_add(slot.profile.task_memory),
                managed_memory: sum.managed_memory.saturating_add(slot.profile.managed_memory),
                network_memory: sum.network_memory.saturating_add(slot.profile.network_memory),
            },
        )
    }

    fn slots_of(&self, resource: &ResourceId) -> impl Iterator<Item = &Slot> {
        self.workers.get(resource).into_iter().flat_map(|worker| worker.slots.values())
    }
}
