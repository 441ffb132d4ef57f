//! What people may see of the job.

use super::{Context, JobMaster};
use millstream_core::time::Mono;
use millstream_rpc::protocol::Answer;
use millstream_rpc::protocol::details::{ExecutionGraphDetails, JobSummary};
use millstream_rpc::protocol::job_master::JobMasterAnswer;

impl JobMaster {
    pub(super) fn details_answer(&self, cx: &Context<'_>) -> Answer {
        Answer::JobMaster(JobMasterAnswer::Details(Box::new(self.details(cx))))
    }

    /// How everything stands now.
    pub(super) fn details(&self, cx: &Context<'_>) -> ExecutionGraphDetails {
        let graph = self.scheduler.graph();
        let over = self.life.is_over();
        ExecutionGraphDetails {
            summary: JobSummary {
                job: self.job,
                name: graph.graph().name.clone(),
                status: self.life.status(),
                started: self.submitted,
                ended: over.then_some(self.life.changed()),
                last_modified: self.life.changed(),
                tasks: graph.task_counts(),
            },
            status_times: self.life.times().clone(),
            graph: graph.graph().clone(),
            vertices: graph.vertex_details(),
            root_failure: self.scheduler.doom().cloned(),
            failures: graph.failures().cloned().collect(),
            waiting_for: if over { None } else { self.waiting_for(cx.now) },
            restarts: self.scheduler.restart_count(),
            checkpoints: self.checkpoint_details(),
        }
    }

    /// What the job waits for, in a sentence, if it waits.
    fn waiting_for(&self, now: Mono) -> Option<String> {
        let slots = self.scheduler.slots();
        let (needed, placed) = (slots.needed(), slots.placed());
        if let Some(since) = self.scheduler.waiting_since() {
            let seconds = now.since(since) / 1_000;
            let hint = self.shortage_hint();
            return Some(format!(
                "waiting for {needed} slots, {placed} acquired; since {seconds} s; {hint}"
            ));
        }
        let until = self.scheduler.restarts().iter().map(|(_, pending)| pending.until).max()?;
        let strategy = self.scheduler.strategy().name();
        Some(match until.since(now) {
            0 => "waiting for failed tasks to stop, then restarting".to_owned(),
            left_ms => format!("waiting {left_ms} ms before restarting ({strategy})"),
        })
    }

    /// What is known of the reason why slots are missing.
    pub(super) fn shortage_hint(&self) -> String {
        if !self.link.is_registered() {
            return "the resource manager cannot be reached".to_owned();
        }
        match self.link.shortage {
            Some(0) => "the resource manager has none for this job".to_owned(),
            Some(count) => format!("the resource manager has no more than {count} for this job"),
            None if self.workers.by_id.is_empty() => {
                "no TaskManager has offered a slot yet".to_owned()
            }
            None => "the resource manager has been asked".to_owned(),
        }
    }
}
