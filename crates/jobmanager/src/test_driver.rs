//! Drives one machine in tests: inputs go in, effects come out, invariants hold after each step.

use millstream_core::ids::FencingToken;
use millstream_core::time::{Mono, Timestamp};
use millstream_rpc::machine::{AskId, Cx, Effect, Input, Machine, OpId, ReplyTo, Rng};
use millstream_rpc::protocol::{Answer, AskError, Message};

/// The effects of a machine.
pub(crate) type Effects<M> = Vec<Effect<<M as Machine>::Timer, <M as Machine>::Op>>;

/// The token of the endpoint under test.
pub(crate) const TOKEN: FencingToken = FencingToken(0x70);

/// A machine, its clock and its generator.
pub(crate) struct Driver<M: Machine> {
    pub(crate) machine: M,
    pub(crate) now: Mono,
    rng: Rng,
    asked: u64,
}

impl<M: Machine> Driver<M> {
    pub(crate) fn new(machine: M) -> Self {
        Self { machine, now: Mono(0), rng: Rng::new(7), asked: 0 }
    }

    /// One step and the check after it.
    pub(crate) fn give(&mut self, input: Input<M::Timer, M::Done>) -> Effects<M> {
        let mut out = Vec::new();
        let mut cx = Cx {
            now: self.now,
            wall: self.now.0 as Timestamp + 1_000_000,
            rng: &mut self.rng,
            out: &mut out,
        };
        self.machine.step(&mut cx, input);
        self.machine.check();
        out
    }

    /// A message under the right token that wants no answer.
    pub(crate) fn tell(&mut self, message: Message) -> Effects<M> {
        self.give(Input::Message { token: Some(TOKEN), message, reply: None })
    }

    /// A message under the right token that wants an answer; what came out, and where the answer
    /// will go.
    pub(crate) fn ask(&mut self, message: Message) -> (Effects<M>, ReplyTo) {
        self.asked += 1;
        let reply = ReplyTo { process: "client:1".to_owned(), correlation: self.asked };
        let effects =
            self.give(Input::Message { token: Some(TOKEN), message, reply: Some(reply.clone()) });
        (effects, reply)
    }

    /// A message that is answered at once: the answer and everything else that came out.
    #[track_caller]
    pub(crate) fn call(&mut self, message: Message) -> (Answer, Effects<M>) {
        let (mut effects, reply) = self.ask(message);
        let answer = take_reply(&mut effects, &reply).expect("it is answered at once");
        (answer, effects)
    }

    pub(crate) fn answer(&mut self, ask: AskId, result: Result<Answer, AskError>) -> Effects<M> {
        self.give(Input::Answered { ask, result })
    }

    pub(crate) fn done(&mut self, op: OpId, result: M::Done) -> Effects<M> {
        self.give(Input::Done { op, result })
    }

    pub(crate) fn wait(&mut self, millis: u64) -> &mut Self {
        self.now = self.now + millis;
        self
    }
}

/// Takes the answer to an ask out of the effects.
pub(crate) fn take_reply<T, O>(effects: &mut Vec<Effect<T, O>>, to: &ReplyTo) -> Option<Answer> {
    let is_it = |effect: &Effect<T, O>| matches!(effect, Effect::Reply { to: r, .. } if r == to);
    let at = effects.iter().position(is_it)?;
    match effects.remove(at) {
        Effect::Reply { answer, .. } => Some(answer),
        _ => None,
    }
}

/// An ask that nobody answers in time.
pub(crate) fn timeout() -> AskError {
    AskError::Timeout { to: "somebody".to_owned(), timeout_ms: 10_000 }
}

/// An ask that finds nobody.
pub(crate) fn unreachable() -> AskError {
    AskError::Unreachable { to: "somebody".to_owned(), reason: "connection refused".to_owned() }
}
