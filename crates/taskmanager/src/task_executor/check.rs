//! The invariants of a task executor (I4 of one worker, and that its parts agree). Run after every
//! step, in every build: a worker that contradicts itself is better ended than kept.

use super::{Admitted, Pending, TaskExecutor};
use crate::job_table::{Job, Task};
use crate::slot_table::SlotState;
use millstream_core::ids::{ExecutionAttemptId, JobId};

impl TaskExecutor {
    pub(super) fn check_all(&self) {
        self.check_admitted();
        self.slots.check();
        self.resource_manager.check();
        self.check_slots_have_jobs();
        self.check_heartbeats();
        for (id, job) in &self.jobs {
            self.check_job(*id, job);
        }
        if let Some(budget) = self.config.memory_budget() {
            let used = self.memory_of_children();
            assert!(used <= budget.limit, "job processes are left with {used} bytes of memory");
        }
    }

    /// Nobody is obeyed who does not lead here, and no answer that was overtaken.
    fn check_admitted(&self) {
        match self.admitted {
            Some(Admitted::ResourceManager { found, expected }) => {
                assert_eq!(found, expected, "another resource manager was obeyed");
            }
            Some(Admitted::JobMaster { found, expected }) => {
                assert_eq!(found, expected, "another job master was obeyed");
            }
            Some(Admitted::Offer { found, expected }) => {
                assert_eq!(found, expected, "the answer to a former offer was obeyed");
            }
            None => (),
        }
    }

    /// Every task of a slot is a live task of the slot's job, and the other way round.
    fn check_slots_have_jobs(&self) {
        for (allocation, slot) in self.slots.iter() {
            let job = self.jobs.get(&slot.job);
            let Some(job) = job else {
                panic!("slot {} is held for job {}, which is not here", slot.index, slot.job)
            };
            for attempt in &slot.tasks {
                let task = job.tasks.get(attempt).filter(|task| task.is_live());
                assert!(
                    task.is_some_and(|task| task.allocation == *allocation),
                    "slot {} holds {attempt}, which does not live there",
                    slot.index
                );
            }
            let waits_for_nobody = slot.state == SlotState::Active && job.connected().is_none();
            assert!(
                self.stopping || !waits_for_nobody,
                "slot {} is active, but its job {} has no master",
                slot.index,
                slot.job
            );
        }
    }

    /// We watch exactly those at whom we are registered.
    fn check_heartbeats(&self) {
        let watched: Vec<_> = self.resource_manager_heartbeat.targets().copied().collect();
        let expected: Vec<_> = self.resource_manager.token().into_iter().collect();
        assert_eq!(watched, expected, "the resource manager is watched wrongly");
        let watched = self.job_master_heartbeats.targets();
        let connected = self.jobs.iter().filter(|(_, job)| job.connected().is_some());
        assert!(watched.eq(connected.map(|(id, _)| id)), "job masters are watched wrongly");
    }

    fn check_job(&self, id: JobId, job: &Job) {
        job.child.check();
        let has_slots = self.slots.of_job(id).next().is_some();
        assert!(
            has_slots || !job.tasks.is_empty() || !job.child.is_absent(),
            "job {id} has nothing here and yet an entry"
        );
        assert!(
            self.stopping || !has_slots || job.link.is_some(),
            "job {id} has slots here, but nobody tries to reach its master"
        );
        for (attempt, task) in &job.tasks {
            self.check_task(job, attempt, task);
        }
    }

    fn check_task(&self, job: &Job, attempt: &ExecutionAttemptId, task: &Task) {
        if task.is_live() {
            let slot = self.slots.get(&task.allocation);
            assert!(
                slot.is_some_and(|slot| slot.tasks.contains(attempt)),
                "{attempt} lives in a slot that does not know it"
            );
            assert!(
                job.child.may_hold_tasks(task.incarnation),
                "{attempt} lives in job process {}, which is gone",
                task.incarnation
            );
        } else {
            assert!(!task.is_settled(), "{attempt} has ended and is not forgotten");
        }
        for (ask, what) in [(task.telling, "told"), (task.split.asked, "a split")] {
            let Some(ask) = ask else { continue };
            let pending = self.asks.get(&ask);
            assert!(
                matches!(pending, Some(Pending::Tell { attempt: of, .. } | Pending::Split { attempt: of, .. }) if of == attempt),
                "{attempt} waits for an ask ({what}) that nobody has sent"
            );
        }
    }
}
