//! The endpoints of one process, its listener, and its connections to other processes.
//!
//! A message to an endpoint of this process goes straight into its mailbox, unencoded. To another
//! process it goes over the one connection that this process has dialled there; so messages of one
//! sender to one receiver keep their order.

use super::connection::{self, PeerHandle};
use super::frame::{Frame, FrameError};
use crate::machine::ReplyTo;
use crate::protocol::{Address, Answer, AskError, EndpointName, Message, PROTOCOL_VERSION};
use millstream_core::ids::FencingToken;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

/// Where messages to one endpoint go.
pub trait Mailbox: Send + Sync {
    /// Puts a message in; `false` if the endpoint has stopped or its mailbox is full.
    fn deliver(&self, envelope: Envelope) -> bool;

    /// Tells the endpoint that a process is gone.
    fn peer_lost(&self, process: &str, reason: &str);
}

/// A message on its way into a mailbox.
pub struct Envelope {
    /// The token that the sender believes in.
    pub token: Option<FencingToken>,
    /// What is said.
    pub message: Message,
    /// Where the answer goes.
    pub reply: Option<ReplyTo>,
}

/// What [`RpcSystem::probe`] has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// This process.
    Instance(u128),
    /// Its machine says that nobody listens there.
    Refused,
    /// Nobody knows.
    Silent,
}

/// The endpoints of one process. Cheap to clone.
#[derive(Clone)]
pub struct RpcSystem(Arc<Inner>);

struct Inner {
    /// `host:port` under which other processes know this one.
    process: String,
    /// Tells this process from a later one at the same address.
    instance: u128,
    next: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    endpoints: BTreeMap<EndpointName, Arc<dyn Mailbox>>,
    peers: BTreeMap<String, PeerHandle>,
    /// Asks of this process to its own endpoints.
    local_asks: BTreeMap<u64, oneshot::Sender<Result<Answer, AskError>>>,
    /// Connections of others to this process, for answers.
    incoming: BTreeMap<String, mpsc::Sender<Frame>>,
    tasks: Vec<AbortHandle>,
}

/// Frames that may wait for one connection.
pub(super) const QUEUE_MAX: usize = 1024;

impl RpcSystem {
    /// A process without a port: its endpoints are reached from inside only.
    pub fn local(process: &str) -> Self {
        Self(Arc::new(Inner {
            process: process.to_owned(),
            instance: random_u128(),
            next: AtomicU64::new(1),
            state: Mutex::default(),
        }))
    }

    /// Listens on `bind` (`host:port`; port 0: any free one) and is known under the bound address.
    pub async fn listen(bind: &str) -> std::io::Result<Self> {
        let listener = TcpListener::bind(bind).await?;
        let system = Self::local(&listener.local_addr()?.to_string());
        let accepting = system.clone();
        let task = tokio::spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => accepting.serve(stream),
                    // Out of descriptors, or the peer was faster: others may still come.
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        });
        system.state().tasks.push(task.abort_handle());
        Ok(system)
    }

    /// `host:port` under which other processes know this one.
    pub fn process(&self) -> &str {
        &self.0.process
    }

    /// What distinguishes this process from a later one at the same address.
    pub fn instance(&self) -> u128 {
        self.0.instance
    }

    /// Which process listens at `host:port`, as far as it can be known within this time.
    pub async fn probe(&self, process: &str, timeout: Duration) -> Probe {
        match tokio::time::timeout(timeout, connection::greet(process, self.0.instance)).await {
            Ok(Ok((.., instance))) => Probe::Instance(instance),
            Ok(Err(FrameError::Io(error))) if error.kind() == ErrorKind::ConnectionRefused => {
                Probe::Refused
            }
            Ok(Err(_)) | Err(_) => Probe::Silent,
        }
    }

    /// The address of an endpoint of this process.
    pub fn address(&self, endpoint: EndpointName) -> Address {
        Address { process: self.0.process.clone(), endpoint }
    }

    /// Makes an endpoint known.
    pub fn register(&self, name: EndpointName, mailbox: Arc<dyn Mailbox>) {
        self.state().endpoints.insert(name, mailbox);
    }

    /// Forgets an endpoint: it cannot be reached any more.
    pub fn unregister(&self, name: EndpointName) {
        self.state().endpoints.remove(&name);
    }

    /// Says something without waiting for an answer. There is no guarantee that it arrives.
    pub fn tell(&self, to: &Address, token: Option<FencingToken>, message: Message) {
        if to.process == self.0.process {
            self.deliver(to.endpoint, Envelope { token, message, reply: None });
        } else {
            self.peer(&to.process).tell(to.endpoint, token, message);
        }
    }

    /// Says something and waits for the answer, at most so long.
    pub async fn ask(
        &self,
        to: &Address,
        token: Option<FencingToken>,
        message: Message,
        timeout: Duration,
    ) -> Result<Answer, AskError> {
        self.begin_ask(to, token, message, timeout).await
    }

    /// Sends the question now; the future is the answer. So the order of questions is the order of
    /// the calls.
    pub fn begin_ask(
        &self,
        to: &Address,
        token: Option<FencingToken>,
        message: Message,
        timeout: Duration,
    ) -> impl Future<Output = Result<Answer, AskError>> + Send + use<> {
        let (send, receive) = oneshot::channel();
        let correlation = self.0.next.fetch_add(1, Ordering::Relaxed);
        let peer = (to.process != self.0.process).then(|| self.peer(&to.process));
        if let Some(peer) = &peer {
            peer.ask(correlation, to, token, message, send);
        } else {
            self.state().local_asks.insert(correlation, send);
            let reply = Some(ReplyTo { process: String::new(), correlation });
            if !self.deliver(to.endpoint, Envelope { token, message, reply }) {
                self.answer_local(correlation, Err(unreachable(to, "no such endpoint")));
            }
        }
        let (system, to) = (self.clone(), to.clone());
        async move {
            let result = match tokio::time::timeout(timeout, receive).await {
                Ok(Ok(result)) => result,
                Ok(Err(_)) => Err(unreachable(&to, "the connection was closed")),
                Err(_) => {
                    let timeout_ms = timeout.as_millis() as u64;
                    Err(AskError::Timeout { to: to.to_string(), timeout_ms })
                }
            };
            match peer {
                None => drop(system.state().local_asks.remove(&correlation)),
                Some(peer) => peer.forget(correlation),
            }
            result
        }
    }

    /// Answers an ask that came into a mailbox.
    pub fn reply(&self, to: &ReplyTo, answer: Answer) {
        if to.process.is_empty() {
            return self.answer_local(to.correlation, Ok(answer));
        }
        let connection = self.state().incoming.get(&to.process).cloned();
        if let Some(connection) = connection {
            let frame = Frame::Answer { correlation: to.correlation, result: Ok(answer) };
            // A connection that takes no answers is stuck: its asker will run into the timeout.
            let _ = connection.try_send(frame);
        }
    }

    /// Ends all connections and the listener. Endpoints end with their own machines.
    pub fn shutdown(&self) {
        let (tasks, peers) = {
            let mut state = self.state();
            state.endpoints.clear();
            (std::mem::take(&mut state.tasks), std::mem::take(&mut state.peers))
        };
        tasks.iter().for_each(AbortHandle::abort);
        peers.values().for_each(PeerHandle::close);
    }

    fn answer_local(&self, correlation: u64, result: Result<Answer, AskError>) {
        let waiting = self.state().local_asks.remove(&correlation);
        if let Some(waiting) = waiting {
            // An asker that has given up needs no answer.
            let _ = waiting.send(result);
        }
    }

    fn deliver(&self, to: EndpointName, envelope: Envelope) -> bool {
        let mailbox = self.state().endpoints.get(&to).cloned();
        mailbox.is_some_and(|mailbox| mailbox.deliver(envelope))
    }

    fn peer(&self, process: &str) -> PeerHandle {
        let mut state = self.state();
        if let Some(peer) = state.peers.get(process).filter(|peer| peer.is_open()) {
            return peer.clone();
        }
        let peer = connection::dial(self.clone(), process.to_owned(), self.0.instance);
        state.peers.insert(process.to_owned(), peer.clone());
        peer
    }

    /// Tells every endpoint that a process is gone.
    pub(super) fn peer_lost(&self, process: &str, reason: &str) {
        let endpoints: Vec<_> = self.state().endpoints.values().cloned().collect();
        for endpoint in endpoints {
            endpoint.peer_lost(process, reason);
        }
    }

    /// Serves a connection that another process has dialled.
    fn serve(&self, stream: TcpStream) {
        let id = format!("connection-{}", self.0.next.fetch_add(1, Ordering::Relaxed));
        let system = self.clone();
        let task = tokio::spawn(async move {
            // Whatever ends the connection, its asks are the dialler's to give up.
            let _ = system.serve_until_closed(stream, &id).await;
            system.state().incoming.remove(&id);
        });
        let mut state = self.state();
        state.tasks.retain(|task| !task.is_finished());
        state.tasks.push(task.abort_handle());
    }

    async fn serve_until_closed(
        &self,
        stream: TcpStream,
        id: &str,
    ) -> Result<(), super::frame::FrameError> {
        stream.set_nodelay(true)?;
        let (mut input, mut output) = stream.into_split();
        let hello = Frame::Hello { version: PROTOCOL_VERSION, instance: self.0.instance };
        super::frame::write(&mut output, &hello).await?;
        let Frame::Hello { version, .. } = super::frame::read(&mut input).await? else {
            return Ok(());
        };
        if version != PROTOCOL_VERSION {
            return Ok(());
        }
        let (send, receive) = mpsc::channel(QUEUE_MAX);
        self.state().incoming.insert(id.to_owned(), send.clone());
        let writer = tokio::spawn(connection::write_frames(receive, output));
        let result = loop {
            match super::frame::read(&mut input).await {
                Ok(frame) => self.receive(frame, id, &send),
                Err(error) => break Err(error),
            }
        };
        writer.abort();
        result
    }

    fn receive(&self, frame: Frame, id: &str, answers: &mpsc::Sender<Frame>) {
        match frame {
            Frame::Tell { to, token, message } => {
                self.deliver(to, Envelope { token, message, reply: None });
            }
            Frame::Ask { correlation, to, token, message } => {
                let reply = Some(ReplyTo { process: id.to_owned(), correlation });
                if !self.deliver(to, Envelope { token, message, reply }) {
                    let to = self.address(to);
                    let result = Err(unreachable(&to, "no such endpoint"));
                    let _ = answers.try_send(Frame::Answer { correlation, result });
                }
            }
            Frame::Hello { .. } | Frame::Answer { .. } => (),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("no code of others runs under this lock")
    }
}

pub(super) fn unreachable(to: &Address, reason: &str) -> AskError {
    AskError::Unreachable { to: to.to_string(), reason: reason.to_owned() }
}

/// Random bits from the standard library's own seeding: ids need no more.
pub fn random_u128() -> u128 {
    use std::hash::{BuildHasher, RandomState};
    let bits = || u128::from(RandomState::new().hash_one(std::process::id()));
    bits() << 64 | bits()
}
