//! What the resource manager remembers of others: jobs and their masters, workers, open requests.

use millstream_core::ids::{AllocationId, FencingToken, InstanceId};
use millstream_core::time::{Mono, Timestamp};
use millstream_rpc::protocol::Address;
use millstream_rpc::protocol::resource::{ResourceRequirement, SlotId};
use millstream_rpc::protocol::resource_manager::TaskExecutorRegistration;

/// A registered worker.
#[derive(Debug)]
pub(super) struct TaskExecutor {
    /// What it said of itself.
    pub(super) registration: TaskExecutorRegistration,
    /// This registration; what comes under another one is stale.
    pub(super) instance: InstanceId,
    /// Whether anything has come under this registration: then the worker knows it.
    pub(super) confirmed: bool,
    /// When it was last heard, for people.
    pub(super) last_heartbeat: Timestamp,
}

/// A job that has, or recently had, a job master here.
#[derive(Debug)]
pub(super) struct Job {
    /// Its master, while connected.
    pub(super) master: Option<JobMaster>,
    /// When the job is forgotten; set while it has no master.
    pub(super) forget_at: Option<Mono>,
    /// What it was last told to have, while it is short of slots: not told again without news.
    pub(super) told: Option<Vec<ResourceRequirement>>,
}

/// A connected job master.
#[derive(Debug)]
pub(super) struct JobMaster {
    /// Its term of leadership.
    pub(super) token: FencingToken,
    /// Where it is.
    pub(super) address: Address,
    /// Whether it has declared its needs under this registration: nothing is asked for on behalf
    /// of needs that its predecessor had.
    pub(super) declared: bool,
}

impl Job {
    /// The master, if slots can be asked for on its behalf.
    pub(super) fn ready_master(&self) -> Option<&JobMaster> {
        self.master.as_ref().filter(|master| master.declared)
    }
}

/// A worker has been asked for a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SlotRequest {
    pub(super) slot: SlotId,
    /// The grant, and with it the epoch of the request: an answer counts only while the slot is
    /// pending under this very grant.
    pub(super) allocation: AllocationId,
}
