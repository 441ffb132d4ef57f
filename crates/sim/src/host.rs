//! Runs one machine inside a simulated process: does what the shell does, deterministically.
//!
//! Steps the machine, checks its invariants after every step, keeps its timers, and hands its
//! effects to the process. A timer that was cleared or moved may, in bad weather, fire
//! nevertheless, as it does when it was already in the inbox.

use crate::net::Correlation;
use crate::nodes::Later;
use crate::plan::Weather;
use crate::trace::Trace;
use crate::world::Ledger;
use millstream_core::ids::FencingToken;
use millstream_core::time::{Mono, Timestamp};
use millstream_rpc::machine::{AskId, Cx, Effect, Input, Machine, OpId, ReplyTo, Rng};
use millstream_rpc::protocol::{Address, Answer, Message};
use std::collections::BTreeMap;

/// Names one life of one machine.
pub type HostId = u64;

/// What a process may use while it handles something.
pub struct Env<'a> {
    /// The time, in microseconds.
    pub now_us: u64,
    /// Which process.
    pub process: usize,
    /// Which life of it.
    pub instance: u64,
    /// Its name, `host:port`.
    pub name: &'a str,
    /// For what a process decides by chance.
    pub rng: &'a mut Rng,
    /// How bad things are.
    pub weather: &'a Weather,
    /// What the run's judges know.
    pub ledger: &'a mut Ledger,
    /// What happened.
    pub trace: &'a mut Trace,
    /// What the process wants.
    pub out: &'a mut Vec<Out>,
}

impl Env<'_> {
    /// The time as machines know it.
    pub fn now(&self) -> Mono {
        Mono(self.now_us / 1000)
    }

    /// True with this chance, in thousandths.
    pub fn chance(&mut self, thousandths: u64) -> bool {
        thousandths > 0 && self.rng.one_in_thousand(thousandths)
    }

    /// Has something happen to this process later.
    pub fn later(&mut self, delay_us: u64, event: Later) {
        let at_us = self.now_us + delay_us;
        self.out.push(Out::Later { at_us, event });
    }

    /// Says in the trace what happened.
    pub fn note(&mut self, text: impl FnOnce() -> String) {
        let name = self.name;
        self.trace.event(self.now_us, self.process, || format!("{name}: {}", text()));
    }
}

/// What a process wants of the world.
#[derive(Debug)]
pub enum Out {
    /// Send a message; with `ask`, wait for its answer.
    Send {
        /// Which machine sends.
        host: HostId,
        /// To whom.
        to: Address,
        /// Who leads there.
        token: Option<FencingToken>,
        /// What.
        message: Message,
        /// Its own name for the ask, and how long it waits.
        ask: Option<(AskId, u64)>,
    },
    /// Answer an ask.
    Reply {
        /// Which.
        to: ReplyTo,
        /// With what.
        answer: Answer,
    },
    /// There is no such endpoint here.
    NoEndpoint(Correlation, String),
    /// Wake a machine.
    Timer {
        /// Which.
        host: HostId,
        /// By which of its timers.
        key: u64,
        /// When.
        at_us: u64,
    },
    /// Something happens to this process later.
    Later {
        /// When.
        at_us: u64,
        /// What.
        event: Later,
    },
    /// This process leads from now on, in this term.
    Announce(FencingToken),
    /// The process ends.
    Exit {
        /// Why.
        reason: String,
    },
}

/// One machine of a process.
#[derive(Debug)]
pub struct Host<M: Machine> {
    /// Its name in this run.
    pub id: HostId,
    /// It.
    pub machine: M,
    /// Its own randomness.
    rng: Rng,
    /// The timers that are set.
    timers: BTreeMap<M::Timer, u64>,
    /// All timers that may fire, also those that should not.
    keys: BTreeMap<u64, M::Timer>,
    last_key: u64,
    /// It has said that it is done.
    pub ended: bool,
}

impl<M: Machine> Host<M> {
    /// A machine that has not begun.
    pub fn new(id: HostId, machine: M, seed: u64) -> Self {
        Self {
            id,
            machine,
            rng: Rng::new(seed ^ id.wrapping_mul(0xD1B5_4A32_D192_ED03)),
            timers: BTreeMap::new(),
            keys: BTreeMap::new(),
            last_key: 0,
            ended: false,
        }
    }

    /// Feeds one input; gives the work that the process has to do for it.
    pub fn step(
        &mut self,
        env: &mut Env<'_>,
        input: Input<M::Timer, M::Done>,
    ) -> Vec<(OpId, M::Op)> {
        if self.ended {
            return Vec::new();
        }
        env.note(|| format!("<- {input:?}"));
        let mut out = Vec::new();
        let mut cx = Cx {
            now: env.now(),
            wall: (env.now_us / 1000) as Timestamp,
            rng: &mut self.rng,
            out: &mut out,
        };
        self.machine.step(&mut cx, input);
        self.machine.check();
        let mut ops = Vec::new();
        for effect in out {
            let name = env.name;
            env.trace.remark(env.now_us, || format!("{name}:    -> {effect:?}"));
            self.perform(env, effect, &mut ops);
        }
        ops
    }

    /// A timer of this machine is due; nothing if it should not fire after all.
    pub fn due(&mut self, key: u64) -> Option<M::Timer> {
        let timer = self.keys.remove(&key)?;
        if self.timers.get(&timer) == Some(&key) {
            self.timers.remove(&timer);
        }
        Some(timer)
    }

    fn perform(
        &mut self,
        env: &mut Env<'_>,
        effect: Effect<M::Timer, M::Op>,
        ops: &mut Vec<(OpId, M::Op)>,
    ) {
        let host = self.id;
        match effect {
            Effect::Tell { to, token, message } => {
                env.out.push(Out::Send { host, to, token, message, ask: None });
            }
            Effect::Ask { ask, to, token, message, timeout_ms } => {
                env.out.push(Out::Send { host, to, token, message, ask: Some((ask, timeout_ms)) });
            }
            Effect::Reply { to, answer } => env.out.push(Out::Reply { to, answer }),
            Effect::SetTimer { timer, at } => self.set_timer(env, timer, at),
            Effect::ClearTimer { timer } => self.clear_timer(env, &timer),
            Effect::Op { op, what } => ops.push((op, what)),
            Effect::Stopped => {
                self.ended = true;
                self.keys.clear();
            }
            Effect::Fatal(reason) => env.out.push(Out::Exit { reason }),
        }
    }

    fn set_timer(&mut self, env: &mut Env<'_>, timer: M::Timer, at: Mono) {
        self.clear_timer(env, &timer);
        self.last_key += 1;
        let key = self.last_key;
        self.timers.insert(timer.clone(), key);
        self.keys.insert(key, timer);
        let (host, at_us) = (self.id, (at.0 * 1000).max(env.now_us));
        env.out.push(Out::Timer { host, key, at_us });
    }

    fn clear_timer(&mut self, env: &mut Env<'_>, timer: &M::Timer) {
        if let Some(key) = self.timers.remove(timer)
            && !env.chance(env.weather.stale_timers)
        {
            self.keys.remove(&key);
        }
    }
}
