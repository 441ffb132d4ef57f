//! The event queue: one virtual clock for all, processes that handle one thing at a time, and the
//! faults of the plan.

use crate::host::{Env, HostId, Out};
use crate::net::{Correlation, Frame, Net, NetEvent, Presence, ProcId, Schedule};
use crate::nodes::{Later, Node, NodeInput};
use crate::plan::{Fault, Plan, Weather};
use crate::trace::Trace;
use millstream_core::ids::{ExecutionAttemptId, FencingToken, JobId};
use millstream_core::job_graph::SourceSplit;
use millstream_core::status::JobStatus;
use millstream_rpc::machine::{AskId, ReplyTo, Rng};
use millstream_rpc::protocol::{Address, Answer, AskError};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

/// Makes the node of a process; called for each of its lives, with the life's number.
pub type Factory = Box<dyn Fn(u64) -> Node>;

/// What the run's judges know, because they see everything.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Attempts that were started in a job process, ever.
    pub started: BTreeSet<ExecutionAttemptId>,
    /// Attempts that have finished, and what they read.
    pub finished: BTreeMap<ExecutionAttemptId, Finished>,
    /// What finished attempts have left on disks for later: the worker's process, its life, the job, the
    /// attempt.
    pub stored: BTreeSet<(ProcId, u64, JobId, ExecutionAttemptId)>,
    /// Attempts whose results their job master has given up.
    pub released: BTreeSet<ExecutionAttemptId>,
    /// Job processes that are alive: process, its life, job, incarnation.
    pub children: BTreeSet<(ProcId, u64, JobId, u64)>,
    /// How each job ended, as its client was told, in order.
    pub job_ends: BTreeMap<JobId, Vec<JobStatus>>,
    /// Processes that ended themselves, and why.
    pub exits: Vec<(ProcId, String)>,
    /// Who leads, as was last announced: the process's name and its term.
    pub leader: Option<(String, FencingToken)>,
    /// Everything is healed.
    pub healed: bool,
}

/// An attempt that has finished.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The splits that it read.
    pub splits: Vec<SourceSplit>,
    /// The attempts whose output it read.
    pub inputs: Vec<ExecutionAttemptId>,
    /// The worker that holds what it produced: its process and its life.
    pub worker: (ProcId, u64),
}

/// A process.
struct Process {
    name: String,
    factory: Factory,
    /// Nothing while it is dead.
    node: Option<Node>,
    /// Handles nothing before this microsecond.
    paused_until_us: u64,
    /// Which lives of its peers it knows.
    known: BTreeMap<ProcId, u64>,
    /// In-process messages keep their order.
    local_last_us: u64,
    /// How long after its end it is started again.
    restart_after_ms: u64,
}

/// An ask, once made.
struct Ask {
    process: ProcId,
    instance: u64,
    host: HostId,
    ask: AskId,
    to: Address,
    peer: Option<ProcId>,
    timeout_ms: u64,
    epoch: Option<u64>,
    open: bool,
}

#[derive(Debug)]
enum Event {
    Net(NetEvent),
    Local {
        process: ProcId,
        instance: u64,
        frame: Frame,
    },
    Timer {
        process: ProcId,
        instance: u64,
        host: HostId,
        key: u64,
    },
    AskTimeout(Correlation),
    Later {
        process: ProcId,
        instance: u64,
        event: Later,
    },
    Fault(usize),
    Unblock {
        from: ProcId,
        to: ProcId,
        reset: bool,
    },
    Restart {
        process: ProcId,
    },
    /// A master that leads no more learns it.
    Revoke {
        process: ProcId,
    },
    Heal,
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

/// A cluster in a run.
pub struct World {
    now_us: u64,
    queue: BinaryHeap<Reverse<Scheduled>>,
    scheduled: u64,
    processes: Vec<Process>,
    presence: Vec<Presence>,
    net: Net,
    asks: Vec<Ask>,
    rng: Rng,
    /// Processes of which only one runs at a time, as far as they know: the first one leads.
    masters: Vec<ProcId>,
    plan: Plan,
    weather: Weather,
    /// What the judges know.
    pub ledger: Ledger,
    /// What happened.
    pub trace: Trace,
}

impl World {
    /// A cluster without processes.
    pub fn new(plan: Plan, trace: Trace) -> Self {
        let mut world = Self {
            now_us: 0,
            queue: BinaryHeap::new(),
            scheduled: 0,
            processes: Vec::new(),
            presence: Vec::new(),
            net: Net::new(plan.seed, plan.weather.clone()),
            asks: Vec::new(),
            masters: Vec::new(),
            rng: Rng::new(plan.seed ^ 0x000D_15EA_5E00),
            weather: plan.weather.clone(),
            ledger: Ledger::default(),
            trace,
            plan,
        };
        for (index, (at_ms, _)) in world.plan.faults.clone().iter().enumerate() {
            world.schedule(at_ms * 1000, Event::Fault(index));
        }
        world.schedule(world.plan.heal_at_ms * 1000, Event::Heal);
        world
    }

    /// Adds a process; it is started at that millisecond.
    pub fn add(&mut self, name: &str, start_at_ms: u64, factory: Factory) -> ProcId {
        let process = self.processes.len();
        self.processes.push(Process {
            name: name.to_owned(),
            factory,
            node: None,
            paused_until_us: 0,
            known: BTreeMap::new(),
            local_last_us: 0,
            restart_after_ms: 1_000,
        });
        self.presence.push(Presence { up: false, machine_up: true, instance: 0 });
        self.schedule(start_at_ms * 1000, Event::Restart { process });
        process
    }

    /// Of these processes the first one leads; the others wait for their turn.
    pub fn elect_among(&mut self, masters: Vec<ProcId>) {
        self.masters = masters;
    }

    /// The process that leads.
    pub fn leading(&self) -> ProcId {
        self.masters.first().copied().unwrap_or_default()
    }

    /// How often the process was started.
    pub fn life(&self, process: ProcId) -> u64 {
        self.presence[process].instance
    }

    /// The plan of the run.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The time, in milliseconds.
    pub fn now_ms(&self) -> u64 {
        self.now_us / 1000
    }

    /// The node of a process, if it lives.
    pub fn node(&self, process: ProcId) -> Option<&Node> {
        self.processes[process].node.as_ref()
    }

    /// All processes that live.
    pub fn nodes(&self) -> impl Iterator<Item = (ProcId, &Node)> {
        let all = self.processes.iter().enumerate();
        all.filter_map(|(id, process)| Some((id, process.node.as_ref()?)))
    }

    /// Asks of living processes that have no answer yet.
    pub fn open_asks(&self) -> usize {
        let open = self.asks.iter().filter(|ask| {
            let presence = self.presence[ask.process];
            ask.open && presence.up && presence.instance == ask.instance
        });
        open.count()
    }

    /// Handles the next event, if it is due before the end; false: the run is over.
    pub fn advance(&mut self) -> bool {
        let end_us = self.plan.end_at_ms * 1000;
        match self.queue.pop() {
            Some(Reverse(next)) if next.at_us <= end_us => {
                self.now_us = self.now_us.max(next.at_us);
                self.happen(next.event);
                true
            }
            _ => {
                self.now_us = end_us;
                false
            }
        }
    }

    fn schedule(&mut self, at_us: u64, event: Event) {
        self.scheduled += 1;
        self.queue.push(Reverse(Scheduled { at_us, number: self.scheduled, event }));
    }

    fn take(&mut self, schedule: Schedule) {
        for (at_us, event) in schedule {
            self.schedule(at_us, Event::Net(event));
        }
    }

    fn happen(&mut self, event: Event) {
        let (process, instance) = match &event {
            Event::Local { process, instance, .. }
            | Event::Timer { process, instance, .. }
            | Event::Later { process, instance, .. } => (*process, Some(*instance)),
            Event::Net(NetEvent::Arrive { to, .. }) => (*to, None),
            Event::Net(
                NetEvent::Connected { at, .. }
                | NetEvent::Refused { at, .. }
                | NetEvent::DialTimeout { at, .. }
                | NetEvent::Broken { at, .. },
            ) => (*at, None),
            Event::AskTimeout(correlation) => {
                let ask = &self.asks[*correlation as usize];
                (ask.process, Some(ask.instance))
            }
            _ => return self.happen_to_cluster(event),
        };
        let presence = self.presence[process];
        if !presence.up || instance.is_some_and(|instance| instance != presence.instance) {
            return; // It is for the dead.
        }
        let paused_until_us = self.processes[process].paused_until_us;
        if paused_until_us > self.now_us {
            return self.schedule(paused_until_us, event);
        }
        self.happen_to_process(process, event);
    }

    fn happen_to_process(&mut self, process: ProcId, event: Event) {
        match event {
            Event::Net(NetEvent::Arrive { from, epoch, frame, .. }) => {
                let stands =
                    epoch.is_none_or(|epoch| self.net.stands(from, process, epoch, &self.presence));
                if stands {
                    let sender = self.processes[from].name.clone();
                    self.on_frame(process, sender, frame);
                }
            }
            Event::Net(NetEvent::Connected { peer, instance, epoch, .. }) => {
                self.on_connected(process, peer, instance, epoch);
            }
            Event::Net(NetEvent::Refused { peer, ask, .. }) => {
                if let Some(correlation) = ask {
                    self.fail_ask(correlation, "connection refused");
                }
                self.tell_peer_lost(process, peer, "connection refused");
            }
            Event::Net(NetEvent::DialTimeout { peer, dial, .. }) => {
                if let Some(asks) = self.net.give_up_dial(process, peer, dial) {
                    for correlation in asks {
                        self.fail_ask(correlation, "no connection in time");
                    }
                    self.tell_peer_lost(process, peer, "no connection in time");
                }
            }
            Event::Net(NetEvent::Broken { peer, epoch, .. }) => {
                self.on_broken(process, peer, epoch);
            }
            Event::Local { frame, .. } => self.on_frame(process, String::new(), frame),
            Event::Timer { host, key, .. } => {
                self.input(process, NodeInput::Timer { host, key });
            }
            Event::AskTimeout(correlation) => self.on_ask_timeout(correlation),
            Event::Later { event, .. } => self.input(process, NodeInput::Later(event)),
            Event::Fault(_)
            | Event::Unblock { .. }
            | Event::Restart { .. }
            | Event::Revoke { .. }
            | Event::Heal => (),
        }
    }

    /// Another process than before: whoever was known there is lost, and the connection with it.
    fn on_connected(&mut self, process: ProcId, peer: ProcId, instance: u64, epoch: u64) {
        let known = self.processes[process].known.insert(peer, instance);
        if known.is_some_and(|known| known != instance) {
            let mut schedule = Schedule::new();
            self.net.break_link(self.now_us, process, peer, &self.presence, &mut schedule);
            self.fail_asks_over(process, peer, epoch, "another process answers there");
            self.tell_peer_lost(process, peer, "another process answers there");
        }
    }

    fn on_broken(&mut self, process: ProcId, peer: ProcId, epoch: u64) {
        self.fail_asks_over(process, peer, epoch, "connection reset");
        let mut schedule = Schedule::new();
        let presence = &self.presence;
        self.net.redial(self.now_us, process, peer, presence, &mut schedule);
        self.take(schedule);
    }

    fn fail_asks_over(&mut self, process: ProcId, peer: ProcId, epoch: u64, reason: &str) {
        let over = |ask: &Ask| {
            ask.open && ask.process == process && ask.peer == Some(peer) && ask.epoch == Some(epoch)
        };
        let failed = self.asks.iter().enumerate().filter(|(_, ask)| over(ask));
        let failed: Vec<_> = failed.map(|(correlation, _)| correlation as u64).collect();
        for correlation in failed {
            self.fail_ask(correlation, reason);
        }
    }

    fn tell_peer_lost(&mut self, process: ProcId, peer: ProcId, reason: &str) {
        self.processes[process].known.remove(&peer);
        let input = NodeInput::PeerLost {
            process: self.processes[peer].name.clone(),
            reason: reason.to_owned(),
        };
        self.input(process, input);
    }

    fn on_frame(&mut self, process: ProcId, sender: String, frame: Frame) {
        match frame {
            Frame::Message { to, token, message, ask } => {
                self.trace.value(&message);
                let reply = ask.map(|correlation| ReplyTo { process: sender, correlation });
                let message = *message;
                self.input(process, NodeInput::Message { to, token, message, reply });
            }
            Frame::Answer(correlation, answer) => {
                self.trace.value(&answer);
                self.on_answer(correlation, Ok(*answer));
            }
            Frame::NoEndpoint(correlation) => self.fail_ask(correlation, "no such endpoint"),
        }
    }

    fn on_answer(&mut self, correlation: Correlation, result: Result<Answer, AskError>) {
        let ask = &mut self.asks[correlation as usize];
        let was_open = std::mem::replace(&mut ask.open, false);
        // A shell gives one answer per ask; in bad weather ours gives late and second ones too.
        let alive = self.presence[ask.process].instance == ask.instance;
        if alive && (was_open || self.weather.late_answers > 0) {
            let (process, host, ask) = (ask.process, ask.host, ask.ask);
            self.input(process, NodeInput::Answered { host, ask, result });
        }
    }

    fn on_ask_timeout(&mut self, correlation: Correlation) {
        let ask = &self.asks[correlation as usize];
        if ask.open {
            let error = AskError::Timeout { to: ask.to.to_string(), timeout_ms: ask.timeout_ms };
            self.on_answer(correlation, Err(error));
        }
    }

    fn fail_ask(&mut self, correlation: Correlation, reason: &str) {
        let ask = &self.asks[correlation as usize];
        if ask.open {
            let error = AskError::Unreachable { to: ask.to.to_string(), reason: reason.to_owned() };
            self.on_answer(correlation, Err(error));
        }
    }

    /// Lets a process handle something, and does what it wants then.
    fn input(&mut self, id: ProcId, input: NodeInput) {
        let process = &mut self.processes[id];
        let Some(node) = process.node.as_mut() else {
            return;
        };
        let mut out = Vec::new();
        let mut env = Env {
            now_us: self.now_us,
            process: id,
            instance: self.presence[id].instance,
            name: &process.name,
            rng: &mut self.rng,
            weather: &self.weather,
            ledger: &mut self.ledger,
            trace: &mut self.trace,
            out: &mut out,
        };
        let finished = env.ledger.finished.len();
        node.handle(&mut env, input);
        if self.ledger.finished.len() > finished {
            self.wake_all();
        }
        for wish in out {
            self.grant(id, wish);
        }
    }

    /// An attempt has finished: its consumers learn it (over the data plane, which is not here).
    fn wake_all(&mut self) {
        for process in 0..self.processes.len() {
            let instance = self.presence[process].instance;
            let at_us = self.now_us + 1_000;
            let event = Later::Wake;
            self.schedule(at_us, Event::Later { process, instance, event });
        }
    }

    fn grant(&mut self, process: ProcId, wish: Out) {
        let instance = self.presence[process].instance;
        match wish {
            Out::Send { host, to, token, message, ask } => {
                let ask =
                    ask.map(|(ask, timeout_ms)| self.open_ask(process, host, &to, ask, timeout_ms));
                let message = Box::new(message);
                let frame = Frame::Message { to: to.endpoint, token, message, ask };
                self.send(process, &to.process, frame, ask);
            }
            Out::Reply { to, answer } => {
                let frame = Frame::Answer(to.correlation, Box::new(answer));
                self.send(process, &to.process, frame, None);
            }
            Out::NoEndpoint(correlation, asker) => {
                self.send(process, &asker, Frame::NoEndpoint(correlation), None);
            }
            Out::Timer { host, key, at_us } => {
                let event = Event::Timer { process, instance, host, key };
                self.schedule(at_us, event);
            }
            Out::Later { at_us, event } => {
                self.schedule(at_us, Event::Later { process, instance, event });
            }
            Out::Announce(token) => self.announce(process, token),
            Out::Exit { reason } => {
                self.trace.event(self.now_us, process, || format!("process ends: {reason}"));
                self.ledger.exits.push((process, reason));
                self.kill(process, false);
            }
        }
    }

    /// Everybody else hears of the new leader, sooner or later.
    fn announce(&mut self, leader: ProcId, token: FencingToken) {
        self.ledger.leader = Some((self.processes[leader].name.clone(), token));
        let slow_us = if self.ledger.healed { 1_000 } else { 3_000_000 };
        for process in (0..self.processes.len()).filter(|process| *process != leader) {
            let at_us = self.now_us + self.rng.below(slow_us);
            let instance = self.presence[process].instance;
            let event = Later::Leader;
            self.schedule(at_us, Event::Later { process, instance, event });
        }
    }

    fn open_ask(
        &mut self,
        process: ProcId,
        host: HostId,
        to: &Address,
        ask: AskId,
        timeout_ms: u64,
    ) -> Correlation {
        let correlation = self.asks.len() as u64;
        self.asks.push(Ask {
            process,
            instance: self.presence[process].instance,
            host,
            ask,
            to: to.clone(),
            peer: self.find(&to.process),
            timeout_ms,
            epoch: None,
            open: true,
        });
        let at_us = self.now_us + timeout_ms * 1000;
        self.schedule(at_us, Event::AskTimeout(correlation));
        correlation
    }

    /// Sends to the process of that name; nobody's name is our own process.
    fn send(&mut self, from: ProcId, name: &str, frame: Frame, ask: Option<Correlation>) {
        let to = if name.is_empty() { Some(from) } else { self.find(name) };
        let Some(to) = to else {
            if let Some(correlation) = ask {
                self.fail_ask(correlation, "no such host");
            }
            return;
        };
        if to == from {
            let (process, instance) = (from, self.presence[from].instance);
            let delay = 1 + self.rng.below(30);
            let last = &mut self.processes[from].local_last_us;
            *last = (self.now_us + delay).max(*last + 1);
            let at_us = *last;
            let tell = matches!(frame, Frame::Message { ask: None, .. });
            let doubled = self.weather.doubled_tells;
            if tell && doubled > 0 && self.rng.one_in_thousand(doubled) {
                let frame = frame.clone();
                self.schedule(at_us, Event::Local { process, instance, frame });
            }
            return self.schedule(at_us, Event::Local { process, instance, frame });
        }
        let mut schedule = Schedule::new();
        if let Frame::Answer(correlation, _) | Frame::NoEndpoint(correlation) = &frame {
            let epoch = self.asks[*correlation as usize].epoch;
            self.net.answer(self.now_us, (from, to), epoch, frame, &mut schedule);
            return self.take(schedule);
        }
        let presence = &self.presence;
        let epoch = self.net.send(self.now_us, (from, to), frame, presence, &mut schedule);
        if let Some(correlation) = ask {
            self.asks[correlation as usize].epoch = epoch;
        }
        self.take(schedule);
    }

    fn find(&self, name: &str) -> Option<ProcId> {
        self.processes.iter().position(|process| process.name == name)
    }
}

/// The faults of the plan.
impl World {
    fn happen_to_cluster(&mut self, event: Event) {
        match event {
            Event::Fault(index) => {
                let fault = self.plan.faults[index].1.clone();
                self.trace.event(self.now_us, usize::MAX, || format!("fault: {fault:?}"));
                self.inject(fault);
            }
            Event::Unblock { from, to, reset } => self.unblock(from, to, reset),
            Event::Restart { process } => self.start(process),
            Event::Revoke { process } => self.revoke(process),
            Event::Heal => self.heal(),
            _ => (),
        }
    }

    fn inject(&mut self, fault: Fault) {
        match fault {
            Fault::Crash { process, silent, restart_after_ms } => {
                self.processes[process].restart_after_ms = restart_after_ms;
                self.kill(process, silent);
            }
            Fault::Stop { process, restart_after_ms } => {
                self.processes[process].restart_after_ms = restart_after_ms;
                self.input(process, NodeInput::Stop);
            }
            Fault::Pause { process, for_ms } => {
                let until = self.now_us + for_ms * 1000;
                self.processes[process].paused_until_us = until;
            }
            Fault::Block { from, to, for_ms, reset } => {
                self.net.block(from, to);
                let at_us = self.now_us + for_ms * 1000;
                self.schedule(at_us, Event::Unblock { from, to, reset });
            }
            Fault::Reset { a, b } => {
                let mut schedule = Schedule::new();
                let one = self.rng.below(3);
                for (number, (from, to)) in [(a, b), (b, a)].into_iter().enumerate() {
                    // Both connections, or one of them.
                    if one != number as u64 {
                        let presence = &self.presence;
                        self.net.break_link(self.now_us, from, to, presence, &mut schedule);
                    }
                }
                self.take(schedule);
            }
            Fault::Failover { revoke_after_ms } => self.fail_over(revoke_after_ms),
            Fault::KillChild { process } => self.input(process, NodeInput::CrashChild),
        }
    }

    /// The next master leads, and is started; the former one still believes that it does.
    fn fail_over(&mut self, revoke_after_ms: u64) {
        let former = self.leading();
        self.masters.rotate_left(1);
        let at_us = self.now_us + revoke_after_ms * 1000;
        self.schedule(at_us, Event::Revoke { process: former });
        // One that has led before and has not heard of its end begins anew too.
        self.kill(self.leading(), false);
        self.start(self.leading());
    }

    fn revoke(&mut self, process: ProcId) {
        if process != self.leading() {
            self.kill(process, false);
        }
    }

    fn unblock(&mut self, from: ProcId, to: ProcId, reset: bool) {
        let mut schedule = Schedule::new();
        let presence = &self.presence;
        self.net.unblock(self.now_us, (from, to), reset, presence, &mut schedule);
        self.take(schedule);
    }

    /// The process is dead; it is started again in a while.
    fn kill(&mut self, id: ProcId, silent: bool) {
        if !self.presence[id].up {
            return;
        }
        let instance = self.presence[id].instance;
        self.presence[id].up = false;
        self.presence[id].machine_up = !silent;
        self.processes[id].node = None;
        self.processes[id].known.clear();
        // Its job processes die with it.
        let children = &mut self.ledger.children;
        children.retain(|(process, life, ..)| (*process, *life) != (id, instance));
        let stored = &mut self.ledger.stored;
        stored.retain(|(process, life, ..)| (*process, *life) != (id, instance));
        if !silent {
            let mut schedule = Schedule::new();
            for peer in self.net.peers_of(id) {
                self.net.break_link(self.now_us, id, peer, &self.presence, &mut schedule);
                self.net.break_link(self.now_us, peer, id, &self.presence, &mut schedule);
            }
            self.take(schedule);
        }
        let after_us = self.processes[id].restart_after_ms * 1000;
        self.schedule(self.now_us + after_us, Event::Restart { process: id });
    }

    fn start(&mut self, id: ProcId) {
        let waits = self.masters.contains(&id) && id != self.leading();
        if self.presence[id].up || waits {
            return;
        }
        self.presence[id].up = true;
        self.presence[id].machine_up = true;
        self.presence[id].instance += 1;
        let instance = self.presence[id].instance;
        let process = &mut self.processes[id];
        process.paused_until_us = 0;
        process.local_last_us = self.now_us;
        process.node = Some((process.factory)(instance));
        let name = process.name.clone();
        self.trace.event(self.now_us, id, || format!("{name}: starts, life {instance}"));
        let mut schedule = Schedule::new();
        for peer in self.net.peers_of(id) {
            self.net.wake(self.now_us, id, peer, &self.presence, &mut schedule);
        }
        self.take(schedule);
        self.input(id, NodeInput::Start);
    }

    /// From now on nothing goes wrong.
    fn heal(&mut self) {
        self.trace.event(self.now_us, usize::MAX, || "everything is healed".to_owned());
        self.ledger.healed = true;
        self.weather = Weather { delay_us_min: 50, delay_us_max: 1_000, ..Weather::default() };
        self.net.weather = self.weather.clone();
        let blocks =
            self.plan.faults.clone().into_iter().filter_map(|(at_ms, fault)| match fault {
                Fault::Block { from, to, for_ms, reset } if at_ms + for_ms > self.now_us / 1000 => {
                    Some((from, to, reset))
                }
                _ => None,
            });
        for (from, to, reset) in blocks.collect::<Vec<_>>() {
            self.unblock(from, to, reset);
        }
        for id in 0..self.processes.len() {
            self.processes[id].paused_until_us = 0;
            self.processes[id].restart_after_ms = 1_000;
            self.start(id);
            if self.masters.contains(&id) {
                self.revoke(id);
            }
        }
    }
}
