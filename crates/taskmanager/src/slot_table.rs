//! Who has which slot. Pure.
//!
//! A slot is free, or it is held under one allocation: ALLOCATED (granted by the resource manager,
//! its job master has not taken it yet), ACTIVE (taken), RELEASING (given back, tasks still end).
//! An allocated slot times out; the timeout is named by a [`Ticket`], and each time a slot becomes
//! allocated it gets a new one, so a timeout of former days does nothing.
//!
//! Invariants ([`SlotTable::check`]): an allocation lives in one slot; a releasing slot has tasks;
//! a task is in one slot.

use crate::mutant;
use millstream_core::ids::{AllocationId, ExecutionAttemptId, JobId};
use millstream_core::time::Mono;
use millstream_rpc::protocol::resource::{ResourceProfile, SlotOffer, SlotReport, SlotStatus};
use std::collections::{BTreeMap, BTreeSet};

/// Names one wait of one slot for its job master.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// A slot that somebody has.
#[derive(Clone, Debug)]
pub struct Slot {
    /// Its number on this worker.
    pub index: u32,
    /// Who has it.
    pub job: JobId,
    /// How it stands.
    pub state: SlotState,
    /// Attempts that live in it.
    pub tasks: BTreeSet<ExecutionAttemptId>,
}

/// How a held slot stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SlotState {
    /// Waits for its job master.
    Allocated {
        /// Names this wait.
        ticket: Ticket,
        /// When it ends.
        until: Mono,
    },
    /// Its job master uses it.
    Active,
    /// Given back; its tasks are ending.
    Releasing,
}

/// What came of [`SlotTable::allocate`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allocation {
    /// It is held now, and times out by this ticket.
    New(Ticket),
    /// It was held for this job under this allocation already.
    Known,
    /// It is another's (or still that of a releasing one).
    Occupied {
        /// The grant under which it is held.
        allocation: AllocationId,
        /// Who holds it.
        job: JobId,
    },
    /// This grant lives in another slot.
    Elsewhere(u32),
    /// There is no such slot.
    NoSuchSlot,
}

/// What came of giving a slot back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Release {
    /// It is free.
    Freed(Freed),
    /// It will be free when these have ended.
    Waiting(BTreeSet<ExecutionAttemptId>),
    /// Nobody has it.
    Unknown,
}

/// A slot that has become free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freed {
    /// Which.
    pub index: u32,
    /// The grant that ended.
    pub allocation: AllocationId,
    /// Who had it.
    pub job: JobId,
}

/// How many slots stand how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SlotCounts {
    /// Nobody has them.
    pub free: u32,
    /// ALLOCATED.
    pub allocated: u32,
    /// ACTIVE.
    pub active: u32,
    /// RELEASING.
    pub releasing: u32,
}

/// All slots of a worker.
#[derive(Clone, Debug)]
pub struct SlotTable {
    /// What each slot has. Never changes.
    profile: ResourceProfile,
    /// Which grant is in which slot; one entry per slot.
    holders: Vec<Option<AllocationId>>,
    /// The slots that somebody has.
    slots: BTreeMap<AllocationId, Slot>,
    /// The number of the last ticket; grows with every wait.
    last_ticket: u64,
}

impl SlotTable {
    /// So many free slots.
    pub fn new(slots: u32, profile: ResourceProfile) -> Self {
        Self {
            profile,
            holders: vec![None; slots as usize],
            slots: BTreeMap::new(),
            last_ticket: 0,
        }
    }

    /// What each slot has.
    pub fn profile(&self) -> &ResourceProfile {
        &self.profile
    }

    /// Holds the slot for the job until its master takes it, or until then.
    pub fn allocate(
        &mut self,
        index: u32,
        job: JobId,
        allocation: AllocationId,
        until: Mono,
    ) -> Allocation {
        let Some(holder) = self.holders.get(index as usize).copied() else {
            return Allocation::NoSuchSlot;
        };
        if let Some(known) = self.slots.get(&allocation) {
            return match known.state {
                _ if known.index != index => Allocation::Elsewhere(known.index),
                SlotState::Allocated { .. } | SlotState::Active if known.job == job => {
                    Allocation::Known
                }
                _ => Allocation::Occupied { allocation, job: known.job },
            };
        }
        if let Some(other) = holder.filter(|_| !mutant::on("slot_occupied_overwritten")) {
            return Allocation::Occupied { allocation: other, job: self.slots[&other].job };
        }
        let ticket = self.draw_ticket();
        self.holders[index as usize] = Some(allocation);
        self.slots.insert(
            allocation,
            Slot {
                index,
                job,
                state: SlotState::Allocated { ticket, until },
                tasks: BTreeSet::new(),
            },
        );
        Allocation::New(ticket)
    }

    /// The slot's job master uses it; false if it cannot (unknown, releasing).
    pub fn activate(&mut self, allocation: AllocationId) -> bool {
        match self.slots.get_mut(&allocation) {
            Some(slot) if slot.state != SlotState::Releasing => {
                slot.state = SlotState::Active;
                true
            }
            _ => false,
        }
    }

    /// The slot waits for its job master again; its new ticket. Only an active slot can.
    pub fn deactivate(&mut self, allocation: AllocationId, until: Mono) -> Option<Ticket> {
        let ticket = self.draw_ticket();
        let slot = self.slots.get_mut(&allocation)?;
        if slot.state != SlotState::Active {
            return None;
        }
        slot.state = SlotState::Allocated { ticket, until };
        Some(ticket)
    }

    /// Whether the wait of this ticket has ended in vain: the slot is to be given back.
    pub fn has_timed_out(&self, allocation: AllocationId, ticket: Ticket, now: Mono) -> bool {
        let Some(slot) = self.slots.get(&allocation) else {
            return false;
        };
        if mutant::on("stale_slot_ticket_acts") {
            return true;
        }
        match slot.state {
            SlotState::Allocated { ticket: newest, until } => newest == ticket && until <= now,
            SlotState::Active | SlotState::Releasing => false,
        }
    }

    /// Gives the slot back; it is free once its tasks have ended.
    pub fn release(&mut self, allocation: AllocationId) -> Release {
        let Some(slot) = self.slots.get_mut(&allocation) else {
            return Release::Unknown;
        };
        slot.state = SlotState::Releasing;
        if slot.tasks.is_empty() {
            return Release::Freed(self.vacate(allocation));
        }
        Release::Waiting(slot.tasks.clone())
    }

    /// Gives back a slot whose wait has ended in vain. Only one that still waits may end so.
    pub fn expire(&mut self, allocation: AllocationId, now: Mono) -> Release {
        let state = self.slots.get(&allocation).map(|slot| &slot.state);
        assert!(
            matches!(state, Some(SlotState::Allocated { until, .. }) if *until <= now),
            "allocation {allocation} times out although it does not wait: {state:?}"
        );
        self.release(allocation)
    }

    /// An attempt begins to live in the slot, which must be active.
    pub fn add_task(&mut self, allocation: AllocationId, attempt: ExecutionAttemptId) {
        let slot = self.slots.get_mut(&allocation);
        let slot = slot.expect("a task is only added to a slot that was just activated");
        assert!(slot.state == SlotState::Active, "a task in a slot that is not active");
        slot.tasks.insert(attempt);
    }

    /// An attempt has ended; the slot, if it was only waiting for that to become free.
    pub fn remove_task(
        &mut self,
        allocation: AllocationId,
        attempt: &ExecutionAttemptId,
    ) -> Option<Freed> {
        let slot = self.slots.get_mut(&allocation)?;
        slot.tasks.remove(attempt);
        let done = slot.state == SlotState::Releasing && slot.tasks.is_empty();
        (done && !mutant::on("leak_slot_when_tasks_end")).then(|| self.vacate(allocation))
    }

    /// The slot that is held under this grant.
    pub fn get(&self, allocation: &AllocationId) -> Option<&Slot> {
        self.slots.get(allocation)
    }

    /// All held slots.
    pub fn iter(&self) -> impl Iterator<Item = (&AllocationId, &Slot)> {
        self.slots.iter()
    }

    /// The slots that the job has.
    pub fn of_job(&self, job: JobId) -> impl Iterator<Item = (&AllocationId, &Slot)> {
        self.slots.iter().filter(move |(_, slot)| slot.job == job)
    }

    /// Offers of all slots of the job that its master has not taken yet.
    pub fn offers(&self, job: JobId) -> Vec<SlotOffer> {
        self.of_job(job)
            .filter(|(_, slot)| matches!(slot.state, SlotState::Allocated { .. }))
            .map(|(allocation, slot)| SlotOffer {
                allocation: *allocation,
                index: slot.index,
                profile: self.profile,
            })
            .collect()
    }

    /// What the resource manager is told.
    pub fn report(&self) -> SlotReport {
        let status = |holder: &Option<AllocationId>| SlotStatus {
            profile: self.profile,
            allocation: holder.map(|allocation| (allocation, self.slots[&allocation].job)),
        };
        let slots = self.holders.iter().enumerate();
        SlotReport { slots: slots.map(|(index, holder)| (index as u32, status(holder))).collect() }
    }

    /// How many slots stand how.
    pub fn counts(&self) -> SlotCounts {
        let mut counts = SlotCounts {
            free: self.holders.iter().filter(|holder| holder.is_none()).count() as u32,
            ..SlotCounts::default()
        };
        for slot in self.slots.values() {
            match slot.state {
                SlotState::Allocated { .. } => counts.allocated += 1,
                SlotState::Active => counts.active += 1,
                SlotState::Releasing => counts.releasing += 1,
            }
        }
        counts
    }

    /// Panics where the table contradicts itself (I4).
    pub fn check(&self) {
        let counts = self.counts();
        let sum = counts.free + counts.allocated + counts.active + counts.releasing;
        assert_eq!(sum as usize, self.holders.len(), "slots got lost or doubled: {counts:?}");
        let mut tasks = BTreeSet::new();
        for (allocation, slot) in &self.slots {
            assert_eq!(
                self.holders[slot.index as usize],
                Some(*allocation),
                "allocation {allocation} believes to be in slot {}",
                slot.index
            );
            assert!(
                slot.state != SlotState::Releasing || !slot.tasks.is_empty(),
                "slot {} is releasing but waits for nobody: it has leaked",
                slot.index
            );
            for attempt in &slot.tasks {
                assert!(tasks.insert(*attempt), "{attempt} lives in two slots");
            }
        }
    }

    fn draw_ticket(&mut self) -> Ticket {
        self.last_ticket += 1;
        Ticket(self.last_ticket)
    }

    fn vacate(&mut self, allocation: AllocationId) -> Freed {
        let slot = self.slots.remove(&allocation);
        let slot = slot.expect("only a slot that was just looked at is vacated");
        self.holders[slot.index as usize] = None;
        Freed { index: slot.index, allocation, job: slot.job }
    }
}

#[cfg(test)]
mod tests;
