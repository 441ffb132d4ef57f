//! What holds after every step. A violation panics: going on wrong is worse than stopping.
//!
//! In release, a step checks on whose behalf it acted, and only now and then all slots: a heartbeat
//! would otherwise cost as much as the cluster is large. The simulator always checks everything.

use super::machine::{Phase, ResourceManager, Served, Target};
use millstream_core::ids::AllocationId;
use std::collections::BTreeMap;

/// So many steps from one full check to the next, in release.
const FULL_CHECK_EVERY: u64 = 256;

impl ResourceManager {
    pub(super) fn check_invariants(&self) {
        self.fence.check();
        self.check_served();
        let everything = cfg!(any(debug_assertions, feature = "mutants"));
        if everything || self.steps.is_multiple_of(FULL_CHECK_EVERY) {
            self.check_everything();
        }
    }

    fn check_everything(&self) {
        self.slots.check();
        self.check_task_executors();
        self.check_jobs();
        self.check_asks();
        self.check_liveness();
    }

    /// Nobody is obeyed on the strength of a registration that is not the current one.
    fn check_served(&self) {
        match &self.served {
            Some(Served::TaskExecutor(resource, instance)) => {
                let current = self.task_executors.get(resource);
                let current = current.map(|worker| worker.instance);
                assert_eq!(
                    current,
                    Some(*instance),
                    "a former registration of {resource} was obeyed"
                );
            }
            Some(Served::JobMaster(job, token)) => {
                let current = self.jobs.get(job).and_then(|job| job.master.as_ref());
                let current = current.map(|master| master.token);
                assert_eq!(current, Some(*token), "a former job master of {job} was obeyed");
            }
            None => {}
        }
    }

    /// A worker is known to all or to none: registrations, slots, heartbeats.
    fn check_task_executors(&self) {
        for (resource, worker) in &self.task_executors {
            assert_eq!(
                self.slots.instance(resource),
                Some(worker.instance),
                "the slots of {resource} belong to another registration"
            );
            let target = Target::TaskExecutor(resource.clone());
            assert!(self.heartbeats.watches(&target), "{resource} is unwatched");
        }
        let masters = self.jobs.values().filter(|job| job.master.is_some());
        assert_eq!(
            self.heartbeats.targets().count(),
            self.task_executors.len() + masters.count(),
            "somebody is watched who is not registered"
        );
    }

    /// A job has a master that is watched, or a time at which it is forgotten.
    fn check_jobs(&self) {
        for (id, job) in &self.jobs {
            assert_ne!(
                job.master.is_some(),
                job.forget_at.is_some(),
                "{id} would be forgotten with a master, or never: {job:?}"
            );
            let watched = self.heartbeats.watches(&Target::JobMaster(*id));
            assert_eq!(watched, job.master.is_some(), "the master of {id}");
        }
    }

    /// A slot is pending exactly as long as its worker is being asked for it.
    fn check_asks(&self) {
        let mut asked: BTreeMap<AllocationId, u32> = BTreeMap::new();
        for request in self.asks.values() {
            *asked.entry(request.allocation).or_default() += 1;
        }
        for (slot, grant) in self.slots.pending() {
            assert_eq!(
                asked.get(&grant.allocation),
                Some(&1),
                "slot {slot} is pending for {grant:?}, and no answer is on its way"
            );
        }
    }

    /// Nothing that could be done is left to chance.
    fn check_liveness(&self) {
        if self.phase != Phase::Running {
            return;
        }
        let is_ready = |job| {
            let known = self.jobs.get(&job);
            known.is_some_and(|known| known.ready_master().is_some())
        };
        assert!(
            self.pacing.is_arranged() || !self.slots.could_grant(is_ready),
            "a job waits for a slot that is free, and no check is arranged"
        );
        let watches_somebody = self.heartbeats.targets().next().is_some();
        assert!(
            !watches_somebody || self.heartbeat_timeout_at.is_some(),
            "nobody would notice a loss"
        );
    }
}
