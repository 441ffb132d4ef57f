//! The connection of this process to one other: made in the background, shared by all channels that
//! read from there, and made again while channels that have seen nothing wait for it.
//!
//! A link lives as long as it has channels. Its thread dials, reads, and ends with the last channel;
//! a subscription that comes later begins a new link. When a connection breaks, channels that have
//! received rows break with it, for frames may be lost; the others are asked for again over the next
//! connection. How long they wait is decided by their tasks, which let go of them.
//!
//! Lock order: link, then inlet. Under the link's lock nothing is sent and nobody is woken.

use super::conversation::{Ending, Listener, converse, greet};
use super::frame::{Frame, Subscription};
use super::inlet::{Inlet, Uplink};
use super::sender::Sender;
use super::shared::Shared;
use super::transport::Transport;
use crate::sync::{Arc, Condvar, Mutex, lock};
use crate::wake::Wake;
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

/// The pause before the second attempt to connect; each next one is twice as long.
const REDIAL_PAUSE: Duration = Duration::from_millis(20);

/// Attempts to connect come at least so often.
const REDIAL_PAUSE_MAX: Duration = Duration::from_secs(2);

/// The connection to one address.
pub(crate) struct Link {
    address: String,
    shared: Arc<Shared>,
    state: Mutex<State>,
    /// The thread that pauses between attempts is told that there is nobody left to dial for.
    deserted: Condvar,
}

#[derive(Default)]
struct State {
    channels: BTreeMap<u32, Channel>,
    next_channel: u32,
    connection: Option<Connection>,
    /// The thread has ended, or will.
    closed: bool,
}

struct Channel {
    inlet: Arc<Inlet>,
    /// How it speaks over the connection of now.
    uplink: Option<Arc<Uplink>>,
}

/// How it went with a connection.
enum Held {
    /// It was ended from here, with its last channel.
    ToItsEnd,
    /// It served, and broke.
    ForAWhile,
    /// It was not made, or broke before it served.
    Never,
}

struct Connection {
    transport: Arc<dyn Transport>,
    sender: Arc<Sender>,
    /// Its last channel has gone: no other may come.
    finishing: bool,
}

impl Link {
    /// Nothing is dialled before [`Link::run`].
    pub(crate) fn new(address: &str, shared: Arc<Shared>) -> Self {
        let (state, deserted) = Default::default();
        Self { address: address.to_owned(), shared, state, deserted }
    }

    /// The data port behind it.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// One more channel; none if the link has come to its end.
    pub(crate) fn subscribe(&self, subscription: Subscription, wake: Wake) -> Option<Arc<Inlet>> {
        let window = self.shared.budget.grant(self.shared.config.channel_frames_max);
        let (inlet, uplink) = {
            let mut state = lock(&self.state);
            if state.closed {
                return None;
            }
            let channel = state.next_channel;
            state.next_channel = channel.checked_add(1)?;
            let inlet = Arc::new(Inlet::new(channel, subscription, window, wake));
            let usable = state.connection.as_ref().filter(|connection| !connection.finishing);
            let uplink = usable.map(|connection| inlet.bind(&connection.sender));
            let entry = Channel { inlet: inlet.clone(), uplink: uplink.clone() };
            state.channels.insert(channel, entry);
            (inlet, uplink)
        };
        if let Some(uplink) = uplink {
            uplink.schedule();
        }
        Some(inlet)
    }

    /// The channel's task reads no more.
    pub(crate) fn forget(&self, inlet: &Arc<Inlet>) {
        let (forgotten, finished) = {
            let mut state = lock(&self.state);
            let forgotten = state.channels.remove(&inlet.channel);
            (forgotten, state.finish_if_deserted())
        };
        inlet.cancel();
        if let Some(sender) = finished {
            sender.finish();
        }
        self.deserted.notify_all();
        // The uplink had to live until the sender knew of it.
        drop(forgotten);
    }

    /// Breaks all channels and ends the thread.
    pub(crate) fn close(&self, reason: &str) {
        let channels = {
            let mut state = lock(&self.state);
            state.closed = true;
            if let Some(connection) = &state.connection {
                connection.transport.close();
            }
            std::mem::take(&mut state.channels)
        };
        self.deserted.notify_all();
        channels.values().for_each(|channel| channel.inlet.fail(reason));
    }

    /// Whether the thread has ended, or will.
    pub(crate) fn is_closed(&self) -> bool {
        lock(&self.state).closed
    }

    /// What the link's thread does: connects, and connects again, while there are channels.
    pub(crate) fn run(&self) {
        let mut pause = REDIAL_PAUSE;
        while !self.is_over() {
            match self.connect_and_hold() {
                Held::ToItsEnd => pause = REDIAL_PAUSE,
                Held::ForAWhile => self.pause(std::mem::replace(&mut pause, REDIAL_PAUSE)),
                Held::Never => {
                    self.pause(pause);
                    pause = REDIAL_PAUSE_MAX.min(pause * 2);
                }
            }
        }
    }

    /// Whether there is nobody to connect for; then nobody joins any more.
    fn is_over(&self) -> bool {
        let mut state = lock(&self.state);
        state.closed |= state.channels.is_empty();
        state.closed
    }

    fn pause(&self, pause: Duration) {
        let state = lock(&self.state);
        if !state.closed && !state.channels.is_empty() {
            // Whatever ends the pause, the next attempt finds out.
            drop(self.deserted.wait_timeout(state, pause));
        }
    }

    fn connect_and_hold(&self) -> Held {
        match self.connect() {
            Ok(transport) => self.hold(transport),
            Err(error) => {
                self.hindered(&error.to_string());
                Held::Never
            }
        }
    }

    fn connect(&self) -> io::Result<Arc<dyn Transport>> {
        let transport = self.shared.dialer.dial(&self.address)?;
        greet(transport.as_ref(), &self.shared.config.preface.encode())?;
        Ok(transport)
    }

    fn hindered(&self, reason: &str) {
        self.inlets().iter().for_each(|inlet| inlet.hindered(reason));
    }

    fn inlets(&self) -> Vec<Arc<Inlet>> {
        lock(&self.state).channels.values().map(|channel| channel.inlet.clone()).collect()
    }

    /// Reads from the connection until it ends.
    fn hold(&self, transport: Arc<dyn Transport>) -> Held {
        let direct = self.shared.config.direct_writes;
        let sender = Arc::new(Sender::new(transport.clone(), direct));
        self.begin(&transport, &sender);
        let mut reception = Reception { link: self, answered: false };
        let ending = converse(&transport, &sender, &self.shared, &mut reception);
        let answered = reception.answered;
        let finished = self.connection_has_ended();
        match ending {
            Ending::Lost(reason) => {
                self.disconnected(|inlet| {
                    inlet.disconnected(&format!("connection lost: {reason}"))
                });
            }
            Ending::Breach(reason) => self.disconnected(|inlet| {
                inlet.fail(&format!("connection given up: {reason}"));
                false
            }),
        }
        match (finished, answered) {
            (true, _) => Held::ToItsEnd,
            (false, true) => Held::ForAWhile,
            (false, false) => Held::Never,
        }
    }

    /// Whether that was because its last channel had gone.
    fn connection_has_ended(&self) -> bool {
        let connection = lock(&self.state).connection.take();
        connection.is_some_and(|connection| connection.finishing)
    }

    /// Every channel asks over the new connection.
    fn begin(&self, transport: &Arc<dyn Transport>, sender: &Arc<Sender>) {
        let uplinks: Vec<Arc<Uplink>> = {
            let mut state = lock(&self.state);
            let (transport, sender) = (transport.clone(), sender.clone());
            let finishing = state.closed || state.channels.is_empty();
            if finishing {
                transport.close();
            }
            let bind =
                |channel: &mut Channel| channel.uplink.insert(channel.inlet.bind(&sender)).clone();
            let uplinks = state.channels.values_mut().map(bind).collect();
            state.connection = Some(Connection { transport, sender, finishing });
            uplinks
        };
        uplinks.iter().for_each(Uplink::schedule);
    }

    /// Channels that `carry_on` says can do so wait for the next connection.
    fn disconnected(&self, carry_on: impl Fn(&Inlet) -> bool) {
        lock(&self.state).channels.values_mut().for_each(|channel| channel.uplink = None);
        for inlet in self.inlets() {
            if !carry_on(&inlet) {
                lock(&self.state).channels.remove(&inlet.channel);
            }
        }
    }
}

impl State {
    /// With the last channel the connection ends; gives what is to be told so.
    fn finish_if_deserted(&mut self) -> Option<Arc<Sender>> {
        let connection = self.connection.as_mut().filter(|_| self.channels.is_empty())?;
        connection.finishing = true;
        Some(connection.sender.clone())
    }
}

/// What a link makes of the frames of the producer's process.
struct Reception<'a> {
    link: &'a Link,
    /// It has said something of a channel.
    answered: bool,
}

impl Listener for Reception<'_> {
    fn receive(&mut self, frame: Frame) -> Result<(), String> {
        let number = frame.header.channel;
        self.answered = true;
        let inlet = {
            let state = lock(&self.link.state);
            match state.channels.get(&number) {
                Some(channel) => channel.inlet.clone(),
                // It was given up while this was on its way.
                None if number < state.next_channel => return Ok(()),
                None => return Err(format!("a frame came for channel {number}, which is unknown")),
            }
        };
        inlet.receive(frame).map_err(|breach| format!("channel {number}: {breach}"))
    }

    fn paused(&mut self) -> Option<Duration> {
        None
    }
}
