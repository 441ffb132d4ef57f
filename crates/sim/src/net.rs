//! The virtual network, as the shell uses it: who has something to say to a process dials it, and
//! keeps that connection for what it says; answers come back over it. So between two processes that
//! both speak there are two connections, each first in first out, and nothing keeps an order between
//! them.
//!
//! - Connections are slow, cut, or reset; and they lose messages or deliver them twice, which a real
//!   one does when queues overflow or an ask is given up.
//! - A cut direction holds what is sent (TCP repeats it) until it heals: then all arrives at once,
//!   or the connection turns out to be reset and all is lost.
//! - A reset is dialled again at once. The same process goes on; another one, a refusal, or silence
//!   for too long, is a lost peer.
//! - A process that crashed silently (its machine is gone) refuses nothing: its peers notice when it
//!   is back, or by their heartbeats.

use crate::plan::Weather;
use millstream_core::ids::FencingToken;
use millstream_rpc::machine::Rng;
use millstream_rpc::protocol::{Answer, EndpointName, Message};
use std::collections::{BTreeMap, VecDeque};

/// Names a process of the simulation.
pub type ProcId = usize;

/// Names an ask, over the whole run.
pub type Correlation = u64;

/// Names a connection, over the whole run.
pub type Epoch = u64;

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
        epoch: Option<Epoch>,
        /// What.
        frame: Frame,
    },
    /// Who dialled learns who answers.
    Connected {
        /// Who learns it.
        at: ProcId,
        /// Who is there.
        peer: ProcId,
        /// In which life.
        instance: u64,
        /// Over which connection.
        epoch: Epoch,
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
    /// Somebody has dialled for too long without an answer, unless it got through meanwhile.
    DialTimeout {
        /// Who.
        at: ProcId,
        /// Where.
        peer: ProcId,
        /// Which time it dialled.
        dial: u64,
    },
    /// A connection is broken.
    Broken {
        /// Who had dialled it.
        at: ProcId,
        /// With whom.
        peer: ProcId,
        /// Which.
        epoch: Epoch,
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

/// What one process has to say to another.
#[derive(Debug, Default)]
struct Link {
    /// The connection that stands: its name, and between which lives (who dialled comes first).
    connection: Option<(Epoch, [u64; 2])>,
    /// What waits for a cut to heal: of who dialled, and answers.
    held: [VecDeque<Frame>; 2],
    /// When the last frame arrives in each direction: none may overtake it.
    last_us: [u64; 2],
    /// It is dialled and nothing is heard, for the n-th time.
    dialling: Option<u64>,
}

/// The network.
#[derive(Debug)]
pub struct Net {
    /// By who speaks and who is spoken to.
    links: BTreeMap<(ProcId, ProcId), Link>,
    /// How many cuts are in force from one process to another.
    blocked: BTreeMap<(ProcId, ProcId), u32>,
    /// Counts connections and dials.
    last: u64,
    rng: Rng,
    /// How it behaves now.
    pub weather: Weather,
}

/// Events with the microsecond at which they happen.
pub type Schedule = Vec<(u64, NetEvent)>;

/// Frames that wait at a cut at most: more are lost, as in a bounded queue.
const HELD_MAX: usize = 2_000;

/// So long a dial waits for an answer, as in the shell.
const CONNECT_TIMEOUT_US: u64 = 10_000_000;

impl Net {
    /// No connection yet.
    pub fn new(seed: u64, weather: Weather) -> Self {
        Self {
            links: BTreeMap::new(),
            blocked: BTreeMap::new(),
            last: 0,
            rng: Rng::new(seed ^ 0x0E71),
            weather,
        }
    }

    /// The connection over which one process speaks to another.
    pub fn epoch(&self, from: ProcId, to: ProcId) -> Option<Epoch> {
        let link = self.links.get(&(from, to))?;
        link.connection.map(|(epoch, _)| epoch)
    }

    /// Whether the frame's connection stands, between the processes that live now.
    pub fn stands(&self, from: ProcId, to: ProcId, epoch: Epoch, presence: &[Presence]) -> bool {
        [(from, to), (to, from)].iter().any(|key| {
            let link = self.links.get(key);
            let connection = link.and_then(|link| link.connection);
            connection == Some((epoch, [presence[key.0].instance, presence[key.1].instance]))
        })
    }

    fn is_blocked(&self, from: ProcId, to: ProcId) -> bool {
        self.blocked.get(&(from, to)).is_some_and(|cuts| *cuts > 0)
    }

    /// Says something to a process; the connection it goes over, if one stands.
    pub fn send(
        &mut self,
        now_us: u64,
        (from, to): (ProcId, ProcId),
        frame: Frame,
        presence: &[Presence],
        out: &mut Schedule,
    ) -> Option<Epoch> {
        let link = self.links.entry((from, to)).or_default();
        if link.connection.is_some_and(|(_, lives)| lives[0] != presence[from].instance) {
            // Of a former life of the sender, which vanished without a word.
            *link = Link::default();
        }
        if link.connection.is_none() {
            self.dial(now_us, from, to, presence, out);
        }
        let link = self.links.entry((from, to)).or_default();
        let Some((epoch, lives)) = link.connection else {
            if link.dialling.is_some() {
                hold(link, 0, frame);
            } else if let Frame::Message { ask: Some(ask), .. } = frame {
                let at = now_us + 2 * self.weather.delay_us_min;
                let ask = Some(ask);
                out.push((at, NetEvent::Refused { at: from, peer: to, ask }));
            }
            return None;
        };
        if presence[to].up && lives[1] != presence[to].instance {
            // The other end was replaced and does not know this connection.
            self.break_link(now_us, from, to, presence, out);
        } else {
            self.pass_on(now_us, (from, to), 0, frame, out);
        }
        Some(epoch)
    }

    /// Answers over the connection that the ask came over; an answer without it is lost.
    pub fn answer(
        &mut self,
        now_us: u64,
        (from, to): (ProcId, ProcId),
        epoch: Option<Epoch>,
        frame: Frame,
        out: &mut Schedule,
    ) {
        let stands = self.epoch(to, from);
        // One that was asked while the connection was being made goes over that connection.
        if stands.is_some() && (epoch.is_none() || epoch == stands) {
            self.pass_on(now_us, (to, from), 1, frame, out);
        }
    }

    /// Sends a frame over a standing connection, with the weather's luck.
    fn pass_on(
        &mut self,
        now_us: u64,
        key: (ProcId, ProcId),
        lane: usize,
        frame: Frame,
        out: &mut Schedule,
    ) {
        let (from, to) = ends(key, lane);
        if self.is_blocked(from, to) {
            return hold(self.links.entry(key).or_default(), lane, frame);
        }
        let (lost, doubled) = self.luck(&frame);
        self.repeat_late(now_us, (from, to), &frame, out);
        if lost {
            return;
        }
        if doubled {
            self.arrive_in_order(now_us, key, lane, frame.clone(), out);
        }
        self.arrive_in_order(now_us, key, lane, frame, out);
    }

    /// Whether the frame gets lost, and whether it comes twice.
    fn luck(&mut self, frame: &Frame) -> (bool, bool) {
        let (lost, doubled) = match frame {
            Frame::Message { ask: None, .. } => {
                (self.weather.lost_tells, self.weather.doubled_tells)
            }
            Frame::Message { .. } => (self.weather.lost_asks, self.weather.doubled_asks),
            Frame::Answer(..) => (self.weather.lost_asks, 0),
            Frame::NoEndpoint(_) => (0, 0),
        };
        (self.chance(lost), self.chance(doubled))
    }

    fn chance(&mut self, thousandths: u64) -> bool {
        thousandths > 0 && self.rng.one_in_thousand(thousandths)
    }

    /// Maybe it arrives once more, long after, as if a proxy had kept it.
    fn repeat_late(
        &mut self,
        now_us: u64,
        (from, to): (ProcId, ProcId),
        frame: &Frame,
        out: &mut Schedule,
    ) {
        let chance = match frame {
            Frame::Message { ask: None, .. } => self.weather.late_tells,
            Frame::Answer(..) => self.weather.late_answers,
            _ => 0,
        };
        if self.chance(chance) {
            let at = now_us + 1_000 * (1 + self.rng.below(self.weather.late_ms.max(1)));
            let (frame, epoch) = (frame.clone(), None);
            out.push((at, NetEvent::Arrive { from, to, epoch, frame }));
        }
    }

    fn arrive_in_order(
        &mut self,
        now_us: u64,
        key: (ProcId, ProcId),
        lane: usize,
        frame: Frame,
        out: &mut Schedule,
    ) {
        let delay = self.delay_us();
        let link = self.links.entry(key).or_default();
        let at = (now_us + delay).max(link.last_us[lane] + 1);
        link.last_us[lane] = at;
        let epoch = link.connection.map(|(epoch, _)| epoch);
        let (from, to) = ends(key, lane);
        out.push((at, NetEvent::Arrive { from, to, epoch, frame }));
    }

    fn delay_us(&mut self) -> u64 {
        if self.chance(self.weather.slow) {
            return 1_000 * (1 + self.rng.below(self.weather.slow_ms.max(1)));
        }
        let weather = &self.weather;
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
        self.last += 1;
        let number = self.last;
        let cut = self.is_blocked(from, to) || self.is_blocked(to, from);
        let link = self.links.entry((from, to)).or_default();
        let target = presence[to];
        if cut || !target.machine_up {
            if link.dialling.is_none() {
                link.dialling = Some(number);
                let timeout = NetEvent::DialTimeout { at: from, peer: to, dial: number };
                out.push((now_us + CONNECT_TIMEOUT_US, timeout));
            }
            return;
        }
        link.dialling = None;
        let at = now_us + 2 * self.weather.delay_us_min;
        if !target.up {
            let refused = NetEvent::Refused { at: from, peer: to, ask: None };
            out.push((at, refused));
            return;
        }
        let instance = target.instance;
        link.connection = Some((number, [presence[from].instance, instance]));
        link.last_us = [at, at];
        let connected = NetEvent::Connected { at: from, peer: to, instance, epoch: number };
        out.push((at, connected));
    }

    /// A dial was given up: what waited for it is lost. The asks among that; nothing if it was not
    /// the newest dial or got through.
    pub fn give_up_dial(
        &mut self,
        from: ProcId,
        to: ProcId,
        dial: u64,
    ) -> Option<Vec<Correlation>> {
        let link = self.links.get_mut(&(from, to))?;
        if link.dialling != Some(dial) {
            return None;
        }
        let link = std::mem::take(link);
        let asks = link.held[0].iter().filter_map(|frame| match frame {
            Frame::Message { ask, .. } => *ask,
            _ => None,
        });
        Some(asks.collect())
    }

    /// The connection that one process had dialled is gone, and all that was on its way over it.
    /// It learns that, if it lives.
    pub fn break_link(
        &mut self,
        now_us: u64,
        from: ProcId,
        to: ProcId,
        presence: &[Presence],
        out: &mut Schedule,
    ) {
        let Some(link) = self.links.get_mut(&(from, to)) else {
            return;
        };
        let Some((epoch, _)) = link.connection else {
            return;
        };
        *link = Link::default();
        if presence[from].up {
            let at = now_us + self.weather.delay_us_min;
            out.push((at, NetEvent::Broken { at: from, peer: to, epoch }));
        }
    }

    /// All peers that the process has something to say to, or that have something to say to it.
    pub fn peers_of(&self, process: ProcId) -> Vec<ProcId> {
        let of = |(a, b): &(ProcId, ProcId)| match (*a == process, *b == process) {
            (true, _) => Some(*b),
            (_, true) => Some(*a),
            _ => None,
        };
        let mut peers: Vec<_> = self.links.keys().filter_map(of).collect();
        peers.sort_unstable();
        peers.dedup();
        peers
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
        *self.blocked.entry((from, to)).or_default() += 1;
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
        let cuts = self.blocked.entry((from, to)).or_default();
        *cuts = cuts.saturating_sub(1);
        if *cuts > 0 {
            return;
        }
        if reset {
            self.break_link(now_us, from, to, presence, out);
            self.break_link(now_us, to, from, presence, out);
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
            if self.links.get(&(from, to)).is_some_and(|link| link.dialling.is_some()) {
                self.dial(now_us, from, to, presence, out);
            }
            let Some(link) = self.links.get_mut(&(from, to)) else {
                continue;
            };
            if link.connection.is_none() {
                continue;
            }
            let held = std::mem::take(&mut link.held);
            for (lane, frames) in held.into_iter().enumerate() {
                for frame in frames {
                    self.pass_on(now_us, (from, to), lane, frame, out);
                }
            }
        }
    }
}

/// Who sends and who receives in a lane of a link.
fn ends((dialler, peer): (ProcId, ProcId), lane: usize) -> (ProcId, ProcId) {
    if lane == 0 { (dialler, peer) } else { (peer, dialler) }
}

fn hold(link: &mut Link, lane: usize, frame: Frame) {
    if link.held[lane].len() < HELD_MAX {
        link.held[lane].push_back(frame);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millstream_rpc::protocol::dispatcher::ToDispatcher;

    const UP: Presence = Presence { up: true, machine_up: true, instance: 1 };

    fn calm() -> Net {
        let weather = Weather { delay_us_min: 10, delay_us_max: 1_000, ..Weather::default() };
        Net::new(1, weather)
    }

    fn tell() -> Frame {
        Frame::Message {
            to: EndpointName::Dispatcher,
            token: None,
            message: Box::new(Message::Dispatcher(ToDispatcher::ListJobs)),
            ask: None,
        }
    }

    /// When frames arrive that still have their connection.
    fn arrivals(net: &Net, out: &Schedule, presence: &[Presence]) -> Vec<u64> {
        let arrive = |(at, event): &(u64, NetEvent)| match event {
            NetEvent::Arrive { from, to, epoch, .. } => {
                let stands = epoch.is_none_or(|epoch| net.stands(*from, *to, epoch, presence));
                stands.then_some(*at)
            }
            _ => None,
        };
        out.iter().filter_map(arrive).collect()
    }

    #[test]
    fn frames_of_one_connection_keep_their_order() {
        let (mut net, mut out) = (calm(), Schedule::new());
        for now_us in 0..100 {
            net.send(now_us, (0, 1), tell(), &[UP; 2], &mut out);
        }
        let arrivals = arrivals(&net, &out, &[UP; 2]);
        assert_eq!(arrivals.len(), 100);
        assert!(arrivals.is_sorted());
    }

    #[test]
    fn a_cut_holds_what_is_sent_until_it_heals() {
        let (mut net, mut out) = (calm(), Schedule::new());
        net.send(0, (0, 1), tell(), &[UP; 2], &mut out);
        net.block(0, 1);
        net.send(1, (0, 1), tell(), &[UP; 2], &mut out);
        assert_eq!(arrivals(&net, &out, &[UP; 2]).len(), 1);
        net.unblock(5_000, (0, 1), false, &[UP; 2], &mut out);
        let arrivals = arrivals(&net, &out, &[UP; 2]);
        assert!(arrivals[1] > 5_000, "{arrivals:?}");
    }

    #[test]
    fn what_was_on_its_way_over_a_reset_connection_never_arrives() {
        let (mut net, mut out) = (calm(), Schedule::new());
        net.send(0, (0, 1), tell(), &[UP; 2], &mut out);
        net.break_link(1, 0, 1, &[UP; 2], &mut out);
        assert!(arrivals(&net, &out, &[UP; 2]).is_empty());
        net.redial(2, 0, 1, &[UP; 2], &mut out);
        net.send(3, (0, 1), tell(), &[UP; 2], &mut out);
        assert_eq!(arrivals(&net, &out, &[UP; 2]).len(), 1);
    }

    #[test]
    fn a_process_does_not_get_what_was_sent_to_its_former_life() {
        let (mut net, mut out) = (calm(), Schedule::new());
        net.send(0, (0, 1), tell(), &[UP; 2], &mut out);
        let reborn = [UP, Presence { instance: 2, ..UP }];
        assert!(arrivals(&net, &out, &reborn).is_empty());
    }

    #[test]
    fn a_dead_process_refuses_and_a_vanished_machine_says_nothing() {
        let dead = [UP, Presence { up: false, ..UP }];
        let (mut net, mut out) = (calm(), Schedule::new());
        net.send(0, (0, 1), tell(), &dead, &mut out);
        assert!(matches!(out[..], [(_, NetEvent::Refused { at: 0, peer: 1, .. })]), "{out:?}");
        let gone = [UP, Presence { up: false, machine_up: false, instance: 1 }];
        let (mut net, mut out) = (calm(), Schedule::new());
        net.send(0, (0, 1), tell(), &gone, &mut out);
        let [(at, NetEvent::DialTimeout { dial, .. })] = out[..] else { panic!("{out:?}") };
        assert_eq!(at, CONNECT_TIMEOUT_US);
        assert!(net.give_up_dial(0, 1, dial).is_some());
        assert!(net.give_up_dial(0, 1, dial).is_none(), "once");
    }
}
