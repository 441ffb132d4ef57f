//! Slots and what they offer, as resource manager, job master and task executor speak of them.

use millstream_core::ids::{AllocationId, JobId, ResourceId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// What a slot has, or what a requirement asks of one.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct ResourceProfile {
    /// Thousandths of a core. 0 in a requirement: the worker's default slot will do.
    pub cpu_millis: u32,
    /// Bytes of task memory.
    pub task_memory: u64,
    /// Bytes of managed memory.
    pub managed_memory: u64,
    /// Bytes of network memory.
    pub network_memory: u64,
}

impl ResourceProfile {
    /// A requirement that every default slot meets.
    pub const ANY: ResourceProfile =
        ResourceProfile { cpu_millis: 0, task_memory: 0, managed_memory: 0, network_memory: 0 };

    /// Whether a slot with these resources meets the requirement.
    pub fn meets(&self, required: &ResourceProfile) -> bool {
        self.cpu_millis >= required.cpu_millis
            && self.task_memory >= required.task_memory
            && self.managed_memory >= required.managed_memory
            && self.network_memory >= required.network_memory
    }
}

/// A slot of a worker.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SlotId {
    /// The worker.
    pub resource: ResourceId,
    /// Its number on the worker, from 0.
    pub index: u32,
}

impl fmt::Display for SlotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", self.resource, self.index)
    }
}

/// What a worker says of all its slots.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SlotReport {
    /// By slot number.
    pub slots: BTreeMap<u32, SlotStatus>,
}

/// What a worker says of one slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotStatus {
    /// What the slot has.
    pub profile: ResourceProfile,
    /// Who has it.
    pub allocation: Option<(AllocationId, JobId)>,
}

/// A slot that a worker offers to a job master.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotOffer {
    /// The grant under which the worker holds it.
    pub allocation: AllocationId,
    /// Its number on the worker.
    pub index: u32,
    /// What it has.
    pub profile: ResourceProfile,
}

/// So many slots of at least this profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceRequirement {
    /// What each must have.
    pub profile: ResourceProfile,
    /// How many.
    pub count: u32,
}
