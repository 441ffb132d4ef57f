//! The start, what follows from every change, and the end.

use super::life::is_over;
use super::{Context, JobMaster, Phase, moment, tell};
use crate::mutant;
use crate::scheduler::Failure;
use millstream_core::ids::{ExecutionGraphId, ResourceId};
use millstream_core::status::JobStatus;
use millstream_rpc::machine::Effect;
use millstream_rpc::protocol::Message;
use millstream_rpc::protocol::dispatcher::ToDispatcher;
use millstream_rpc::protocol::resource_manager::ToResourceManager;

impl JobMaster {
    pub(super) fn start(&mut self, cx: &mut Context<'_>) {
        self.phase = Phase::Running;
        self.scheduler.begin(ExecutionGraphId(cx.rng.next_u128()), moment(cx));
        if let Some(problem) = self.unfit.take() {
            let failure = Failure::of_cluster(problem);
            return self.scheduler.fail_job(failure, "it cannot be started like this", moment(cx));
        }
        self.life.enter(JobStatus::Created, cx.wall);
        self.connect_to_resource_manager(cx);
        if !self.begin_recovery(cx) {
            self.begin_running(cx);
        }
    }

    /// Whatever the job goes on from is known: tasks may begin.
    pub(super) fn begin_running(&mut self, cx: &mut Context<'_>) {
        self.checkpoints.begin_term();
        self.scheduler.start(moment(cx));
        self.life.enter(JobStatus::Running, cx.wall);
    }

    /// A user asks for the end. A job that fails already goes on failing: why it failed must not
    /// be lost.
    pub(super) fn cancel(&mut self, cx: &mut Context<'_>) {
        use JobStatus::{Cancelling, Created, Restarting, Running};
        if matches!(self.life.status(), Created | Running | Restarting) {
            self.life.enter(Cancelling, cx.wall);
            self.scheduler.stop(moment(cx));
        }
    }

    /// We lose leadership, or our process ends: the job may go on elsewhere.
    pub(super) fn suspend(&mut self, cx: &mut Context<'_>) {
        if !self.life.is_over() {
            self.life.enter(JobStatus::Suspended, cx.wall);
        }
    }

    /// Carries out all that follows from the input, until nothing more does.
    pub(super) fn settle(&mut self, cx: &mut Context<'_>) {
        loop {
            if !self.life.is_over() {
                self.coordinate(cx);
                self.carry_out(cx);
                self.match_slots(cx);
            }
            let went_on = self.follow_life(cx);
            let waiting = self.scheduler.has_commands() || self.has_changes();
            let busy = waiting && !self.life.is_over();
            if !went_on && !busy {
                break;
            }
        }
        if self.phase == Phase::Running {
            self.align(cx);
            self.declare(cx);
            self.arm_timers(cx);
        }
    }

    /// Brings the status in line with what the tasks do; whether it changed.
    fn follow_life(&mut self, cx: &mut Context<'_>) -> bool {
        if self.life.is_over() {
            return self.end(cx);
        }
        let next = self.next_status();
        let changed = next != self.life.status();
        if changed {
            self.life.enter(next, cx.wall);
        }
        changed
    }

    fn next_status(&self) -> JobStatus {
        use JobStatus::{
            Canceled, Cancelling, Created, Failed, Failing, Finished, Initializing, Restarting,
            Running,
        };
        let scheduler = &self.scheduler;
        match self.life.status() {
            Initializing | Created | Running | Restarting if scheduler.doom().is_some() => Failing,
            Running if scheduler.is_finished() => Finished,
            Running if !scheduler.restarts().is_empty() => Restarting,
            Restarting if scheduler.restarts().is_empty() => Running,
            Failing if scheduler.is_over() => Failed,
            Cancelling if scheduler.is_over() => Canceled,
            status => status,
        }
    }

    /// Tells everybody of the end, once; whether this was the time.
    fn end(&mut self, cx: &mut Context<'_>) -> bool {
        let told = self.ends_told > 0;
        if told && !(mutant::on("terminal_state_twice") && self.ends_told == 1) {
            return false;
        }
        self.ends_told += 1;
        self.phase = Phase::Stopped;
        let job = self.job;
        self.end_checkpoints(cx);
        let details = Box::new(self.details(cx));
        let ended = Message::Dispatcher(ToDispatcher::JobEnded { job, details });
        let dispatcher = &self.surroundings.dispatcher;
        tell(cx, &dispatcher.address, Some(dispatcher.token), ended);
        self.leave_resource_manager(cx);
        self.leave_workers(cx);
        self.clear_timers(cx);
        self.asks.clear();
        cx.out.push(Effect::Stopped);
        true
    }

    fn leave_resource_manager(&self, cx: &mut Context<'_>) {
        if self.link.was_begun() {
            let status = self.life.status();
            let cause = format!("job {} is {status}", self.job);
            let message = ToResourceManager::DisconnectJobMaster { job: self.job, status, cause };
            self.tell_resource_manager(cx, message);
        }
    }

    /// Workers are told how the job stands. They keep the slots of a suspended job for a while, for
    /// its next master, and free those of one that has ended for good.
    fn leave_workers(&mut self, cx: &mut Context<'_>) {
        let status = self.life.status();
        assert!(is_over(status), "a job that is {status} does not leave its workers");
        let cause = format!("job {} is {status}", self.job);
        let all: Vec<ResourceId> = self.workers.by_id.keys().cloned().collect();
        for resource in all {
            self.disconnect_worker(cx, &resource, &cause);
            self.pool.remove_worker(&resource);
            self.workers.by_id.remove(&resource);
            self.workers.heartbeats.unmonitor(&resource);
        }
    }
}
