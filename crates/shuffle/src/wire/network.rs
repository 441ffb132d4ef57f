//! All data connections of one process.

use super::client::{Connection, RemoteChannel};
use super::preface::Preface;
use super::server;
use crate::registry::PartitionRegistry;
use crate::sync::{Arc, Mutex, lock};
use crate::wake::Wake;
use millstream_core::ids::{JobId, PartitionId};
use std::collections::BTreeMap;
use std::net::{Shutdown, TcpStream};

/// What connections of a process say of themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkConfig {
    /// The job whose data crosses.
    pub job: JobId,
}

impl NetworkConfig {
    /// For the processes of a job.
    pub fn new(job: JobId) -> Self {
        Self { job }
    }
}

/// The connections of one process to the others of its job. Cheap to clone.
#[derive(Clone)]
pub struct Network(Arc<Inner>);

struct Inner {
    preface: Preface,
    registry: PartitionRegistry,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Connections that this process has dialled, by address.
    dialled: BTreeMap<String, Arc<Connection>>,
    /// Connections that were handed to this process: to end them.
    served: Vec<TcpStream>,
}

impl Default for Network {
    /// For a process whose tasks are all its own.
    fn default() -> Self {
        Self::new(NetworkConfig::new(JobId(0)), PartitionRegistry::new())
    }
}

impl Network {
    /// Serves the partitions of `registry`.
    pub fn new(config: NetworkConfig, registry: PartitionRegistry) -> Self {
        let preface = Preface { job: config.job, incarnation: 0, nonce: 0 };
        Self(Arc::new(Inner { preface, registry, state: Mutex::default() }))
    }

    /// Asks the process behind the data port for a subpartition. Never waits: connecting goes on
    /// elsewhere, and `wake` is woken when something comes.
    pub fn subscribe(
        &self,
        address: &str,
        partition: PartitionId,
        subpartition: u32,
        wake: Wake,
    ) -> RemoteChannel {
        loop {
            let connection = self.connection(address);
            if let Some(channel) = connection.subscribe(partition, subpartition, wake.clone()) {
                return channel;
            }
        }
    }

    fn connection(&self, address: &str) -> Arc<Connection> {
        let mut state = lock(&self.0.state);
        if let Some(open) = state.dialled.get(address).filter(|open| !open.is_closed()) {
            return open.clone();
        }
        let connection = Connection::open(address, self.0.preface);
        state.dialled.insert(address.to_owned(), connection.clone());
        connection
    }

    /// Serves a connection whose preface has been read. Returns at once.
    pub fn serve(&self, stream: TcpStream) {
        if let Ok(handle) = stream.try_clone() {
            let mut state = lock(&self.0.state);
            state.served.retain(|stream| stream.peer_addr().is_ok());
            state.served.push(handle);
        }
        let network = self.clone();
        let builder = std::thread::Builder::new().name("wire-server".to_owned());
        // Without a thread the connection closes, and the consumer dials again.
        let _ = builder.spawn(move || server::serve(stream, &network.0.registry));
    }

    /// Ends all connections.
    pub fn shutdown(&self) {
        let state = std::mem::take(&mut *lock(&self.0.state));
        state.dialled.values().for_each(|connection| connection.close());
        for stream in &state.served {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}
