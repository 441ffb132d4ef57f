//! The played world around one job master: a worker, its tasks, the way of messages, a store.

use super::knobs::{Knobs, draw_graph};
use super::leaders::{HaEvent, Leaders};
use super::seat::Seat;
use super::store::Store;
use super::task::Task;
use crate::trace::Trace;
use millstream_checkpoint::coordinator::SnapshotProgress;
use millstream_checkpoint::metadata::{CheckpointMetadata, METADATA_FILE, decode};
use millstream_core::checkpoint::{Barrier, CheckpointId};
use millstream_core::ids::{
    AllocationId, ExecutionAttemptId, FencingToken, JobId, ResourceId, TriggerId,
};
use millstream_core::job_graph::{JobGraph, SourceSplit};
use millstream_core::status::JobStatus;
use millstream_core::time::{Mono, Timestamp};
use millstream_jobmanager::job_master::{JobMaster, JobMasterDone, JobMasterOp, JobMasterTimer};
use millstream_rpc::machine::{AskId, Cx, Effect, Input, Machine, ReplyTo, Rng};
use millstream_rpc::protocol::deployment::TaskDeploymentDescriptor;
use millstream_rpc::protocol::details::ExecutionGraphDetails;
use millstream_rpc::protocol::dispatcher::ToDispatcher;
use millstream_rpc::protocol::job_master::{Drain, JobMasterAnswer, ToJobMaster};
use millstream_rpc::protocol::resource::{ResourceProfile, SlotOffer};
use millstream_rpc::protocol::resource_manager::{ResourceManagerAnswer, ToResourceManager};
use millstream_rpc::protocol::task_executor::ToTaskExecutor;
use millstream_rpc::protocol::{Address, Answer, EndpointName, Message, Refusal};
use std::collections::{BTreeMap, BTreeSet};

/// Faults end then, in milliseconds, and the job must come to its end.
pub(super) const HEAL_AT_MS: u64 = 60_000;

/// The job must have ended by then.
const END_AT_MS: u64 = 240_000;

const TOKEN: FencingToken = FencingToken(7);
pub(super) const WORKER: &str = "tm1";
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
    pub(super) queue: BTreeMap<(u64, u64), Event>,
    pub(super) scheduled: u64,
    pub(super) seats: Vec<Seat>,
    /// The seat whose words count for the worker.
    pub(super) followed: usize,
    pub(super) leaders: Leaders,
    pub(super) job: JobId,
    pub(super) graph: JobGraph,
    /// The directory of the job's checkpoints.
    pub(super) directory: String,
    pub(super) tasks: BTreeMap<ExecutionAttemptId, Task>,
    /// Attempts that ran and whose words may still come.
    pub(super) former: Vec<ExecutionAttemptId>,
    /// What tasks said in order must arrive in order.
    pub(super) last_word_us: BTreeMap<ExecutionAttemptId, u64>,
    /// Barriers that were passed on, by whom; and attempts that have ended.
    pub(super) passed: BTreeSet<(ExecutionAttemptId, CheckpointId)>,
    pub(super) barriers: BTreeMap<CheckpointId, Barrier>,
    pub(super) through: BTreeSet<ExecutionAttemptId>,
    /// Who waits for the answer to an ask.
    pub(super) asked: BTreeMap<u64, ExecutionAttemptId>,
    pub(super) asks: u64,
    pub(super) store: Store,
    /// Metadata that is durable, or was.
    pub(super) written: BTreeSet<CheckpointId>,
    pub(super) metadata: BTreeMap<CheckpointId, CheckpointMetadata>,
    /// The newest complete checkpoint of which tasks were told, by whomever.
    pub(super) announced: Option<CheckpointId>,
    /// Which record was committed in which transaction.
    pub(super) sink: BTreeMap<(u8, u8), u64>,
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
    pub(super) fn say(&mut self, delay_us: u64, message: ToJobMaster, reply: Option<ReplyTo>) {
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

    pub(super) fn tell_task(&mut self, number: usize, attempt: ExecutionAttemptId, mail: Mail) {
        if number != self.followed {
            return; // The worker has another leader, and its messages another token.
        }
        for _ in 0..self.copies() {
            let delay_us = 100 + self.rng.below(50_000);
            self.schedule(delay_us, Event::Mail(attempt, mail.clone()));
        }
    }

    /// How often something that is told arrives.
    pub(super) fn copies(&mut self) -> u64 {
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
        if matches!(what, JobMasterOp::WriteMetadata { .. }) {
            self.check_orphans();
        }
        if let JobMasterDone::Listed { paths } = &result
            && healed
        {
            self.note_orphans(paths);
        }
        result
    }
}

fn address() -> Address {
    Address { process: "tm1:6122".to_owned(), endpoint: EndpointName::TaskExecutor }
}
