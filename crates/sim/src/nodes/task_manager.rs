//! A TaskManager process: a task executor, and the shell around it that runs job processes.
//!
//! Its judge: a child is never spoken to after its kill was asked for, and never started while
//! another one of its job may be alive.

use super::job_process::{self, JobProcess, Speech};
use super::{Later, NodeInput, no_endpoint};
use crate::host::{Env, Host, Out};
use millstream_core::ids::JobId;
use millstream_rpc::machine::{Input, OpId};
use millstream_rpc::protocol::{Address, EndpointName};
use millstream_taskmanager::op::{NO_ANSWER, UNSOLICITED};
use millstream_taskmanager::{
    ChildEvent, ChildExit, Done, ExitStatus, Leader, Op, StartFailure, TaskExecutor,
    TaskExecutorConfig, Timer,
};
use std::collections::BTreeMap;

/// A TaskManager process.
#[derive(Debug)]
pub struct TaskManager {
    /// The endpoint.
    pub host: Host<TaskExecutor>,
    /// Its job processes, also those that it has given up.
    children: BTreeMap<(JobId, u64), JobProcess>,
    /// Job processes are task hosts in this process: they cannot be killed.
    embedded: bool,
}

impl TaskManager {
    /// A process that has not begun.
    pub fn new(config: TaskExecutorConfig, seed: u64, embedded: bool) -> Self {
        Self {
            host: Host::new(1, TaskExecutor::new(config), seed),
            children: BTreeMap::new(),
            embedded,
        }
    }

    /// Its job processes that are alive.
    pub fn children(&self) -> impl Iterator<Item = &JobProcess> {
        self.children.values()
    }

    /// Handles one thing.
    pub fn handle(&mut self, env: &mut Env<'_>, input: NodeInput) {
        match input {
            NodeInput::Start => {
                self.feed(env, Input::Start);
                self.look_who_leads(env);
            }
            NodeInput::Later(Later::Leader) => self.look_who_leads(env),
            NodeInput::Stop => self.feed(env, Input::Stop),
            NodeInput::Message { to, token, message, reply } => match to {
                EndpointName::TaskExecutor => {
                    self.feed(env, Input::Message { token, message, reply });
                }
                _ => no_endpoint(env, reply),
            },
            NodeInput::Answered { ask, result, .. } => {
                self.feed(env, Input::Answered { ask, result });
            }
            NodeInput::Timer { key, .. } => {
                if let Some(timer) = self.host.due(key) {
                    self.feed(env, Input::Timer(timer));
                }
            }
            NodeInput::PeerLost { process, reason } => {
                self.feed(env, Input::PeerLost { process, reason });
            }
            NodeInput::Later(Later::Child(event)) => self.on_child(env, event),
            NodeInput::Later(Later::Wake) => {
                for child in self.children.values() {
                    child.wake(env);
                }
            }
            NodeInput::Later(_) => (),
            NodeInput::CrashChild => self.crash_child(env),
        }
    }

    fn look_who_leads(&mut self, env: &mut Env<'_>) {
        let Some((process, token)) = env.ledger.leader.clone() else {
            return;
        };
        let endpoint = EndpointName::ResourceManager;
        let leader = Some(Leader { address: Address { process, endpoint }, token });
        let (op, result) = (UNSOLICITED, Done::ResourceManagerLeader(leader));
        self.feed(env, Input::Done { op, result });
    }

    fn feed(&mut self, env: &mut Env<'_>, input: Input<Timer, Done>) {
        let ops = self.host.step(env, input);
        if self.host.ended {
            let reason = "stopped as asked".to_owned();
            env.out.push(Out::Exit { reason });
        }
        for (op, what) in ops {
            self.work(env, op, what);
        }
    }

    fn work(&mut self, env: &mut Env<'_>, op: OpId, what: Op) {
        match what {
            Op::StartChild { job, incarnation, information } => {
                assert!(op != NO_ANSWER);
                self.assert_no_child_lives(env, job);
                let child = JobProcess::new(job, incarnation, *information);
                self.children.insert((job, incarnation), child);
                let delay_us = 5_000 + env.rng.below(100_000);
                let event = job_process::Event::Started { job, incarnation, op };
                env.later(delay_us, Later::Child(event));
            }
            Op::SendToChild { job, incarnation, message } => {
                let child = self.children.get_mut(&(job, incarnation));
                if let Some(child) = child {
                    assert!(
                        !child.kill_asked,
                        "job process {incarnation} is spoken to after its kill: {message:?}"
                    );
                    let speech = child.hear(env, message);
                    self.tell(env, job, incarnation, speech);
                }
            }
            Op::KillChild { job, incarnation, .. } => self.kill_child(env, op, job, incarnation),
            Op::ReadLog { .. } => {
                let result = Done::Log(Ok("a log".to_owned()));
                self.feed(env, Input::Done { op, result });
            }
            Op::ReleasePartitions { job, partitions } => {
                for producer in partitions.into_iter().map(|partition| partition.producer) {
                    env.ledger.stored.remove(&(env.process, env.instance, job, producer));
                    env.ledger.released.insert(producer);
                }
            }
            Op::ReleaseJob { job } => {
                self.assert_no_child_lives(env, job);
                let here = (env.process, env.instance, job);
                let stored = &mut env.ledger.stored;
                stored.retain(|(process, life, of, _)| (*process, *life, *of) != here);
            }
        }
    }

    fn assert_no_child_lives(&self, env: &Env<'_>, job: JobId) {
        let alive = self.children.values().find(|child| {
            // One that was given up is allowed to haunt the machine.
            child.job == job && !child.is_given_up(env.now())
        });
        assert!(
            alive.is_none(),
            "a job process is started, or its job forgotten, while another is alive: {alive:?}"
        );
    }

    fn kill_child(&mut self, env: &mut Env<'_>, op: OpId, job: JobId, incarnation: u64) {
        let embedded = self.embedded;
        let now = env.now();
        let stubborn = env.chance(env.weather.stubborn_children);
        let kill_timeout_ms = self.host.machine.config().child.kill_timeout_ms;
        let Some(child) = self.children.get_mut(&(job, incarnation)) else {
            let result = Done::Killed(Ok(()));
            return self.feed(env, Input::Done { op, result });
        };
        child.kill_asked = true;
        if embedded {
            child.given_up_at = Some(now);
            // Its threads end some day.
            let delay_us = 1_000 * (1 + env.rng.below(20_000));
            env.later(delay_us, exit_of(job, incarnation, ExitStatus::Code(0)));
            let result = Done::Killed(Err("it lives in this process".to_owned()));
            return self.feed(env, Input::Done { op, result });
        }
        child.given_up_at = Some(now + kill_timeout_ms);
        let delay_ms = match (stubborn, env.weather.stubborn_children) {
            (true, _) => env.rng.below(kill_timeout_ms * 2),
            (false, 0) => env.rng.below(50),
            (false, _) => env.rng.below(kill_timeout_ms / 2),
        };
        let status = ExitStatus::Signal("SIGKILL".to_owned());
        env.later(1_000 * delay_ms, exit_of(job, incarnation, status));
        let result = Done::Killed(Ok(()));
        self.feed(env, Input::Done { op, result });
    }

    fn on_child(&mut self, env: &mut Env<'_>, event: job_process::Event) {
        match event {
            job_process::Event::Started { job, incarnation, op } => {
                self.on_started(env, job, incarnation, op);
            }
            job_process::Event::Exit { job, incarnation, status } => {
                self.on_exit(env, job, incarnation, status);
            }
            job_process::Event::Step { job, incarnation, step } => {
                let Some(child) = self.children.get_mut(&(job, incarnation)) else {
                    return;
                };
                let speech = child.step(env, step);
                self.tell(env, job, incarnation, speech);
            }
        }
    }

    fn on_started(&mut self, env: &mut Env<'_>, job: JobId, incarnation: u64, op: OpId) {
        let Some(child) = self.children.get_mut(&(job, incarnation)) else {
            return; // Killed before it ran; the kill told its end.
        };
        if !child.kill_asked && env.chance(env.weather.bad_starts) {
            self.children.remove(&(job, incarnation));
            let failure = StartFailure {
                message: "fork: resource temporarily unavailable".to_owned(),
                permanent: false,
            };
            let result = Done::Started(Err(failure));
            return self.feed(env, Input::Done { op, result });
        }
        let id = (env.process, env.instance, job, incarnation);
        env.ledger.children.insert(id);
        child.begin(env);
        let result = Done::Started(Ok(()));
        self.feed(env, Input::Done { op, result });
    }

    fn on_exit(&mut self, env: &mut Env<'_>, job: JobId, incarnation: u64, status: ExitStatus) {
        let Some(child) = self.children.get(&(job, incarnation)) else {
            return;
        };
        if !child.kill_asked && status != ExitStatus::Code(0) && env.rng.below(2) == 0 {
            // Its link breaks as it dies, and that is heard first.
            let reason = "end of file".to_owned();
            self.tell_event(env, job, incarnation, ChildEvent::LinkLost { reason });
        }
        self.children.remove(&(job, incarnation));
        let id = (env.process, env.instance, job, incarnation);
        env.ledger.children.remove(&id);
        let event = ChildEvent::Exited(ChildExit { status, last_lines: String::new() });
        self.tell_event(env, job, incarnation, event);
        if self.embedded || env.weather.late_answers > 0 && env.rng.below(4) == 0 {
            // A second word of its end; a shell that loses a race may say it twice.
            let status = ExitStatus::Unknown("told twice".to_owned());
            let event = ChildEvent::Exited(ChildExit { status, last_lines: String::new() });
            self.tell_event(env, job, incarnation, event);
        }
    }

    fn tell(&mut self, env: &mut Env<'_>, job: JobId, incarnation: u64, speech: Vec<Speech>) {
        for said in speech {
            match said {
                Speech::Say(message) => {
                    self.tell_event(env, job, incarnation, ChildEvent::Message(message));
                }
                Speech::Exit(status) => self.on_exit(env, job, incarnation, status),
            }
        }
    }

    fn tell_event(&mut self, env: &mut Env<'_>, job: JobId, incarnation: u64, event: ChildEvent) {
        let result = Done::Child { job, incarnation, event };
        let op = UNSOLICITED;
        self.feed(env, Input::Done { op, result });
    }

    fn crash_child(&mut self, env: &mut Env<'_>) {
        let alive: Vec<_> = self.children.values().filter(|child| child.runs()).collect();
        if alive.is_empty() {
            return;
        }
        let victim = alive[env.rng.below(alive.len() as u64) as usize];
        let (job, incarnation) = (victim.job, victim.incarnation);
        if env.rng.below(2) == 0 {
            // It goes on, but nobody can lead it any more.
            let reason = "bad frame".to_owned();
            let event = ChildEvent::LinkLost { reason };
            return self.tell_event(env, job, incarnation, event);
        }
        let status = ExitStatus::Signal("SIGSEGV".to_owned());
        self.on_exit(env, job, incarnation, status);
    }
}

fn exit_of(job: JobId, incarnation: u64, status: ExitStatus) -> Later {
    Later::Child(job_process::Event::Exit { job, incarnation, status })
}
