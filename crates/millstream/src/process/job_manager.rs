//! The JobManager: dispatcher, resource manager and one job master per job, in one process.

use super::checkpoint_work::CheckpointWork;
use super::config::{self, ConfigError};
use millstream_core::config::Configuration;
use millstream_core::ids::{FencingToken, JobId, ResourceId};
use millstream_host::blob::BlobStore;
use millstream_jobmanager::dispatcher::{Dispatcher, DispatcherDone, DispatcherOp};
use millstream_jobmanager::job_master::{JobMaster, Surroundings};
use millstream_jobmanager::resource_manager::ResourceManager;
use millstream_rpc::machine::{Machine, OpId};
use millstream_rpc::protocol::EndpointName;
use millstream_rpc::shell::{EndpointHandle, Performer, RpcSystem, spawn_endpoint};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Called when the process cannot go on, with the reason.
pub type FatalSink = Arc<dyn Fn(String) + Send + Sync>;

/// The running parts of a JobManager. Dropping it leaves them running; see [`JobManager::stop`].
pub struct JobManager {
    dispatcher: EndpointHandle<Dispatcher>,
    resource_manager: EndpointHandle<ResourceManager>,
}

/// Without high availability there is one leader for ever, and its token says so.
pub const STANDALONE_TOKEN: FencingToken = FencingToken(0);

impl JobManager {
    /// Starts dispatcher and resource manager as endpoints of `rpc`. Programs of jobs are in the
    /// store, which is served at an address (`host:port`); embedded there are none.
    pub fn start(
        rpc: &RpcSystem,
        configuration: &Configuration,
        blobs: Option<(Arc<BlobStore>, String)>,
        fatal: FatalSink,
    ) -> Result<Self, ConfigError> {
        let (store, blob_server) = match blobs {
            Some((store, address)) => (Some(store), address),
            None => (None, String::new()),
        };
        let resource = ResourceId(rpc.process().to_owned());
        let config = config::resource_manager(configuration)?;
        let machine = ResourceManager::new(config, resource.clone(), blob_server, STANDALONE_TOKEN);
        let performer_fatal = fatal.clone();
        let resource_manager =
            spawn_endpoint(rpc, EndpointName::ResourceManager, machine, move |_| {
                Box::new(NoWork { fatal: performer_fatal })
            });
        let config = config::dispatcher(configuration)?;
        let machine = Dispatcher::new(config, rpc.process().to_owned(), STANDALONE_TOKEN);
        let work = DispatcherWork {
            rpc: rpc.clone(),
            configuration: configuration.clone(),
            resource,
            store,
            masters: BTreeMap::new(),
            fatal,
        };
        let dispatcher =
            spawn_endpoint(rpc, EndpointName::Dispatcher, machine, move |_| Box::new(work));
        Ok(Self { dispatcher, resource_manager })
    }

    /// Asks all parts to end.
    pub fn stop(&self) {
        self.dispatcher.stop();
        self.resource_manager.stop();
    }

    /// Waits until the dispatcher has ended, and with it all jobs.
    pub async fn stopped(&self) {
        self.dispatcher.stopped().await;
    }

    /// Whether the dispatcher has ended, and with it all jobs.
    pub fn is_stopped(&self) -> bool {
        self.dispatcher.is_stopped()
    }
}

/// For machines that have no work done by others.
struct NoWork {
    fatal: FatalSink,
}

impl<M> Performer<M> for NoWork
where
    M: Machine + 'static,
    M::Op: Send,
{
    fn perform(&mut self, op: OpId, what: M::Op, _endpoint: &EndpointHandle<M>) {
        unreachable!("{op:?} {what:?}: this machine has no work done by others");
    }

    fn fatal(&mut self, reason: String) {
        (self.fatal)(reason);
    }
}

/// The dispatcher's work: job masters are made and taken away. Without high availability nothing
/// is stored.
struct DispatcherWork {
    rpc: RpcSystem,
    configuration: Configuration,
    /// This process.
    resource: ResourceId,
    /// The programs of jobs.
    store: Option<Arc<BlobStore>>,
    masters: BTreeMap<JobId, EndpointHandle<JobMaster>>,
    fatal: FatalSink,
}

impl Performer<Dispatcher> for DispatcherWork {
    fn perform(&mut self, op: OpId, what: DispatcherOp, endpoint: &EndpointHandle<Dispatcher>) {
        match what {
            DispatcherOp::PersistGraph { .. } | DispatcherOp::RecordResult { .. } => {
                endpoint.done(op, DispatcherDone::Done);
            }
            DispatcherOp::CleanUpJob { job, .. } => {
                let (store, endpoint) = (self.store.clone(), endpoint.clone());
                tokio::task::spawn_blocking(move || {
                    let released = store.map_or(Ok(0), |store| store.release_job(job));
                    let done = match released {
                        Ok(_) => DispatcherDone::Done,
                        Err(error) => DispatcherDone::Failed { reason: error.to_string() },
                    };
                    endpoint.done(op, done);
                });
            }
            DispatcherOp::StartJobMaster { job, graph, token, submitted } => {
                let done = match self.start_master(job, &graph, token, submitted) {
                    Ok(()) => DispatcherDone::Done,
                    Err(reason) => DispatcherDone::Failed { reason },
                };
                endpoint.done(op, done);
            }
            DispatcherOp::StopJobMaster { job } => {
                let master = self.masters.remove(&job);
                let endpoint = endpoint.clone();
                tokio::spawn(async move {
                    if let Some(master) = master {
                        master.stop();
                        master.stopped().await;
                    }
                    endpoint.done(op, DispatcherDone::Done);
                });
            }
        }
    }

    fn fatal(&mut self, reason: String) {
        (self.fatal)(reason);
    }
}

impl DispatcherWork {
    fn start_master(
        &mut self,
        job: JobId,
        graph: &millstream_core::job_graph::JobGraph,
        token: FencingToken,
        submitted: millstream_core::time::Timestamp,
    ) -> Result<(), String> {
        let config = config::job_master(&self.configuration).map_err(|error| error.to_string())?;
        let process = self.rpc.process();
        let surroundings = Surroundings::in_process(process, self.resource.clone(), job, token);
        let machine = JobMaster::new(config, surroundings, job, graph.clone(), submitted);
        let fatal = self.fatal.clone();
        let handle = spawn_endpoint(&self.rpc, EndpointName::JobMaster(job), machine, move |_| {
            Box::new(CheckpointWork::new(fatal))
        });
        self.masters.insert(job, handle);
        Ok(())
    }
}
