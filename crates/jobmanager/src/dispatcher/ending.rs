//! From the last word of the job master to nothing left.
//!
//! A job that ended for good is first recorded, then everybody is told, then its master and all it
//! left are removed, for as long as that takes. A job whose master merely goes (it lost leadership)
//! keeps its plan and its checkpoints.

use super::job::{LeavingStep, Phase};
use super::machine::Dispatcher;
use super::work::{DispatcherDone, Work};
use crate::mutant;
use millstream_core::ids::JobId;
use millstream_rpc::machine::Cx;
use millstream_rpc::protocol::details::ExecutionGraphDetails;
use millstream_rpc::protocol::dispatcher::DispatcherAnswer;
use millstream_rpc::protocol::{Answer, Refusal};

impl Dispatcher {
    /// The job master says how the job ended. It may say so twice, and before we hear that it has
    /// been started at all.
    pub(super) fn on_job_ended(
        &mut self,
        cx: &mut Cx<'_, Self>,
        job: JobId,
        details: Box<ExecutionGraphDetails>,
    ) {
        let Some(state) = self.jobs.get_mut(&job) else {
            self.counters.stale += 1;
            return;
        };
        let expected = match state.phase {
            Phase::Starting | Phase::Running | Phase::Suspending => true,
            Phase::Persisting => false,
            Phase::Recording => mutant::on("job_ends_twice"),
        };
        if !expected || details.summary.job != job {
            self.counters.stale += 1;
            return;
        }
        state.summary = details.summary.clone();
        state.outcome = Some(details);
        let for_good = state.summary.status.is_globally_terminal();
        match state.phase {
            _ if for_good => state.enter(Phase::Recording),
            // Its master is being stopped anyway.
            Phase::Suspending => return,
            _ => state.enter(Phase::Suspending),
        }
        self.acknowledge_submission(cx, job);
        self.work_on(cx, job);
    }

    /// The end is on record: now it is true.
    pub(super) fn conclude(&mut self, cx: &mut Cx<'_, Self>, job: JobId) {
        self.keep_and_tell(cx, job);
        self.leave(cx, job, LeavingStep::Stopping);
    }

    /// The job master has gone. What is left belongs to the next leader, if there is one.
    pub(super) fn on_suspended(&mut self, cx: &mut Cx<'_, Self>, job: JobId) {
        if self.jobs.get(&job).is_some_and(|s| s.outcome.is_some()) {
            self.keep_and_tell(cx, job);
        } else {
            self.leave_to_next_leader(cx, job);
        }
        if mutant::on("suspended_counts_as_ended") {
            self.leave(cx, job, LeavingStep::CleaningUp);
        }
        self.stop_if_done(cx);
    }

    /// Nothing more is known of the job here.
    pub(super) fn leave_to_next_leader(&mut self, cx: &mut Cx<'_, Self>, job: JobId) {
        self.acknowledge_submission(cx, job);
        let why = format!("job {job} has been suspended and may go on under another leader");
        self.drop_job(cx, job, &Answer::Refused(Refusal::NotReady(why)));
        self.stop_if_done(cx);
    }

    /// Keeps the last word and tells it to everybody who waits.
    fn keep_and_tell(&mut self, cx: &mut Cx<'_, Self>, job: JobId) {
        let outcome = self.jobs.get_mut(&job).and_then(|s| s.outcome.take());
        let Some(details) = outcome else {
            return;
        };
        self.ended.insert(cx.now, job, details.clone());
        if mutant::on("forget_waiters_at_end")
            && let Some(state) = self.jobs.get_mut(&job)
        {
            state.waiters.clear();
        }
        let answer = Answer::Dispatcher(DispatcherAnswer::Details(details));
        self.drop_job(cx, job, &answer);
    }

    pub(super) fn on_leaving_work_done(
        &mut self,
        cx: &mut Cx<'_, Self>,
        job: JobId,
        result: DispatcherDone,
    ) {
        match result {
            DispatcherDone::Done => self.on_step_left(cx, job),
            // Whatever it takes: what is left behind would be found by the next leader.
            _ => self.retry_later(cx, job),
        }
    }

    fn on_step_left(&mut self, cx: &mut Cx<'_, Self>, job: JobId) {
        let Some(leaving) = self.leaving.get_mut(&job) else {
            return;
        };
        match leaving.step {
            // The rest is the next leader's.
            LeavingStep::Stopping if self.deposed => {
                self.leaving.remove(&job);
                self.stop_if_done(cx);
            }
            LeavingStep::Stopping => {
                leaving.step = LeavingStep::CleaningUp;
                leaving.work = Work::default();
                self.work_on(cx, job);
            }
            LeavingStep::CleaningUp => {
                self.leaving.remove(&job);
                self.stop_if_done(cx);
            }
        }
    }
}
