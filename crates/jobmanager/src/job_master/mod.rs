//! The job master: runs one job, from its start to its end.
//!
//! It registers at the resource manager and declares how many slots the job needs; workers register
//! here and offer slots; the [scheduler](crate::scheduler) decides what runs where and what starts
//! over; the job master sends tasks to workers, hears of them, notices who is lost, and tells the
//! dispatcher once how the job ended.
//!
//! Every step has three parts: the input is handled (rooms below), what the scheduler wants is
//! carried out until nothing is left (`ending`), and the timers are set to what the state calls
//! for (`timers`). So no room has to remember to do the other two.
//!
//! In reading order:
//! - [`config`]: what can be configured, where others are, the timers' names;
//! - this file: the state, what reaches it;
//! - `ending`: start, what follows from a change, the end;
//! - [`life`]: the job's status;
//! - `resource_manager`: the connection to the resource manager, declared needs;
//! - [`slot_pool`]: the slots that the job has; `slots`: offers, losses, returns;
//! - `workers`: the connections to workers, heartbeats, losses;
//! - `deployment`: sending tasks, cancelling them, telling them of their producers;
//! - `tasks`: what workers say of tasks, splits, comparison of both sides;
//! - `checkpoints`: carries out what the checkpoint coordinator decides; [`op`]: the work of others;
//! - `alignment`: how far sources of alignment groups may read;
//! - `asks`: asks that wait for their answer;
//! - `details`: what people may see; `timers`; `invariants`: what holds after every step.

mod alignment;
mod asks;
mod checkpoints;
pub mod config;
mod deployment;
mod details;
mod ending;
mod invariants;
pub mod life;
pub mod op;
mod resource_manager;
pub mod slot_pool;
mod slots;
mod tasks;
mod timers;
mod workers;

#[cfg(test)]
mod tests;

pub use checkpoints::JobRecovery;
pub use config::{JobMasterConfig, JobMasterTimer, Leader, Surroundings};
pub use op::{JobMasterDone, JobMasterOp};

use crate::execution_graph::ExecutionGraph;
use crate::fence::Fence;
use crate::scheduler::options::Options;
use crate::scheduler::{Moment, Scheduler};
use crate::watermark_alignment::WatermarkAlignment;
use asks::Asks;
use checkpoints::Checkpoints;
use life::Life;
use millstream_checkpoint::coordinator::Coordinator;
use millstream_core::config::Configuration;
use millstream_core::ids::{FencingToken, JobId};
use millstream_core::job_graph::JobGraph;
use millstream_core::status::JobStatus;
use millstream_core::time::{Mono, Timestamp};
use millstream_rpc::machine::{Cx, Effect, Input, Machine, ReplyTo};
use millstream_rpc::protocol::job_master::ToJobMaster;
use millstream_rpc::protocol::{Address, Answer, Message, Refusal};
use resource_manager::ResourceManagerLink;
use slot_pool::SlotPool;
use std::collections::BTreeMap;
use tasks::Compared;
use workers::Workers;

pub(crate) type Context<'a> = Cx<'a, JobMaster>;

/// Runs one job in one term of leadership; a new term gets a new value.
#[derive(Debug)]
pub struct JobMaster {
    /// The cluster's configuration; set once.
    config: JobMasterConfig,
    /// Where it is and where the others are; the resource manager's token is in `link`.
    surroundings: Surroundings,
    /// Lets in what carries our token.
    fence: Fence,
    /// The job; set once.
    job: JobId,
    /// When the job was submitted: for people; set once.
    submitted: Timestamp,
    /// Why the job cannot be started, if it cannot; told at the start.
    unfit: Option<String>,
    /// Inputs are handled between `Start` and the end only.
    phase: Phase,
    /// The job's status. Changed in `ending` only.
    life: Life,
    /// What runs where, what starts over. It decides; we carry out.
    scheduler: Scheduler,
    /// The slots that the job has. Changed in `slots` and when a worker is lost.
    pool: SlotPool,
    /// Workers that are registered here, and their heartbeats.
    workers: Workers,
    /// The connection to the resource manager and what was declared to it.
    link: ResourceManagerLink,
    /// When checkpoints are taken, and what of the work for them is under way.
    checkpoints: Checkpoints,
    /// How far sources may read that are to be about equally far.
    alignment: WatermarkAlignment,
    /// Asks that have not been answered, and what for.
    asks: Asks,
    /// Timers that are set, and for when; kept by `timers`.
    armed: BTreeMap<JobMasterTimer, Mono>,
    /// What the heartbeat of this step was compared with: `check` does it once more, on its own.
    compared: Option<Compared>,
    /// How often the dispatcher was told of the end: `check` wants it once.
    ends_told: u32,
    /// Steps taken: in release builds the full check runs now and then.
    steps: u64,
    /// What was dropped.
    counters: Counters,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Created,
    Running,
    Stopped,
}

/// What was dropped, for metrics and tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages under another token.
    pub fenced: u64,
    /// Answers that nobody waits for.
    pub stale_answers: u64,
    /// Timers of restarts that were overtaken.
    pub stale_timers: u64,
    /// Reports about attempts that do not count, messages of workers that are not registered,
    /// inputs before the start and after the end.
    pub strangers: u64,
}

/// The job's processes read its graph only: what the cluster says of the state backend goes into it.
fn inherit_state_backend(graph: &mut JobGraph, cluster: &Configuration) {
    let mut own = Configuration(std::mem::take(&mut graph.configuration));
    own.inherit_state_backend(cluster);
    graph.configuration = own.0;
}

impl JobMaster {
    /// A job master that has not begun. A graph or a configuration that cannot be run is told when
    /// it starts: the job then fails with a message that says why.
    pub fn new(
        config: JobMasterConfig,
        surroundings: Surroundings,
        job: JobId,
        graph: JobGraph,
        submitted: Timestamp,
    ) -> Self {
        Self::recovered(config, surroundings, job, graph, submitted, None)
    }

    /// The same for a job of which a former master may have left something.
    pub fn recovered(
        config: JobMasterConfig,
        surroundings: Surroundings,
        job: JobId,
        mut graph: JobGraph,
        submitted: Timestamp,
        left: Option<JobRecovery>,
    ) -> Self {
        inherit_state_backend(&mut graph, &config.defaults);
        let options = Options::parse(&graph.configuration);
        let built = ExecutionGraph::new(job, graph.clone());
        let checkpoints = Checkpoints::new(&config.defaults, job, &graph, left);
        let unfit = match (&built, &options, &checkpoints) {
            (Err(problem), ..) => Some(problem.to_string()),
            (_, Err(problem), _) => Some(problem.to_string()),
            (.., Err(problem)) => Some(problem.clone()),
            (Ok(_), Ok(_), Ok(_)) => None,
        };
        let checkpoints = checkpoints.unwrap_or_default();
        let graph = built.unwrap_or_else(|_| ExecutionGraph::hollow(job, graph));
        let options = options.unwrap_or_else(|_| Options::defaults());
        Self {
            fence: Fence::new(surroundings.token),
            link: ResourceManagerLink::new(&config, surroundings.resource_manager.clone()),
            workers: Workers::new(config.heartbeat),
            life: Life::new(submitted),
            scheduler: Scheduler::new(graph, options),
            config,
            surroundings,
            job,
            submitted,
            unfit,
            phase: Phase::Created,
            pool: SlotPool::default(),
            checkpoints,
            alignment: WatermarkAlignment::default(),
            asks: Asks::default(),
            armed: BTreeMap::new(),
            compared: None,
            ends_told: 0,
            steps: 0,
            counters: Counters::default(),
        }
    }

    /// The job.
    pub fn job(&self) -> JobId {
        self.job
    }

    /// Its term of leadership.
    pub fn token(&self) -> FencingToken {
        self.fence.token()
    }

    /// How the job stands.
    pub fn status(&self) -> JobStatus {
        self.life.status()
    }

    /// What runs where, what starts over: for the simulator's own checks.
    pub fn scheduler(&self) -> &Scheduler {
        &self.scheduler
    }

    /// The slots that the job has: for the simulator's own checks.
    pub fn slots(&self) -> &SlotPool {
        &self.pool
    }

    /// Who decides about checkpoints, if there are any: for the simulator's own checks.
    pub fn coordinator(&self) -> Option<&Coordinator> {
        self.checkpoints.coordinator()
    }

    /// Asks that have not been answered: for the simulator's own checks.
    pub fn open_asks(&self) -> usize {
        self.asks.len()
    }

    /// What was dropped.
    pub fn counters(&self) -> Counters {
        Counters { fenced: self.fence.refused(), ..self.counters }
    }

    fn on_message(
        &mut self,
        cx: &mut Context<'_>,
        token: Option<FencingToken>,
        message: Message,
        to: Option<ReplyTo>,
    ) {
        if let Err(refusal) = self.fence.admit(token, "skip_fencing_check_jm") {
            return reply(cx, to, Answer::Refused(refusal));
        }
        let Message::JobMaster(message) = message else {
            self.counters.strangers += 1;
            let refusal = Refusal::Invalid("not a message to a job master".to_owned());
            return reply(cx, to, Answer::Refused(refusal));
        };
        self.serve(cx, message, to);
    }

    fn serve(&mut self, cx: &mut Context<'_>, message: ToJobMaster, to: Option<ReplyTo>) {
        use ToJobMaster as To;
        match message {
            To::RegisterTaskExecutor { job, resource, address, data_address } => {
                let answer = self.register_worker(cx, job, resource, address, data_address);
                reply(cx, to, answer);
            }
            To::OfferSlots { resource, slots } => {
                let answer = self.on_offers(cx, &resource, &slots);
                reply(cx, to, answer);
            }
            To::FailSlot { resource, allocation, cause } => {
                self.on_slot_failed(cx, &resource, allocation, &cause);
            }
            To::UpdateTaskExecutionState(report) => {
                let answer = self.on_task_report(cx, &report);
                reply(cx, to, answer);
            }
            To::RequestNextSplit { vertex, attempt } => {
                let answer = self.on_request_split(vertex, attempt, to.as_ref());
                reply(cx, to, answer);
            }
            To::AcknowledgeCheckpoint { attempt, checkpoint, state, .. } => {
                self.on_acknowledged(attempt, checkpoint, state);
            }
            To::DeclineCheckpoint { attempt, checkpoint, cause } => {
                self.on_declined(attempt, checkpoint, cause);
            }
            To::EndOfData { attempt } => self.on_end_of_data(attempt),
            To::ReportWatermark(report) => self.on_watermark_report(report),
            To::TriggerSavepoint { trigger, directory, stop } => {
                let answer = self.on_trigger_savepoint(cx, trigger, directory, stop);
                reply(cx, to, answer);
            }
            To::TriggerCheckpoint { trigger, full } => {
                let answer = self.on_trigger_checkpoint(cx, trigger, full);
                reply(cx, to, answer);
            }
            To::RequestSnapshotProgress { trigger } => {
                let answer = self.snapshot_progress(trigger);
                reply(cx, to, answer);
            }
            To::HeartbeatFromTaskExecutor { resource, executions, metrics } => {
                self.on_worker_heartbeat(cx, resource, executions, metrics);
            }
            To::HeartbeatFromResourceManager { resource_manager } => {
                self.on_resource_manager_heartbeat(cx, &resource_manager);
            }
            To::NotifyNotEnoughResources { acquired } => self.link.on_shortage(&acquired),
            To::DisconnectTaskExecutor { resource, cause } => {
                self.on_worker_disconnected(cx, &resource, &cause);
            }
            To::DisconnectResourceManager { token, .. } => {
                self.on_resource_manager_disconnected(cx, token);
            }
            To::Cancel => {
                self.cancel(cx);
                reply(cx, to, Answer::Ack);
            }
            To::RequestDetails => {
                let answer = self.details_answer(cx);
                reply(cx, to, answer);
            }
        }
    }

    fn on_peer_lost(&mut self, cx: &mut Context<'_>, process: &str, reason: &str) {
        self.on_worker_process_lost(cx, process, reason);
        if self.link.leader.address.process == process {
            self.lose_resource_manager(cx);
        }
    }

    /// Before the start and after the end nothing happens any more; who asks is told so.
    fn on_input_out_of_phase(
        &mut self,
        cx: &mut Context<'_>,
        input: Input<JobMasterTimer, JobMasterDone>,
    ) {
        self.counters.strangers += 1;
        if let Input::Message { reply: to, .. } = input {
            let refusal = match self.phase {
                Phase::Stopped => {
                    Refusal::Invalid(format!("job {} is {}", self.job, self.life.status()))
                }
                _ => Refusal::NotReady(format!("job {} has not been started", self.job)),
            };
            reply(cx, to, Answer::Refused(refusal));
        }
    }
}

impl Machine for JobMaster {
    type Timer = JobMasterTimer;
    type Op = JobMasterOp;
    type Done = JobMasterDone;

    fn step(&mut self, cx: &mut Cx<'_, Self>, input: Input<Self::Timer, Self::Done>) {
        self.steps += 1;
        self.compared = None;
        match (self.phase, input) {
            (Phase::Created, Input::Start) => self.start(cx),
            (Phase::Created, Input::Stop) => self.suspend(cx),
            (Phase::Created | Phase::Stopped, input) => {
                return self.on_input_out_of_phase(cx, input);
            }
            (Phase::Running, Input::Start) => self.counters.strangers += 1,
            (Phase::Running, Input::Message { token, message, reply }) => {
                self.on_message(cx, token, message, reply);
            }
            (Phase::Running, Input::Answered { ask, result }) => self.on_answered(cx, ask, result),
            (Phase::Running, Input::Timer(timer)) => self.on_timer(cx, timer),
            (Phase::Running, Input::PeerLost { process, reason }) => {
                self.on_peer_lost(cx, &process, &reason);
            }
            (Phase::Running, Input::Stop) => self.suspend(cx),
            (Phase::Running, Input::Done { op, result }) => self.on_done(cx, op, result),
        }
        self.settle(cx);
    }

    fn check(&self) {
        self.check_invariants();
    }
}

/// The time of this step, as the scheduler wants it.
fn moment(cx: &Context<'_>) -> Moment {
    Moment { now: cx.now, wall: cx.wall }
}

/// Answers an ask; a tell needs no answer.
fn reply(cx: &mut Context<'_>, to: Option<ReplyTo>, answer: Answer) {
    if let Some(to) = to {
        cx.out.push(Effect::Reply { to, answer });
    }
}

/// Says something that wants no answer.
fn tell(cx: &mut Context<'_>, to: &Address, token: Option<FencingToken>, message: Message) {
    cx.out.push(Effect::Tell { to: to.clone(), token, message });
}
