//! The endpoint: its state, what reaches it.

use super::config::{DispatcherConfig, DispatcherTimer};
use super::ended_jobs::EndedJobs;
use super::job::{Job, Leaving};
use super::queries::Listing;
use super::recovery::Recovered;
use super::work::{DispatcherDone, DispatcherOp, UNSOLICITED};
use crate::fence::Fence;
use millstream_core::ids::{FencingToken, JobId};
use millstream_core::status::JobStatus;
use millstream_rpc::machine::{AskId, Cx, Effect, Input, Machine, OpId, ReplyTo};
use millstream_rpc::protocol::dispatcher::ToDispatcher;
use millstream_rpc::protocol::job_master::ToJobMaster;
use millstream_rpc::protocol::{Address, Answer, AskError, EndpointName, Message, Refusal};
use std::collections::BTreeMap;

/// The dispatcher in one term of leadership; a new term gets a new value.
#[derive(Debug)]
pub struct Dispatcher {
    pub(super) config: DispatcherConfig,
    /// `host:port` of this process: its job masters live here.
    process: String,
    /// Lets in what carries our token.
    pub(super) fence: Fence,
    pub(super) phase: Stage,
    /// What the former leaders left, until the start.
    pub(super) recovered: Recovered,
    /// Its term is over: nothing is written or removed any more.
    pub(super) deposed: bool,
    /// Jobs on their way.
    pub(super) jobs: BTreeMap<JobId, Job>,
    /// Jobs that are over and leave things behind. Their ids cannot be used yet.
    pub(super) leaving: BTreeMap<JobId, Leaving>,
    /// What became of jobs.
    pub(super) ended: EndedJobs,
    /// Operations in flight, and for whom.
    pub(super) ops: BTreeMap<OpId, JobId>,
    /// Counts operations: each gets an id of its own.
    pub(super) ops_made: u64,
    /// Asks in flight.
    pub(super) asks: BTreeMap<AskId, Asked>,
    /// Counts asks: each gets an id of its own.
    pub(super) asks_made: u64,
    /// People who wait for a list of jobs.
    pub(super) listings: Vec<Listing>,
    /// Askers who have been kept waiting: each is answered exactly once.
    pub(super) owed: u64,
    pub(super) counters: Counters,
}

/// Where the dispatcher itself stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Created,
    Running,
    /// No new jobs; it stops when the last one has gone.
    Ending,
    Stopped,
}

/// What a job master has been asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// To end the job.
    Cancel(JobId),
    /// How everything stands.
    Details(JobId),
    /// What somebody else wants to know of it, or wants it to do.
    Passed(JobId, ReplyTo),
}

/// What was dropped, for metrics and tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages under another token.
    pub fenced: u64,
    /// Outcomes that nobody waits for, ends of jobs that have ended.
    pub stale: u64,
}

impl Dispatcher {
    /// A dispatcher that has not begun. `process` is the `host:port` of the process it is in,
    /// `token` its term of leadership.
    pub fn new(config: DispatcherConfig, process: String, token: FencingToken) -> Self {
        Self {
            config,
            process,
            fence: Fence::new(token),
            phase: Stage::Created,
            recovered: Recovered::default(),
            deposed: false,
            jobs: BTreeMap::new(),
            leaving: BTreeMap::new(),
            ended: EndedJobs::new(config.ended_jobs_max, config.ended_jobs_ttl_ms),
            ops: BTreeMap::new(),
            ops_made: 0,
            asks: BTreeMap::new(),
            asks_made: 0,
            listings: Vec::new(),
            owed: 0,
            counters: Counters::default(),
        }
    }

    /// Its term of leadership.
    pub fn token(&self) -> FencingToken {
        self.fence.token()
    }

    /// What was dropped.
    pub fn counters(&self) -> Counters {
        Counters { fenced: self.fence.refused(), ..self.counters }
    }

    /// How the job stands, as far as the dispatcher knows: for the simulator's own checks.
    pub fn status(&self, job: JobId) -> Option<JobStatus> {
        let alive = self.jobs.get(&job).map(|job| job.summary().status);
        alive.or_else(|| self.ended.status(job))
    }

    /// Askers that are kept waiting and operations in flight: for the simulator's own checks.
    pub fn open_ends(&self) -> (u64, usize) {
        (self.owed, self.ops.len())
    }

    fn on_message(
        &mut self,
        cx: &mut Cx<'_, Self>,
        token: Option<FencingToken>,
        message: Message,
        to: Option<ReplyTo>,
    ) {
        if !matches!(self.phase, Stage::Running | Stage::Ending) {
            let refusal = Refusal::NotReady("the dispatcher is not running".to_owned());
            return reply(cx, to, Answer::Refused(refusal));
        }
        if let Err(refusal) = self.fence.admit(token, "skip_fencing_check_dispatcher") {
            return reply(cx, to, Answer::Refused(refusal));
        }
        let Message::Dispatcher(message) = message else {
            self.counters.stale += 1;
            let refusal = Refusal::Invalid("not a message to the dispatcher".to_owned());
            return reply(cx, to, Answer::Refused(refusal));
        };
        self.serve(cx, message, to);
    }

    fn serve(&mut self, cx: &mut Cx<'_, Self>, message: ToDispatcher, to: Option<ReplyTo>) {
        match message {
            ToDispatcher::SubmitJob { job, graph } => self.submit_job(cx, job, *graph, to),
            ToDispatcher::CancelJob { job } => {
                let answer = self.cancel_job(cx, job);
                reply(cx, to, answer);
            }
            ToDispatcher::ListJobs => self.list_jobs(cx, to),
            ToDispatcher::RequestJobDetails { job } => self.request_job_details(cx, job, to),
            ToDispatcher::AwaitJobEnd { job } => self.await_job_end(cx, job, to),
            ToDispatcher::TriggerSavepoint { job, trigger, directory, stop } => {
                let message = ToJobMaster::TriggerSavepoint { trigger, directory, stop };
                self.pass_on(cx, job, message, to);
            }
            ToDispatcher::TriggerCheckpoint { job, trigger, full } => {
                let message = ToJobMaster::TriggerCheckpoint { trigger, full };
                self.pass_on(cx, job, message, to);
            }
            ToDispatcher::RequestSnapshotProgress { job, trigger } => {
                self.request_snapshot_progress(cx, job, trigger, to);
            }
            ToDispatcher::Shutdown => {
                reply(cx, to, Answer::Ack);
                self.begin_shutdown(cx);
            }
            ToDispatcher::JobEnded { job, details } => self.on_job_ended(cx, job, details),
        }
    }

    fn on_answered(&mut self, cx: &mut Cx<'_, Self>, ask: AskId, result: Result<Answer, AskError>) {
        match self.asks.remove(&ask) {
            Some(Asked::Cancel(job)) => self.on_cancel_answered(cx, ask, job, result),
            Some(Asked::Details(job)) => self.on_details_answered(cx, ask, job, result),
            Some(Asked::Passed(job, to)) => self.on_passed_answered(cx, job, to, result),
            None => self.counters.stale += 1,
        }
    }

    fn on_done(&mut self, cx: &mut Cx<'_, Self>, op: OpId, result: DispatcherDone) {
        if op == UNSOLICITED {
            return self.on_unsolicited(cx, result);
        }
        let Some(job) = self.ops.remove(&op) else {
            self.counters.stale += 1;
            return;
        };
        let alive = self.jobs.get(&job);
        let leaving = self.leaving.get(&job);
        if alive.is_some_and(|job| job.work.is_doing(op)) {
            self.on_job_work_done(cx, job, result);
        } else if leaving.is_some_and(|leaving| leaving.work.is_doing(op)) {
            self.on_leaving_work_done(cx, job, result);
        } else {
            // The job has moved on without it.
            self.counters.stale += 1;
        }
    }

    fn on_timer(&mut self, cx: &mut Cx<'_, Self>, timer: DispatcherTimer) {
        match timer {
            DispatcherTimer::Retry(job) => self.repeat_work(cx, job),
            DispatcherTimer::RetryCancel(job) => self.repeat_cancel(cx, job),
            DispatcherTimer::Shutdown => self.on_shutdown_timeout(cx),
        }
    }

    /// Asks the job's master, under the token that it was given.
    pub(super) fn ask_job_master(
        &mut self,
        cx: &mut Cx<'_, Self>,
        job: JobId,
        message: ToJobMaster,
        what: Asked,
        timeout_ms: u64,
    ) -> AskId {
        self.asks_made += 1;
        let ask = AskId(self.asks_made);
        self.asks.insert(ask, what);
        cx.out.push(Effect::Ask {
            ask,
            to: Address { process: self.process.clone(), endpoint: EndpointName::JobMaster(job) },
            token: self.jobs.get(&job).map(|job| job.token),
            message: Message::JobMaster(message),
            timeout_ms,
        });
        ask
    }

    /// Answers an asker who was kept waiting.
    pub(super) fn settle(&mut self, cx: &mut Cx<'_, Self>, to: ReplyTo, answer: Answer) {
        self.owed -= 1;
        cx.out.push(Effect::Reply { to, answer });
    }
}

impl Machine for Dispatcher {
    type Timer = DispatcherTimer;
    type Op = DispatcherOp;
    type Done = DispatcherDone;

    fn step(&mut self, cx: &mut Cx<'_, Self>, input: Input<Self::Timer, Self::Done>) {
        self.ended.trim(cx.now);
        match input {
            Input::Message { token, message, reply } => self.on_message(cx, token, message, reply),
            Input::Start if self.phase == Stage::Created => {
                self.phase = Stage::Running;
                self.recover(cx);
            }
            // Timers and outcomes of a machine that does not run concern nobody.
            _ if !matches!(self.phase, Stage::Running | Stage::Ending) => {
                self.counters.stale += 1;
            }
            Input::Start => {}
            Input::Answered { ask, result } => self.on_answered(cx, ask, result),
            Input::Timer(timer) => self.on_timer(cx, timer),
            Input::Done { op, result } => self.on_done(cx, op, result),
            Input::PeerLost { process, .. } => self.forget_waiters_at(&process),
            Input::Stop => self.begin_shutdown(cx),
        }
    }

    fn check(&self) {
        self.check_invariants();
    }
}

/// Answers an ask at once; a tell needs no answer.
pub(super) fn reply(cx: &mut Cx<'_, Dispatcher>, to: Option<ReplyTo>, answer: Answer) {
    if let Some(to) = to {
        cx.out.push(Effect::Reply { to, answer });
    }
}
