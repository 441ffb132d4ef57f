//! What holds after every step.
//!
//! - only messages under our own token came in;
//! - the job ends once, and then nothing is left;
//! - what the scheduler needs is what the pool requires, and both agree who has which slot;
//! - slots are of registered workers, and every registered worker is watched;
//! - whoever is on a worker is on one that is registered here.

use super::{JobMaster, Phase};
use crate::scheduler::slot_sharing::SharedSlotId;
use millstream_core::ids::AllocationId;
use millstream_core::status::JobStatus;
use millstream_rpc::protocol::resource::ResourceProfile;
use std::collections::BTreeMap;

/// In release builds the full check runs every so many steps: it looks at every task.
const FULL_CHECK_EVERY: u64 = 1024;

impl JobMaster {
    pub(super) fn check_invariants(&self) {
        self.fence.check();
        self.life.check();
        let ends = u32::from(self.phase == Phase::Stopped);
        assert_eq!(self.ends_told, ends, "the end of job {} was told", self.job);
        let thorough = cfg!(any(debug_assertions, feature = "mutants"));
        if thorough || self.steps.is_multiple_of(FULL_CHECK_EVERY) {
            self.check_fully();
        }
    }

    /// Checks everything, whatever the build: for the simulator.
    pub fn check_fully(&self) {
        match self.phase {
            Phase::Created => {}
            Phase::Running => {
                self.scheduler.check();
                self.pool.check();
                self.checkpoints.check();
                self.check_status();
                self.check_slots();
                self.check_workers();
                self.check_compared();
            }
            Phase::Stopped => {
                let left = (self.pool.len(), self.asks.len(), self.armed.len());
                assert_eq!(left, (0, 0, 0), "slots, asks and timers after the end");
            }
        }
    }

    fn check_status(&self) {
        let status = self.life.status();
        let stopping = matches!(status, JobStatus::Failing | JobStatus::Cancelling);
        assert_eq!(self.scheduler.is_stopping(), stopping, "job {} is {status}", self.job);
        let restarting = !self.scheduler.restarts().is_empty();
        let told = status == JobStatus::Restarting;
        assert_eq!(restarting, told, "job {} is {status}", self.job);
        assert!(!self.scheduler.has_commands(), "the scheduler was not obeyed");
    }

    fn check_slots(&self) {
        let needed = self.scheduler.slots().needed();
        let required: u32 = self.pool.requirements().iter().map(|r| r.count).sum();
        assert_eq!(needed, required, "slots needed, slots required");
        let mut held: BTreeMap<SharedSlotId, AllocationId> = BTreeMap::new();
        for (allocation, slot) in self.pool.iter() {
            let known = self.workers.get(&slot.resource).is_some();
            assert!(known, "slot {allocation} is of {}, which is not registered", slot.resource);
            held.extend(slot.holder.map(|holder| (holder, allocation)));
        }
        for (shared, allocation) in &held {
            let place = self.scheduler.slots().place(*shared);
            let there = place.map(|place| place.allocation);
            assert_eq!(there, Some(*allocation), "who has shared slot {shared:?}");
        }
        let placed = self.scheduler.slots().placed() as usize;
        assert_eq!(placed, held.len(), "slots in use");
        let any_free = self.pool.iter().any(|(_, slot)| slot.holder.is_none());
        let wanted = self.scheduler.slots().wanted().next().is_some();
        let one_kind = self.pool.requirements().iter().all(|r| r.profile == ResourceProfile::ANY);
        assert!(!(any_free && wanted && one_kind), "a slot is free and a task waits for one");
    }

    fn check_workers(&self) {
        for resource in self.workers.by_id.keys() {
            assert!(self.workers.heartbeats.watches(resource), "{resource} is not watched");
        }
        let watched = self.workers.heartbeats.targets().count();
        assert_eq!(watched, self.workers.by_id.len(), "workers watched, workers registered");
        let graph = self.scheduler.graph();
        for (id, execution) in graph.executions().filter(|(_, e)| e.is_on_worker()) {
            let place = execution.place();
            let there = place.is_some_and(|place| self.workers.get(&place.resource).is_some());
            assert!(there, "execution {} is at {place:?}", graph.attempt_id(id));
        }
        assert_eq!(
            self.link.is_registered(),
            self.link.heartbeats.targets().next().is_some(),
            "the resource manager is watched while we are registered"
        );
    }
}
