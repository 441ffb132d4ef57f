//! The declarative slot pool: the slots that a job has, against those that it needs.
//!
//! The job says what it needs; workers offer slots; an offer is taken while a need is unfulfilled.
//! A slot that becomes free stays here, for the next task; only what is beyond the needs, and idle
//! for a while, is given back. Pure bookkeeping: who declares and who answers is in the rooms
//! beside.
//!
//! Invariant: no more slots are held for a requirement than were needed at some time since the
//! number of held ones last fell; an offer never adds to a surplus.

use crate::execution_graph::vertex::Place;
use crate::mutant;
use crate::scheduler::slot_sharing::SharedSlotId;
use millstream_core::ids::{AllocationId, ResourceId};
use millstream_core::time::Mono;
use millstream_rpc::protocol::resource::{ResourceProfile, ResourceRequirement, SlotOffer};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// How many allocations that were given back are remembered, to refuse their late offers.
const RETURNED_MAX: usize = 1024;

/// A slot of a worker that the job has.
#[derive(Clone, Debug)]
pub struct PoolSlot {
    /// The worker.
    pub resource: ResourceId,
    /// Its number there.
    index: u32,
    /// The requirement for which it was taken.
    matched: ResourceProfile,
    /// The shared slot that it is; nothing: it is free.
    pub holder: Option<SharedSlotId>,
    /// Since when it has been free.
    free_since: Mono,
}

/// The slots of one job.
#[derive(Clone, Debug, Default)]
pub struct SlotPool {
    /// How many slots are needed, by what each must have. Changed by the job's needs only.
    required: BTreeMap<ResourceProfile, u32>,
    /// What the job has. Grows by accepted offers, shrinks by loss and return.
    slots: BTreeMap<AllocationId, PoolSlot>,
    /// The most slots that may be held for a requirement: what the invariant speaks of.
    most: BTreeMap<ResourceProfile, u32>,
    /// Allocations that were given back; a grant never returns, so an offer of one is old.
    returned: VecDeque<AllocationId>,
}

impl SlotPool {
    /// From now on so many slots are needed that have at least this.
    pub fn require(&mut self, profile: ResourceProfile, count: u32) {
        match count {
            0 => self.required.remove(&profile),
            _ => self.required.insert(profile, count),
        };
        self.settle_most(profile);
    }

    /// Everything that is needed, to be declared.
    pub fn requirements(&self) -> Vec<ResourceRequirement> {
        let requirement = |(profile, count): (&ResourceProfile, &u32)| ResourceRequirement {
            profile: *profile,
            count: *count,
        };
        self.required.iter().map(requirement).collect()
    }

    /// A worker offers a slot; whether the job takes it. A slot that it has is taken again: the
    /// worker has not heard of the first time.
    pub fn offer(&mut self, resource: &ResourceId, offer: &SlotOffer, now: Mono) -> bool {
        if let Some(known) = self.slots.get(&offer.allocation) {
            return known.resource == *resource;
        }
        if self.returned.contains(&offer.allocation) {
            return false;
        }
        let Some(matched) = self.unfulfilled(&offer.profile) else {
            return false;
        };
        let slot = PoolSlot {
            resource: resource.clone(),
            index: offer.index,
            matched,
            holder: None,
            free_since: now,
        };
        self.slots.insert(offer.allocation, slot);
        true
    }

    /// The most demanding requirement that is unfulfilled and that such a slot meets.
    fn unfulfilled(&self, offered: &ResourceProfile) -> Option<ResourceProfile> {
        let mut required = self.required.iter().rev();
        let open = required.find(|(profile, count)| {
            let missing = self.held(profile) < **count
                || mutant::on("offer_accepted_twice_for_one_requirement");
            missing && offered.meets(profile)
        });
        open.map(|(profile, _)| *profile)
    }

    fn held(&self, matched: &ResourceProfile) -> u32 {
        self.slots.values().filter(|slot| slot.matched == *matched).count() as u32
    }

    /// Gives each shared slot that wants one a free slot, as far as there are any: the one that it had
    /// before, else another one of the same worker, for its state may be there, else the first one, worker
    /// by worker, so that neighbours come to share a process. Nobody gets a slot because of its number that
    /// somebody else wants back.
    pub fn deal(
        &mut self,
        profile: ResourceProfile,
        wanted: &[(SharedSlotId, Option<Place>)],
    ) -> Vec<(SharedSlotId, AllocationId, ResourceId)> {
        let mut dealt = Vec::new();
        let mut left: Vec<_> = wanted.iter().collect();
        for likes in [had_it, was_there, anything] {
            left.retain(|(holder, previous)| {
                let taken = self.take(profile, *holder, |allocation, slot| {
                    likes(previous.as_ref(), allocation, slot)
                });
                let Some((allocation, resource)) = taken else { return true };
                dealt.push((*holder, allocation, resource));
                false
            });
        }
        dealt
    }

    /// The first free slot that is liked, worker by worker.
    fn take(
        &mut self,
        profile: ResourceProfile,
        holder: SharedSlotId,
        likes: impl Fn(AllocationId, &PoolSlot) -> bool,
    ) -> Option<(AllocationId, ResourceId)> {
        let free =
            self.slots.iter().filter(|(_, slot)| slot.holder.is_none() && slot.matched == profile);
        let liked = free.filter(|(allocation, slot)| likes(**allocation, slot));
        let best = liked.min_by_key(|(_, slot)| (&slot.resource, slot.index));
        let allocation = *best?.0;
        let slot = self.slots.get_mut(&allocation)?;
        slot.holder = Some(holder);
        Some((allocation, slot.resource.clone()))
    }

    /// Nobody uses the slot any more; it stays.
    pub fn free(&mut self, allocation: AllocationId, now: Mono) {
        if let Some(slot) = self.slots.get_mut(&allocation) {
            slot.holder = None;
            slot.free_since = now;
        }
    }

    /// The slot is lost; whether the job had it, from this worker.
    pub fn remove(&mut self, resource: &ResourceId, allocation: AllocationId) -> bool {
        let known = self.slots.get(&allocation);
        let Some(matched) = known.filter(|s| s.resource == *resource).map(|s| s.matched) else {
            return false;
        };
        self.slots.remove(&allocation);
        self.settle_most(matched);
        true
    }

    /// All slots of a worker are lost; which they were.
    pub fn remove_worker(&mut self, resource: &ResourceId) -> Vec<AllocationId> {
        let lost: Vec<AllocationId> = self.allocations_on(resource).into_iter().collect();
        for allocation in &lost {
            self.remove(resource, *allocation);
        }
        lost
    }

    /// Takes out free slots that are beyond the needs and have been idle for so long. Slots of
    /// workers to `keep` stay as long again.
    pub fn take_idle(
        &mut self,
        now: Mono,
        idle_ms: u64,
        keep: impl Fn(&ResourceId) -> bool,
    ) -> Vec<(AllocationId, ResourceId)> {
        let mut taken = Vec::new();
        for matched in self.slots.values().map(|s| s.matched).collect::<BTreeSet<_>>() {
            for _ in 0..self.surplus(&matched) {
                let Some(allocation) = self.longest_idle(&matched) else { break };
                let Some(slot) = self.slots.get(&allocation) else { break };
                if now < slot.free_since + idle_ms {
                    break;
                }
                let resource = slot.resource.clone();
                let is_last = self.slots.values().filter(|s| s.resource == resource).count() == 1;
                if is_last && keep(&resource) {
                    if let Some(slot) = self.slots.get_mut(&allocation) {
                        slot.free_since = now;
                    }
                    continue;
                }
                self.remove(&resource, allocation);
                self.remember_returned(allocation);
                taken.push((allocation, resource));
            }
        }
        taken
    }

    /// When [`SlotPool::take_idle`] may have something to give.
    pub fn next_idle(&self, idle_ms: u64) -> Option<Mono> {
        let matched: BTreeSet<ResourceProfile> = self.slots.values().map(|s| s.matched).collect();
        let beyond = matched.iter().filter(|matched| self.surplus(matched) > 0);
        let longest = beyond.filter_map(|matched| self.longest_idle(matched));
        longest.map(|allocation| self.slots[&allocation].free_since + idle_ms).min()
    }

    fn surplus(&self, matched: &ResourceProfile) -> u32 {
        let required = self.required.get(matched).copied().unwrap_or(0);
        self.held(matched).saturating_sub(required)
    }

    fn longest_idle(&self, matched: &ResourceProfile) -> Option<AllocationId> {
        let free = self.slots.iter().filter(|(_, s)| s.holder.is_none() && s.matched == *matched);
        free.min_by_key(|(allocation, slot)| (slot.free_since, **allocation)).map(|(id, _)| *id)
    }

    fn remember_returned(&mut self, allocation: AllocationId) {
        if self.returned.len() == RETURNED_MAX {
            self.returned.pop_front();
        }
        self.returned.push_back(allocation);
    }

    /// The slots that the job has on a worker.
    pub fn allocations_on(&self, resource: &ResourceId) -> BTreeSet<AllocationId> {
        let there = self.slots.iter().filter(|(_, slot)| slot.resource == *resource);
        there.map(|(allocation, _)| *allocation).collect()
    }

    /// All slots that the job has.
    pub fn iter(&self) -> impl Iterator<Item = (AllocationId, &PoolSlot)> {
        self.slots.iter().map(|(allocation, slot)| (*allocation, slot))
    }

    /// One slot that the job has.
    pub fn get(&self, allocation: AllocationId) -> Option<&PoolSlot> {
        self.slots.get(&allocation)
    }

    /// How many slots the job has.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether the job has none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// What was held by right before stays so; more only if it is needed now.
    fn settle_most(&mut self, profile: ResourceProfile) {
        let required = self.required.get(&profile).copied().unwrap_or(0);
        let before = self.most.remove(&profile).unwrap_or(0);
        let most = required.max(before.min(self.held(&profile)));
        if most > 0 {
            self.most.insert(profile, most);
        }
    }

    /// Panics if an invariant is broken.
    pub fn check(&self) {
        for matched in self.slots.values().map(|slot| slot.matched).collect::<BTreeSet<_>>() {
            let (held, most) = (self.held(&matched), self.most.get(&matched));
            assert!(
                most.is_some_and(|most| held <= *most),
                "{held} slots are held for {matched:?}, and at most {most:?} were needed"
            );
        }
        let holders: Vec<SharedSlotId> = self.slots.values().filter_map(|s| s.holder).collect();
        let distinct: BTreeSet<SharedSlotId> = holders.iter().copied().collect();
        assert_eq!(holders.len(), distinct.len(), "a shared slot has two slots");
    }
}

fn had_it(previous: Option<&Place>, allocation: AllocationId, _slot: &PoolSlot) -> bool {
    previous.is_some_and(|place| place.allocation == allocation)
}

fn was_there(previous: Option<&Place>, _allocation: AllocationId, slot: &PoolSlot) -> bool {
    previous.is_some_and(|place| place.resource == slot.resource)
}

fn anything(_previous: Option<&Place>, _allocation: AllocationId, _slot: &PoolSlot) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: ResourceProfile = ResourceProfile::ANY;

    fn worker(name: &str) -> ResourceId {
        ResourceId(name.to_owned())
    }

    fn offer(allocation: u128, index: u32) -> SlotOffer {
        SlotOffer { allocation: AllocationId(allocation), index, profile: ANY }
    }

    fn shared(index: u32) -> SharedSlotId {
        SharedSlotId { group: 0, index }
    }

    /// A pool that needs `required` and was offered slots 1, 2, … of one worker.
    fn pool(required: u32, offered: u128) -> SlotPool {
        let mut pool = SlotPool::default();
        pool.require(ANY, required);
        for n in 1..=offered {
            pool.offer(&worker("w"), &offer(n, n as u32), Mono(0));
        }
        pool.check();
        pool
    }

    #[test]
    fn offers_are_taken_while_a_need_is_unfulfilled_and_known_ones_always() {
        let mut pool = pool(2, 1);
        for (from, allocation, expected) in [
            ("w", 1, true),
            ("elsewhere", 1, false),
            ("v", 2, true),
            ("v", 3, false),
            ("v", 2, true),
            ("w", 1, true),
        ] {
            let taken = pool.offer(&worker(from), &offer(allocation, 9), Mono(0));
            assert_eq!(taken, expected, "{from} {allocation}");
            pool.check();
        }
        assert_eq!(pool.len(), 2);
    }

    #[test]
    fn an_offer_must_meet_the_need_and_the_most_demanding_need_comes_first() {
        let big = ResourceProfile { cpu_millis: 2_000, ..ANY };
        let mut pool = SlotPool::default();
        pool.require(big, 1);
        pool.require(ANY, 1);
        let small_offer = offer(1, 0);
        let big_offer = |n| SlotOffer { profile: big, ..offer(n, 0) };
        assert!(pool.offer(&worker("w"), &big_offer(2), Mono(0)));
        assert!(pool.offer(&worker("w"), &small_offer, Mono(0)));
        assert!(!pool.offer(&worker("w"), &big_offer(3), Mono(0)));
        let dealt = pool.deal(big, &[(shared(0), None), (shared(1), None)]);
        assert_eq!(dealt, [(shared(0), AllocationId(2), worker("w"))]);
        pool.check();
    }

    fn place(resource: &str, allocation: u128) -> Option<Place> {
        let (resource, allocation) = (worker(resource), AllocationId(allocation));
        Some(Place { resource, allocation, data_address: String::new() })
    }

    #[test]
    fn a_shared_slot_gets_the_slot_that_it_had_else_one_where_it_was_else_the_first_one() {
        let mut pool = SlotPool::default();
        pool.require(ANY, 4);
        for (resource, allocation) in [("a", 1), ("a", 2), ("b", 3), ("b", 4)] {
            let offer = offer(allocation, allocation as u32);
            assert!(pool.offer(&worker(resource), &offer, Mono(0)));
        }
        let wanted = [
            (shared(0), None),
            // What it had is gone with a worker that has come back.
            (shared(1), place("b", 9)),
            (shared(2), place("a", 1)),
            (shared(3), place("gone", 7)),
            (shared(4), None),
        ];
        let mut dealt = pool.deal(ANY, &wanted);
        dealt.sort();
        let dealt: Vec<_> = dealt.iter().map(|(id, slot, _)| (id.index, slot.0)).collect();
        assert_eq!(dealt, [(0, 2), (1, 3), (2, 1), (3, 4)]);
        pool.check();
    }

    #[test]
    fn a_freed_slot_stays_until_it_is_beyond_the_needs_and_has_been_idle_for_long_enough() {
        let mut pool = pool(2, 2);
        pool.deal(ANY, &[(shared(0), place("w", 1)), (shared(1), place("w", 2))]);
        pool.free(AllocationId(1), Mono(100));
        assert_eq!(pool.next_idle(50_000), None);
        pool.require(ANY, 1);
        assert_eq!(pool.next_idle(50_000), Some(Mono(50_100)));
        assert_eq!(pool.take_idle(Mono(50_099), 50_000, |_| false), []);
        let taken = pool.take_idle(Mono(50_100), 50_000, |_| false);
        assert_eq!(taken, [(AllocationId(1), worker("w"))]);
        pool.require(ANY, 2);
        assert!(!pool.offer(&worker("w"), &offer(1, 1), Mono(60_000)), "it was given back");
        assert!(pool.offer(&worker("w"), &offer(7, 1), Mono(60_000)));
        pool.check();
    }

    #[test]
    fn slots_of_a_worker_that_is_still_of_use_are_kept() {
        let mut pool = pool(1, 1);
        pool.require(ANY, 0);
        assert_eq!(pool.take_idle(Mono(50_000), 50_000, |_| true), []);
        assert_eq!(pool.next_idle(50_000), Some(Mono(100_000)));
        assert_eq!(pool.take_idle(Mono(100_000), 50_000, |_| false).len(), 1);
        assert!(pool.is_empty());
    }

    #[test]
    fn a_lost_slot_makes_room_for_an_offer() {
        let mut pool = pool(1, 1);
        assert!(!pool.remove(&worker("elsewhere"), AllocationId(1)));
        assert!(!pool.offer(&worker("w"), &offer(2, 1), Mono(0)));
        assert_eq!(pool.remove_worker(&worker("w")), [AllocationId(1)]);
        assert!(pool.offer(&worker("w"), &offer(1, 1), Mono(0)), "the same grant, offered anew");
        pool.check();
    }
}
