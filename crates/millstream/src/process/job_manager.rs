//! The JobManager: dispatcher, resource manager and one job master per job, in one process.

use super::checkpoint_work::CheckpointWork;
use super::config::{self, ConfigError};
use super::ha::handle::{HaError, HaHandle};
use super::ha::job_files::JobFiles;
use super::storage::Storages;
use millstream_checkpoint::storage::StorageError;
use millstream_core::config::Configuration;
use millstream_core::ids::{FencingToken, JobId, ResourceId};
use millstream_core::job_graph::JobGraph;
use millstream_core::time::Timestamp;
use millstream_host::blob::BlobStore;
use millstream_jobmanager::dispatcher::{
    Dispatcher, DispatcherDone, DispatcherOp, Recovered, UNSOLICITED,
};
use millstream_jobmanager::ha::JobRecord;
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

/// One term of leadership.
pub struct LeaderTerm {
    /// The token of all endpoints.
    pub token: FencingToken,
    /// What the former leaders left.
    pub recovered: Recovered,
    /// What outlives this leader, and where the files beside it are; nothing: nothing does.
    pub ha: Option<(HaHandle, JobFiles)>,
}

impl LeaderTerm {
    /// The only term there ever is, without high availability.
    pub fn standalone() -> Self {
        Self { token: STANDALONE_TOKEN, recovered: Recovered::default(), ha: None }
    }
}

impl JobManager {
    /// Starts dispatcher and resource manager as endpoints of `rpc`. Programs of jobs are in the
    /// store, which is served at an address (`host:port`); embedded there are none.
    pub fn start(
        rpc: &RpcSystem,
        configuration: &Configuration,
        blobs: Option<(Arc<BlobStore>, String)>,
        term: LeaderTerm,
        fatal: FatalSink,
    ) -> Result<Self, ConfigError> {
        let LeaderTerm { token, recovered, ha } = term;
        let (store, blob_server) = match blobs {
            Some((store, address)) => (Some(store), address),
            None => (None, String::new()),
        };
        let resource = ResourceId(rpc.process().to_owned());
        let config = config::resource_manager(configuration)?;
        let machine = ResourceManager::new(config, resource.clone(), blob_server, token);
        let performer_fatal = fatal.clone();
        let resource_manager =
            spawn_endpoint(rpc, EndpointName::ResourceManager, machine, move |_| {
                Box::new(NoWork { fatal: performer_fatal })
            });
        let config = config::dispatcher(configuration)?;
        let machine = Dispatcher::new(config, rpc.process().to_owned(), token);
        let machine = machine.with_recovered(recovered);
        let work = DispatcherWork {
            rpc: rpc.clone(),
            configuration: configuration.clone(),
            storages: Storages::new(configuration),
            resource,
            store,
            ha,
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

    /// The term is over: all parts end at once, and write nothing.
    pub fn depose(&self, reason: &str) {
        let reason = reason.to_owned();
        self.dispatcher.done(UNSOLICITED, DispatcherDone::Deposed { reason });
        self.resource_manager.stop();
    }

    /// Waits until all parts have ended.
    pub async fn all_stopped(&self) {
        self.dispatcher.stopped().await;
        self.resource_manager.stopped().await;
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

/// The dispatcher's work: job masters are made and taken away, and under high availability what
/// outlives this leader is written down. Files come before the record refers to them and go after.
struct DispatcherWork {
    rpc: RpcSystem,
    configuration: Configuration,
    /// Where checkpoints are.
    storages: Storages,
    /// This process.
    resource: ResourceId,
    /// The programs of jobs.
    store: Option<Arc<BlobStore>>,
    /// What outlives this leader, and where the files beside it are.
    ha: Option<(HaHandle, JobFiles)>,
    masters: BTreeMap<JobId, EndpointHandle<JobMaster>>,
    fatal: FatalSink,
}

impl Performer<Dispatcher> for DispatcherWork {
    fn perform(&mut self, op: OpId, what: DispatcherOp, endpoint: &EndpointHandle<Dispatcher>) {
        match what {
            DispatcherOp::PersistGraph { job, graph, submitted, .. } => {
                let store = self.store.clone();
                self.with_ha(op, endpoint, move |ha, files| {
                    persist(ha, files, job, &graph, submitted, store.as_deref())
                });
            }
            DispatcherOp::RecordResult { job, result, .. } => {
                self.with_ha(op, endpoint, move |ha, _| ha.record_result(job, result));
            }
            DispatcherOp::CleanUpJob { job, .. } => {
                let (store, endpoint) = (self.store.clone(), endpoint.clone());
                let (ha, storages) = (self.ha.clone(), self.storages.clone());
                tokio::task::spawn_blocking(move || {
                    let clean = |(ha, files)| clean_up(&ha, &files, &storages, job);
                    let cleaned = ha.map_or(Ok(()), clean);
                    let released = cleaned.and_then(|()| {
                        let released = store.map_or(Ok(0), |store| store.release_job(job));
                        released.map(drop).map_err(|error| HaError::Failed(error.to_string()))
                    });
                    endpoint.done(op, done_of(released));
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
    /// Has something written that outlives this leader, on a thread that may block.
    fn with_ha(
        &self,
        op: OpId,
        endpoint: &EndpointHandle<Dispatcher>,
        write: impl FnOnce(&HaHandle, &JobFiles) -> Result<(), HaError> + Send + 'static,
    ) {
        let Some((ha, files)) = self.ha.clone() else {
            return endpoint.done(op, DispatcherDone::Done);
        };
        let endpoint = endpoint.clone();
        tokio::task::spawn_blocking(move || endpoint.done(op, done_of(write(&ha, &files))));
    }

    fn start_master(
        &mut self,
        job: JobId,
        graph: &JobGraph,
        token: FencingToken,
        submitted: Timestamp,
    ) -> Result<(), String> {
        if self.masters.contains_key(&job) {
            return Ok(());
        }
        let config = config::job_master(&self.configuration).map_err(|error| error.to_string())?;
        let process = self.rpc.process();
        let surroundings = Surroundings::in_process(process, self.resource.clone(), job, token);
        let ha = self.ha.as_ref().map(|(ha, _)| ha.clone());
        let left = ha.as_ref().and_then(|ha| ha.recovery_of(job));
        let graph = graph.clone();
        let machine = JobMaster::recovered(config, surroundings, job, graph, submitted, left);
        let (storages, fatal) = (self.storages.clone(), self.fatal.clone());
        let handle = spawn_endpoint(&self.rpc, EndpointName::JobMaster(job), machine, move |_| {
            Box::new(CheckpointWork::new(job, ha, storages, fatal))
        });
        self.masters.insert(job, handle);
        Ok(())
    }
}

fn done_of(result: Result<(), HaError>) -> DispatcherDone {
    match result {
        Ok(()) => DispatcherDone::Done,
        Err(HaError::Failed(reason)) => DispatcherDone::Failed { reason },
        Err(HaError::Deposed(reason)) => DispatcherDone::Unknown { reason },
    }
}

/// The job's files first, then the record that refers to them.
fn persist(
    ha: &HaHandle,
    files: &JobFiles,
    job: JobId,
    graph: &JobGraph,
    submitted: Timestamp,
    blobs: Option<&BlobStore>,
) -> Result<(), HaError> {
    let directory = JobFiles::directory(job, ha.epoch());
    files.write(&directory, graph, blobs).map_err(HaError::Failed)?;
    ha.add_job(job, JobRecord::new(directory, submitted))
}

/// What is left of the job's checkpoints, then the record, then the files that it referred to.
fn clean_up(
    ha: &HaHandle,
    files: &JobFiles,
    storages: &Storages,
    job: JobId,
) -> Result<(), HaError> {
    let failed = |error: StorageError| HaError::Failed(error.to_string());
    for path in ha.remains_of(job) {
        storages.delete(&path).map_err(failed)?;
    }
    let directory = ha.directory_of(job);
    ha.remove_job(job)?;
    directory.map_or(Ok(()), |directory| files.delete(&directory)).map_err(failed)
}
