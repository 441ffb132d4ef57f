//! The event queue, clients, faults.

use super::judge::Judge;
use super::plan::{Emphasis, Fault, Plan};
use super::process::Process;
use super::shell::graph;
use super::store::{Store, ill};
use crate::trace::Trace;
use millstream_checkpoint::pointer::{Put, Version};
use millstream_core::checkpoint::CheckpointId;
use millstream_core::ids::JobId;
use millstream_core::status::JobStatus;
use millstream_core::time::Mono;
use millstream_jobmanager::dispatcher::{DispatcherDone, DispatcherOp, DispatcherTimer};
use millstream_jobmanager::ha::{Change, ChangeEnd, HaDone, HaTimer};
use millstream_rpc::machine::{AskId, Input, OpId, ReplyTo, Rng};
use millstream_rpc::protocol::dispatcher::{DispatcherAnswer, ToDispatcher};
use millstream_rpc::protocol::{Answer, AskError, Message, Refusal};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// Something that happens.
#[derive(Debug)]
pub(super) enum Event {
    /// To a process, if it still lives this life.
    Process { p: usize, life: u64, what: What },
    /// A write takes effect; its writer is told then, if anybody tells it.
    Write {
        bytes: Vec<u8>,
        expected: Option<Version>,
        writer: String,
        teller: Option<(usize, u64, OpId)>,
        told_us: u64,
    },
    /// A read sees what there is, or fails.
    Read { p: usize, life: u64, op: OpId, fails: bool, told_us: u64 },
    /// To a client.
    Client(usize, Client),
    /// Of the plan.
    Fault(usize),
    /// A process is started again.
    Restart(usize),
    /// From now on nothing goes wrong.
    Heal,
}

/// What happens to a process.
#[derive(Debug)]
pub(super) enum What {
    Start,
    ElectionTimer(Mono),
    DispatcherTimer(u64, DispatcherTimer, Mono),
    Election(OpId, HaDone),
    Prepared(u64),
    Work(u64, OpId, DispatcherOp),
    Dispatcher(u64, OpId, DispatcherDone),
    ChangeEnded(u64, Option<OpId>, Box<Change>, ChangeEnd),
    Answered(u64, AskId, Result<Answer, AskError>),
    JobEnds(u64, JobId, JobStatus),
    Checkpoint(u64, JobId),
    CheckpointComplete(u64, JobId, CheckpointId),
}

/// What happens to a client.
#[derive(Debug)]
pub(super) enum Client {
    /// It looks after its job.
    Look,
    /// It is answered.
    Told(Asked, Answer),
}

/// What a client wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Submit,
    Cancel,
    Await,
}

/// What a client knows of its job.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    submitted: bool,
    acknowledged: bool,
    cancelled: bool,
    ended: Option<JobStatus>,
}

struct Scheduled {
    at_us: u64,
    number: u64,
    event: Event,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}
impl Eq for Scheduled {}
impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at_us, self.number).cmp(&(other.at_us, other.number))
    }
}

/// A run.
pub struct World<'a> {
    pub(super) now_us: u64,
    queue: BinaryHeap<Reverse<Scheduled>>,
    scheduled: u64,
    pub(super) rng: Rng,
    pub(super) plan: Plan,
    pub(super) healed: bool,
    store: Store,
    pub(super) judge: Judge,
    pub(super) processes: Vec<Process>,
    clients: Vec<Known>,
    asked: u64,
    /// Questions of clients that have not been answered.
    pub(super) asks: BTreeMap<u64, (usize, Asked)>,
    trace: &'a mut Trace,
}

impl<'a> World<'a> {
    /// The run of a seed.
    pub fn new(seed: u64, most: Emphasis, trace: &'a mut Trace) -> Self {
        let mut rng = Rng::new(seed.wrapping_mul(0x9E6C_63D0_876A_3F6B) ^ 0x0000_EA17);
        let plan = Plan::draw(&mut rng, most);
        let make =
            |p: usize| Process::new(p, 0, plan.rates[p], plan.lease_ms, rng.clone().next_u64());
        let processes = (0..plan.contenders).map(make).collect();
        let mut world = Self {
            now_us: 0,
            queue: BinaryHeap::new(),
            scheduled: 0,
            rng,
            healed: false,
            store: Store::default(),
            judge: Judge::default(),
            processes,
            clients: vec![Known::default(); plan.jobs.len()],
            asked: 0,
            asks: BTreeMap::new(),
            trace,
            plan,
        };
        let plan = world.plan.clone();
        world.trace.remark(0, || format!("{plan:?}"));
        for p in 0..plan.contenders {
            let at_us = world.rng.below(plan.lease_ms * 1000);
            world.schedule(at_us, Event::Restart(p));
        }
        for (index, (at_ms, ..)) in plan.faults.iter().enumerate() {
            world.schedule(at_ms * 1000, Event::Fault(index));
        }
        for (client, (at_ms, ..)) in plan.jobs.iter().enumerate() {
            world.schedule(at_ms * 1000, Event::Client(client, Client::Look));
        }
        world.schedule(plan.heal_at_ms * 1000, Event::Heal);
        world
    }

    /// Plays it to its end, and looks at what is left.
    pub fn play(mut self) {
        while let Some(Reverse(next)) = self.queue.pop() {
            if next.at_us > self.plan.end_at_ms * 1000 {
                break;
            }
            self.now_us = next.at_us;
            self.happen(next.event);
        }
        self.check_end();
    }

    /// Whether all clocks run alike.
    pub(super) fn fair(&self) -> bool {
        self.plan.rates.windows(2).all(|pair| pair[0] == pair[1])
    }

    pub(super) fn schedule(&mut self, at_us: u64, event: Event) {
        self.scheduled += 1;
        let number = self.scheduled;
        self.queue.push(Reverse(Scheduled { at_us: at_us.max(self.now_us), number, event }));
    }

    /// Something happens to this life of a process after so many microseconds.
    pub(super) fn after(&mut self, delay_us: u64, p: usize, what: What) {
        self.at(self.now_us + delay_us, p, what);
    }

    /// Something happens to this life of a process at that microsecond.
    pub(super) fn at(&mut self, at_us: u64, p: usize, what: What) {
        let life = self.processes[p].life;
        self.schedule(at_us, Event::Process { p, life, what });
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Process { p, life, what } => {
                let process = &self.processes[p];
                if !process.alive || process.life != life {
                    return;
                }
                if process.paused_until_us > self.now_us {
                    let until = process.paused_until_us;
                    return self.schedule(until, Event::Process { p, life, what });
                }
                self.trace.event(self.now_us, p, || shorten(process, &what));
                self.on_process(p, what);
            }
            Event::Write { bytes, expected, writer, teller, told_us } => {
                let put = self.store.put_if(&bytes, expected.as_ref());
                self.trace.event(self.now_us, 98, || format!("write of {writer}: {put:?}"));
                if matches!(put, Put::Written(_)) {
                    self.judge.on_effect(&bytes, &writer);
                }
                if let Some((p, life, op)) = teller {
                    let what = What::Election(op, HaDone::Put(put));
                    self.schedule(told_us, Event::Process { p, life, what });
                }
            }
            Event::Read { p, life, op, fails, told_us } => {
                let read = if fails { Err(ill(false)) } else { Ok(self.store.read()) };
                let what = What::Election(op, HaDone::Read(read));
                self.schedule(told_us, Event::Process { p, life, what });
            }
            Event::Client(client, what) => self.on_client(client, what),
            Event::Fault(index) => self.on_fault(index),
            Event::Restart(p) => self.restart(p),
            Event::Heal => {
                self.trace.event(self.now_us, 99, || "all is well".to_owned());
                self.healed = true;
            }
        }
    }

    fn on_process(&mut self, p: usize, what: What) {
        match what {
            What::Start => self.election(p, Input::Start),
            What::ElectionTimer(at) => {
                if self.processes[p].timer == Some(at) {
                    self.processes[p].timer = None;
                    self.election(p, Input::Timer(HaTimer));
                }
            }
            What::DispatcherTimer(epoch, timer, at) => {
                let term = self.processes[p].term_of(epoch);
                if term.is_some_and(|t| t.timers.get(&timer) == Some(&at)) {
                    self.dispatcher(p, Input::Timer(timer));
                }
            }
            What::Election(op, result) => self.election(p, Input::Done { op, result }),
            What::Prepared(epoch) => self.prepared(p, epoch),
            What::Work(epoch, op, what) => self.work(p, epoch, op, what),
            What::Dispatcher(epoch, op, result) => {
                if self.processes[p].term_of(epoch).is_some() {
                    self.dispatcher(p, Input::Done { op, result });
                }
            }
            What::ChangeEnded(epoch, op, change, end) => {
                self.change_ended(p, epoch, op, &change, end);
            }
            What::Answered(epoch, ask, result) => {
                if self.processes[p].term_of(epoch).is_some() {
                    self.dispatcher(p, Input::Answered { ask, result });
                }
            }
            What::JobEnds(epoch, job, status) => {
                let term = self.processes[p].term_of(epoch);
                if term.is_some_and(|term| term.masters.contains_key(&job)) {
                    self.tell_end(p, epoch, job, status);
                }
            }
            What::Checkpoint(epoch, job) => self.checkpoint(p, epoch, job),
            What::CheckpointComplete(epoch, job, id) => self.complete_checkpoint(p, epoch, job, id),
        }
    }

    fn on_fault(&mut self, index: usize) {
        let (_, p, fault) = self.plan.faults[index];
        if !self.processes[p].alive {
            return;
        }
        self.trace.event(self.now_us, p, || format!("{fault:?}"));
        match fault {
            Fault::Crash(later_ms) => {
                self.processes[p].alive = false;
                self.schedule(self.now_us + later_ms * 1000, Event::Restart(p));
            }
            Fault::Pause(for_ms) => {
                self.processes[p].paused_until_us = self.now_us + for_ms * 1000;
            }
            // It is started again when it has ended.
            Fault::Stop(_) => self.election(p, Input::Stop),
        }
    }

    /// A process has ended as it was asked to.
    pub(super) fn exit(&mut self, p: usize) {
        self.processes[p].alive = false;
        let later_us = self.rng.below(2 * self.plan.lease_ms * 1000);
        self.schedule(self.now_us + later_us, Event::Restart(p));
    }

    fn restart(&mut self, p: usize) {
        let life = self.processes[p].life + 1;
        let seed = self.rng.next_u64();
        self.processes[p] = Process::new(p, life, self.plan.rates[p], self.plan.lease_ms, seed);
        self.processes[p].alive = true;
        self.after(0, p, What::Start);
    }

    fn on_client(&mut self, client: usize, what: Client) {
        let job = JobId(client as u128 + 1);
        match what {
            Client::Look => {
                self.look(client, job);
                let pause = self.plan.lease_ms * 500;
                self.schedule(self.now_us + pause, Event::Client(client, Client::Look));
            }
            Client::Told(asked, answer) => self.on_told(client, job, asked, answer),
        }
    }

    fn look(&mut self, client: usize, job: JobId) {
        let known = self.clients[client];
        if known.ended.is_some() {
            return;
        }
        // Whoever asked somebody who is gone asks again.
        self.asks.retain(|_, (whose, _)| *whose != client);
        if !known.submitted {
            let graph = Box::new(graph());
            return self.ask(client, Asked::Submit, ToDispatcher::SubmitJob { job, graph });
        }
        if self.plan.jobs[client].2 && !known.cancelled && self.rng.below(4) == 0 {
            self.ask(client, Asked::Cancel, ToDispatcher::CancelJob { job });
        }
        self.ask(client, Asked::Await, ToDispatcher::AwaitJobEnd { job });
    }

    /// Asks whoever leads, as far as the record says.
    fn ask(&mut self, client: usize, what: Asked, message: ToDispatcher) {
        let leader = self.judge.record.as_ref().and_then(|record| record.leader.as_ref());
        let Some(leader) = leader.filter(|leader| leader.published.is_some()) else { return };
        let token = self.judge.record.as_ref().map(|record| record.token());
        let is_it = |it: &Process| it.alive && it.name() == leader.process.0;
        let Some(p) = self.processes.iter().position(is_it) else { return };
        if self.processes[p].paused_until_us > self.now_us {
            return;
        }
        self.asked += 1;
        let reply = Some(ReplyTo { process: format!("client{client}"), correlation: self.asked });
        self.asks.insert(self.asked, (client, what));
        let message = Message::Dispatcher(message);
        self.dispatcher(p, Input::Message { token, message, reply });
    }

    fn on_told(&mut self, client: usize, job: JobId, asked: Asked, answer: Answer) {
        self.trace.event(self.now_us, 97, || format!("client {client}: {asked:?}: {answer:?}"));
        let known = &mut self.clients[client];
        match (asked, answer) {
            (Asked::Submit, Answer::Ack) => {
                (known.submitted, known.acknowledged) = (true, true);
                self.judge.on_submitted(job, true);
            }
            // An earlier submission has come through, or is being given up.
            (Asked::Submit, Answer::Refused(Refusal::Invalid(_))) => known.submitted = true,
            (Asked::Submit, Answer::Refused(_)) => self.judge.on_submitted(job, false),
            (Asked::Cancel, Answer::Ack) => known.cancelled = true,
            (Asked::Await, Answer::Dispatcher(DispatcherAnswer::Details(details))) => {
                let status = details.summary.status;
                if status.is_globally_terminal() {
                    known.ended = Some(status);
                    self.judge.on_told_end(job, status);
                }
            }
            (Asked::Await, Answer::Refused(Refusal::Unknown(_))) => {
                assert!(!known.acknowledged, "job {job} was accepted and is not known");
                known.submitted = false;
            }
            _ => (),
        }
    }

    /// After so long without faults everything is in order.
    fn check_end(&self) {
        let record = self.judge.record.as_ref().expect("somebody leads");
        let leading: Vec<u64> = self.processes.iter().filter_map(|p| p.election.leads()).collect();
        assert_eq!(leading, [record.epoch], "I14: who leads?");
        let leader = record.leader.as_ref().expect("it leads");
        assert!(leader.published.is_some(), "I14: the leader does not serve");
        assert!(record.jobs.is_empty(), "I14: jobs do not end: {:?}", record.jobs);
        for (client, known) in self.clients.iter().enumerate() {
            let job = JobId(client as u128 + 1);
            let ended = self.judge.end_of(job);
            assert!(known.submitted && ended.is_some(), "I14: job {job} has not ended");
            assert_eq!(known.ended, ended, "I14: the client of job {job} does not know");
        }
        for process in &self.processes {
            let open = process.waiting.len();
            assert!(!process.alive || open == 0, "I13: {open} changes have no end");
        }
    }
}

/// What happens, without the bytes of records.
fn shorten(process: &Process, what: &What) -> String {
    let name = process.name();
    match what {
        What::Election(op, HaDone::Read(Ok(Some((version, _))))) => {
            format!("{name}: {op:?} read version {version}")
        }
        What::Work(epoch, op, DispatcherOp::PersistGraph { job, .. }) => {
            format!("{name}: Work({epoch}, {op:?}, PersistGraph {job})")
        }
        What::Work(epoch, op, DispatcherOp::StartJobMaster { job, .. }) => {
            format!("{name}: Work({epoch}, {op:?}, StartJobMaster {job})")
        }
        what => format!("{name}: {what:?}"),
    }
}
