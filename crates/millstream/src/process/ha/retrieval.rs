//! Who leads, for those who want to find out: TaskManagers, clients, the command line.

use super::RECORD;
use crate::process::daemon::{BLOB_PATIENCE, NO_SECRET};
use millstream_checkpoint::pointer::ConditionalStore;
use millstream_core::ids::{ContentHash, FencingToken};
use millstream_host::blob::cache::Fetch;
use millstream_host::blob::{BlobClient, BlobError};
use millstream_jobmanager::ha::HaRecord;
use millstream_rpc::protocol::EndpointName;
use millstream_rpc::shell::RpcSystem;
use millstream_rpc::shell::system::{Envelope, Mailbox};
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// How often the record is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often, after the connection to the leader was lost, until there is another leader.
const LOOK_EVERY_WHEN_LOST: Duration = Duration::from_millis(100);

/// How long those who have no lease to lose wait for an answer of an object store.
pub const RECORDS_PATIENCE: Duration = Duration::from_secs(5);

/// A leader that serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedLeader {
    /// Its term.
    pub token: FencingToken,
    /// `host:port` for messages.
    pub rpc: String,
    /// `host:port` of REST.
    pub rest: String,
    /// `host:port` of the blob server.
    pub blob: String,
}

/// Looks the leader up in the records of a cluster; an error in words. Nothing: nobody serves at the
/// moment. May block.
pub fn find_leader(store: &dyn ConditionalStore) -> Result<Option<PublishedLeader>, String> {
    let Some((version, bytes)) = store.read(RECORD).map_err(|error| error.to_string())? else {
        return Ok(None);
    };
    let record = HaRecord::decode(&bytes)
        .map_err(|error| format!("`{}`, version {version}: {error}", store.root()))?;
    let token = record.token();
    let leader = record.leader.and_then(|leader| Some((leader.rpc, leader.published?)));
    Ok(leader.map(|(rpc, published)| PublishedLeader {
        token,
        rpc,
        rest: published.rest,
        blob: published.blob,
    }))
}

/// Follows the leader: calls `tell` with each new one, for as long as the runtime lives. Hears of
/// lost connections as an endpoint of `rpc`.
pub fn follow_leader(
    rpc: &RpcSystem,
    records: Arc<dyn ConditionalStore>,
    tell: impl Fn(PublishedLeader) + Send + 'static,
) {
    let ear = Arc::new(Ear::default());
    rpc.register(EndpointName::LeaderElection, ear.clone());
    tokio::spawn(async move {
        let mut current: Option<PublishedLeader> = None;
        let mut lost = true;
        loop {
            let records = records.clone();
            let found = tokio::task::spawn_blocking(move || find_leader(&*records)).await;
            // Records that cannot be read now may be later; whoever leads goes on meanwhile.
            if let Ok(Ok(Some(leader))) = found
                && current.as_ref() != Some(&leader)
            {
                ear.watch(&leader.rpc);
                lost = false;
                current = Some(leader.clone());
                tell(leader);
            }
            let pause = if lost { LOOK_EVERY_WHEN_LOST } else { LOOK_EVERY };
            tokio::select! {
                () = tokio::time::sleep(pause) => (),
                () = ear.heard.notified() => lost = true,
            }
        }
    });
}

/// Programs of jobs, from whoever leads. Cheap to clone.
#[derive(Clone, Default)]
pub struct LeadersBlobs(Arc<Mutex<Option<SocketAddr>>>);

impl LeadersBlobs {
    /// The leader serves them there.
    pub fn set(&self, address: SocketAddr) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(address);
    }
}

impl Fetch for LeadersBlobs {
    fn fetch(&self, hash: ContentHash, sink: &mut dyn Write, path: &Path) -> Result<(), BlobError> {
        let address = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let address = address.ok_or_else(|| BlobError::Connect {
            address: SocketAddr::from(([0, 0, 0, 0], 0)),
            cause: Arc::new(std::io::Error::other("no JobManager has been found to lead")),
        })?;
        BlobClient::new(address, NO_SECRET, BLOB_PATIENCE).fetch(hash, sink, path)
    }
}

/// Hears of the loss of the leader's process.
#[derive(Default)]
struct Ear {
    leader: Mutex<String>,
    heard: Notify,
}

impl Ear {
    fn watch(&self, process: &str) {
        process.clone_into(&mut self.leader.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Mailbox for Ear {
    fn deliver(&self, _envelope: Envelope) -> bool {
        false
    }

    fn peer_lost(&self, process: &str, _reason: &str) {
        if *self.leader.lock().unwrap_or_else(PoisonError::into_inner) == process {
            self.heard.notify_one();
        }
    }
}
