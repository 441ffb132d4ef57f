//! The network of one process: the links that it has made, the connections that it serves, and the
//! threads of both.

use super::budget::Budget;
use super::buffer::BufferPool;
use super::channel::RemoteChannel;
use super::counters::{Counters, NetworkCounters};
use super::frame::Subscription;
use super::link::Link;
use super::server;
use super::shared::{NetworkConfig, Shared};
use super::transport::{Dialer, Tcp, TcpDialer, Transport};
use crate::registry::PartitionRegistry;
use crate::sync::thread::{self, JoinHandle};
use crate::sync::{Arc, Mutex, Weak, lock};
use crate::wake::Wake;
use millstream_core::ids::PartitionId;
use std::collections::BTreeMap;
use std::io;
use std::net::TcpStream;

/// Connections that are served at once.
const SERVED_MAX: usize = 1000;

/// Why channels break when a network ends.
const SHUT_DOWN: &str = "the network of this process was shut down";

/// The connections of one process to the others of its job. Cheap to clone; when the last clone is
/// dropped, it is shut down.
#[derive(Clone)]
pub struct Network(Arc<Inner>);

struct Inner {
    /// Absent: this process has no others.
    shared: Option<Arc<Shared>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By data address.
    links: BTreeMap<String, Arc<Link>>,
    /// Owned by their threads.
    served: Vec<Weak<dyn Transport>>,
    threads: Vec<Running>,
    closed: bool,
}

impl Default for Network {
    fn default() -> Self {
        Self::disconnected()
    }
}

impl Network {
    /// Connects over TCP; other processes find the partitions of `registry`.
    pub fn new(config: NetworkConfig, registry: PartitionRegistry) -> Self {
        let counters = Arc::<Counters>::default();
        let dialer = TcpDialer { counters: counters.clone() };
        Self::build(config, registry, counters, Arc::new(dialer))
    }

    /// Connects by other means: TLS, or a pipe in a test.
    pub fn with_dialer(
        config: NetworkConfig,
        registry: PartitionRegistry,
        dialer: Arc<dyn Dialer>,
    ) -> Self {
        Self::build(config, registry, Arc::default(), dialer)
    }

    /// For a process that has no others: it costs nothing, and what is subscribed is unavailable.
    pub fn disconnected() -> Self {
        Self(Arc::new(Inner { shared: None, state: Mutex::default() }))
    }

    fn build(
        config: NetworkConfig,
        registry: PartitionRegistry,
        counters: Arc<Counters>,
        dialer: Arc<dyn Dialer>,
    ) -> Self {
        let shared = Shared {
            budget: Budget::new(config.frames_max),
            config,
            registry,
            dialer,
            counters,
            encode_buffers: BufferPool::for_encoding(),
            read_buffers: BufferPool::for_reading(),
        };
        Self(Arc::new(Inner { shared: Some(Arc::new(shared)), state: Mutex::default() }))
    }

    /// Asks the process behind the data port for a subpartition. Never waits: connecting goes on
    /// elsewhere, and what becomes of it the channel tells.
    pub fn subscribe(
        &self,
        address: &str,
        partition: PartitionId,
        subpartition: u32,
        wake: Wake,
    ) -> RemoteChannel {
        let Some(shared) = &self.0.shared else {
            return RemoteChannel::broken(partition, "this process has no network");
        };
        let subscription = Subscription { partition, subpartition };
        let mut state = lock(&self.0.state);
        if state.closed {
            return RemoteChannel::broken(partition, SHUT_DOWN);
        }
        let bound = shared.config.answer_wait;
        if let Some(link) = state.links.get(address)
            && let Some(inlet) = link.subscribe(subscription, wake.clone())
        {
            return RemoteChannel::new(partition, link.clone(), inlet, bound);
        }
        match state.begin_link(address, shared, subscription, wake) {
            Ok((link, inlet)) => RemoteChannel::new(partition, link, inlet, bound),
            Err(error) => {
                RemoteChannel::broken(partition, &format!("no thread for a connection: {error}"))
            }
        }
    }

    /// Answers a connection whose preface has been read. Returns at once. One that cannot be
    /// answered is closed, and the consumer dials again.
    pub fn serve(&self, stream: TcpStream) {
        if let Some(shared) = &self.0.shared
            && let Ok(transport) = Tcp::new(stream, shared.counters.clone())
        {
            // Dropped, and so closed.
            let _ = self.serve_over(Arc::new(transport));
        }
    }

    /// Answers a connection of another kind.
    pub fn serve_over(&self, transport: Arc<dyn Transport>) -> io::Result<()> {
        let Some(shared) = &self.0.shared else { return Err(io::ErrorKind::Unsupported.into()) };
        let mut state = lock(&self.0.state);
        state.served.retain(|transport| transport.strong_count() > 0);
        if state.closed || state.served.len() >= SERVED_MAX {
            return Err(io::Error::new(io::ErrorKind::ConnectionRefused, "no connection is taken"));
        }
        let served = Arc::downgrade(&transport);
        let shared = shared.clone();
        state.spawn("wire-server", move || server::serve(transport, &shared))?;
        state.served.push(served);
        Ok(())
    }

    /// What it has done so far.
    pub fn counters(&self) -> NetworkCounters {
        self.0.shared.as_ref().map(|shared| shared.counters()).unwrap_or_default()
    }

    /// Breaks all channels and connections and waits for their threads, at most for an attempt to
    /// connect that is under way. What had not left is lost.
    pub fn shutdown(&self) {
        self.0.shutdown();
    }
}

impl State {
    /// A link for its first channel.
    fn begin_link(
        &mut self,
        address: &str,
        shared: &Arc<Shared>,
        subscription: Subscription,
        wake: Wake,
    ) -> io::Result<(Arc<Link>, Arc<super::inlet::Inlet>)> {
        self.links.retain(|_, link| !link.is_closed());
        let link = Arc::new(Link::new(address, shared.clone()));
        let inlet = link.subscribe(subscription, wake).expect("the link is new");
        let running = link.clone();
        self.spawn("wire-link", move || running.run())?;
        self.links.insert(address.to_owned(), link.clone());
        Ok((link, inlet))
    }

    /// Begins a thread, and forgets those that have ended.
    fn spawn(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let (running, ended) =
            std::mem::take(&mut self.threads).into_iter().partition(Running::is_running);
        self.threads = running;
        join_all(ended);
        let life = Arc::new(());
        let sign_of_life = Arc::downgrade(&life);
        let body = move || {
            run();
            drop(life);
        };
        let handle = thread::Builder::new().name(name.to_owned()).spawn(body)?;
        self.threads.push(Running { handle, sign_of_life });
        Ok(())
    }
}

/// A thread that has to be joined.
struct Running {
    handle: JoinHandle<()>,
    /// Gone when the thread is about to end, whether it returns or panics.
    sign_of_life: Weak<()>,
}

impl Running {
    fn is_running(&self) -> bool {
        self.sign_of_life.strong_count() > 0
    }
}

impl Inner {
    fn shutdown(&self) {
        let (links, served, threads) = {
            let mut state = lock(&self.state);
            state.closed = true;
            let links = std::mem::take(&mut state.links);
            (links, std::mem::take(&mut state.served), std::mem::take(&mut state.threads))
        };
        links.values().for_each(|link| link.close(SHUT_DOWN));
        served.iter().filter_map(Weak::upgrade).for_each(|transport| transport.close());
        join_all(threads);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shutdown();
    }
}

fn join_all(threads: Vec<Running>) {
    for thread in threads {
        // Its panic was reported by the hook, and its connection is closed by what it dropped.
        let _ = thread.handle.join();
    }
}
