//! One peer process: dialled when something is said to it, redialled at once when the connection
//! breaks.
//!
//! Refused, or another instance at the same address: the peer is lost, and every endpoint of this
//! process is told so. The same instance: it goes on; asks that were under way have failed, with
//! unknown outcome. Silence is for the heartbeats.

use super::frame::{self, Frame, FrameError};
use super::system::{QUEUE_MAX, RpcSystem, unreachable};
use crate::protocol::{Address, Answer, AskError, EndpointName, Message, PROTOCOL_VERSION};
use millstream_core::ids::FencingToken;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};

/// Flink's `pekko.lookup.timeout`.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Asks that have not been answered, by correlation.
type Asks = BTreeMap<u64, (Address, oneshot::Sender<Result<Answer, AskError>>)>;

/// What is known of a peer. Cheap to clone.
#[derive(Clone)]
pub(super) struct PeerHandle {
    frames: mpsc::Sender<Frame>,
    waiting: Arc<Mutex<Asks>>,
}

impl PeerHandle {
    /// Whether the connection is there or being made.
    pub(super) fn is_open(&self) -> bool {
        !self.frames.is_closed()
    }

    pub(super) fn tell(&self, to: EndpointName, token: Option<FencingToken>, message: Message) {
        // A full queue means a peer that does not read: a tell may be lost, the heartbeat notices.
        let _ = self.frames.try_send(Frame::Tell { to, token, message });
    }

    pub(super) fn ask(
        &self,
        correlation: u64,
        to: &Address,
        token: Option<FencingToken>,
        message: Message,
        answer: oneshot::Sender<Result<Answer, AskError>>,
    ) {
        self.waiting().insert(correlation, (to.clone(), answer));
        let frame = Frame::Ask { correlation, to: to.endpoint, token, message };
        if self.frames.try_send(frame).is_err() {
            self.fail(correlation, "the connection takes nothing more");
        }
    }

    /// Ends the connection.
    pub(super) fn close(&self) {
        self.fail_all("this process is shutting down");
    }

    fn fail(&self, correlation: u64, reason: &str) {
        if let Some((to, answer)) = self.waiting().remove(&correlation) {
            let _ = answer.send(Err(unreachable(&to, reason)));
        }
    }

    fn fail_all(&self, reason: &str) {
        let waiting = std::mem::take(&mut *self.waiting());
        for (to, answer) in waiting.into_values() {
            let _ = answer.send(Err(unreachable(&to, reason)));
        }
    }

    fn answered(&self, correlation: u64, result: Result<Answer, AskError>) {
        if let Some((_, answer)) = self.waiting().remove(&correlation) {
            // An asker that has given up needs no answer.
            let _ = answer.send(result);
        }
    }

    /// The asker has given up.
    pub(super) fn forget(&self, correlation: u64) {
        self.waiting().remove(&correlation);
    }

    fn waiting(&self) -> MutexGuard<'_, Asks> {
        self.waiting.lock().expect("no code of others runs under this lock")
    }
}

/// Begins to connect to the process; what is said meanwhile waits.
pub(super) fn dial(system: RpcSystem, process: String, instance: u128) -> PeerHandle {
    let (send, receive) = mpsc::channel(QUEUE_MAX);
    let handle = PeerHandle { frames: send, waiting: Arc::default() };
    let peer = Peer { system, process, instance, handle: handle.clone(), known: None };
    tokio::spawn(peer.run(receive));
    handle
}

struct Peer {
    system: RpcSystem,
    process: String,
    /// Of this process.
    instance: u128,
    handle: PeerHandle,
    /// The instance that answered the first time.
    known: Option<u128>,
}

impl Peer {
    async fn run(mut self, mut frames: mpsc::Receiver<Frame>) {
        let reason = loop {
            let (mut input, mut output) = match self.connect().await {
                Ok(halves) => halves,
                Err(reason) => break reason,
            };
            let reason = tokio::select! {
                error = self.read_answers(&mut input) => error.to_string(),
                ended = self.write(&mut frames, &mut output) => match ended {
                    Ok(()) => return,
                    Err(error) => error.to_string(),
                },
            };
            self.handle.fail_all(&reason);
        };
        // Closed first: whoever says something from now on dials anew.
        frames.close();
        while let Ok(frame) = frames.try_recv() {
            if let Frame::Ask { correlation, .. } = frame {
                self.handle.fail(correlation, &reason);
            }
        }
        self.handle.fail_all(&reason);
        self.system.peer_lost(&self.process, &reason);
    }

    /// Connects and greets; an error is final.
    async fn connect(&mut self) -> Result<(OwnedReadHalf, OwnedWriteHalf), String> {
        let connecting = greet(&self.process, self.instance);
        let connected = match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
            Err(_) => return Err(format!("no connection within {CONNECT_TIMEOUT:?}")),
            Ok(Err(error)) => return Err(error.to_string()),
            Ok(Ok(connected)) => connected,
        };
        let (input, output, version, instance) = connected;
        if version != PROTOCOL_VERSION {
            return Err(format!(
                "it speaks protocol version {version}, this process {PROTOCOL_VERSION}: \
                 use the same version of millstream everywhere"
            ));
        }
        match self.known.replace(instance) {
            Some(known) if known != instance => Err("another process answers there".to_owned()),
            _ => Ok((input, output)),
        }
    }

    async fn read_answers(&self, input: &mut OwnedReadHalf) -> FrameError {
        loop {
            match frame::read(input).await {
                Ok(Frame::Answer { correlation, result }) => {
                    self.handle.answered(correlation, result);
                }
                Ok(_) => (),
                Err(error) => return error,
            }
        }
    }

    /// Writes what is said; ends well when nobody can say anything any more.
    async fn write(
        &self,
        frames: &mut mpsc::Receiver<Frame>,
        output: &mut OwnedWriteHalf,
    ) -> Result<(), FrameError> {
        while let Some(next) = frames.recv().await {
            match frame::write(output, &next).await {
                // This one cannot be said; the connection is as good as before.
                Err(error @ (FrameError::Oversize(_) | FrameError::Unreadable(_))) => {
                    if let Frame::Ask { correlation, .. } = next {
                        self.handle.fail(correlation, &error.to_string());
                    }
                }
                result => result?,
            }
        }
        Ok(())
    }
}

/// Connects to a process as `own` instance; the connection, and which version and instance of the
/// protocol answers.
pub(super) async fn greet(
    process: &str,
    own: u128,
) -> Result<(OwnedReadHalf, OwnedWriteHalf, u32, u128), FrameError> {
    let stream = TcpStream::connect(process).await?;
    stream.set_nodelay(true)?;
    let (mut input, mut output) = stream.into_split();
    let hello = Frame::Hello { version: PROTOCOL_VERSION, instance: own };
    frame::write(&mut output, &hello).await?;
    match frame::read(&mut input).await? {
        Frame::Hello { version, instance } => Ok((input, output, version, instance)),
        _ => Err(std::io::Error::new(ErrorKind::InvalidData, "it does not greet").into()),
    }
}

/// Writes answers to a connection that another process has dialled. One that is too large becomes
/// an error, so that the asker need not wait.
pub(super) async fn write_frames(mut frames: mpsc::Receiver<Frame>, mut output: OwnedWriteHalf) {
    while let Some(next) = frames.recv().await {
        match frame::write(&mut output, &next).await {
            Ok(()) => (),
            Err(FrameError::Io(_)) => return,
            Err(error) => {
                let Frame::Answer { correlation, .. } = next else { continue };
                let reason = error.to_string();
                let result = Err(AskError::Unreadable { to: "the asked endpoint".into(), reason });
                let short = Frame::Answer { correlation, result };
                if frame::write(&mut output, &short).await.is_err() {
                    return;
                }
            }
        }
    }
}
