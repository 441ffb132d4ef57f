//! The consumers' end of a connection: data comes in, credit goes out.
//!
//! A connection that cannot be made is dialled again for [`CONNECT_PATIENCE`]. One that breaks
//! fails the channels that have received something, because frames may be lost; the others
//! subscribe again.

use super::frame::{FrameError, Header, Kind, WIRE_VERSION, encode_subscription, read_frame};
use super::outbox::Outbox;
use super::preface::Preface;
use crate::batch::BoxBatch;
use crate::gate::{PartitionUnavailable, Polled};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Arc, Mutex, MutexGuard, lock};
use crate::wake::Wake;
use millstream_core::ids::PartitionId;
use std::collections::{BTreeMap, VecDeque};
use std::io::Write;
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// How long a producer's process may be unreachable before its partitions are.
pub const CONNECT_PATIENCE: Duration = Duration::from_secs(10);

/// The first pause between two dials; it doubles.
const REDIAL_AFTER: Duration = Duration::from_millis(20);

/// Data frames that may be under way or unread per channel.
pub const CREDIT: u32 = 8;

/// Credit is given back in portions of this.
const CREDIT_PORTION: u32 = CREDIT / 2;

/// Received buffers that are kept for the next frames.
const SPARE_MAX: usize = 32;

/// The connection to one process. Shared by its channels and its threads.
pub(super) struct Connection {
    address: String,
    preface: Preface,
    state: Mutex<State>,
    /// No subscription is taken any more.
    closed: AtomicBool,
}

#[derive(Default)]
struct State {
    next_channel: u32,
    channels: BTreeMap<u32, Arc<Inbox>>,
    spare: Vec<Vec<u8>>,
    /// While there is a connection: the way out, and the socket to end it by.
    open: Option<(Arc<Outbox>, TcpStream)>,
}

/// What has come for one channel.
struct Inbox {
    partition: PartitionId,
    subpartition: u32,
    wake: Wake,
    since: Instant,
    state: Mutex<Received>,
}

#[derive(Default)]
struct Received {
    frames: VecDeque<(Header, Vec<u8>)>,
    ended: bool,
    failure: Option<String>,
    /// The sequence number of the next data frame.
    expected: u32,
    /// Something has come: the channel cannot begin anew.
    begun: bool,
}

impl Connection {
    /// Begins to connect, on a thread of its own.
    pub(super) fn open(address: &str, preface: Preface) -> Arc<Self> {
        let connection = Arc::new(Self {
            address: address.to_owned(),
            preface,
            state: Mutex::default(),
            closed: AtomicBool::new(false),
        });
        let reading = connection.clone();
        let builder = std::thread::Builder::new().name("wire-reader".to_owned());
        if let Err(error) = builder.spawn(move || reading.run()) {
            connection.fail_all(&format!("no thread for its connection: {error}"));
        }
        connection
    }

    /// A new channel; nothing if the connection has ended.
    pub(super) fn subscribe(
        self: &Arc<Self>,
        partition: PartitionId,
        subpartition: u32,
        wake: Wake,
    ) -> Option<RemoteChannel> {
        let inbox =
            Inbox { partition, subpartition, wake, since: Instant::now(), state: Mutex::default() };
        let inbox = Arc::new(inbox);
        let mut state = lock(&self.state);
        if self.closed.load(Ordering::SeqCst) {
            return None;
        }
        let channel = state.next_channel;
        state.next_channel += 1;
        state.channels.insert(channel, inbox.clone());
        // Before there is a connection, `run` subscribes for all channels that wait.
        if let Some((outbox, _)) = &state.open {
            outbox.send(subscription(channel, &inbox));
        }
        drop(state);
        Some(RemoteChannel { connection: self.clone(), channel, inbox, owed: 0, bytes: 0 })
    }

    fn run(&self) {
        let mut pause = REDIAL_AFTER;
        let began = Instant::now();
        loop {
            let reason = match self.dial() {
                Ok(stream) => match self.read(stream) {
                    Ok(()) => "the connection was closed".to_owned(),
                    Err(error) => error.to_string(),
                },
                Err(error) => error.to_string(),
            };
            if self.closed.load(Ordering::SeqCst) || !self.may_begin_anew(&reason) {
                return;
            }
            if began.elapsed() > CONNECT_PATIENCE {
                return self.fail_all(&reason);
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }

    fn dial(&self) -> std::io::Result<TcpStream> {
        let mut last = std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
        for address in self.address.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, CONNECT_PATIENCE) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Greets, subscribes for everybody who waits, and takes frames until the connection ends.
    fn read(&self, mut stream: TcpStream) -> Result<(), FrameError> {
        stream.set_nodelay(true)?;
        stream.write_all(&self.preface.encode())?;
        stream.write_all(&Header::bare(Kind::Hello, 0, WIRE_VERSION).encode())?;
        let mut payload = Vec::new();
        let hello = read_frame(&mut stream, &mut payload)?;
        if hello.kind != Kind::Hello || hello.count != WIRE_VERSION {
            return Err(FrameError::Protocol("the producer speaks another version".to_owned()));
        }
        let outbox = self.start_writer(&stream)?;
        let result = self.read_frames(&mut stream);
        lock(&self.state).open = None;
        outbox.close();
        let _ = stream.shutdown(Shutdown::Both);
        result
    }

    /// Every connection has an outbox of its own, so that nothing meant for one goes to the next.
    fn start_writer(&self, stream: &TcpStream) -> Result<Arc<Outbox>, FrameError> {
        let mut writing = stream.try_clone()?;
        let outbox = Arc::new(Outbox::new());
        let writer = outbox.clone();
        let builder = std::thread::Builder::new().name("wire-writer".to_owned());
        builder.spawn(move || {
            // The reader sees a connection that breaks, and says so.
            let _ = writer.write_to(&mut writing);
            let _ = writing.shutdown(Shutdown::Both);
        })?;
        let mut state = lock(&self.state);
        for (channel, inbox) in &state.channels {
            outbox.send(subscription(*channel, inbox));
        }
        state.open = Some((outbox.clone(), stream.try_clone()?));
        Ok(outbox)
    }

    /// Says something to the producers' process, if there is a connection.
    fn send(&self, header: Header) {
        let open = lock(&self.state).open.as_ref().map(|(outbox, _)| outbox.clone());
        if let Some(outbox) = open {
            outbox.send(header.encode().to_vec());
        }
    }

    fn read_frames(&self, stream: &mut TcpStream) -> Result<(), FrameError> {
        loop {
            let mut payload = lock(&self.state).spare.pop().unwrap_or_default();
            let header = read_frame(stream, &mut payload)?;
            let inbox = lock(&self.state).channels.get(&header.channel).cloned();
            // Frames of a channel that was cancelled meanwhile are nobody's.
            if let Some(inbox) = inbox {
                inbox.take(header, payload)?;
            }
        }
    }

    /// Fails the channels that have begun; whether others are left that may subscribe again.
    fn may_begin_anew(&self, reason: &str) -> bool {
        let mut state = lock(&self.state);
        let begun: Vec<u32> = state
            .channels
            .iter()
            .filter(|(_, inbox)| lock(&inbox.state).begun)
            .map(|(channel, _)| *channel)
            .collect();
        for channel in begun {
            if let Some(inbox) = state.channels.remove(&channel) {
                inbox.fail(reason);
            }
        }
        let ends = state.channels.is_empty();
        if ends {
            self.closed.store(true, Ordering::SeqCst);
        }
        !ends
    }

    fn fail_all(&self, reason: &str) {
        let channels = {
            let mut state = lock(&self.state);
            self.closed.store(true, Ordering::SeqCst);
            std::mem::take(&mut state.channels)
        };
        channels.into_values().for_each(|inbox| inbox.fail(reason));
    }

    /// Whether no subscription is taken any more.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Ends the connection and its threads.
    pub(super) fn close(&self) {
        self.fail_all("this process is shutting down");
        if let Some((outbox, stream)) = lock(&self.state).open.take() {
            outbox.close();
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn subscription(channel: u32, inbox: &Inbox) -> Vec<u8> {
    let payload = encode_subscription(&inbox.partition, inbox.subpartition);
    let header =
        Header { len: payload.len() as u32, ..Header::bare(Kind::Subscribe, channel, CREDIT) };
    let mut frame = header.encode().to_vec();
    frame.extend(payload);
    frame
}

impl Inbox {
    fn take(&self, header: Header, payload: Vec<u8>) -> Result<(), FrameError> {
        let mut state = lock(&self.state);
        match header.kind {
            Kind::Data if header.sequence != state.expected => {
                let (expected, found) = (state.expected, header.sequence);
                return Err(FrameError::Protocol(format!(
                    "channel {}: frame {found} came where {expected} was expected",
                    header.channel
                )));
            }
            Kind::Data if state.frames.len() >= CREDIT as usize => {
                return Err(FrameError::Protocol("more frames than credit".to_owned()));
            }
            Kind::Data => {
                state.begun = true;
                state.expected = state.expected.wrapping_add(1);
                state.frames.push_back((header, payload));
            }
            Kind::End => {
                state.begun = true;
                state.ended = true;
            }
            Kind::NotFound => {
                let waited = self.since.elapsed().as_secs();
                state.failure = Some(format!("its producer did not appear within {waited} s"));
            }
            other => {
                return Err(FrameError::Protocol(format!("a producer does not send {other:?}")));
            }
        }
        drop(state);
        self.wake.wake();
        Ok(())
    }

    fn fail(&self, reason: &str) {
        let mut state = lock(&self.state);
        if !state.ended && state.failure.is_none() {
            state.failure = Some(reason.to_owned());
        }
        drop(state);
        self.wake.wake();
    }

    fn state(&self) -> MutexGuard<'_, Received> {
        lock(&self.state)
    }
}

/// The consumer's end of a queue in another process.
pub struct RemoteChannel {
    connection: Arc<Connection>,
    channel: u32,
    inbox: Arc<Inbox>,
    /// Frames that were read and not yet given back as credit.
    owed: u32,
    bytes: u64,
}

impl RemoteChannel {
    /// Fills the buffer, which is empty, with the next batch.
    pub fn poll(&mut self, buffer: &mut BoxBatch) -> Result<Polled, PartitionUnavailable> {
        let next = {
            let mut state = self.inbox.state();
            match state.frames.pop_front() {
                Some(frame) => frame,
                None if state.ended => return Ok(Polled::End),
                None => match &state.failure {
                    None => return Ok(Polled::Empty),
                    Some(reason) => return Err(self.unavailable(reason)),
                },
            }
        };
        let (header, payload) = next;
        self.bytes += payload.len() as u64;
        buffer
            .decode(header.count as usize, header.hashed, &payload)
            .map_err(|error| self.unavailable(&format!("a frame cannot be read: {error}")))?;
        self.give_back(payload);
        Ok(Polled::Batch)
    }

    fn unavailable(&self, reason: &str) -> PartitionUnavailable {
        let reason = format!("{reason} (at {})", self.connection.address);
        PartitionUnavailable { partition: self.inbox.partition, reason }
    }

    /// Credit to the producer, the buffer to the reader.
    fn give_back(&mut self, mut payload: Vec<u8>) {
        self.owed += 1;
        if self.owed >= CREDIT_PORTION {
            let header = Header::bare(Kind::Credit, self.channel, self.owed);
            self.connection.send(header);
            self.owed = 0;
        }
        payload.clear();
        let mut state = lock(&self.connection.state);
        if state.spare.len() < SPARE_MAX {
            state.spare.push(payload);
        }
    }

    /// Whether a poll would find nothing.
    pub fn is_empty(&self) -> bool {
        let state = self.inbox.state();
        state.frames.is_empty() && !state.ended && state.failure.is_none()
    }

    /// Bytes that came in.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for RemoteChannel {
    fn drop(&mut self) {
        lock(&self.connection.state).channels.remove(&self.channel);
        if !self.inbox.state().ended {
            self.connection.send(Header::bare(Kind::Cancel, self.channel, 0));
        }
    }
}
