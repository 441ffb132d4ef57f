//! Says anything to a machine at any moment, and watches what it does.

use super::messages::Messages;
use super::pool::Pool;
use super::token_of;
use crate::trace::Trace;
use millstream_core::time::{Mono, Timestamp};
use millstream_rpc::machine::{AskId, Cx, Effect, Input, Machine, OpId, ReplyTo, Rng};
use millstream_rpc::protocol::Message;
use std::collections::BTreeMap;

/// A kind of machine.
pub trait Subject {
    /// It.
    type Machine: Machine;

    /// A new one.
    fn machine(&self, pool: &mut Pool) -> Self::Machine;

    /// A message for it.
    fn message(&self, pool: &mut Pool) -> Message;

    /// The end of a piece of its work, or of none.
    fn done(
        &self,
        pool: &mut Pool,
        op: Option<(OpId, <Self::Machine as Machine>::Op)>,
    ) -> Option<(OpId, <Self::Machine as Machine>::Done)>;

    /// It wants this done: that names ids.
    fn learn(&self, pool: &mut Pool, op: &<Self::Machine as Machine>::Op);
}

/// What can happen to a machine of this kind.
type InputOf<S> =
    Input<<<S as Subject>::Machine as Machine>::Timer, <<S as Subject>::Machine as Machine>::Done>;

/// One machine and its tormentor.
pub struct Driver<S: Subject> {
    subject: S,
    machine: S::Machine,
    pool: Pool,
    /// The machine's own randomness.
    rng: Rng,
    now: Mono,
    /// All timers that it ever set.
    timers: Vec<<S::Machine as Machine>::Timer>,
    /// Asks without an answer.
    asks: Vec<(AskId, Message)>,
    /// Work without an end.
    ops: Vec<(OpId, <S::Machine as Machine>::Op)>,
    /// How many answers each asker may still get.
    owed: BTreeMap<u64, u32>,
    /// The last message, for saying it again.
    last: Option<(Message, Option<ReplyTo>)>,
    /// It has said that it is done.
    stopped: bool,
}

impl<S: Subject> Driver<S> {
    /// A new machine.
    pub fn new(seed: u64, subject: S) -> Self {
        let mut pool = Pool::new(seed);
        Self {
            machine: subject.machine(&mut pool),
            subject,
            pool,
            rng: Rng::new(seed),
            now: Mono(0),
            timers: Vec::new(),
            asks: Vec::new(),
            ops: Vec::new(),
            owed: BTreeMap::new(),
            last: None,
            stopped: false,
        }
    }

    /// Torments it for so many steps.
    pub fn play(mut self, trace: &mut Trace, steps: u32) {
        self.step(trace, Input::Start);
        for _ in 0..steps {
            if self.stopped {
                return; // It gets no further input.
            }
            self.let_time_pass();
            if let Some(input) = self.draw() {
                self.step(trace, input);
            }
        }
    }

    fn let_time_pass(&mut self) {
        let ms = match self.pool.rng.below(20) {
            0 => self.pool.rng.below(20_000),
            1..=4 => self.pool.rng.below(100),
            _ => 0,
        };
        self.now = self.now + ms;
    }

    fn draw(&mut self) -> Option<InputOf<S>> {
        match self.pool.rng.below(100) {
            0..=9 => self.draw_timer(),
            10..=39 => self.draw_answer(),
            40..=54 => self.draw_done(),
            55 | 56 => {
                Some(Input::PeerLost { process: self.pool.process(), reason: "reset".to_owned() })
            }
            57 if self.pool.rng.below(8) == 0 => Some(Input::Stop),
            58 => Some(Input::Start),
            59..=62 => self.again(),
            _ => Some(self.draw_message()),
        }
    }

    fn draw_timer(&mut self) -> Option<InputOf<S>> {
        let count = self.timers.len() as u64;
        if count == 0 {
            return None;
        }
        let reach = count.min(12);
        let index = count - 1 - self.pool.rng.below(reach);
        Some(Input::Timer(self.timers[index as usize].clone()))
    }

    fn draw_answer(&mut self) -> Option<InputOf<S>> {
        if self.asks.is_empty() || self.pool.rng.below(20) == 0 {
            let ask = AskId(self.pool.rng.below(40));
            let result = self.pool.result_of(None);
            return Some(Input::Answered { ask, result });
        }
        let index = self.pool.rng.below(self.asks.len() as u64) as usize;
        // Sometimes it is answered a second time later on.
        let again = self.pool.rng.below(10) == 0;
        let (ask, message) = match again {
            true => self.asks[index].clone(),
            false => self.asks.remove(index),
        };
        let result = self.pool.result_of(Some(&message));
        Some(Input::Answered { ask, result })
    }

    fn draw_done(&mut self) -> Option<InputOf<S>> {
        let count = self.ops.len() as u64;
        let op = (count > 0 && self.pool.rng.below(2) == 0).then(|| {
            let index = self.pool.rng.below(count) as usize;
            self.ops.remove(index)
        });
        let (op, result) = self.subject.done(&mut self.pool, op)?;
        Some(Input::Done { op, result })
    }

    /// The last message once more, as when it was delivered twice.
    fn again(&mut self) -> Option<InputOf<S>> {
        let (message, reply) = self.last.clone()?;
        if let Some(reply) = &reply {
            *self.owed.entry(reply.correlation).or_default() += 1;
        }
        Some(Input::Message { token: token_of(&mut self.pool), message, reply })
    }

    fn draw_message(&mut self) -> InputOf<S> {
        let message = match self.pool.rng.below(60) {
            0 => Message::Dispatcher(self.pool.to_dispatcher()),
            1 => Message::JobMaster(self.pool.to_job_master()),
            2 => Message::TaskExecutor(self.pool.to_task_executor()),
            3 => Message::ResourceManager(self.pool.to_resource_manager()),
            _ => self.subject.message(&mut self.pool),
        };
        let reply = (self.pool.rng.below(5) > 0).then(|| {
            let correlation = self.owed.len() as u64;
            self.owed.insert(correlation, 1);
            let process = self.pool.process();
            ReplyTo { process, correlation }
        });
        self.last = Some((message.clone(), reply.clone()));
        Input::Message { token: token_of(&mut self.pool), message, reply }
    }

    fn step(&mut self, trace: &mut Trace, input: InputOf<S>) {
        trace.event(self.now.0 * 1000, 0, || format!("<- {input:?}"));
        let mut out = Vec::new();
        let mut cx =
            Cx { now: self.now, wall: self.now.0 as Timestamp, rng: &mut self.rng, out: &mut out };
        self.machine.step(&mut cx, input);
        self.machine.check();
        for effect in out {
            trace.event(self.now.0 * 1000, 0, || format!("   -> {effect:?}"));
            assert!(!self.stopped, "an effect after the end: {effect:?}");
            self.take(trace, effect);
        }
    }

    fn take(
        &mut self,
        trace: &mut Trace,
        effect: Effect<<S::Machine as Machine>::Timer, <S::Machine as Machine>::Op>,
    ) {
        match effect {
            Effect::Tell { message, .. } => {
                trace.value(&message);
                self.pool.learn(&message);
            }
            Effect::Ask { ask, message, .. } => {
                trace.value(&message);
                self.pool.learn(&message);
                self.asks.push((ask, message));
            }
            Effect::Reply { to, answer } => {
                trace.value(&answer);
                self.pool.learn_answer(&answer);
                let owed = self.owed.get_mut(&to.correlation);
                let owed = owed.filter(|owed| **owed > 0);
                *owed.expect("an ask is answered more often than it was made") -= 1;
            }
            Effect::SetTimer { timer, .. } => self.timers.push(timer),
            Effect::ClearTimer { .. } => (),
            Effect::Op { op, what } => {
                self.subject.learn(&mut self.pool, &what);
                self.ops.push((op, what));
            }
            // After a fatal error the process ends; how the machine would go on is nobody's concern.
            Effect::Stopped | Effect::Fatal(_) => self.stopped = true,
        }
    }
}
