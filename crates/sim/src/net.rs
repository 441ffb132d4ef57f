//! The virtual network: one connection per pair of processes, first in first out, that can be slow,
//! cut, or reset; and lose messages or deliver them twice, which a real one does when queues
//! overflow or an ask is given up.
//!
//! - A cut direction holds what is sent (TCP repeats it) until it heals: then all arrives at once,
//!   or the connection turns out to be reset and all is lost.
//! - A reset is dialled again at once. The same process goes on; another one, or a refusal, is told
//!   to the endpoints as a lost peer; a link that is cut leaves them waiting.
//! - A process that crashed silently (its machine is gone) refuses nothing: its peers only notice
//!   when it is back, or by their heartbeats.

use crate::plan::Weather;
use millstream_core::ids::FencingToken;
use millstream_rpc::machine::Rng;
use millstream_rpc::protocol::{Answer, EndpointName, Message};
use std::collections::{BTreeMap, VecDeque};

/// Names a process of the simulation.
pub type ProcId = usize;

/// Names an ask, over the whole run.
pub type Correlation = u64;

/// What travels.
#[derive(Clone, Debug)]
pub enum Frame {
    /// A message.
    Message {
        /// To which endpoint of the process.
        to: EndpointName,
        /// Who leads there, as the sender believes.
        token: Option<FencingToken>,
        /// What.
        message: Box<Message>,
        /// The ask, if an answer is wanted.
        ask: Option<Correlation>,
    },
    /// The answer to an ask.
    Answer(Correlation, Box<Answer>),
    /// There is no such endpoint.
    NoEndpoint(Correlation),
}

/// What the network wants to happen later.
#[derive(Debug)]
pub enum NetEvent {
    /// The frame arrives, if its connection still stands then (or always, if it names none).
    Arrive {
        /// The sender.
        from: ProcId,
        /// The receiver.
        to: ProcId,
        /// The connection.
        epoch: Option<u64>,
        /// What.
        frame: Frame,
    },
    /// A process learns who answers at the other end of a new connection.
    Connected {
        /// Who learns it.
        at: ProcId,
        /// Who is there.
        peer: ProcId,
        /// In which life.
        instance: u64,
    },
    /// Nobody listens there.
    Refused {
        /// Who learns it.
        at: ProcId,
        /// Where.
        peer: ProcId,
        /// The ask that was to be sent.
        ask: Option<Correlation>,
    },
    /// A connection is broken.
    Broken {
        /// Who learns it.
        at: ProcId,
        /// With whom.
        peer: ProcId,
        /// Which.
        epoch: u64,
    },
}

/// How a process stands, as far as the network cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presence {
    /// It runs.
    pub up: bool,
    /// Its machine does: a connection to a dead process on it is refused.
    pub machine_up: bool,
    /// Counts its lives.
    pub instance: u64,
}

/// One pair of processes. Index 0 of the pairs is the direction from the lower number.
#[derive(Debug, Default)]
struct Link {
    /// The connection that stands: its number, and between which lives.
    connection: Option<(u64, [u64; 2])>,
    /// Counts connections.
    epochs: u64,
    /// How many cuts are in force.
    blocked: [u32; 2],
    /// What waits for a cut to heal.
    held: [VecDeque<Frame>; 2],
    /// When the last frame arrives: none may overtake it.
    last_us: [u64; 2],
    /// Somebody dials and hears nothing.
    dialling: bool,
}

/// The network.
#[derive(Debug)]
pub struct Net {
    links: BTreeMap<(ProcId, ProcId), Link>,
    rng: Rng,
    /// How it behaves now.
    pub weather: Weather,
}

/// Events with the microsecond at which they happen.
pub type Schedule = Vec<(u64, NetEvent)>;

/// Frames that wait at a cut at most: more are lost, as in a bounded queue.
const HELD_MAX: usize = 2_000;

impl Net {
    /// No connection yet.
    pub fn new(seed: u64, weather: Weather) -> Self {
        Self { links: BTreeMap::new(), rng: Rng::new(seed ^ 0x0E71), weather }
    }

    /// The connection that stands between two processes.
    pub fn epoch(&self, a: ProcId, b: ProcId) -> Option<u64> {
        let link = self.links.get(&pair(a, b).0)?;
        link.connection.map(|(epoch, _)| epoch)
    }

    /// Sends a frame; the connection it goes over, if one stands.
    pub fn send(
        &mut self,
        now_us: u64,
        (from, to): (ProcId, ProcId),
        frame: Frame,
        presence: &[Presence],
        out: &mut Schedule,
    ) -> Option<u64> {
        let (key, direction) = pair(from, to);
        let link = self.links.entry(key).or_default();
        if let Some((_, lives)) = link.connection
            && lives[direction] != presence[from].instance
        {
            // Of a former life of the sender, which vanished without a word.
            link.connection = None;
            link.held = Default::default();
        }
        if link.connection.is_none() {
            self.dial(now_us, from, to, presence, out);
        }
        let link = self.links.entry(key).or_default();
        let Some((epoch, lives)) = link.connection else {
            // Dialling without an answer, or refused.
            let target = presence[to];
            let cut = link.blocked != [0, 0];
            if cut || !target.machine_up {
                hold(link, direction, frame);
            } else if let Frame::Message { ask: Some(ask), .. } = frame {
                let at = now_us + 2 * self.weather.delay_us_min;
                let ask = Some(ask);
                out.push((at, NetEvent::Refused { at: from, peer: to, ask }));
            }
            return None;
        };
        if presence[to].up && lives[1 - direction] != presence[to].instance {
            // The other end was replaced and does not know this connection.
            self.break_link(now_us, from, to, presence, out);
            return Some(epoch);
        }
        if link.blocked[direction] > 0 {
            hold(link, direction, frame);
            return Some(epoch);
        }
        self.pass_on(now_us, from, to, frame, out);
        Some(epoch)
    }

    /// Sends a frame over the standing connection, with the weather's luck.
    fn pass_on(&mut self, now_us: u64, from: ProcId, to: ProcId, frame: Frame, out: &mut Schedule) {
        if matches!(frame, Frame::Message { ask: None, .. }) {
            self.pass_on_late(now_us, from, to, &frame, out);
        }
        let (lost, doubled) = self.luck(&frame);
        if lost {
            return;
        }
        if doubled {
            match &frame {
                // A second answer comes long after the first, and needs no connection.
                Frame::Answer(..) => {
                    let at = now_us + 1_000 * (1 + self.rng.below(20_000));
                    let (frame, epoch) = (frame.clone(), None);
                    out.push((at, NetEvent::Arrive { from, to, epoch, frame }));
                }
                _ => self.arrive_in_order(now_us, from, to, frame.clone(), out),
            }
        }
        self.arrive_in_order(now_us, from, to, frame, out);
    }

    /// Maybe it arrives once more, long after, as if a proxy had kept it.
    fn pass_on_late(
        &mut self,
        now_us: u64,
        from: ProcId,
        to: ProcId,
        frame: &Frame,
        out: &mut Schedule,
    ) {
        let chance = self.weather.late_tells;
        if chance > 0 && self.rng.one_in_thousand(chance) {
            let at = now_us + 1_000 * (1 + self.rng.below(self.weather.late_ms));
            let (frame, epoch) = (frame.clone(), None);
            out.push((at, NetEvent::Arrive { from, to, epoch, frame }));
        }
    }

    fn luck(&mut self, frame: &Frame) -> (bool, bool) {
        let (lost, doubled) = match frame {
            Frame::Message { ask: None, .. } => {
                (self.weather.lost_tells, self.weather.doubled_tells)
            }
            Frame::Message { .. } => (self.weather.lost_asks, self.weather.doubled_asks),
            Frame::Answer(..) => (self.weather.lost_asks, self.weather.late_answers),
            Frame::NoEndpoint(_) => (0, 0),
        };
        let lost = lost > 0 && self.rng.one_in_thousand(lost);
        let doubled = doubled > 0 && self.rng.one_in_thousand(doubled);
        (lost, doubled)
    }

    fn arrive_in_order(
        &mut self,
        now_us: u64,
        from: ProcId,
        to: ProcId,
        frame: Frame,
        out: &mut Schedule,
    ) {
        let delay = self.delay_us();
        let (key, direction) = pair(from, to);
        let link = self.links.entry(key).or_default();
        let at = (now_us + delay).max(link.last_us[direction] + 1);
        link.last_us[direction] = at;
        let epoch = link.connection.map(|(epoch, _)| epoch);
        out.push((at, NetEvent::Arrive { from, to, epoch, frame }));
    }

    fn delay_us(&mut self) -> u64 {
        let weather = &self.weather;
        if weather.slow > 0 && self.rng.one_in_thousand(weather.slow) {
            return 1_000 * (1 + self.rng.below(weather.slow_ms.max(1)));
        }
        let span = weather.delay_us_max.saturating_sub(weather.delay_us_min) + 1;
        weather.delay_us_min + self.rng.below(span)
    }

    /// Tries to connect.
    fn dial(
        &mut self,
        now_us: u64,
        from: ProcId,
        to: ProcId,
        presence: &[Presence],
        out: &mut Schedule,
    ) {
        let (key, _) = pair(from, to);
        let link = self.links.entry(key).or_default();
        let target = presence[to];
        if link.blocked != [0, 0] || !target.machine_up {
            link.dialling = true;
            return;
        }
        let at = now_us + 2 * self.weather.delay_us_min;
        if !target.up {
            let refused = NetEvent::Refused { at: from, peer: to, ask: None };
            out.push((at, refused));
            return;
        }
        link.dialling = false;
        link.epochs += 1;
        let lives = [presence[key.0].instance, presence[key.1].instance];
        link.connection = Some((link.epochs, lives));
        link.last_us = [at, at];
        for (at_proc, peer) in [(from, to), (to, from)] {
            let instance = presence[peer].instance;
            out.push((at, NetEvent::Connected { at: at_proc, peer, instance }));
        }
    }

    /// The connection between the two is gone, and all that was on its way; both ends that live
    /// learn it. (A machine that is gone tells nobody.)
    pub fn break_link(
        &mut self,
        now_us: u64,
        a: ProcId,
        b: ProcId,
        presence: &[Presence],
        out: &mut Schedule,
    ) {
        let (key, _) = pair(a, b);
        let Some(link) = self.links.get_mut(&key) else {
            return;
        };
        let Some((epoch, _)) = link.connection.take() else {
            return;
        };
        link.held = Default::default();
        for (at_proc, peer) in [(a, b), (b, a)] {
            if presence[at_proc].up {
                let at = now_us + self.weather.delay_us_min;
                out.push((at, NetEvent::Broken { at: at_proc, peer, epoch }));
            }
        }
    }

    /// All peers that the process has, or tries to have, a connection with.
    pub fn peers_of(&self, process: ProcId) -> Vec<ProcId> {
        let of = |(a, b): &(ProcId, ProcId)| match (*a == process, *b == process) {
            (true, _) => Some(*b),
            (_, true) => Some(*a),
            _ => None,
        };
        self.links.keys().filter_map(of).collect()
    }

    /// A broken connection is dialled again.
    pub fn redial(
        &mut self,
        now_us: u64,
        from: ProcId,
        to: ProcId,
        presence: &[Presence],
        out: &mut Schedule,
    ) {
        if self.epoch(from, to).is_none() {
            self.dial(now_us, from, to, presence, out);
        }
    }

    /// One direction is cut.
    pub fn block(&mut self, from: ProcId, to: ProcId) {
        let (key, direction) = pair(from, to);
        self.links.entry(key).or_default().blocked[direction] += 1;
    }

    /// A cut heals.
    pub fn unblock(
        &mut self,
        now_us: u64,
        (from, to): (ProcId, ProcId),
        reset: bool,
        presence: &[Presence],
        out: &mut Schedule,
    ) {
        let (key, direction) = pair(from, to);
        let link = self.links.entry(key).or_default();
        link.blocked[direction] = link.blocked[direction].saturating_sub(1);
        if link.blocked[direction] > 0 {
            return;
        }
        if reset {
            self.break_link(now_us, from, to, presence, out);
        }
        self.wake(now_us, from, to, presence, out);
    }

    /// A cut has healed or a process is back: who dials gets through, what was held goes out.
    pub fn wake(
        &mut self,
        now_us: u64,
        a: ProcId,
        b: ProcId,
        presence: &[Presence],
        out: &mut Schedule,
    ) {
        for (from, to) in [(a, b), (b, a)] {
            let (key, direction) = pair(from, to);
            let Some(link) = self.links.get_mut(&key) else {
                return;
            };
            if link.connection.is_none() && (link.dialling || !link.held[direction].is_empty()) {
                self.dial(now_us, from, to, presence, out);
            }
            let Some(link) = self.links.get_mut(&key) else {
                return;
            };
            if link.blocked[direction] > 0 || link.connection.is_none() {
                continue;
            }
            let held: Vec<Frame> = link.held[direction].drain(..).collect();
            for frame in held {
                self.pass_on(now_us, from, to, frame, out);
            }
        }
    }
}

fn hold(link: &mut Link, direction: usize, frame: Frame) {
    if link.held[direction].len() < HELD_MAX {
        link.held[direction].push_back(frame);
    }
}

/// The pair's key, and 0 if `from` is its lower number.
fn pair(from: ProcId, to: ProcId) -> ((ProcId, ProcId), usize) {
    if from < to { ((from, to), 0) } else { ((to, from), 1) }
}
