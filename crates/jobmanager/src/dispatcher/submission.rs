//! From the plan to the running job; the operations on the way.

use super::config::DispatcherTimer;
use super::job::{Cancel, Job, Leaving, LeavingStep, Phase};
use super::machine::{Dispatcher, Stage, reply};
use super::work::{DispatcherDone, DispatcherOp, Work};
use crate::mutant;
use millstream_core::ids::JobId;
use millstream_core::job_graph::JobGraph;
use millstream_core::status::JobStatus;
use millstream_rpc::machine::{Cx, Effect, OpId, ReplyTo};
use millstream_rpc::protocol::{Answer, Refusal};
use std::sync::Arc;

impl Dispatcher {
    /// The submitter is answered when the job master has the job, or cannot have it.
    pub(super) fn submit_job(
        &mut self,
        cx: &mut Cx<'_, Self>,
        job: JobId,
        graph: JobGraph,
        to: Option<ReplyTo>,
    ) {
        if let Some(refusal) = self.refusal_of(job) {
            return reply(cx, to, Answer::Refused(refusal));
        }
        self.owed += u64::from(to.is_some());
        // One session for all that this process leads: a worker that is asked for a slot learns
        // from the resource manager's token under which one to speak to the job master.
        let token = self.fence.token();
        let state = Job::new(job, Arc::new(graph), token, cx.wall, to);
        let former = self.jobs.insert(job, state);
        assert!(former.is_none(), "job {job} was accepted twice");
        self.work_on(cx, job);
    }

    fn refusal_of(&self, job: JobId) -> Option<Refusal> {
        if self.phase == Stage::Ending {
            let why = "the cluster is shutting down and takes no more jobs";
            return Some(Refusal::NotReady(why.to_owned()));
        }
        if let Some(how) = self.acquaintance(job)
            && !mutant::on("duplicate_submit_accepted")
        {
            let why = format!("job {job} has been submitted before: {how}");
            return Some(Refusal::Invalid(why));
        }
        None
    }

    /// How the dispatcher knows this job.
    fn acquaintance(&self, job: JobId) -> Option<String> {
        if let Some(status) = self.status(job) {
            return Some(format!("it is {status}"));
        }
        let leaving = self.leaving.contains_key(&job);
        leaving.then(|| "it could not be started and is being cleaned up".to_owned())
    }

    /// Does what the job's phase asks for.
    pub(super) fn work_on(&mut self, cx: &mut Cx<'_, Self>, job: JobId) {
        let Some(what) = self.next_op(job) else {
            return;
        };
        self.ops_made += 1;
        let op = OpId(self.ops_made);
        self.ops.insert(op, job);
        if let Some(work) = self.work_of(job) {
            work.begin(op);
        }
        cx.out.push(Effect::Op { op, what });
    }

    fn next_op(&self, job: JobId) -> Option<DispatcherOp> {
        let epoch = self.fence.token();
        if let Some(state) = self.jobs.get(&job) {
            let graph = || Arc::clone(&state.graph);
            return match state.phase {
                Phase::Persisting => {
                    let submitted = state.summary.started;
                    Some(DispatcherOp::PersistGraph { job, graph: graph(), submitted, epoch })
                }
                Phase::Starting => Some(DispatcherOp::StartJobMaster {
                    job,
                    graph: graph(),
                    token: state.token,
                    submitted: state.summary.started,
                }),
                Phase::Running => None,
                Phase::Recording => {
                    Some(DispatcherOp::RecordResult { job, result: state.result(), epoch })
                }
                Phase::Suspending => Some(DispatcherOp::StopJobMaster { job }),
            };
        }
        self.leaving.get(&job).map(|leaving| match leaving.step {
            LeavingStep::Stopping => DispatcherOp::StopJobMaster { job },
            LeavingStep::CleaningUp => DispatcherOp::CleanUpJob { job, epoch },
        })
    }

    fn work_of(&mut self, job: JobId) -> Option<&mut Work> {
        match self.jobs.get_mut(&job) {
            Some(state) => Some(&mut state.work),
            None => self.leaving.get_mut(&job).map(|leaving| &mut leaving.work),
        }
    }

    /// The operation is to be tried again, after a pause.
    pub(super) fn retry_later(&mut self, cx: &mut Cx<'_, Self>, job: JobId) {
        let (initial, max) = (self.config.retry_initial_ms, self.config.retry_max_ms);
        if let Some(work) = self.work_of(job) {
            let at = work.repeat(cx.now, initial, max);
            let timer = DispatcherTimer::Retry(job);
            cx.out.push(Effect::SetTimer { timer, at });
        }
    }

    pub(super) fn repeat_work(&mut self, cx: &mut Cx<'_, Self>, job: JobId) {
        let now = cx.now;
        if self.work_of(job).is_some_and(|work| work.is_due(now)) {
            self.work_on(cx, job);
        }
    }

    pub(super) fn on_job_work_done(
        &mut self,
        cx: &mut Cx<'_, Self>,
        job: JobId,
        result: DispatcherDone,
    ) {
        let Some(phase) = self.jobs.get(&job).map(|state| state.phase) else {
            return;
        };
        match phase {
            Phase::Persisting => self.on_persisted(cx, job, result),
            Phase::Starting => self.on_started(cx, job, result),
            Phase::Recording => match result {
                DispatcherDone::Done => self.conclude(cx, job),
                // Until that is certain, nobody may be told: another leader could run it again.
                _ => self.retry_later(cx, job),
            },
            Phase::Suspending => match result {
                DispatcherDone::Done => self.on_suspended(cx, job),
                _ => self.retry_later(cx, job),
            },
            Phase::Running => self.counters.stale += 1,
        }
    }

    fn on_persisted(&mut self, cx: &mut Cx<'_, Self>, job: JobId, result: DispatcherDone) {
        match result {
            DispatcherDone::Done => {
                if let Some(state) = self.jobs.get_mut(&job) {
                    state.persisted = true;
                }
                if self.phase == Stage::Ending && self.config.plans_survive {
                    // The next leader finds the plan and runs it.
                    return self.leave_to_next_leader(cx, job);
                }
                self.start_job_master(cx, job);
            }
            DispatcherDone::Failed { .. } if mutant::on("start_before_persisted") => {
                self.start_job_master(cx, job);
            }
            DispatcherDone::Failed { reason } => {
                let why = format!("the plan of job {job} could not be stored: {reason}");
                self.reject(cx, job, LeavingStep::CleaningUp, &Refusal::NotReady(why));
            }
            // Putting the same plan again tells how it stands.
            DispatcherDone::Unknown { .. } | DispatcherDone::Deposed { .. } => {
                self.retry_later(cx, job);
            }
        }
    }

    fn start_job_master(&mut self, cx: &mut Cx<'_, Self>, job: JobId) {
        if let Some(state) = self.jobs.get_mut(&job) {
            state.enter(Phase::Starting);
            self.work_on(cx, job);
        }
    }

    fn on_started(&mut self, cx: &mut Cx<'_, Self>, job: JobId, result: DispatcherDone) {
        let recovered = self.jobs.get(&job).is_some_and(|state| state.recovered);
        match result {
            DispatcherDone::Done => self.on_running(cx, job),
            DispatcherDone::Failed { reason } | DispatcherDone::Unknown { reason } if recovered => {
                self.on_recovered_not_started(cx, job, reason);
            }
            DispatcherDone::Failed { reason } => {
                let why = format!("job {job} could not be started: {reason}");
                self.reject(cx, job, LeavingStep::CleaningUp, &Refusal::Invalid(why));
            }
            // There may be a job master: it goes first.
            DispatcherDone::Unknown { reason } | DispatcherDone::Deposed { reason } => {
                let why = format!("job {job} could not be started: {reason}");
                self.reject(cx, job, LeavingStep::Stopping, &Refusal::NotReady(why));
            }
        }
    }

    fn on_running(&mut self, cx: &mut Cx<'_, Self>, job: JobId) {
        self.acknowledge_submission(cx, job);
        let Some(state) = self.jobs.get_mut(&job) else {
            return;
        };
        state.enter(Phase::Running);
        state.trouble = None;
        state.summary.status = JobStatus::Created;
        state.summary.last_modified = cx.wall;
        let cancel = state.cancel == Cancel::Wanted;
        if self.phase == Stage::Ending && self.config.plans_survive {
            self.suspend(cx, job);
        } else if cancel && !mutant::on("forget_remembered_cancel") {
            self.forward_cancel(cx, job);
        }
    }

    /// The job is in good hands.
    pub(super) fn acknowledge_submission(&mut self, cx: &mut Cx<'_, Self>, job: JobId) {
        let submitter = self.jobs.get_mut(&job).and_then(|job| job.submitter.take());
        if let Some(to) = submitter {
            self.settle(cx, to, Answer::Ack);
        }
    }

    /// The job never begins. Everybody who knows of it is told, and its traces are removed.
    fn reject(&mut self, cx: &mut Cx<'_, Self>, job: JobId, step: LeavingStep, refusal: &Refusal) {
        self.drop_job(cx, job, &Answer::Refused(refusal.clone()));
        self.leave(cx, job, step);
    }

    /// Takes the job off its way and answers everybody who waits for it.
    pub(super) fn drop_job(&mut self, cx: &mut Cx<'_, Self>, job: JobId, answer: &Answer) {
        let Some(state) = self.jobs.remove(&job) else {
            return;
        };
        let waiters = state.waiters.into_iter().chain(state.readers);
        for to in state.submitter.into_iter().chain(waiters) {
            self.settle(cx, to, answer.clone());
        }
        self.answer_passed(cx, job);
        self.on_listed(cx, job);
    }

    /// What the job left behind goes too.
    pub(super) fn leave(&mut self, cx: &mut Cx<'_, Self>, job: JobId, step: LeavingStep) {
        let work = Work::default();
        let former = self.leaving.insert(job, Leaving { step, work });
        assert!(former.is_none(), "job {job} leaves twice");
        self.work_on(cx, job);
    }
}
