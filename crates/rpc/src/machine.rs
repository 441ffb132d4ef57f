//! The shape of deciding code: inputs and the time go in, effects come out.
//!
//! An endpoint is a [`Machine`]. It holds its state alone, never waits, and knows the world only
//! through [`Cx`]. The shell (or the simulator) performs its effects in order and feeds back what
//! came of them. Long work is an [`Effect::Op`]; its end returns as [`Input::Done`].

use crate::protocol::{Address, Answer, AskError, Message};
use millstream_core::ids::FencingToken;
use millstream_core::time::{Mono, Timestamp};

/// Everything that a machine may know about the world.
pub struct Cx<'a, M: Machine + ?Sized> {
    /// Monotonic time: for timeouts.
    pub now: Mono,
    /// Wall-clock time: for display only.
    pub wall: Timestamp,
    /// The only source of randomness.
    pub rng: &'a mut Rng,
    /// Effects, performed in order.
    pub out: &'a mut Vec<Effect<M::Timer, M::Op>>,
}

/// A component that decides.
pub trait Machine {
    /// Names its timers; setting one again moves it.
    type Timer: Clone + Ord + std::fmt::Debug;
    /// Work that it has done by others.
    type Op: std::fmt::Debug;
    /// What such work gives.
    type Done: std::fmt::Debug;

    /// Takes one input.
    fn step(&mut self, cx: &mut Cx<'_, Self>, input: Input<Self::Timer, Self::Done>);

    /// Checks the invariants; called after every step, a violation panics.
    fn check(&self);
}

/// Names an ask of one machine until it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub u64);

/// Names a piece of work of one machine until it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(pub u64);

/// Where the answer to an ask goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyTo {
    /// The process that asked; empty for an asker inside this process.
    pub process: String,
    /// What that process calls the ask.
    pub correlation: u64,
}

/// What can happen to a machine.
#[derive(Debug)]
pub enum Input<T, D> {
    /// The first input: begin.
    Start,
    /// Somebody says something.
    Message {
        /// Who leads here, as far as the sender knows; nothing for an endpoint that is not fenced.
        token: Option<FencingToken>,
        /// What is said.
        message: Message,
        /// Where the answer goes, if one is wanted.
        reply: Option<ReplyTo>,
    },
    /// An ask has been answered, or has failed.
    Answered {
        /// Which.
        ask: AskId,
        /// With what.
        result: Result<Answer, AskError>,
    },
    /// A timer has run out.
    Timer(T),
    /// A piece of work is done.
    Done {
        /// Which.
        op: OpId,
        /// What it gave.
        result: D,
    },
    /// The connection to a process is lost: refused, reset, or another process answers there.
    PeerLost {
        /// `host:port`.
        process: String,
        /// What the connection said.
        reason: String,
    },
    /// The process is asked to end.
    Stop,
}

/// What a machine wants done.
#[derive(Debug)]
pub enum Effect<T, O> {
    /// Say something without waiting for an answer.
    Tell {
        /// To whom.
        to: Address,
        /// Who leads there, as far as we know.
        token: Option<FencingToken>,
        /// What.
        message: Message,
    },
    /// Say something and wait for the answer: exactly one [`Input::Answered`] follows.
    Ask {
        /// How the answer will be called.
        ask: AskId,
        /// To whom.
        to: Address,
        /// Who leads there, as far as we know.
        token: Option<FencingToken>,
        /// What.
        message: Message,
        /// How long to wait.
        timeout_ms: u64,
    },
    /// Answer an ask.
    Reply {
        /// Which.
        to: ReplyTo,
        /// With what.
        answer: Answer,
    },
    /// Wake me then; replaces the timer of the same name.
    SetTimer {
        /// Its name.
        timer: T,
        /// When.
        at: Mono,
    },
    /// Do not wake me for this.
    ClearTimer {
        /// Its name.
        timer: T,
    },
    /// Have this done: exactly one [`Input::Done`] follows.
    Op {
        /// How its end will be called.
        op: OpId,
        /// What.
        what: O,
    },
    /// This machine is done; it gets no further input.
    Stopped,
    /// The process must end, and this is why.
    Fatal(String),
}

/// A small, fast, seedable generator (SplitMix64; Steele, Lea, Flood, OOPSLA 2014).
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// Starts at a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// 128 random bits: a fresh id.
    pub fn next_u128(&mut self) -> u128 {
        u128::from(self.next_u64()) << 64 | u128::from(self.next_u64())
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0);
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// True with this probability, in thousandths.
    pub fn one_in_thousand(&mut self, thousandths: u64) -> bool {
        self.below(1000) < thousandths
    }
}
