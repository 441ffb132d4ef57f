//! The server: binds, accepts, and stops when it is told to.

use crate::app::App;
use crate::artefacts::Artefacts;
use crate::config::{Port, RestConfig};
use crate::connection;
use crate::front::Front;
use crate::gateway::Gateway;
use millstream_core::config::Configuration;
use millstream_core::ids::FencingToken;
use millstream_rpc::shell::RpcSystem;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// A running REST server. Dropping it lets it end by itself; see [`RestServer::stop`].
pub struct RestServer {
    bound: SocketAddr,
    /// Says when to end.
    stopping: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

/// Ports that [`Port::FirstFreeFrom`] tries.
const PORTS_TRIED: u16 = 100;

/// Clients that are turned away at a time; further ones are just hung up on.
const TURNED_AWAY_MAX: usize = 64;

impl RestServer {
    /// Binds and begins to serve. Asks go to dispatcher and resource manager in the process
    /// `job_manager_process` under `token`; `configuration` is what `/jobmanager/config` shows.
    pub async fn start(
        config: RestConfig,
        rpc: RpcSystem,
        job_manager_process: String,
        token: FencingToken,
        configuration: Configuration,
        artefacts: Option<Arc<dyn Artefacts>>,
    ) -> io::Result<Self> {
        let listener = bind(&config).await?;
        let bound = listener.local_addr()?;
        if !bound.ip().is_loopback() {
            (config.log)(&format!(
                "rest: listening on {bound} without TLS and authentication: whoever reaches this \
                 port can run programs here (security.insecure: true)"
            ));
        }
        let gateway = Gateway::new(rpc, job_manager_process, token, config.ask_timeout);
        let app = App::new(config, bound, gateway, configuration, artefacts);
        let front = Front::new(Arc::new(app));
        let (stopping, stopped) = watch::channel(false);
        let accepting = tokio::spawn(accept(listener, front, stopped));
        Ok(Self { bound, stopping, accepting })
    }

    /// The address that is bound.
    pub fn address(&self) -> SocketAddr {
        self.bound
    }

    /// Where a browser on this machine finds it.
    pub fn url(&self) -> String {
        format!("http://{}", self.bound)
    }

    /// Frees the port, lets requests that are under way finish, for a while, and ends.
    pub async fn stop(self) {
        let _ = self.stopping.send(true);
        let _ = self.accepting.await;
    }
}

async fn accept(listener: TcpListener, front: Front, mut stopping: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    let mut turned_away = JoinSet::new();
    loop {
        tokio::select! {
            () = connection::told_to_stop(&mut stopping) => break,
            Some(_) = connections.join_next() => (),
            Some(_) = turned_away.join_next() => (),
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if connections.len() >= front.config().connections_max => {
                    refuse(stream, &mut turned_away);
                }
                Ok((stream, from)) => {
                    let (front, stopping) = (front.clone(), stopping.clone());
                    connections.spawn(connection::serve(stream, from, front, stopping));
                }
                // Out of descriptors, or the client was faster: others may still come.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
        }
    }
    drop(listener);
    let finish = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(front.config().stop_timeout, finish).await;
    connections.shutdown().await;
}

fn refuse(stream: TcpStream, turned_away: &mut JoinSet<()>) {
    if turned_away.len() < TURNED_AWAY_MAX {
        turned_away.spawn(connection::turn_away(stream));
    }
}

async fn bind(config: &RestConfig) -> io::Result<TcpListener> {
    let (first, last) = match config.port {
        Port::Exactly(port) => (port, port),
        Port::FirstFreeFrom(port) => (port, port.saturating_add(PORTS_TRIED - 1)),
    };
    for port in first..=last {
        let addresses = addresses(config, port).await?;
        match TcpListener::bind(&addresses[..]).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && port < last => (),
            Err(error) => return Err(cannot_bind(config, port, first, &error)),
            Ok(listener) => return Ok(listener),
        }
    }
    unreachable!("the last port is bound or an error");
}

/// What the host resolves to; nothing beyond loopback unless that is allowed.
async fn addresses(config: &RestConfig, port: u16) -> io::Result<Vec<SocketAddr>> {
    let host = &config.bind_host;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let found = tokio::net::lookup_host((bare, port)).await;
    let found: Vec<SocketAddr> = match found {
        Ok(found) => found.collect(),
        Err(error) => return Err(cannot_bind(config, port, port, &error)),
    };
    if config.insecure || found.iter().all(|address| address.ip().is_loopback()) {
        return Ok(found);
    }
    Err(io::Error::new(
        io::ErrorKind::PermissionDenied,
        format!(
            "REST does not listen on {host}:{port}: beyond loopback it would need TLS and \
             authentication, which it does not have yet; set rest.bind-address to 127.0.0.1, or \
             security.insecure to true on a network that nobody else can reach"
        ),
    ))
}

fn cannot_bind(config: &RestConfig, port: u16, first: u16, error: &io::Error) -> io::Error {
    let host = &config.bind_host;
    let place = if first == port {
        format!("{host}:{port}")
    } else {
        format!("{host}, ports {first} to {port}")
    };
    let next = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another process listens there: stop it, or set rest.port to another port (0: any)"
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 are for the superuser: set rest.port to 8081"
        }
        _ => "set rest.bind-address to an address of this machine, such as 127.0.0.1",
    };
    io::Error::new(error.kind(), format!("REST cannot listen on {place}: {error}; {next}"))
}
