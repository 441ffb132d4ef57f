//! The played world around one job master: a worker, its tasks, the way of messages, a store.

use super::leaders::{HaEvent, Leaders};
use super::seat::Seat;
use super::store::Store;
use super::task::{RECORDS, Staged, Task, writer_of};
use crate::trace::Trace;
use millstream_checkpoint::coordinator::SnapshotProgress;
use millstream_checkpoint::handle::{FileName, TaskState};
use millstream_checkpoint::metadata::{CheckpointMetadata, METADATA_FILE, decode};
use millstream_core::checkpoint::{Barrier, CheckpointId};
use millstream_core::error::Location;
use millstream_core::ids::{
    AllocationId, DataSetId, ExecutionAttemptId, FencingToken, JobId, JobVertexId, OperatorId,
    ResourceId, TriggerId,
};
use millstream_core::job_graph::{
    ExchangeMode, JobEdge, JobGraph, JobVertex, OperatorInfo, PlanSignature, RuntimeMode,
    ShipStrategy, SourceSplit,
};
use millstream_core::key_group::{KeyGroupRange, MaxParallelism};
use millstream_core::status::{ExecutionState, JobStatus};
use millstream_core::time::{Mono, Timestamp};
use millstream_jobmanager::job_master::{JobMaster, JobMasterDone, JobMasterOp, JobMasterTimer};
use millstream_rpc::machine::{AskId, Cx, Effect, Input, Machine, ReplyTo, Rng};
use millstream_rpc::protocol::deployment::TaskDeploymentDescriptor;
use millstream_rpc::protocol::details::ExecutionGraphDetails;
use millstream_rpc::protocol::dispatcher::ToDispatcher;
use millstream_rpc::protocol::job_master::{
    Drain, JobMasterAnswer, SnapshotMetrics, TaskExecutionState, TaskFailure, TaskFailureKind,
    TaskMetrics, ToJobMaster,
};
use millstream_rpc::protocol::resource::{ResourceProfile, SlotOffer};
use millstream_rpc::protocol::resource_manager::{ResourceManagerAnswer, ToResourceManager};
use millstream_rpc::protocol::task_executor::ToTaskExecutor;
use millstream_rpc::protocol::{Address, Answer, EndpointName, Message, Refusal};
use std::collections::{BTreeMap, BTreeSet};

/// What goes wrong, and what the job is like. Chances are in thousandths.
pub(super) struct Knobs {
    /// That a task fails when it goes on.
    pub(super) failures: u64,
    /// That what is told to tasks or by them of checkpoints gets lost.
    pub(super) lost_tells: u64,
    /// That it comes twice.
    pub(super) doubled_tells: u64,
    /// That an acknowledgement comes once more, for another checkpoint or of another attempt.
    pub(super) forged: u64,
    /// That a work fails, or that nobody knows.
    pub(super) store_faults: u64,
    /// Works take seconds.
    pub(super) slow_store: bool,
    pub(super) incremental: bool,
    pub(super) interval_ms: u64,
    /// The job is stopped with a savepoint, and another goes on from it.
    pub(super) stop: bool,
    pub(super) splits: u8,
    /// Job masters crash, sleep and are followed by others.
    pub(super) leaders: bool,
}

impl Knobs {
    /// Nothing goes wrong.
    pub(super) fn calm(rng: &mut Rng) -> Self {
        Self {
            failures: 0,
            lost_tells: 0,
            doubled_tells: 0,
            forged: 0,
            store_faults: 0,
            slow_store: false,
            incremental: rng.below(2) == 0,
            interval_ms: 200 + rng.below(1_500),
            stop: false,
            splits: 1 + rng.below(8) as u8,
            leaders: false,
        }
    }
}

/// Faults end then, in milliseconds, and the job must come to its end.
pub(super) const HEAL_AT_MS: u64 = 60_000;

/// The job must have ended by then.
const END_AT_MS: u64 = 240_000;

const TOKEN: FencingToken = FencingToken(7);
const WORKER: &str = "tm1";
const STOP: TriggerId = TriggerId(0xAA << 96);

/// Something that happens; to a seat, if it has a number.
pub(super) enum Event {
    Say(usize, ToJobMaster, Option<ReplyTo>),
    Answer(usize, AskId, Answer),
    Mail(ExecutionAttemptId, Mail),
    Step(ExecutionAttemptId),
    Work(usize, u64),
    Offer(usize),
    Stop,
    Ha(HaEvent),
}

/// What a task hears.
#[derive(Clone, Debug)]
pub(super) enum Mail {
    Deploy(Box<TaskDeploymentDescriptor>),
    Run,
    Cancel,
    Split(Option<SourceSplit>),
    Trigger(Barrier),
    Completed(CheckpointId),
    Aborted(CheckpointId),
}

pub(super) struct World<'a> {
    pub(super) knobs: Knobs,
    pub(super) rng: Rng,
    pub(super) trace: &'a mut Trace,
    pub(super) now_us: u64,
    queue: BTreeMap<(u64, u64), Event>,
    scheduled: u64,
    pub(super) seats: Vec<Seat>,
    /// The seat whose words count for the worker.
    pub(super) followed: usize,
    pub(super) leaders: Leaders,
    pub(super) job: JobId,
    pub(super) graph: JobGraph,
    /// The directory of the job's checkpoints.
    directory: String,
    pub(super) tasks: BTreeMap<ExecutionAttemptId, Task>,
    /// Attempts that ran and whose words may still come.
    pub(super) former: Vec<ExecutionAttemptId>,
    /// What tasks said in order must arrive in order.
    last_word_us: BTreeMap<ExecutionAttemptId, u64>,
    /// Barriers that were passed on, by whom; and attempts that have ended.
    passed: BTreeSet<(ExecutionAttemptId, CheckpointId)>,
    barriers: BTreeMap<CheckpointId, Barrier>,
    through: BTreeSet<ExecutionAttemptId>,
    /// Who waits for the answer to an ask.
    asked: BTreeMap<u64, ExecutionAttemptId>,
    asks: u64,
    pub(super) store: Store,
    /// Metadata that is durable, or was.
    written: BTreeSet<CheckpointId>,
    pub(super) metadata: BTreeMap<CheckpointId, CheckpointMetadata>,
    /// The newest complete checkpoint of which tasks were told, by whomever.
    pub(super) announced: Option<CheckpointId>,
    /// Which record was committed in which transaction.
    sink: BTreeMap<(u8, u8), u64>,
    pub(super) ended: Option<Box<ExecutionGraphDetails>>,
}

/// Plays a job to its end, and perhaps the one that goes on from its savepoint.
pub(super) fn play(knobs: Knobs, mut rng: Rng, trace: &mut Trace) {
    let graph = draw_graph(&mut rng, &knobs);
    let mut world = World::new(JobId(1), graph, knobs, rng, trace);
    if world.knobs.leaders {
        world.play_leaders();
        return world.check_at_end();
    }
    world.run();
    if let Some(path) = world.stopped_with() {
        world.go_on_from(&path);
        world.run();
    }
    world.check_at_end();
}

fn draw_graph(rng: &mut Rng, knobs: &Knobs) -> JobGraph {
    let count = 1 + rng.below(2) as usize;
    let vertices: Vec<JobVertex> = (0..count)
        .map(|number| JobVertex {
            id: JobVertexId(100 + number as u128),
            name: format!("vertex {number}"),
            parallelism: 1 + rng.below(3) as u32,
            max_parallelism: MaxParallelism::new(128).expect("within bounds"),
            slot_sharing_group: "default".to_owned(),
            operators: vec![OperatorInfo {
                id: OperatorId(100 + number as u128),
                name: format!("operator {number}"),
                declared_at: Location::default(),
                states: None,
            }],
            splits: match number {
                0 => (0..knobs.splits).map(|split| SourceSplit(vec![split])).collect(),
                _ => Vec::new(),
            },
        })
        .collect();
    let edges = (1..count).map(|target| JobEdge {
        data_set: DataSetId(200),
        source: target - 1,
        target,
        ship: if rng.below(2) == 0 { ShipStrategy::Hash } else { ShipStrategy::Rescale },
        exchange: ExchangeMode::Pipelined,
    });
    let edges = edges.collect();
    let number = |number: u64| number.to_string();
    let configuration = [
        ("restart-strategy.exponential-delay.initial-backoff", "100 ms".to_owned()),
        ("restart-strategy.exponential-delay.max-backoff", "2 s".to_owned()),
        ("restart-strategy.repeat-limit", "0".to_owned()),
        ("execution.checkpointing.dir", "/c".to_owned()),
        ("execution.checkpointing.savepoint-dir", "/s".to_owned()),
        ("execution.checkpointing.interval", number(knobs.interval_ms)),
        ("execution.checkpointing.timeout", "3 s".to_owned()),
        ("execution.checkpointing.min-pause", number(rng.below(2) * rng.below(500))),
        ("execution.checkpointing.tolerable-failed-checkpoints", number(rng.below(2) * 1_000)),
        ("execution.checkpointing.num-retained", number(1 + rng.below(3))),
        ("execution.checkpointing.max-concurrent-checkpoints", number(1 + rng.below(2))),
        ("execution.checkpointing.incremental", knobs.incremental.to_string()),
    ];
    let configuration = configuration.into_iter().map(|(key, value)| (key.to_owned(), value));
    JobGraph {
        name: "a job".to_owned(),
        vertices,
        edges,
        mode: RuntimeMode::Streaming,
        configuration: configuration.collect(),
        signature: PlanSignature::default(),
        program: None,
    }
}

impl<'a> World<'a> {
    fn new(job: JobId, graph: JobGraph, knobs: Knobs, rng: Rng, trace: &'a mut Trace) -> Self {
        let mut rng = rng;
        let mut seats = Vec::new();
        if !knobs.leaders {
            let mut seat = Seat::empty(Rng::new(rng.next_u64()));
            seat.begin(job, &graph, TOKEN, None);
            seats.push(seat);
        }
        Self {
            seats,
            followed: 0,
            leaders: Leaders::default(),
            job,
            directory: format!("/c/{job}"),
            knobs,
            rng,
            trace,
            now_us: 0,
            queue: BTreeMap::new(),
            scheduled: 0,
            graph,
            tasks: BTreeMap::new(),
            former: Vec::new(),
            last_word_us: BTreeMap::new(),
            passed: BTreeSet::new(),
            barriers: BTreeMap::new(),
            through: BTreeSet::new(),
            asked: BTreeMap::new(),
            asks: 0,
            store: Store::default(),
            written: BTreeSet::new(),
            metadata: BTreeMap::new(),
            announced: None,
            sink: BTreeMap::new(),
            ended: None,
        }
    }

    /// Another job begins from the savepoint, perhaps with another parallelism.
    fn go_on_from(&mut self, path: &str) {
        let mut graph = self.graph.clone();
        let newest = self.metadata.values().next_back();
        let id = newest.map(|metadata| metadata.checkpoint);
        let nobody_finished = newest.is_some_and(|metadata| {
            let mut tasks = metadata.vertices.values().flat_map(|vertex| &vertex.subtasks);
            tasks.all(|task| !task.finished)
        });
        for vertex in graph.vertices.iter_mut().filter(|_| nobody_finished) {
            vertex.parallelism = 1 + self.rng.below(4) as u32;
        }
        graph.configuration.insert("execution.state-recovery.path".to_owned(), path.to_owned());
        let claim = if self.rng.below(2) == 0 { "CLAIM" } else { "NO_CLAIM" };
        let key = "execution.state-recovery.claim-mode".to_owned();
        graph.configuration.insert(key, claim.to_owned());
        self.job = JobId(2);
        self.directory = format!("/c/{}", self.job);
        self.seats[0].begin(self.job, &graph, TOKEN, None);
        self.seats[0].complete = id;
        self.graph = graph;
        self.knobs.stop = false;
        self.knobs.store_faults = 0;
        self.queue.clear();
        self.ended = None;
        self.announced = id;
        self.passed.clear();
        self.barriers.clear();
        self.written.clear();
        self.metadata.clear();
    }

    /// The savepoint with which the job was stopped, if it was.
    fn stopped_with(&self) -> Option<String> {
        let details = self.ended.as_ref()?;
        let requests = details.checkpoints.iter().flat_map(|all| &all.requests);
        let (_, progress) = requests.into_iter().find(|(trigger, _)| *trigger == STOP)?;
        match progress {
            SnapshotProgress::Completed { path, .. } => Some(path.clone()),
            _ => None,
        }
    }

    pub(super) fn now(&self) -> Mono {
        Mono(self.now_us / 1_000)
    }

    /// True with this chance, until everything is healed.
    pub(super) fn chance(&mut self, thousandths: u64) -> bool {
        let healed = self.now_us >= HEAL_AT_MS * 1_000;
        !healed && thousandths > 0 && self.rng.one_in_thousand(thousandths)
    }

    pub(super) fn schedule(&mut self, delay_us: u64, event: Event) {
        self.scheduled += 1;
        self.queue.insert((self.now_us + delay_us, self.scheduled), event);
    }

    fn run(&mut self) {
        let end_us = self.now_us + END_AT_MS * 1_000;
        self.start_master(0);
        self.follow(0);
        if self.knobs.stop {
            let delay_us = self.rng.below(3_000_000);
            self.schedule(delay_us, Event::Stop);
        }
        while self.ended.is_none() || !self.seats[0].works.is_empty() {
            assert!(self.now_us < end_us, "the job does not end: {:?}", self.status());
            self.advance();
        }
    }

    pub(super) fn start_master(&mut self, seat: usize) {
        self.give(seat, Input::Start);
    }

    /// The worker goes with this seat from now on.
    pub(super) fn follow(&mut self, seat: usize) {
        self.followed = seat;
        let register = ToJobMaster::RegisterTaskExecutor {
            job: self.job,
            resource: ResourceId(WORKER.to_owned()),
            address: address(),
            data_address: "tm1:9".to_owned(),
        };
        self.schedule(100, Event::Say(seat, register, None));
        self.schedule(200, Event::Offer(seat));
    }

    pub(super) fn status(&self) -> Vec<Option<JobStatus>> {
        let masters = self.seats.iter().map(|seat| seat.master.as_ref());
        masters.map(|master| master.map(JobMaster::status)).collect()
    }

    pub(super) fn advance(&mut self) {
        let timers = self.seats.iter().enumerate();
        let timers = timers.filter_map(|(number, seat)| {
            seat.next_timer().map(|(at_us, timer)| (at_us, number, timer))
        });
        let timer = timers.min_by_key(|(at_us, number, _)| (*at_us, *number));
        let next = self.queue.first_key_value().map(|((at_us, _), _)| *at_us);
        if let Some((at_us, number, timer)) = timer
            && next.is_none_or(|next| at_us <= next)
        {
            self.now_us = self.now_us.max(at_us);
            self.seats[number].timers.remove(&timer);
            return self.give(number, Input::Timer(timer));
        }
        let Some(((at_us, _), event)) = self.queue.pop_first() else {
            panic!("nothing happens any more: {:?}", self.status());
        };
        self.now_us = self.now_us.max(at_us);
        if let Some(event) = self.awake(event) {
            self.happen(event);
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Say(seat, message, reply) => {
                let message = Message::JobMaster(message);
                let token = Some(self.seats[seat].token);
                self.give(seat, Input::Message { token, message, reply });
            }
            Event::Answer(seat, ask, answer) => {
                self.give(seat, Input::Answered { ask, result: Ok(answer) });
            }
            Event::Mail(attempt, mail) => self.on_mail(attempt, mail),
            Event::Step(attempt) => self.on_step(attempt),
            // One of a former term counts no more.
            Event::Work(seat, ticket) if ticket == self.seats[seat].ticket => self.work(seat),
            Event::Work(..) => {}
            Event::Offer(seat) => self.offer_slots(seat),
            Event::Stop => {
                let stop = Some(Drain::No);
                let message =
                    ToJobMaster::TriggerSavepoint { trigger: STOP, directory: None, stop };
                self.say(0, message, None);
            }
            Event::Ha(event) => self.on_leaders(event),
        }
    }

    /// The worker, or one of its tasks, speaks with whoever it takes for the leader.
    fn say(&mut self, delay_us: u64, message: ToJobMaster, reply: Option<ReplyTo>) {
        self.schedule(delay_us, Event::Say(self.followed, message, reply));
    }

    /// Offers slots, again and again: a job takes those that it needs by then.
    fn offer_slots(&mut self, seat: usize) {
        if seat != self.followed {
            return;
        }
        let slots = (1..=8).map(|number| SlotOffer {
            allocation: AllocationId(number),
            index: number as u32,
            profile: ResourceProfile::ANY,
        });
        let resource = ResourceId(WORKER.to_owned());
        let offer = ToJobMaster::OfferSlots { resource, slots: slots.collect() };
        self.say(0, offer, None);
        self.schedule(500_000, Event::Offer(seat));
    }

    pub(super) fn give(&mut self, number: usize, input: Input<JobMasterTimer, JobMasterDone>) {
        self.trace.event(self.now_us, number, || format!("{input:?}"));
        let (now, wall) = (self.now(), (self.now_us / 1_000) as Timestamp);
        let mut out = Vec::new();
        let seat = &mut self.seats[number];
        let Some(master) = &mut seat.master else { return };
        let mut cx = Cx { now, wall, rng: &mut seat.rng, out: &mut out };
        master.step(&mut cx, input);
        master.check();
        for effect in out {
            self.perform(number, effect);
        }
        self.check_references();
    }

    fn perform(&mut self, number: usize, effect: Effect<JobMasterTimer, JobMasterOp>) {
        match effect {
            Effect::Tell { message, .. } => self.on_told(number, message),
            Effect::Ask { ask, message, .. } => self.on_asked(number, ask, message),
            Effect::Reply { to, answer } => self.on_replied(&to, answer),
            Effect::SetTimer { timer, at } => {
                self.seats[number].timers.insert(timer, at);
            }
            Effect::ClearTimer { timer } => {
                self.seats[number].timers.remove(&timer);
            }
            Effect::Op { op, what } => {
                self.check_work(number, &what);
                if let Some(what) = self.keep_for_the_end(number, op, what) {
                    self.seats[number].works.push_back((op, what));
                    if self.seats[number].works.len() == 1 {
                        self.begin_work(number);
                    }
                }
            }
            Effect::Stopped => {}
            Effect::Fatal(reason) => panic!("{reason}"),
        }
    }

    fn on_told(&mut self, number: usize, message: Message) {
        match message {
            Message::Dispatcher(ToDispatcher::JobEnded { details, .. }) => {
                match self.knobs.leaders {
                    true => self.record_end(number, details),
                    false => self.ended = Some(details),
                }
            }
            Message::TaskExecutor(message) => match message {
                ToTaskExecutor::TriggerCheckpoint { attempt, barrier, .. } => {
                    self.tell_task(number, attempt, Mail::Trigger(barrier));
                }
                ToTaskExecutor::NotifyCheckpointCompleted { attempt, checkpoint, .. } => {
                    self.check_complete(number, checkpoint);
                    self.tell_task(number, attempt, Mail::Completed(checkpoint));
                }
                ToTaskExecutor::NotifyCheckpointAborted { attempt, checkpoint, .. } => {
                    self.tell_task(number, attempt, Mail::Aborted(checkpoint));
                }
                _ => {}
            },
            _ => {}
        }
    }

    fn tell_task(&mut self, number: usize, attempt: ExecutionAttemptId, mail: Mail) {
        if number != self.followed {
            return; // The worker has another leader, and its messages another token.
        }
        for _ in 0..self.copies() {
            let delay_us = 100 + self.rng.below(50_000);
            self.schedule(delay_us, Event::Mail(attempt, mail.clone()));
        }
    }

    /// How often something that is told arrives.
    fn copies(&mut self) -> u64 {
        let (lost, doubled) = (self.knobs.lost_tells, self.knobs.doubled_tells);
        if self.chance(lost) { 0 } else { 1 + u64::from(self.chance(doubled)) }
    }

    fn on_asked(&mut self, number: usize, ask: AskId, message: Message) {
        let answer = match message {
            Message::ResourceManager(ToResourceManager::RegisterJobMaster { .. }) => {
                let resource_manager = ResourceId("rm".to_owned());
                Answer::ResourceManager(ResourceManagerAnswer::JobMasterRegistered {
                    resource_manager,
                    token: self.seats[number].token,
                })
            }
            Message::TaskExecutor(_) if number != self.followed => {
                Answer::Refused(Refusal::Unknown("another JobManager leads".to_owned()))
            }
            Message::TaskExecutor(ToTaskExecutor::SubmitTask { descriptor, .. }) => {
                self.check_restore(number, &descriptor);
                let attempt = descriptor.attempt;
                self.note_submission(number, attempt);
                self.schedule(1_000, Event::Mail(attempt, Mail::Deploy(descriptor)));
                Answer::Ack
            }
            Message::TaskExecutor(ToTaskExecutor::CancelTask { attempt, .. }) => {
                let known = self.tasks.get(&attempt).is_some_and(|task| !task.cancelled);
                self.schedule(2_000, Event::Mail(attempt, Mail::Cancel));
                match known {
                    true => Answer::Ack,
                    false => Answer::Refused(Refusal::Unknown("attempt".to_owned())),
                }
            }
            _ => Answer::Ack,
        };
        self.schedule(3_000, Event::Answer(number, ask, answer));
    }

    fn on_replied(&mut self, to: &ReplyTo, answer: Answer) {
        let Some(attempt) = self.asked.remove(&to.correlation) else { return };
        if let Answer::JobMaster(JobMasterAnswer::NextSplit(split)) = answer {
            let delay_us = 100 + self.rng.below(50_000);
            self.schedule(delay_us, Event::Mail(attempt, Mail::Split(split)));
        }
    }

    /// A task's word that must arrive, and in order.
    fn report(
        &mut self,
        attempt: ExecutionAttemptId,
        state: ExecutionState,
        failure: Option<TaskFailure>,
    ) {
        let metrics = TaskMetrics::default();
        let update = TaskExecutionState { attempt, state, failure, metrics };
        let message = ToJobMaster::UpdateTaskExecutionState(Box::new(update));
        let delay_us = 100 + self.rng.below(50_000);
        let last = self.last_word_us.entry(attempt).or_default();
        *last = (self.now_us + delay_us).max(*last + 1);
        let at_us = *last;
        self.asks += 1;
        let reply = ReplyTo { process: WORKER.to_owned(), correlation: self.asks };
        self.say(at_us - self.now_us, message, Some(reply));
    }

    /// A task's word that may get lost.
    fn tell_master(&mut self, most_us: u64, message: ToJobMaster) {
        for _ in 0..self.copies() {
            let delay_us = 100 + self.rng.below(most_us);
            self.say(delay_us, message.clone(), None);
        }
    }

    fn on_mail(&mut self, attempt: ExecutionAttemptId, mail: Mail) {
        if let Mail::Deploy(descriptor) = mail {
            if self.may_begin(attempt) {
                self.deploy(*descriptor);
            }
            return;
        }
        let Some(task) = self.tasks.get_mut(&attempt) else { return };
        match mail {
            Mail::Deploy(_) => {}
            Mail::Run => {
                task.running = true;
                self.report(attempt, ExecutionState::Running, None);
                self.schedule(5_000, Event::Step(attempt));
            }
            Mail::Cancel => {
                self.end(attempt, ExecutionState::Canceled, None);
            }
            Mail::Split(split) => {
                task.asked = false;
                match split {
                    Some(split) => {
                        task.given += 1;
                        task.reader.push_back((split.0[0], 0));
                    }
                    None => task.drained = true,
                }
            }
            Mail::Trigger(barrier) if barrier.checkpoint > task.last => {
                self.barriers.insert(barrier.checkpoint, barrier);
                match task.source {
                    true => self.snapshot(attempt, &barrier),
                    false => drop(task.triggered.insert(barrier.checkpoint, barrier)),
                }
            }
            Mail::Trigger(_) => {}
            Mail::Completed(checkpoint) => self.on_completed(attempt, checkpoint),
            Mail::Aborted(checkpoint) => task.aborted(checkpoint),
        }
    }

    fn deploy(&mut self, descriptor: TaskDeploymentDescriptor) {
        let attempt = descriptor.attempt;
        let index = self.graph.vertices.iter().position(|vertex| vertex.id == attempt.vertex);
        let index = index.expect("a vertex of the job");
        let operator = self.graph.vertices[index].operators[0].id;
        let (max, parallelism) = (descriptor.max_parallelism, descriptor.parallelism);
        let groups = KeyGroupRange::of_subtask(attempt.subtask, max, parallelism);
        let channels = descriptor.gates.iter().flat_map(|gate| &gate.channels);
        let producers = channels.map(|channel| channel.partition.producer).collect();
        let mut task = Task::new(attempt, operator, groups, index == 0, producers);
        let mut finished = false;
        let mut due = Vec::new();
        if let Some(restore) = &descriptor.restore {
            due = task.restore(restore);
            finished = restore.finished;
        }
        self.tasks.insert(attempt, task);
        self.commit(&due);
        if finished {
            // All that is left to do was to commit.
            self.through.insert(attempt);
            return self.end(attempt, ExecutionState::Finished, None);
        }
        let delay_us = 1_000 + self.rng.below(50_000);
        self.schedule(delay_us, Event::Mail(attempt, Mail::Run));
    }

    fn on_step(&mut self, attempt: ExecutionAttemptId) {
        let failures = self.knobs.failures;
        if !self.tasks.contains_key(&attempt) {
            return;
        }
        if self.chance(failures) {
            let failure = TaskFailure {
                kind: TaskFailureKind::Recoverable,
                message: "a user function has failed".to_owned(),
                fingerprint: 0,
            };
            return self.end(attempt, ExecutionState::Failed, Some(failure));
        }
        self.pass_barriers(attempt);
        self.go_on(attempt);
        let delay_us = 1_000 + self.rng.below(60_000);
        self.schedule(delay_us, Event::Step(attempt));
    }

    /// Takes part in the newest checkpoint whose barrier has come from all that it reads.
    fn pass_barriers(&mut self, attempt: ExecutionAttemptId) {
        let Some(task) = self.tasks.get(&attempt).filter(|task| !task.source) else { return };
        let through = &self.through;
        let later = self.barriers.range(CheckpointId(task.last.0 + 1)..);
        let complete = later.rev().find(|(id, _)| {
            let mut producers = task.producers.iter();
            let given = |producer: &ExecutionAttemptId| self.passed.contains(&(*producer, **id));
            let triggered = task.triggered.contains_key(id);
            let known = triggered || task.producers.iter().any(given);
            known && producers.all(|producer| given(producer) || through.contains(producer))
        });
        if let Some(barrier) = complete.map(|(_, barrier)| *barrier) {
            self.snapshot(attempt, &barrier);
        }
    }

    /// Reads a record, or asks for a split, or comes to its end.
    fn go_on(&mut self, attempt: ExecutionAttemptId) {
        let Some(task) = self.tasks.get_mut(&attempt) else { return };
        if task.ended {
            return;
        }
        if !task.source {
            task.ended = task.input_has_ended(&self.through);
        } else if let Some((split, at)) = task.reader.front_mut() {
            task.fresh.push((*split, *at));
            *at += 1;
            if *at == RECORDS {
                task.reader.pop_front();
            }
            return;
        } else if task.drained {
            task.ended = true;
        } else if !std::mem::replace(&mut task.asked, true) {
            self.asks += 1;
            self.asked.insert(self.asks, attempt);
            let reply = ReplyTo { process: WORKER.to_owned(), correlation: self.asks };
            let message = ToJobMaster::RequestNextSplit { vertex: attempt.vertex, attempt };
            return self.say(1_000, message, Some(reply));
        }
        if self.tasks.get(&attempt).is_some_and(|task| task.ended) {
            self.through.insert(attempt);
            self.tell_master(50_000, ToJobMaster::EndOfData { attempt });
        }
    }

    fn snapshot(&mut self, attempt: ExecutionAttemptId, barrier: &Barrier) {
        let Some(task) = self.tasks.get_mut(&attempt) else { return };
        let (state, path) = task.snapshot(barrier);
        let checkpoint = barrier.checkpoint;
        // One that has ended sends nothing any more, no barrier either.
        if !task.ended {
            self.passed.insert((attempt, checkpoint));
        }
        self.store.put(&format!("{}/{path}", self.directory), vec![1]);
        let (state, metrics) = (Box::new(state), SnapshotMetrics::default());
        let message = |attempt, checkpoint, state| ToJobMaster::AcknowledgeCheckpoint {
            attempt,
            checkpoint,
            state,
            metrics,
        };
        self.tell_master(400_000, message(attempt, checkpoint, state.clone()));
        let forged = self.knobs.forged;
        if self.chance(forged) && !self.former.is_empty() {
            // A word of an attempt that is gone, about a checkpoint in which it took no part.
            let index = self.rng.below(self.former.len() as u64) as usize;
            let mut state = forged_state(&state);
            let former = self.former[index];
            let operator = self.graph.vertices.iter().find(|vertex| vertex.id == former.vertex);
            let operator = operator.expect("a vertex of the job").operators[0].id;
            let operators = std::mem::take(&mut state.operators).into_values();
            state.operators = operators.map(|state| (operator, state)).collect();
            self.tell_master(50_000, message(former, checkpoint, Box::new(state)));
        }
    }

    fn on_completed(&mut self, attempt: ExecutionAttemptId, checkpoint: CheckpointId) {
        let Some(task) = self.tasks.get_mut(&attempt) else { return };
        let due = task.completed(checkpoint);
        let stops = self.barriers.get(&checkpoint).is_some_and(|barrier| barrier.kind.stops());
        let over = task.said.is_some_and(|said| said <= checkpoint) || stops;
        self.commit(&due);
        if over {
            self.end(attempt, ExecutionState::Finished, None);
        }
    }

    /// I1: a record is committed in one transaction, however often that is committed.
    fn commit(&mut self, staged: &[Staged]) {
        for (split, at, tx) in staged {
            let former = self.sink.insert((*split, *at), *tx);
            let same = former.is_none_or(|former| former == *tx);
            assert!(same, "record {at} of split {split} is committed twice");
        }
    }

    fn end(
        &mut self,
        attempt: ExecutionAttemptId,
        state: ExecutionState,
        failure: Option<TaskFailure>,
    ) {
        if self.tasks.remove(&attempt).is_some() {
            self.former.push(attempt);
            self.report(attempt, state, failure);
        }
    }

    pub(super) fn begin_work(&mut self, seat: usize) {
        let slow = self.knobs.slow_store && self.rng.below(4) == 0;
        let most_us = if slow { 4_000_000 } else { 200_000 };
        let delay_us = 1_000 + self.rng.below(most_us);
        self.seats[seat].ticket += 1;
        self.schedule(delay_us, Event::Work(seat, self.seats[seat].ticket));
    }

    fn work(&mut self, seat: usize) {
        if self.knobs.leaders {
            return self.begin_recorded(seat);
        }
        let Some((_, what)) = self.seats[seat].works.front().cloned() else { return };
        let result = self.act(&what);
        self.end_work(seat, result);
    }

    /// The oldest work of a seat has ended.
    pub(super) fn end_work(&mut self, seat: usize, result: JobMasterDone) {
        let Some((op, _)) = self.seats[seat].works.pop_front() else { return };
        if !self.seats[seat].works.is_empty() {
            self.begin_work(seat);
        }
        self.give(seat, Input::Done { op, result });
    }

    /// The files of a work.
    pub(super) fn act(&mut self, what: &JobMasterOp) -> JobMasterDone {
        let healed = self.now_us >= HEAL_AT_MS * 1_000;
        let faults = if healed { 0 } else { self.knobs.store_faults };
        let result = self.store.perform(what, faults, &mut self.rng);
        if let JobMasterOp::WriteMetadata { directory, bytes, .. } = what
            && self.store.has(&format!("{directory}/{METADATA_FILE}"))
            && let Ok(metadata) = decode(bytes, directory)
        {
            self.written.insert(metadata.checkpoint);
        }
        result
    }

    /// I6: what is written holds a word of everybody who counts.
    fn check_work(&mut self, number: usize, what: &JobMasterOp) {
        let JobMasterOp::WriteMetadata { directory, bytes, .. } = what else { return };
        let metadata = decode(bytes, directory).expect("what is written can be read");
        for (vertex, subtask, state) in subtasks(&metadata) {
            let id = metadata.checkpoint;
            let writer = writer_of(state);
            assert!(
                writer.is_some() || state.finished,
                "checkpoint {id} has no word of {vertex} {subtask}"
            );
        }
        self.check_writers(number, &metadata);
        self.metadata.insert(metadata.checkpoint, metadata);
    }

    /// Whoever has acknowledged it and has not finished is the attempt that counts.
    fn check_writers(&self, number: usize, metadata: &CheckpointMetadata) {
        let Some(master) = &self.seats[number].master else { return };
        let graph = master.scheduler().graph();
        for (id, execution) in graph.executions() {
            let attempt = graph.attempt_id(id);
            let Some(vertex) = metadata.vertices.get(&attempt.vertex) else { continue };
            let state = &vertex.subtasks[attempt.subtask as usize];
            if !state.finished {
                let writer = writer_of(state);
                assert_eq!(writer, Some(u64::from(attempt.attempt)), "{attempt}: its writer");
                let alive = execution.is_running() || execution.state() == ExecutionState::Finished;
                assert!(alive, "{attempt} counts, and is {:?}", execution.state());
            }
        }
    }

    /// I6: tasks are told only of what is durable and still true.
    fn check_complete(&mut self, number: usize, checkpoint: CheckpointId) {
        assert!(self.written.contains(&checkpoint), "checkpoint {checkpoint} is not written");
        self.check_recorded(checkpoint);
        self.announced = self.announced.max(Some(checkpoint));
        let complete = &mut self.seats[number].complete;
        if complete.is_none_or(|complete| complete < checkpoint) {
            *complete = Some(checkpoint);
            self.check_writers(number, &self.metadata[&checkpoint]);
        }
    }

    /// A task begins from the newest complete checkpoint, and all that it needs is there.
    fn check_restore(&self, number: usize, descriptor: &TaskDeploymentDescriptor) {
        let attempt = descriptor.attempt;
        let from = descriptor.restore.as_ref().map(|restore| restore.checkpoint);
        let complete = self.seats[number].complete;
        assert_eq!(from, complete, "{attempt} begins from another checkpoint");
        let operators = descriptor.restore.iter().flat_map(|restore| restore.operators.values());
        for part in operators.flat_map(|operator| &operator.tables).flat_map(|table| &table.chain) {
            if let millstream_checkpoint::handle::StateFile::File(file) = &part.file {
                self.check_file(file);
            }
        }
    }

    /// I7: what a retained checkpoint refers to is there, and its metadata as well.
    fn check_references(&self) {
        let Some(leading) = self.leading().filter(|_| self.ended.is_none()) else { return };
        let master = self.seats[leading].master.as_ref();
        let Some(coordinator) = master.and_then(JobMaster::coordinator) else { return };
        for retained in coordinator.retained() {
            let path = format!("{}/{METADATA_FILE}", retained.directory);
            assert!(self.store.has(&path), "{path} of a retained checkpoint is gone");
            retained.metadata.files().for_each(|file| self.check_file(file));
        }
    }

    pub(super) fn check_file(&self, file: &FileName) {
        let root = file.root.as_ref().unwrap_or(&self.directory);
        let path = format!("{root}/{}", file.path);
        assert!(self.store.has(&path), "{path} is referred to and does not exist");
    }

    /// I1, I12: the job has done all its work, every record is committed, and nothing is left.
    fn check_at_end(&mut self) {
        let details = self.ended.as_ref().expect("the job has ended");
        let failure = &details.root_failure;
        assert_eq!(details.summary.status, JobStatus::Finished, "{failure:?}");
        let splits = 0..self.knobs.splits;
        let all = splits.flat_map(|split| (0..RECORDS).map(move |at| (split, at)));
        let all: BTreeSet<(u8, u8)> = all.collect();
        let committed: BTreeSet<(u8, u8)> = self.sink.keys().copied().collect();
        assert_eq!(committed, all, "records that were committed");
        if self.knobs.store_faults > 0 || self.knobs.leaders {
            return; // What could not be deleted may be left.
        }
        let below = format!("{}/", self.directory);
        let metadata = |path: &&str| path.starts_with(&below) && path.ends_with(METADATA_FILE);
        let left: Vec<&str> = self.store.paths().filter(metadata).collect();
        assert!(left.is_empty(), "checkpoints are left: {left:?}");
    }
}

fn forged_state(state: &TaskState) -> TaskState {
    TaskState { finished: false, splits: 0, ..state.clone() }
}

fn subtasks(
    metadata: &CheckpointMetadata,
) -> impl Iterator<Item = (JobVertexId, usize, &TaskState)> {
    metadata.vertices.iter().flat_map(|(id, vertex)| {
        vertex.subtasks.iter().enumerate().map(move |(subtask, state)| (*id, subtask, state))
    })
}

fn address() -> Address {
    Address { process: "tm1:6122".to_owned(), endpoint: EndpointName::TaskExecutor }
}
