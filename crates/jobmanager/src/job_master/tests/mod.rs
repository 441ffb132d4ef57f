//! The job master among scripted neighbours.
//!
//! [`Rig`] drives one job master. What it does comes out as short lines; the rig plays resource
//! manager, workers, dispatcher and shell as far as a test lets it.

mod checkpoints;
mod ending;
mod failures;
#[cfg(feature = "mutants")]
mod mutants;
mod slots;
mod start;
mod tasks;
mod weather;

use super::{
    JobMaster, JobMasterConfig, JobMasterDone, JobMasterOp, JobMasterTimer, JobRecovery,
    Surroundings,
};
use crate::execution_graph::testing::graph_of;
use crate::test_driver::{Driver, TOKEN};
use millstream_core::ids::{
    AllocationId, ExecutionAttemptId, FencingToken, JobId, JobVertexId, ResourceId,
};
use millstream_core::status::{ExecutionState, JobStatus};
use millstream_core::time::Mono;
use millstream_rpc::machine::{AskId, Effect, Input, OpId, ReplyTo};
use millstream_rpc::protocol::details::ExecutionGraphDetails;
use millstream_rpc::protocol::dispatcher::ToDispatcher;
use millstream_rpc::protocol::job_master::{
    JobMasterAnswer, TaskExecutionState, TaskFailure, TaskFailureKind, TaskMetrics, ToJobMaster,
};
use millstream_rpc::protocol::resource::{ResourceProfile, SlotOffer};
use millstream_rpc::protocol::resource_manager::{ResourceManagerAnswer, ToResourceManager};
use millstream_rpc::protocol::task_executor::ToTaskExecutor;
use millstream_rpc::protocol::{Address, Answer, AskError, EndpointName, Message, Refusal};
use std::collections::{BTreeMap, BTreeSet};

/// The job of these tests.
pub(super) const JOB: JobId = JobId(0xA);

/// Where everything but the workers is.
const MASTER: &str = "jm:6123";

type OpenAsk = (AskId, String, Message);

pub(super) struct Rig {
    pub(super) driver: Driver<JobMaster>,
    /// What happened since it was last asked for.
    log: Vec<String>,
    /// Asks that nobody has answered.
    pub(super) open: Vec<OpenAsk>,
    /// Timers that are set.
    pub(super) timers: BTreeMap<JobMasterTimer, Mono>,
    /// How the job stood at its end.
    pub(super) ended: Option<Box<ExecutionGraphDetails>>,
    /// Answers each ask as a healthy cluster would.
    pub(super) healthy: bool,
    /// Work that nobody has done.
    pub(super) ops: Vec<(OpId, JobMasterOp)>,
    names: BTreeMap<u128, String>,
    correlation: u64,
}

pub(super) fn worker(name: &str) -> ResourceId {
    ResourceId(name.to_owned())
}

fn config() -> JobMasterConfig {
    JobMasterConfig::default()
}

impl Rig {
    /// A job master that has been started, with nobody around it.
    pub(super) fn new(plan: &str, options: &[(&str, &str)]) -> Self {
        let mut rig = Self::unstarted(plan, options);
        rig.give(Input::Start);
        rig
    }

    pub(super) fn unstarted(plan: &str, options: &[(&str, &str)]) -> Self {
        Self::unstarted_after(plan, options, None)
    }

    /// The same after a former master of the job.
    pub(super) fn unstarted_after(
        plan: &str,
        options: &[(&str, &str)],
        left: Option<JobRecovery>,
    ) -> Self {
        let mut graph = graph_of(plan);
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        graph.configuration = options.iter().map(own).collect();
        let names = graph.vertices.iter().map(|v| (v.id.0, v.name.clone())).collect();
        let around = Surroundings::in_process(MASTER, worker("jm"), JOB, TOKEN);
        let master = JobMaster::recovered(config(), around, JOB, graph, 500, left);
        Self {
            driver: Driver::new(master),
            log: Vec::new(),
            open: Vec::new(),
            timers: BTreeMap::new(),
            ended: None,
            healthy: false,
            ops: Vec::new(),
            names,
            correlation: 0,
        }
    }

    /// A job master in a healthy cluster: registered, with these workers, each with so many slots.
    pub(super) fn healthy(plan: &str, options: &[(&str, &str)], workers: &[(&str, u128)]) -> Self {
        Self::unstarted(plan, options).start_healthily(workers)
    }

    /// Starts it in a healthy cluster.
    pub(super) fn start_healthily(mut self, workers: &[(&str, u128)]) -> Self {
        let rig = &mut self;
        rig.healthy = true;
        rig.give(Input::Start);
        for (at, (name, slots)) in workers.iter().enumerate() {
            let first = at as u128 * 10 + 1;
            rig.register(name);
            rig.offer(name, &(first..first + slots).collect::<Vec<_>>());
        }
        self
    }

    pub(super) fn give(&mut self, input: Input<JobMasterTimer, JobMasterDone>) {
        for effect in self.driver.give(input) {
            self.take(effect);
        }
        while self.healthy && !self.open.is_empty() {
            let ask = self.open.remove(0);
            self.answer_healthily(ask);
        }
    }

    fn take(&mut self, effect: Effect<JobMasterTimer, JobMasterOp>) {
        match effect {
            Effect::Tell { to, message, .. } => {
                let line = format!("tell {}: {}", self.peer(&to), self.text(&message));
                self.log.push(line);
                if let Message::Dispatcher(ToDispatcher::JobEnded { details, .. }) = message {
                    self.ended = Some(details);
                }
            }
            Effect::Ask { ask, to, message, .. } => {
                let line = format!("ask {}: {}", self.peer(&to), self.text(&message));
                self.log.push(line.clone());
                self.open.push((ask, line, message));
            }
            Effect::Reply { answer, .. } => self.log.push(format!("reply {}", reply_text(&answer))),
            Effect::SetTimer { timer, at } => {
                self.timers.insert(timer, at);
            }
            Effect::ClearTimer { timer } => {
                self.timers.remove(&timer);
            }
            Effect::Stopped => self.log.push("stopped".to_owned()),
            Effect::Op { op, what } => self.ops.push((op, what)),
            Effect::Fatal(_) => panic!("{effect:?}"),
        }
    }

    fn peer(&self, to: &Address) -> String {
        match to.endpoint {
            EndpointName::Dispatcher => "dispatcher".to_owned(),
            EndpointName::ResourceManager => "rm".to_owned(),
            EndpointName::JobMaster(_) => "jm".to_owned(),
            EndpointName::LeaderElection => "election".to_owned(),
            EndpointName::TaskExecutor => to.process.replace(":6122", ""),
        }
    }

    fn text(&self, message: &Message) -> String {
        use ToTaskExecutor as Te;
        match message {
            Message::ResourceManager(message) => match message {
                ToResourceManager::RegisterJobMaster { .. } => "register".to_owned(),
                ToResourceManager::DeclareRequiredResources { requirements, .. } => {
                    let count: u32 = requirements.iter().map(|r| r.count).sum();
                    format!("declare {count}")
                }
                ToResourceManager::HeartbeatFromJobMaster { .. } => "heartbeat".to_owned(),
                ToResourceManager::DisconnectJobMaster { status, .. } => format!("leave {status}"),
                other => format!("{other:?}"),
            },
            Message::TaskExecutor(message) => match message {
                Te::SubmitTask { descriptor, .. } => {
                    format!(
                        "submit {} in {}",
                        self.name(descriptor.attempt),
                        descriptor.allocation.0
                    )
                }
                Te::CancelTask { attempt, .. } => format!("cancel {}", self.name(*attempt)),
                Te::FreeSlot { allocation, .. } => format!("free {}", allocation.0),
                Te::HeartbeatFromJobMaster { allocations, .. } => {
                    let held: Vec<u128> = allocations.iter().map(|id| id.0).collect();
                    format!("heartbeat {held:?}")
                }
                Te::DisconnectJobMaster { status, .. } => format!("leave {status}"),
                other => format!("{other:?}"),
            },
            Message::Dispatcher(ToDispatcher::JobEnded { details, .. }) => {
                format!("ended {}", details.summary.status)
            }
            other => format!("{other:?}"),
        }
    }

    /// `a0#1`: subtask 0 of vertex `a`, attempt 1.
    fn name(&self, attempt: ExecutionAttemptId) -> String {
        let vertex = &self.names[&attempt.vertex.0];
        format!("{vertex}{}#{}", attempt.subtask, attempt.attempt)
    }

    fn answer_healthily(&mut self, (ask, _, message): OpenAsk) {
        match message {
            Message::ResourceManager(ToResourceManager::RegisterJobMaster { .. }) => {
                self.answer(ask, Ok(registered()));
            }
            Message::TaskExecutor(ToTaskExecutor::SubmitTask { descriptor, .. }) => {
                self.answer(ask, Ok(Answer::Ack));
                self.report(descriptor.attempt, ExecutionState::Running, None);
            }
            Message::TaskExecutor(ToTaskExecutor::CancelTask { attempt, .. }) => {
                self.answer(ask, Ok(Answer::Ack));
                self.report(attempt, ExecutionState::Canceled, None);
            }
            _ => self.answer(ask, Ok(Answer::Ack)),
        }
    }

    pub(super) fn answer(&mut self, ask: AskId, result: Result<Answer, AskError>) {
        self.open.retain(|(open, _, _)| *open != ask);
        self.give(Input::Answered { ask, result });
    }

    /// Answers the oldest open ask whose line contains the text.
    #[track_caller]
    pub(super) fn answer_to(&mut self, text: &str, result: Result<Answer, AskError>) {
        let found = self.open.iter().find(|(_, line, _)| line.contains(text));
        let (ask, _, _) = found.unwrap_or_else(|| panic!("no `{text}` in {:?}", self.open));
        self.answer(*ask, result);
    }

    /// A message under the right token that wants an answer.
    pub(super) fn say(&mut self, message: ToJobMaster) {
        self.correlation += 1;
        let reply = ReplyTo { process: "somebody".to_owned(), correlation: self.correlation };
        self.say_as(message, Some(TOKEN), Some(reply));
    }

    pub(super) fn say_as(
        &mut self,
        message: ToJobMaster,
        token: Option<FencingToken>,
        reply: Option<ReplyTo>,
    ) {
        self.give(Input::Message { token, message: Message::JobMaster(message), reply });
    }

    pub(super) fn register(&mut self, name: &str) {
        let message = ToJobMaster::RegisterTaskExecutor {
            job: JOB,
            resource: worker(name),
            address: Address {
                process: format!("{name}:6122"),
                endpoint: EndpointName::TaskExecutor,
            },
            data_address: format!("{name}:9000"),
        };
        self.say(message);
    }

    pub(super) fn offer(&mut self, name: &str, allocations: &[u128]) {
        let offer = |(index, id): (usize, &u128)| SlotOffer {
            allocation: AllocationId(*id),
            index: index as u32,
            profile: ResourceProfile::ANY,
        };
        let slots = allocations.iter().enumerate().map(offer).collect();
        self.say(ToJobMaster::OfferSlots { resource: worker(name), slots });
    }

    pub(super) fn report(
        &mut self,
        attempt: ExecutionAttemptId,
        state: ExecutionState,
        failure: Option<TaskFailure>,
    ) {
        let metrics = TaskMetrics::default();
        let report = TaskExecutionState { attempt, state, failure, metrics };
        self.say(ToJobMaster::UpdateTaskExecutionState(Box::new(report)));
    }

    /// Reports about current attempts: `run a0`, `finish a0 b0`, `stop a0`.
    pub(super) fn tasks(&mut self, words: &str) {
        let (verb, names) = words.split_once(' ').expect("a verb and names");
        let state = match verb {
            "run" => ExecutionState::Running,
            "finish" => ExecutionState::Finished,
            "stop" => ExecutionState::Canceled,
            _ => panic!("`{verb}` is no report"),
        };
        for name in names.split(' ') {
            self.report(self.attempt(name), state, None);
        }
    }

    /// The current attempt of a subtask fails of this bug.
    pub(super) fn fail(&mut self, name: &str, fingerprint: u64) {
        let kind = TaskFailureKind::Recoverable;
        let failure = TaskFailure { kind, message: "boom".to_owned(), fingerprint };
        self.report(self.attempt(name), ExecutionState::Failed, Some(failure));
    }

    /// The worker answers a heartbeat: these are the attempts that it has.
    pub(super) fn heartbeat(&mut self, name: &str, executions: &[ExecutionAttemptId]) {
        let executions: BTreeSet<_> = executions.iter().copied().collect();
        self.say(ToJobMaster::HeartbeatFromTaskExecutor {
            resource: worker(name),
            executions,
            metrics: BTreeMap::new(),
        });
    }

    /// The current attempt of a subtask such as `a0`.
    pub(super) fn attempt(&self, name: &str) -> ExecutionAttemptId {
        let (vertex, subtask) = name.split_at(1);
        let known = self.names.iter().find(|(_, name)| *name == vertex);
        let any = ExecutionAttemptId {
            graph: millstream_core::ids::ExecutionGraphId(0),
            vertex: JobVertexId(*known.expect("a vertex of the graph").0),
            subtask: subtask.parse().expect("a subtask"),
            attempt: 0,
        };
        let graph = self.driver.machine.scheduler().graph();
        graph.attempt_id(graph.subtask_of(any).expect("a subtask of the graph"))
    }

    pub(super) fn state(&self, name: &str) -> ExecutionState {
        let graph = self.driver.machine.scheduler().graph();
        graph.state(graph.find(self.attempt(name)).expect("it is current"))
    }

    pub(super) fn status(&self) -> JobStatus {
        self.driver.machine.status()
    }

    /// Time passes; timers that are due fire, in order.
    pub(super) fn pass(&mut self, millis: u64) {
        let until = self.driver.now + millis;
        loop {
            let due = self.timers.iter().min_by_key(|(_, at)| **at);
            let Some((timer, at)) = due.filter(|(_, at)| **at <= until).map(|(t, at)| (*t, *at))
            else {
                break;
            };
            self.timers.remove(&timer);
            self.driver.now = self.driver.now.max(at);
            self.give(Input::Timer(timer));
        }
        self.driver.now = until;
    }

    /// What happened since it was last asked for.
    pub(super) fn log(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }

    /// What happened, as one text.
    pub(super) fn text_log(&mut self) -> String {
        self.log().join("\n")
    }

    #[track_caller]
    pub(super) fn expect(&mut self, lines: &[&str]) {
        assert_eq!(self.log(), lines);
    }

    /// What happened, without heartbeats and replies.
    #[track_caller]
    pub(super) fn expect_deeds(&mut self, lines: &[&str]) {
        let mut deeds = self.log();
        deeds.retain(|line| !line.contains("heartbeat") && !line.starts_with("reply"));
        assert_eq!(deeds, lines);
    }

    pub(super) fn details(&mut self) -> ExecutionGraphDetails {
        let reply = Some(ReplyTo { process: String::new(), correlation: 1 });
        let message = Message::JobMaster(ToJobMaster::RequestDetails);
        let effects = self.driver.give(Input::Message { token: Some(TOKEN), message, reply });
        match &effects[..] {
            [
                Effect::Reply {
                    answer: Answer::JobMaster(JobMasterAnswer::Details(details)), ..
                },
            ] => (**details).clone(),
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub(super) fn root_failure(&self) -> String {
        let ended = self.ended.as_ref().expect("the job has ended");
        ended.root_failure.as_ref().expect("it failed").message.clone()
    }
}

pub(super) fn registered() -> Answer {
    Answer::ResourceManager(ResourceManagerAnswer::JobMasterRegistered {
        resource_manager: worker("rm"),
        token: TOKEN,
    })
}

pub(super) fn refused(text: &str) -> Result<Answer, AskError> {
    Ok(Answer::Refused(Refusal::Unknown(text.to_owned())))
}

fn reply_text(answer: &Answer) -> String {
    match answer {
        Answer::Ack => "ack".to_owned(),
        Answer::Refused(Refusal::Fenced { .. }) => "fenced".to_owned(),
        Answer::Refused(refusal) => format!("refused: {refusal}"),
        Answer::JobMaster(answer) => match answer {
            JobMasterAnswer::TaskExecutorRegistered { .. } => "registered".to_owned(),
            JobMasterAnswer::Rejected { cause } => format!("rejected: {cause}"),
            JobMasterAnswer::SlotsAccepted(slots) => {
                format!("accepted {:?}", slots.iter().map(|id| id.0).collect::<Vec<_>>())
            }
            JobMasterAnswer::NextSplit(None) => "no split".to_owned(),
            JobMasterAnswer::NextSplit(Some(split)) => format!("split {:?}", split.0),
            JobMasterAnswer::Details(_) => "details".to_owned(),
            JobMasterAnswer::SnapshotProgress(progress) => format!("{progress:?}"),
        },
        other => format!("{other:?}"),
    }
}
