//! Memory: when job processes together use more than the worker has for them, the one that is
//! furthest above its share has to go, before the kernel takes whomever it likes.
//!
//! A job's share is that of its slots. It may use what others leave free: shares only decide whose
//! job process ends when there is too little.

use super::{Context, TaskExecutor};
use crate::child::process_failure;
use crate::config::MemoryBudget;
use crate::mutant;
use millstream_core::ids::JobId;
use millstream_rpc::protocol::job_master::{TaskFailure, TaskFailureKind};

impl TaskExecutor {
    pub(super) fn on_child_memory(
        &mut self,
        cx: &mut Context<'_>,
        id: JobId,
        incarnation: u64,
        bytes: u64,
    ) {
        self.with_child(cx, id, incarnation, |child, _, _| child.on_memory(bytes));
        let Some(budget) = self.config.memory_budget() else { return };
        while self.memory_of_children() > budget.limit && !mutant::on("memory_is_not_watched") {
            self.end_greediest(cx, budget);
        }
    }

    /// What all job processes have that are not at their end.
    pub(super) fn memory_of_children(&self) -> u64 {
        self.jobs.values().map(|job| job.child.memory()).fold(0, u64::saturating_add)
    }

    fn end_greediest(&mut self, cx: &mut Context<'_>, budget: MemoryBudget) {
        let above =
            |id: &JobId| self.jobs[id].child.memory().saturating_sub(self.share_of(*id, budget));
        // Nobody above its share: slots of a job may have been given back before its process goes.
        let greediest =
            self.jobs.keys().max_by_key(|id| (above(id), self.jobs[*id].child.memory()));
        let Some(id) = greediest.copied() else { return };
        let failure = self.too_greedy(id, budget);
        let mut actions = Vec::new();
        if let Some(job) = self.jobs.get_mut(&id) {
            job.child.kill(failure, cx.now, &mut actions);
        }
        self.perform(cx, id, actions);
    }

    fn share_of(&self, id: JobId, budget: MemoryBudget) -> u64 {
        let slots = self.slots.of_job(id).count() as u64;
        budget.bytes / u64::from(self.config.slots.max(1)) * slots
    }

    fn too_greedy(&self, id: JobId, budget: MemoryBudget) -> TaskFailure {
        let child = &self.jobs[&id].child;
        let slots = self.slots.of_job(id).count();
        let message = format!(
            "{} of worker {} was killed because it used {} of memory: the share of its {slots} of {} \
             slots is {}, and all job processes of the worker used {} of {}. Raise \
             `taskmanager.memory.process.size` (now {}), or spread the job over more workers",
            child.name(),
            self.config.resource,
            shown(child.memory()),
            self.config.slots,
            shown(self.share_of(id, budget)),
            shown(self.memory_of_children()),
            shown(budget.bytes),
            shown(self.config.memory.process),
        );
        process_failure(TaskFailureKind::Recoverable, "memory", message)
    }
}

fn shown(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}
