//! The resource manager among workers of a few lines, over a network that loses, doubles, delays and
//! reorders. When the weather has cleared, it knows exactly who holds what, and every job has what
//! it needs. The simulator does the same with whole clusters; this finds a hole in seconds.

use super::*;
use crate::slot_manager::SlotState;
use crate::test_driver::{Driver, Effects, TOKEN, take_reply, timeout};
use millstream_core::ids::{AllocationId, FencingToken, InstanceId, JobId, ResourceId};
use millstream_core::time::Mono;
use millstream_rpc::machine::{AskId, Effect, Input, Rng};
use millstream_rpc::protocol::job_master::ToJobMaster;
use millstream_rpc::protocol::resource::{
    ResourceProfile, ResourceRequirement, SlotId, SlotReport, SlotStatus,
};
use millstream_rpc::protocol::resource_manager::{
    ResourceManagerAnswer, TaskExecutorRegistration, ToResourceManager as ToRm,
};
use millstream_rpc::protocol::task_executor::{TaskExecutorAnswer, ToTaskExecutor};
use millstream_rpc::protocol::{Address, Answer, EndpointName, Message};
use std::collections::{BTreeMap, BTreeSet};

const JOBS: [JobId; 2] = [JobId(0xA), JobId(0xB)];
const WORKERS: usize = 3;
const SLOTS: u32 = 2;

/// Something on its way.
#[derive(Clone)]
enum Event {
    /// A worker speaks; `true`: it wants the answer.
    ToRm(usize, ToRm, bool),
    /// The answer that it wanted.
    FromRm(usize, Answer),
    ToWorker(usize, ToTaskExecutor, Option<AskId>),
    Answer(AskId, Answer),
    AskTimeout(AskId),
}

#[derive(Default)]
struct Worker {
    instance: Option<InstanceId>,
    /// Whether the resource manager has confirmed our report.
    reported: bool,
    slots: BTreeMap<u32, (AllocationId, JobId)>,
    heard: Mono,
}

struct World {
    rm: Driver<ResourceManager>,
    workers: Vec<Worker>,
    /// What the job masters need now.
    needs: BTreeMap<JobId, u32>,
    on_its_way: BTreeMap<(u64, u64), Event>,
    sent: u64,
    open_asks: BTreeSet<AskId>,
    timers: BTreeMap<ResourceManagerTimer, Mono>,
    rng: Rng,
    calm: bool,
}

fn worker_id(worker: usize) -> ResourceId {
    ResourceId(format!("w{worker}"))
}

fn registration(worker: usize) -> TaskExecutorRegistration {
    TaskExecutorRegistration {
        address: Address {
            process: format!("w{worker}:6122"),
            endpoint: EndpointName::TaskExecutor,
        },
        resource: worker_id(worker),
        data_address: String::new(),
        hardware: Default::default(),
        memory: Default::default(),
        default_slot: ResourceProfile::ANY,
        total: ResourceProfile::ANY,
        slots: SLOTS,
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let config = ResourceManagerConfig::default();
        let machine = ResourceManager::new(config, worker_id(99), String::new(), TOKEN);
        let mut world = Self {
            rm: Driver::new(machine),
            workers: (0..WORKERS).map(|_| Worker::default()).collect(),
            needs: BTreeMap::new(),
            on_its_way: BTreeMap::new(),
            sent: 0,
            open_asks: BTreeSet::new(),
            timers: BTreeMap::new(),
            rng: Rng::new(seed),
            calm: false,
        };
        let effects = world.rm.give(Input::Start);
        world.perform(effects);
        for job in JOBS {
            world.register_job(job);
        }
        world
    }

    /// Weather: lost, doubled, and late enough to be overtaken.
    fn send(&mut self, event: Event) {
        let copies = match self.rng.below(100) {
            _ if self.calm => 1,
            0..10 => 0,
            10..15 => 2,
            _ => 1,
        };
        for _ in 0..copies {
            let slow = !self.calm && self.rng.one_in_thousand(50);
            let delay = self.rng.below(if slow { 30_000 } else { 20 });
            self.arrive(delay, event.clone());
        }
    }

    fn arrive(&mut self, delay: u64, event: Event) {
        self.sent += 1;
        self.on_its_way.insert((self.rm.now.0 + delay, self.sent), event);
    }

    fn tell_rm(&mut self, message: ToRm) -> Option<Answer> {
        let (mut effects, reply) = self.rm.ask(Message::ResourceManager(message));
        let answer = take_reply(&mut effects, &reply);
        self.perform(effects);
        answer
    }

    /// Job masters live beside the resource manager: nothing is lost between them.
    fn register_job(&mut self, job: JobId) {
        self.tell_rm(ToRm::RegisterJobMaster {
            job,
            job_master: FencingToken(job.0),
            address: Address {
                process: "jm:6123".to_owned(),
                endpoint: EndpointName::JobMaster(job),
            },
            resource: worker_id(99),
        });
        self.declare(job);
    }

    fn declare(&mut self, job: JobId) {
        let count = self.needs.get(&job).copied().unwrap_or(0);
        let profile = ResourceProfile::ANY;
        self.tell_rm(ToRm::DeclareRequiredResources {
            job,
            job_master: FencingToken(job.0),
            requirements: vec![ResourceRequirement { profile, count }],
        });
    }

    fn perform(&mut self, effects: Effects<ResourceManager>) {
        for effect in effects {
            match effect {
                Effect::SetTimer { timer, at } => {
                    self.timers.insert(timer, at);
                }
                Effect::ClearTimer { timer } => {
                    self.timers.remove(&timer);
                }
                Effect::Tell { to, message, .. } => self.carry(&to, message, None),
                Effect::Ask { ask, to, message, timeout_ms, .. } => {
                    self.open_asks.insert(ask);
                    self.arrive(timeout_ms, Event::AskTimeout(ask));
                    self.carry(&to, message, Some(ask));
                }
                other => panic!("unexpected {other:?}"),
            }
        }
    }

    fn carry(&mut self, to: &Address, message: Message, ask: Option<AskId>) {
        match (to.endpoint, message) {
            (EndpointName::JobMaster(job), Message::JobMaster(message)) => match message {
                ToJobMaster::HeartbeatFromResourceManager { .. } => {
                    let job_master = FencingToken(job.0);
                    self.tell_rm(ToRm::HeartbeatFromJobMaster { job, job_master });
                }
                ToJobMaster::DisconnectResourceManager { .. } => self.register_job(job),
                _ => {}
            },
            (_, Message::TaskExecutor(message)) => {
                let digits = to.process.trim_start_matches('w').trim_end_matches(":6122");
                let worker = digits.parse().expect("a worker's number");
                self.send(Event::ToWorker(worker, message, ask));
            }
            (_, other) => panic!("unexpected {other:?}"),
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::ToRm(worker, message, wants_answer) => {
                let answer = self.tell_rm(message);
                if let Some(answer) = answer.filter(|_| wants_answer) {
                    self.send(Event::FromRm(worker, answer));
                }
            }
            Event::FromRm(worker, answer) => self.on_answer_of_rm(worker, answer),
            Event::ToWorker(worker, message, ask) => self.on_worker(worker, message, ask),
            Event::Answer(ask, answer) => {
                if self.open_asks.remove(&ask) {
                    let effects = self.rm.answer(ask, Ok(answer));
                    self.perform(effects);
                }
            }
            Event::AskTimeout(ask) => {
                if self.open_asks.remove(&ask) {
                    let effects = self.rm.answer(ask, Err(timeout()));
                    self.perform(effects);
                }
            }
        }
    }

    fn on_answer_of_rm(&mut self, number: usize, answer: Answer) {
        let worker = &mut self.workers[number];
        match answer {
            Answer::ResourceManager(ResourceManagerAnswer::TaskExecutorRegistered {
                instance,
                ..
            }) if worker.instance.is_none() => {
                worker.instance = Some(instance);
                worker.heard = self.rm.now;
            }
            Answer::Ack => worker.reported = true,
            Answer::Refused(_) => worker.instance = None,
            _ => {}
        }
    }

    fn on_worker(&mut self, number: usize, message: ToTaskExecutor, ask: Option<AskId>) {
        match message {
            ToTaskExecutor::RequestSlot { slot, job, allocation, .. } => {
                let answer = self.hold(number, slot.index, allocation, job);
                if let Some(ask) = ask {
                    self.send(Event::Answer(ask, answer));
                }
            }
            ToTaskExecutor::HeartbeatFromResourceManager { .. } => {
                self.workers[number].heard = self.rm.now;
                let report = self.report(number);
                if let Some(instance) = self.workers[number].instance {
                    let resource = worker_id(number);
                    let heartbeat = ToRm::HeartbeatFromTaskExecutor { resource, instance, report };
                    self.send(Event::ToRm(number, heartbeat, false));
                }
            }
            ToTaskExecutor::DisconnectResourceManager { .. } => {
                self.workers[number].instance = None;
            }
            ToTaskExecutor::FreeInactiveSlots { .. } => self.free_excess(),
            other => panic!("unexpected {other:?}"),
        }
    }

    fn hold(&mut self, number: usize, index: u32, asked: AllocationId, job: JobId) -> Answer {
        match self.workers[number].slots.get(&index) {
            Some((held, _)) if *held == asked => Answer::Ack,
            Some((allocation, job)) => Answer::TaskExecutor(TaskExecutorAnswer::SlotOccupied {
                allocation: *allocation,
                job: *job,
            }),
            None => {
                self.workers[number].slots.insert(index, (asked, job));
                Answer::Ack
            }
        }
    }

    fn report(&self, number: usize) -> SlotReport {
        let held = &self.workers[number].slots;
        let status = |index| {
            let allocation = held.get(&index).copied();
            (index, SlotStatus { profile: ResourceProfile::ANY, allocation })
        };
        SlotReport { slots: (0..SLOTS).map(status).collect() }
    }

    fn held_by(&self, job: JobId) -> Vec<(usize, u32)> {
        let all = self.workers.iter().enumerate();
        all.flat_map(|(number, worker)| {
            let of_job = worker.slots.iter().filter(move |(_, (_, holder))| *holder == job);
            of_job.map(move |(index, _)| (number, *index))
        })
        .collect()
    }

    /// Job masters give back what they do not need.
    fn free_excess(&mut self) {
        for job in JOBS {
            let needed = self.needs.get(&job).copied().unwrap_or(0) as usize;
            for (number, index) in self.held_by(job).into_iter().skip(needed) {
                self.free(number, index);
            }
        }
    }

    fn free(&mut self, number: usize, index: u32) {
        let worker = &mut self.workers[number];
        if let (Some((allocation, _)), Some(instance)) =
            (worker.slots.remove(&index), worker.instance)
        {
            let resource = worker_id(number);
            let news = ToRm::NotifySlotAvailable { resource, instance, index, allocation };
            self.send(Event::ToRm(number, news, false));
        }
    }

    /// What workers do by themselves, every 100 ms.
    fn workers_tick(&mut self) {
        for number in 0..WORKERS {
            let worker = &mut self.workers[number];
            if worker.heard.0 + 50_000 < self.rm.now.0 {
                worker.instance = None;
            }
            let resource = worker_id(number);
            let message = match worker.instance {
                None => {
                    worker.reported = false;
                    ToRm::RegisterTaskExecutor(Box::new(registration(number)))
                }
                Some(instance) if !worker.reported => {
                    let report = self.report(number);
                    ToRm::SendSlotReport { resource, instance, report }
                }
                Some(_) => continue,
            };
            self.send(Event::ToRm(number, message, true));
        }
    }

    /// Needs change, slots are given back, processes are lost from sight.
    fn trouble(&mut self) {
        let job = JOBS[self.rng.below(2) as usize];
        let number = self.rng.below(WORKERS as u64) as usize;
        match self.rng.below(200) {
            0..8 => {
                let need = self.rng.below(4) as u32;
                self.needs.insert(job, need);
                self.declare(job);
            }
            8..12 => self.free(number, self.rm.now.0 as u32 % SLOTS),
            12 => {
                let process = format!("w{number}:6122");
                let reason = "reset".to_owned();
                let effects = self.rm.give(Input::PeerLost { process, reason });
                self.perform(effects);
            }
            _ => {}
        }
    }

    fn run(&mut self, millis: u64) {
        let end = self.rm.now + millis;
        while self.rm.now < end {
            self.rm.now = self.rm.now + 1;
            while let Some(entry) = self.on_its_way.first_entry() {
                if entry.key().0 > self.rm.now.0 {
                    break;
                }
                let event = entry.remove();
                self.happen(event);
            }
            let due = |(timer, at): (&ResourceManagerTimer, &Mono)| {
                (*at <= self.rm.now).then_some(*timer)
            };
            if let Some(timer) = self.timers.iter().find_map(due) {
                self.timers.remove(&timer);
                let effects = self.rm.give(Input::Timer(timer));
                self.perform(effects);
            }
            if self.rm.now.0.is_multiple_of(100) {
                self.workers_tick();
                self.free_excess();
                if !self.calm {
                    self.trouble();
                }
            }
        }
    }

    fn check_truth(&self) {
        for (number, worker) in self.workers.iter().enumerate() {
            for index in 0..SLOTS {
                let slot = SlotId { resource: worker_id(number), index };
                let believed = match self.rm.machine.slots().state(&slot) {
                    Some(SlotState::Free) => None,
                    Some(SlotState::Allocated(grant)) => Some((grant.allocation, grant.job)),
                    other => panic!("{slot} is {other:?}"),
                };
                let held = worker.slots.get(&index).copied();
                assert_eq!(believed, held, "{slot}");
            }
        }
        for job in JOBS {
            let needed = self.needs.get(&job).copied().unwrap_or(0) as usize;
            assert_eq!(self.held_by(job).len(), needed, "{job}");
        }
        assert_eq!(self.rm.machine.open_asks(), 0);
    }
}

#[test]
fn after_bad_weather_everybody_agrees_on_who_has_what() {
    for seed in 0..60 {
        let mut world = World::new(seed);
        world.run(60_000);
        world.calm = true;
        // Late copies of old messages come in for half a minute; then two rounds of heartbeats.
        world.run(55_000);
        world.check_truth();
    }
}

/// The weather alone finds what the planted bugs spoil, without anybody pointing at it.
#[cfg(feature = "mutants")]
#[test]
fn bad_weather_finds_planted_bugs() {
    for name in [
        "forget_stale_instance_check",
        "leak_slot_on_lost_ack",
        "freed_slot_is_not_rechecked",
        "double_grant_pending_slot",
        "old_report_frees_pending_slot",
        "stale_availability_frees_slot",
    ] {
        crate::mutant::set(Some(name));
        let caught = (0..20).find(|seed| {
            let run = || {
                let mut world = World::new(*seed);
                world.run(60_000);
            };
            std::panic::catch_unwind(run).is_err()
        });
        crate::mutant::set(None);
        assert!(caught.is_some(), "{name} survives");
    }
}
