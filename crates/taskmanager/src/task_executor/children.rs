//! Children: carries out what [`Child`](crate::child::Child) decides, and what follows for tasks.

use super::checkpoints::report_of;
use super::{Context, TaskExecutor, Timer, Work};
use crate::child::{Action, Child, ChildLoss, ChildTimer, ChildTimerKind, cluster_failure};
use crate::job_table::Job;
use crate::op::{ChildEvent, NO_ANSWER, Op, StartFailure};
use millstream_core::ids::{ExecutionAttemptId, JobId};
use millstream_core::time::Mono;
use millstream_rpc::machine::Effect;
use millstream_rpc::protocol::job_link::FromJobProcess;
use millstream_rpc::protocol::job_master::TaskMetrics;
use millstream_rpc::protocol::resource_manager::ToResourceManager;
use std::collections::BTreeMap;

impl TaskExecutor {
    /// Carries out what a child wants, in order.
    pub(super) fn perform(&mut self, cx: &mut Context<'_>, job: JobId, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Start { incarnation, information } => {
                    let what = Op::StartChild { job, incarnation, information };
                    self.work_on(cx, Work::Start { job, incarnation }, what);
                }
                Action::Send { incarnation, message } => {
                    let what = Op::SendToChild { job, incarnation, message };
                    let op = NO_ANSWER;
                    cx.out.push(Effect::Op { op, what });
                }
                Action::Kill { incarnation, reason } => {
                    let what = Op::KillChild { job, incarnation, reason };
                    self.work_on(cx, Work::Kill { job, incarnation }, what);
                }
                Action::SetTimer(timer, at) => {
                    let timer = timer_of(job, timer);
                    cx.out.push(Effect::SetTimer { timer, at });
                }
                Action::ClearTimer(timer) => {
                    let timer = timer_of(job, timer);
                    cx.out.push(Effect::ClearTimer { timer });
                }
                Action::Lost(loss) => self.on_child_lost(cx, job, &loss),
            }
        }
    }

    /// One failure for all attempts of the incarnation.
    fn on_child_lost(&mut self, cx: &mut Context<'_>, id: JobId, loss: &ChildLoss) {
        let Some(job) = self.jobs.get(&id) else {
            return;
        };
        let lost: Vec<(ExecutionAttemptId, bool)> = job
            .live_tasks()
            .filter(|(_, task)| task.incarnation == loss.incarnation)
            .map(|(attempt, task)| (*attempt, task.is_ending()))
            .collect();
        for (attempt, ending) in lost {
            // Who was to end has ended, as it was told; unless its thread goes on.
            let failure = (!ending || loss.leaked).then(|| loss.failure.clone());
            self.on_task_gone(cx, id, attempt, failure);
        }
        self.tidy_job(cx, id);
        self.finish_stop(cx);
    }

    pub(super) fn on_child_started(
        &mut self,
        cx: &mut Context<'_>,
        id: JobId,
        incarnation: u64,
        result: Result<(), StartFailure>,
    ) {
        self.with_child(cx, id, incarnation, |child, now, out| {
            child.on_started(incarnation, result, now, out);
        });
    }

    pub(super) fn on_child_killed(
        &mut self,
        cx: &mut Context<'_>,
        id: JobId,
        incarnation: u64,
        result: Result<(), String>,
    ) {
        self.with_child(cx, id, incarnation, |child, now, out| {
            child.on_killed(result, now, out);
        });
    }

    pub(super) fn on_child_timer(
        &mut self,
        cx: &mut Context<'_>,
        id: JobId,
        incarnation: u64,
        kind: ChildTimerKind,
    ) {
        self.with_child(cx, id, incarnation, |child, now, out| {
            child.on_timer(kind, now, out);
        });
    }

    pub(super) fn on_child_event(
        &mut self,
        cx: &mut Context<'_>,
        id: JobId,
        incarnation: u64,
        event: ChildEvent,
    ) {
        let message = match event {
            ChildEvent::Message(message) => message,
            ChildEvent::LinkLost { reason } => {
                return self.with_child(cx, id, incarnation, |child, now, out| {
                    child.on_link_lost(&reason, now, out);
                });
            }
            ChildEvent::Memory { bytes } => {
                return self.on_child_memory(cx, id, incarnation, bytes);
            }
            ChildEvent::Exited(exit) => {
                return self.with_child(cx, id, incarnation, |child, now, out| {
                    child.on_exit(&exit, now, out);
                });
            }
        };
        let current = self.jobs.get(&id).is_some_and(|job| job.child.is_current(incarnation));
        if !current {
            self.counters.stale_events += 1;
            return;
        }
        match message {
            FromJobProcess::TaskState(update) => self.on_task_state(cx, id, incarnation, *update),
            FromJobProcess::RequestNextSplit { vertex, attempt } => {
                self.on_request_split(cx, id, incarnation, vertex, attempt);
            }
            FromJobProcess::AcknowledgeCheckpoint { .. }
            | FromJobProcess::DeclineCheckpoint { .. }
            | FromJobProcess::EndOfData { .. }
            | FromJobProcess::ReportWatermark(_) => {
                if let Some((attempt, report)) = report_of(message) {
                    self.on_checkpoint_report(cx, id, incarnation, attempt, report);
                }
            }
            FromJobProcess::Metrics(metrics) => self.on_metrics(id, &metrics),
            FromJobProcess::Hello { version, pid } => {
                self.with_child(cx, id, incarnation, |child, now, out| {
                    child.on_hello(version, pid, now, out);
                });
            }
            FromJobProcess::Ready => {
                self.with_child(cx, id, incarnation, |child, _, out| child.on_ready(out));
            }
            FromJobProcess::Unfit { reason } => {
                self.with_child(cx, id, incarnation, |child, now, out| {
                    child.on_unfit(&reason, now, out);
                });
            }
        }
    }

    fn on_metrics(&mut self, id: JobId, metrics: &BTreeMap<ExecutionAttemptId, TaskMetrics>) {
        for (attempt, counters) in metrics {
            let task = self.task_mut(id, attempt).filter(|task| task.is_live());
            if let Some(task) = task {
                task.metrics = counters.clone();
            }
        }
    }

    /// Lets the present incarnation decide; what is for an earlier one does nothing.
    pub(super) fn with_child(
        &mut self,
        cx: &mut Context<'_>,
        id: JobId,
        incarnation: u64,
        decide: impl FnOnce(&mut Child, Mono, &mut Vec<Action>),
    ) {
        let job = self.jobs.get_mut(&id);
        let Some(job) = job.filter(|job| job.child.is_current(incarnation)) else {
            self.counters.stale_events += 1;
            return;
        };
        let mut actions = Vec::new();
        decide(&mut job.child, cx.now, &mut actions);
        self.perform(cx, id, actions);
    }

    /// The process is asked to end: says farewell, then ends its children.
    pub(super) fn stop(&mut self, cx: &mut Context<'_>) {
        if std::mem::replace(&mut self.stopping, true) {
            return;
        }
        let cause = "the task manager is shutting down".to_owned();
        let resource = self.config.resource.clone();
        if self.instance().is_some() {
            let cause = cause.clone();
            let farewell = ToResourceManager::DisconnectTaskExecutor { resource, cause };
            self.tell_resource_manager(cx, farewell);
        }
        self.abandon_resource_manager();
        let jobs: Vec<JobId> = self.jobs.keys().copied().collect();
        for id in jobs {
            self.say_farewell(cx, id, &cause);
            self.disconnect_job_master(id);
            // So that nobody waits for a next child.
            let live = self.jobs.get(&id).into_iter().flat_map(Job::live_tasks);
            for attempt in live.map(|(attempt, _)| *attempt).collect::<Vec<_>>() {
                self.fail_task(cx, attempt, cause.clone());
            }
            let mut actions = Vec::new();
            if let Some(job) = self.jobs.get_mut(&id) {
                job.link = None;
                let failure = cluster_failure(cause.clone());
                job.child.kill(failure, cx.now, &mut actions);
            }
            self.perform(cx, id, actions);
        }
        let at = cx.now + self.config.child.kill_timeout_ms;
        let timer = Timer::Stop;
        cx.out.push(Effect::SetTimer { timer, at });
        self.finish_stop(cx);
    }

    pub(super) fn on_stop_timeout(&mut self, cx: &mut Context<'_>) {
        if self.stopping && !self.stopped {
            self.stopped = true;
            cx.out.push(Effect::Stopped);
        }
    }

    /// When the last child has ended, so have we.
    fn finish_stop(&mut self, cx: &mut Context<'_>) {
        if self.jobs.values().all(|job| job.child.is_absent()) {
            self.on_stop_timeout(cx);
        }
    }
}

fn timer_of(job: JobId, timer: ChildTimer) -> Timer {
    Timer::Child { job, incarnation: timer.incarnation, kind: timer.kind }
}
