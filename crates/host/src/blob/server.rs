//! Serves a store over TCP: a thread that accepts, and one per connection.
//!
//! The bound on connections is kept by not accepting more; who has to wait, waits in the kernel's
//! queue. A connection on which neither a whole request nor a whole chunk has passed for a while is
//! cut, so fifty silent ones cannot hold up the rest.

use super::error::BlobError;
use super::protocol::{self, Secret};
use super::store::BlobStore;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::ioctl_fionbio;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What a server lets its clients do.
#[derive(Clone, Copy, Debug)]
pub struct ServerLimits {
    /// So many at a time.
    pub connections_max: usize,
    /// So long without a whole request or chunk.
    pub silence_max: Duration,
}

/// The usual limits.
pub const SERVER_LIMITS: ServerLimits =
    ServerLimits { connections_max: 50, silence_max: Duration::from_secs(30) };

/// A server; ends when dropped.
#[derive(Debug)]
pub struct BlobServer {
    address: SocketAddr,
    /// Wakes the thread that accepts.
    bell: Arc<Bell>,
    thread: Option<JoinHandle<()>>,
}

impl BlobServer {
    /// Serves `store` at `address`; port 0 means any.
    ///
    /// The address has to be a loopback one: what passes is not encrypted. Elsewhere the shell puts
    /// TLS around [`protocol::serve`].
    pub fn start(
        store: Arc<BlobStore>,
        secret: Secret,
        address: SocketAddr,
        limits: ServerLimits,
    ) -> Result<Self, BlobError> {
        let failed = |cause| BlobError::Serve { address, cause: Arc::new(cause) };
        if !address.ip().is_loopback() {
            return Err(failed(io::Error::new(
                io::ErrorKind::InvalidInput,
                "blobs are not encrypted here, so they are only served on a loopback address",
            )));
        }
        let listener = TcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (bell, ringing) = Bell::new().map_err(failed)?;
        let bell = Arc::new(bell);
        let acceptor = Acceptor {
            listener,
            store,
            secret: Arc::new(secret),
            limits,
            bell: bell.clone(),
            ringing,
            connections: Vec::new(),
        };
        let thread = thread::Builder::new()
            .name("blob-server".to_owned())
            .spawn(move || acceptor.run())
            .map_err(failed)?;
        Ok(BlobServer { address, bell, thread: Some(thread) })
    }

    /// Where it serves.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for BlobServer {
    fn drop(&mut self) {
        self.bell.is_closing.store(true, Ordering::SeqCst);
        self.bell.ring();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Something that a thread in `poll` hears.
#[derive(Debug)]
struct Bell {
    is_closing: AtomicBool,
    writer: PipeWriter,
}

impl Bell {
    fn new() -> io::Result<(Self, PipeReader)> {
        let (reader, writer) = io::pipe()?;
        ioctl_fionbio(&reader, true)?;
        ioctl_fionbio(&writer, true)?;
        Ok((Bell { is_closing: AtomicBool::new(false), writer }, reader))
    }

    fn ring(&self) {
        // A pipe that is full is loud enough.
        let _ = (&self.writer).write(&[0]);
    }
}

/// The thread that accepts, and all that belongs to it.
struct Acceptor {
    listener: TcpListener,
    store: Arc<BlobStore>,
    secret: Arc<Secret>,
    limits: ServerLimits,
    /// Rung by whoever drops the server and by each connection at its end.
    bell: Arc<Bell>,
    ringing: PipeReader,
    connections: Vec<Connection>,
}

/// One connection, as the accepting thread sees it.
struct Connection {
    /// To cut it.
    stream: TcpStream,
    thread: JoinHandle<()>,
    /// Counts requests and chunks; the connection's thread writes it.
    progress: Arc<AtomicU64>,
    /// What it was, and since when it has been that.
    progress_seen: u64,
    seen_at: Instant,
}

impl Acceptor {
    fn run(mut self) {
        while !self.bell.is_closing.load(Ordering::SeqCst) {
            self.wait();
            self.bury_ended();
            self.cut_silent();
            self.accept();
        }
        for connection in &self.connections {
            let _ = connection.stream.shutdown(Shutdown::Both);
        }
        for connection in self.connections {
            let _ = connection.thread.join();
        }
    }

    fn wait(&mut self) {
        let time = Duration::from_secs(1).min(self.limits.silence_max / 4);
        let timeout = Timespec {
            tv_sec: time.as_secs().try_into().expect("at most a second"),
            tv_nsec: time.subsec_nanos().into(),
        };
        let mut fds = vec![PollFd::new(&self.ringing, PollFlags::IN)];
        if self.has_room() {
            fds.push(PollFd::new(&self.listener, PollFlags::IN));
        }
        let _ = poll(&mut fds, Some(&timeout));
        let mut heard = [0; 64];
        let _ = self.ringing.read(&mut heard);
    }

    fn has_room(&self) -> bool {
        self.connections.len() < self.limits.connections_max
    }

    fn bury_ended(&mut self) {
        for ended in self.connections.extract_if(.., |connection| connection.thread.is_finished()) {
            let _ = ended.thread.join();
        }
    }

    fn cut_silent(&mut self) {
        let now = Instant::now();
        for connection in &mut self.connections {
            let progress = connection.progress.load(Ordering::Relaxed);
            if progress != connection.progress_seen {
                connection.progress_seen = progress;
                connection.seen_at = now;
            } else if self.limits.silence_max < now.duration_since(connection.seen_at) {
                let _ = connection.stream.shutdown(Shutdown::Both);
            }
        }
    }

    fn accept(&mut self) {
        while self.has_room() {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    // A connection that cannot be served is closed; its client tries again.
                    if let Ok(connection) = self.open(stream) {
                        self.connections.push(connection);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => {
                    // Too many open files, say: `poll` would call us again at once.
                    thread::sleep(Duration::from_millis(10));
                    return;
                }
            }
        }
    }

    fn open(&self, mut stream: TcpStream) -> io::Result<Connection> {
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        let to_cut = stream.try_clone()?;
        let progress = Arc::new(AtomicU64::new(0));
        let (store, secret) = (self.store.clone(), self.secret.clone());
        let (bell, counter) = (self.bell.clone(), progress.clone());
        let thread =
            thread::Builder::new().name("blob-connection".to_owned()).spawn(move || {
                let mut count = || {
                    counter.fetch_add(1, Ordering::Relaxed);
                };
                // The client has been told, if it still listens.
                let _ = protocol::serve(&store, &secret, &mut stream, &mut count);
                // The acceptor has a duplicate: only this ends the connection now.
                let _ = stream.shutdown(Shutdown::Both);
                bell.ring();
            })?;
        let seen_at = Instant::now();
        Ok(Connection { stream: to_cut, thread, progress, progress_seen: 0, seen_at })
    }
}

#[cfg(test)]
mod tests;
