//! Which subtasks share a slot.
//!
//! Subtask `i` of every vertex of a slot sharing group shares the group's slot `i`, so a slot holds
//! at most one subtask of each vertex, and a group needs as many slots as its greatest parallelism.
//! A shared slot exists while a subtask needs it: from scheduling until the subtask is over, or,
//! if it will start over, until it does.

use crate::execution_graph::ExecutionVertexId;
use crate::execution_graph::vertex::Place;
use millstream_core::ids::AllocationId;
use millstream_core::job_graph::JobGraph;
use millstream_core::time::Mono;
use std::collections::{BTreeMap, BTreeSet};

/// A slot that subtasks of one group share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SharedSlotId {
    /// Which slot sharing group, in the order of the job graph.
    pub group: usize,
    /// Which of its slots: the subtask index of those who share it.
    pub index: u32,
}

#[derive(Clone, Debug)]
struct SharedSlot {
    /// Who needs it; never empty.
    members: BTreeSet<ExecutionVertexId>,
    /// The worker's slot that it is, once there is one.
    place: Option<Place>,
    /// Since when it has been without a place that somebody waits for.
    wanted_since: Mono,
}

/// All shared slots of a job that are needed now.
#[derive(Clone, Debug)]
pub struct SharedSlots {
    /// The group of each vertex; set once.
    group_of: Vec<usize>,
    /// By shared slot.
    slots: BTreeMap<SharedSlotId, SharedSlot>,
    /// The place that a shared slot had last, which it would like to have again: state may still be
    /// there.
    previous: BTreeMap<SharedSlotId, Place>,
}

impl SharedSlots {
    /// Nobody needs a slot yet.
    pub fn new(graph: &JobGraph) -> Self {
        let mut groups: Vec<&str> = Vec::new();
        let mut group_of = Vec::with_capacity(graph.vertices.len());
        for vertex in &graph.vertices {
            let name = vertex.slot_sharing_group.as_str();
            let known = groups.iter().position(|group| *group == name);
            group_of.push(known.unwrap_or(groups.len()));
            if known.is_none() {
                groups.push(name);
            }
        }
        Self { group_of, slots: BTreeMap::new(), previous: BTreeMap::new() }
    }

    /// The shared slot of a subtask, needed or not.
    pub fn of(&self, subtask: ExecutionVertexId) -> SharedSlotId {
        SharedSlotId { group: self.group_of[subtask.vertex], index: subtask.subtask }
    }

    /// The subtask is scheduled: it needs its slot now.
    pub fn reserve(&mut self, subtask: ExecutionVertexId, now: Mono) {
        let slot = self.slots.entry(self.of(subtask)).or_insert(SharedSlot {
            members: BTreeSet::new(),
            place: None,
            wanted_since: now,
        });
        slot.members.insert(subtask);
        if slot.place.is_none() {
            slot.wanted_since = now;
        }
    }

    /// The subtask needs its slot no more; the slot that nobody needs any more, if it had a place.
    pub fn release(&mut self, subtask: ExecutionVertexId) -> Option<AllocationId> {
        let id = self.of(subtask);
        let slot = self.slots.get_mut(&id)?;
        slot.members.remove(&subtask);
        if !slot.members.is_empty() {
            return None;
        }
        let place = self.slots.remove(&id)?.place?;
        let allocation = place.allocation;
        self.previous.insert(id, place);
        Some(allocation)
    }

    /// The shared slot got a place.
    pub fn assign(&mut self, id: SharedSlotId, place: Place) {
        if let Some(slot) = self.slots.get_mut(&id) {
            assert!(slot.place.is_none(), "shared slot {id:?} has a place");
            slot.place = Some(place);
        }
    }

    /// A place is lost; who had it is without one now.
    pub fn unassign(&mut self, allocation: AllocationId, now: Mono) -> Option<SharedSlotId> {
        let has = |slot: &SharedSlot| {
            let place = slot.place.as_ref();
            place.is_some_and(|place| place.allocation == allocation)
        };
        let (id, slot) = self.slots.iter_mut().find(|(_, slot)| has(slot))?;
        let id = *id;
        slot.wanted_since = now;
        self.previous.extend(slot.place.take().map(|place| (id, place)));
        Some(id)
    }

    /// Those who need the shared slot.
    pub fn members(&self, id: SharedSlotId) -> impl Iterator<Item = ExecutionVertexId> + '_ {
        let slot = self.slots.get(&id);
        slot.into_iter().flat_map(|slot| slot.members.iter().copied())
    }

    /// Whether the subtask has a share of its slot.
    pub fn is_reserved(&self, subtask: ExecutionVertexId) -> bool {
        let slot = self.slots.get(&self.of(subtask));
        slot.is_some_and(|slot| slot.members.contains(&subtask))
    }

    /// The place of the subtask's slot.
    pub fn place_of(&self, subtask: ExecutionVertexId) -> Option<&Place> {
        self.slots.get(&self.of(subtask))?.place.as_ref()
    }

    /// The place of a shared slot.
    pub fn place(&self, id: SharedSlotId) -> Option<&Place> {
        self.slots.get(&id)?.place.as_ref()
    }

    /// How many slots the job needs now.
    pub fn needed(&self) -> u32 {
        self.slots.len() as u32
    }

    /// How many of them have a place.
    pub fn placed(&self) -> u32 {
        let placed = self.slots.values().filter(|slot| slot.place.is_some());
        placed.count() as u32
    }

    /// The shared slots without a place: which one each would like, and since when it waits.
    pub fn wanted(&self) -> impl Iterator<Item = (SharedSlotId, Option<&Place>, Mono)> + '_ {
        self.slots
            .iter()
            .filter(|(_, slot)| slot.place.is_none())
            .map(|(id, slot)| (*id, self.previous.get(id), slot.wanted_since))
    }

    /// Waiting starts over for every slot without a place.
    pub fn wait_anew(&mut self, now: Mono) {
        let without = self.slots.values_mut().filter(|slot| slot.place.is_none());
        without.for_each(|slot| slot.wanted_since = now);
    }

    /// Every place is of one shared slot.
    pub fn check(&self) {
        let places = self.slots.values().filter_map(|slot| slot.place.as_ref());
        let allocations: BTreeSet<AllocationId> = places.map(|place| place.allocation).collect();
        assert_eq!(
            allocations.len(),
            self.placed() as usize,
            "a slot of a worker is shared slot of two"
        );
        assert!(self.slots.values().all(|slot| !slot.members.is_empty()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execution_graph::testing::{graph_of, id, place};

    #[test]
    fn a_group_needs_as_many_slots_as_its_greatest_parallelism() {
        for (plan, needed) in
            [("a:2 b:3", 3), ("a:2@red b:3", 5), ("a:2@red b:3@blue c:4@red", 7), ("a:1", 1)]
        {
            let graph = graph_of(plan);
            let mut slots = SharedSlots::new(&graph);
            for (vertex, planned) in graph.vertices.iter().enumerate() {
                (0..planned.parallelism).for_each(|s| slots.reserve(id(vertex, s), Mono(0)));
            }
            assert_eq!(slots.needed(), needed, "{plan}");
            assert_eq!(slots.needed(), graph.slots_needed(), "{plan}");
            slots.check();
        }
    }

    #[test]
    fn a_slot_is_given_back_by_its_last_member_and_wanted_again_by_the_next() {
        let mut slots = SharedSlots::new(&graph_of("a:1 b:1"));
        let (a, b) = (id(0, 0), id(1, 0));
        slots.reserve(a, Mono(0));
        slots.reserve(b, Mono(3));
        let (wanted, previous, since) = slots.wanted().next().expect("it has no place");
        assert_eq!((previous, since), (None, Mono(3)));
        slots.assign(wanted, place("w", 7));
        assert_eq!(slots.release(a), None);
        assert_eq!(slots.release(b), Some(AllocationId(7)));
        assert_eq!(slots.needed(), 0);
        slots.reserve(b, Mono(9));
        let again = slots.wanted().next();
        assert_eq!(again, Some((wanted, Some(&place("w", 7)), Mono(9))));
        slots.check();
    }

    #[test]
    fn a_lost_place_is_wanted_from_then_on() {
        let mut slots = SharedSlots::new(&graph_of("a:1"));
        slots.reserve(id(0, 0), Mono(0));
        let wanted = slots.of(id(0, 0));
        slots.assign(wanted, place("w", 7));
        assert_eq!(slots.wanted().next(), None);
        assert_eq!(slots.unassign(AllocationId(8), Mono(5)), None);
        assert_eq!(slots.unassign(AllocationId(7), Mono(5)), Some(wanted));
        assert_eq!(slots.wanted().next(), Some((wanted, Some(&place("w", 7)), Mono(5))));
    }
}
