//! What workers say of tasks: reports, requests for splits, and heartbeats, in which both sides
//! compare what they have.

use super::{Context, JobMaster, moment};
use crate::mutant;
use crate::scheduler::Heard;
use millstream_core::ids::{ExecutionAttemptId, JobVertexId, ResourceId};
use millstream_core::status::ExecutionState;
use millstream_core::time::Mono;
use millstream_rpc::machine::ReplyTo;
use millstream_rpc::protocol::job_master::{JobMasterAnswer, TaskExecutionState, TaskMetrics};
use millstream_rpc::protocol::{Answer, Refusal};
use std::collections::{BTreeMap, BTreeSet};

/// A worker's list of what it has, and when it was asked for it.
#[derive(Clone, Debug)]
pub(super) struct Compared {
    resource: ResourceId,
    asked_at: Mono,
    executions: BTreeSet<ExecutionAttemptId>,
}

impl JobMaster {
    pub(super) fn on_task_report(
        &mut self,
        cx: &mut Context<'_>,
        report: &TaskExecutionState,
    ) -> Answer {
        match self.scheduler.on_task_state(report, moment(cx), cx.rng) {
            Heard::Known => Answer::Ack,
            Heard::Unknown => self.unknown_attempt(report.attempt),
        }
    }

    fn unknown_attempt(&mut self, attempt: ExecutionAttemptId) -> Answer {
        self.counters.strangers += 1;
        Answer::Refused(Refusal::Unknown(format!("attempt {attempt}")))
    }

    pub(super) fn on_request_split(
        &mut self,
        vertex: JobVertexId,
        attempt: ExecutionAttemptId,
        asked_by: Option<&ReplyTo>,
    ) -> Answer {
        let graph = self.scheduler.graph_mut();
        let found = graph.find(attempt).filter(|id| graph.execution(*id).is_running());
        let Some(id) = found.filter(|_| vertex == attempt.vertex) else {
            return self.unknown_attempt(attempt);
        };
        Answer::JobMaster(JobMasterAnswer::NextSplit(graph.next_split(id, asked_by)))
    }

    pub(super) fn on_worker_heartbeat(
        &mut self,
        cx: &mut Context<'_>,
        resource: ResourceId,
        executions: BTreeSet<ExecutionAttemptId>,
        metrics: BTreeMap<ExecutionAttemptId, TaskMetrics>,
    ) {
        if !self.workers.heartbeats.heard(&resource, cx.now) {
            self.counters.strangers += 1;
            return;
        }
        for (attempt, metrics) in metrics {
            self.scheduler.graph_mut().record_metrics(attempt, metrics);
        }
        let asked_at = self.workers.get(&resource).map_or(cx.now, |worker| worker.asked_at);
        let compared = Compared { resource, asked_at, executions };
        if !mutant::on("reconcile_ignores_missing") {
            for attempt in self.missing(&compared) {
                self.scheduler.on_missing(attempt, moment(cx), cx.rng);
            }
        }
        for attempt in self.strangers(&compared) {
            self.counters.strangers += 1;
            self.cancel_stranger(cx, attempt, &compared.resource);
        }
        self.compared = Some(compared);
    }

    /// Attempts that the worker surely had when it was asked, and did not list. One whose start
    /// was confirmed only later is exempt: the list may be older.
    pub(super) fn missing(&self, compared: &Compared) -> Vec<ExecutionAttemptId> {
        let graph = self.scheduler.graph();
        let on_worker = graph.executions().filter(|(_, execution)| {
            let place = execution.place();
            let there = place.is_some_and(|place| place.resource == compared.resource);
            let sure = execution.confirmed().is_some_and(|at| at < compared.asked_at);
            there && sure && execution.is_on_worker()
        });
        on_worker
            .map(|(id, _)| graph.attempt_id(id))
            .filter(|attempt| !compared.executions.contains(attempt))
            .collect()
    }

    /// Attempts that the worker listed and that do not count. One that has just finished is still
    /// listed until the worker knows that we know.
    fn strangers(&self, compared: &Compared) -> Vec<ExecutionAttemptId> {
        let graph = self.scheduler.graph();
        let counts = |attempt: ExecutionAttemptId| {
            graph.find(attempt).is_some_and(|id| {
                let execution = graph.execution(id);
                execution.is_on_worker() || execution.state() == ExecutionState::Finished
            })
        };
        let listed = compared.executions.iter().copied();
        listed.filter(|attempt| !counts(*attempt)).collect()
    }

    /// After a comparison nothing is missing that was not dealt with; a violation panics.
    pub(super) fn check_compared(&self) {
        if let Some(compared) = &self.compared {
            let missing = self.missing(compared);
            assert!(missing.is_empty(), "{} does not have {missing:?}", compared.resource);
        }
    }
}
