//! The processes of a standing cluster: what `millstream jobmanager` and `millstream taskmanager` run.
//!
//! Each runs in the foreground until it is asked to end (SIGTERM, SIGINT, REST) or cannot go on. It
//! holds a pid file and, for the JobManager, writes down where it can be reached.

use super::artefacts::ProgramStore;
use super::children::{ChildProcesses, Places, chain};
use super::config::{ConfigError, set_state_directories};
use super::data_port::{DataTargets, start_data_port};
use super::ha::RECORD;
use super::ha::election_work::{ElectionWork, Troubles, process_name};
use super::ha::handle::Waiting;
use super::ha::job_files::JobFiles;
use super::ha::leader::{LeaderParts, carry_out_orders};
use super::ha::retrieval::{LeadersBlobs, follow_leader};
use super::ha::settings::HaSettings;
use super::job_manager::{FatalSink, JobManager, LeaderTerm, STANDALONE_TOKEN};
use super::local_state::LocalState;
use super::results::Results;
use super::storage::Storages;
use super::task_manager::start_task_executor;
use crate::state_backend;
use millstream_api::error::{Error, ErrorCode, Result};
use millstream_checkpoint::pointer::ConditionalStore;
use millstream_checkpoint::storage::StorageError;
use millstream_core::config::{ConfigOption, Configuration, catalog};
use millstream_core::ids::{FencingToken, ResourceId};
use millstream_host::blob::cache::CachePolicy;
use millstream_host::blob::server::SERVER_LIMITS;
use millstream_host::blob::{BlobCache, BlobServer, BlobStore, Secret};
use millstream_host::child::Supervisor;
use millstream_host::directories::{Home, WorkingDirectory, check_temporary_directories};
use millstream_host::memory;
use millstream_host::pid_file::PidFile;
use millstream_host::signals::SignalWatch;
use millstream_jobmanager::ha::{HaConfig, LeaderElection};
use millstream_rest::{RestConfig, RestServer};
use millstream_rpc::protocol::dispatcher::ToDispatcher;
use millstream_rpc::protocol::resource::ResourceProfile;
use millstream_rpc::protocol::resource_manager::{HardwareDescription, MemoryConfiguration};
use millstream_rpc::protocol::{Address, EndpointName, Message};
use millstream_rpc::shell::endpoint::mono_now;
use millstream_rpc::shell::system::random_u128;
use millstream_rpc::shell::{EndpointHandle, RpcSystem, spawn_endpoint};
use millstream_taskmanager::config::{Leader, TaskExecutorConfig};
use millstream_taskmanager::op::{Done, UNSOLICITED as NOT_ASKED_FOR};
use millstream_taskmanager::task_executor::TaskExecutor;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Processes of one machine speak over loopback, where a secret would protect nothing that the
/// messages themselves do not give away. Beyond loopback there is no start without TLS.
pub const NO_SECRET: Secret = Secret::new([0; 32]);

/// How long the blob server may take to show a sign of life.
pub const BLOB_PATIENCE: Duration = Duration::from_secs(10);

/// Where a JobManager can be reached: `run/jobmanager.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobManagerAddresses {
    /// `host:port` for messages.
    pub rpc: String,
    /// `host:port` of the blob server.
    pub blob: String,
    /// `host:port` of REST.
    pub rest: String,
}

impl JobManagerAddresses {
    /// The file, in a home directory.
    pub fn file(home: &Home) -> PathBuf {
        home.run().join("jobmanager.json")
    }

    /// What the file says, if there is one.
    pub fn read(home: &Home) -> Option<Self> {
        let text = std::fs::read(Self::file(home)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Writes them down.
    pub(super) fn write(&self, home: &Home) -> std::io::Result<()> {
        let path = Self::file(home);
        let unfinished = path.with_extension("json.new");
        std::fs::write(&unfinished, serde_json::to_vec(self).map_err(std::io::Error::other)?)?;
        std::fs::rename(unfinished, path)
    }

    /// Removes the file, unless another JobManager has written it meanwhile.
    pub(super) fn remove(&self, home: &Home) {
        if Self::read(home).as_ref() == Some(self) {
            let _ = std::fs::remove_file(Self::file(home));
        }
    }
}

/// Runs a JobManager until it is asked to end. `name` tells it from others of the same home.
pub fn run_job_manager(mut configuration: Configuration, home: &Home, name: &str) -> Result<()> {
    let settings = HaSettings::read(&configuration).map_err(|error| config_error(&error))?;
    state_backend::check_default(&configuration).map_err(|error| config_error(&error))?;
    set_state_directories(&mut configuration, home, settings.as_ref());
    home.create().map_err(|error| process_error("prepare the home directory", &error))?;
    let _pid_file = PidFile::create(&home.pid_file(name), name)
        .map_err(|error| process_error("start a JobManager", &error))?;
    let (end, ended) = mpsc::unbounded_channel();
    let _signals = watch_signals(&end)?;
    runtime()?.block_on(serve_job_manager(configuration, home, name, end, ended))
}

/// What a JobManager has, whether it leads or not.
struct Ground {
    rpc: RpcSystem,
    working: WorkingDirectory,
    store: Arc<BlobStore>,
    blobs: BlobServer,
    fatal: FatalSink,
}

async fn serve_job_manager(
    mut configuration: Configuration,
    home: &Home,
    name: &str,
    end: mpsc::UnboundedSender<String>,
    ended: mpsc::UnboundedReceiver<String>,
) -> Result<()> {
    let settings = HaSettings::read(&configuration).map_err(|error| config_error(&error))?;
    if settings.is_some() && !configuration.contains(&catalog::BLOB_PORT) {
        // Several of them may be on one machine, and nobody needs to know the port beforehand.
        configuration.set(catalog::BLOB_PORT.key, "0");
    }
    let port = if settings.is_some() { &catalog::HA_PORT } else { &catalog::JOBMANAGER_PORT };
    let ground = lay_ground(&configuration, home, name, port, end).await?;
    match settings {
        None => serve_alone(configuration, home, ground, ended).await,
        Some(settings) => contend(configuration, home, ground, settings, ended).await,
    }
}

async fn lay_ground(
    configuration: &Configuration,
    home: &Home,
    name: &str,
    port: &ConfigOption<u16>,
    end: mpsc::UnboundedSender<String>,
) -> Result<Ground> {
    let get = |error: ConfigError| config_error(&error);
    let host = configuration.get(&catalog::JOBMANAGER_BIND).map_err(get)?;
    let rest_host = configuration.get(&catalog::REST_BIND).map_err(get)?;
    check_exposure(configuration, &[&host, &rest_host])?;

    let key = port.key;
    let port = configuration.get(port).map_err(get)?;
    let rpc = RpcSystem::listen(&format!("{host}:{port}"))
        .await
        .map_err(|error| bind_error("messages", &host, port, key, &error))?;

    let working = WorkingDirectory::create(&working_root(configuration, home)?, name)
        .map_err(|error| process_error("prepare the working directory", &error))?;
    let upload_max = configuration.get(&catalog::UPLOAD_MAX).map_err(get)?;
    let store = BlobStore::open(&working.path().join("blobs"), upload_max.saturating_mul(64))
        .map_err(|error| process_error("open the blob store", &error))?;
    let store = Arc::new(store);
    let port = configuration.get(&catalog::BLOB_PORT).map_err(get)?;
    let address = resolve(&format!("{host}:{port}"))?;
    let blobs = BlobServer::start(store.clone(), NO_SECRET, address, SERVER_LIMITS)
        .map_err(|error| bind_error("blobs", &host, port, "blob.server.port", &error))?;
    let fatal = Arc::new(move |reason: String| drop(end.send(reason)));
    Ok(Ground { rpc, working, store, blobs, fatal })
}

/// The only JobManager there is: it leads from its begin to its end.
async fn serve_alone(
    mut configuration: Configuration,
    home: &Home,
    ground: Ground,
    mut ended: mpsc::UnboundedReceiver<String>,
) -> Result<()> {
    let Ground { rpc, working, store, blobs, fatal } = ground;
    let blob_address = blobs.address().to_string();
    let served = Some((store.clone(), blob_address.clone()));
    let term = LeaderTerm::standalone();
    let job_manager = JobManager::start(&rpc, &configuration, served, term, fatal)
        .map_err(|error| config_error(&error))?;

    let rest_host = configuration.get(&catalog::REST_BIND).map_err(|e| config_error(&e))?;
    let rest_port = configuration.get(&catalog::REST_PORT).map_err(|e| config_error(&e))?;
    write_effective(&mut configuration, rpc.process(), &blob_address, STANDALONE_TOKEN);
    let programs = ProgramStore::new(
        store,
        working.path().join("programs"),
        rpc.clone(),
        STANDALONE_TOKEN,
        tokio::runtime::Handle::current(),
        Supervisor::start().map_err(|error| process_error("start threads", &error))?,
    )
    .map_err(|error| process_error("prepare the directory of programs", &error))?
    .for_cluster(&configuration);
    let rest = RestServer::start(
        RestConfig::from_configuration(&configuration).map_err(|error| config_error(&error))?,
        rpc.clone(),
        rpc.process().to_owned(),
        STANDALONE_TOKEN,
        configuration.clone(),
        Some(Arc::new(programs)),
    )
    .await
    .map_err(|error| bind_error("REST", &rest_host, rest_port, "rest.port", &error))?;

    let addresses = JobManagerAddresses {
        rpc: rpc.process().to_owned(),
        blob: blob_address,
        rest: rest.address().to_string(),
    };
    addresses.write(home).map_err(|error| process_error("write the addresses", &error))?;
    println!("JobManager: REST http://{}, messages {}", addresses.rest, addresses.rpc);

    let reason = tokio::select! {
        reason = ended.recv() => reason.unwrap_or_default(),
        () = job_manager.stopped() => "it was shut down over REST".to_owned(),
    };
    eprintln!("JobManager ends: {reason}");
    shut_down(&rpc, &job_manager).await;
    rest.stop().await;
    rpc.shutdown();
    addresses.remove(home);
    drop(blobs);
    Ok(())
}

/// One of several JobManagers: it leads when it is its turn.
async fn contend(
    configuration: Configuration,
    home: &Home,
    ground: Ground,
    settings: HaSettings,
    mut ended: mpsc::UnboundedReceiver<String>,
) -> Result<()> {
    let Ground { rpc, working, store, blobs, fatal } = ground;
    let storages = Storages::new(&configuration);
    let place = settings.clone();
    let opened = tokio::task::spawn_blocking(move || open_records(&storages, &place)).await;
    let opened = opened.map_err(|error| process_error("open the records", &error))?;
    let (records, files) = opened.map_err(|error| {
        Error::new(ErrorCode::Process, "the directory of high availability cannot be used")
            .why(error.to_string())
            .next("check `high-availability.storageDir`; all processes must be able to write there")
    })?;
    let waiting = Waiting::default();
    let (orders, ordered) = mpsc::unbounded_channel();
    let config = HaConfig {
        process: process_name(&rpc),
        rpc: rpc.process().to_owned(),
        lease_ms: settings.lease_ms,
    };
    let work = ElectionWork {
        store: records,
        troubles: Troubles::default(),
        waiting: waiting.clone(),
        orders,
        rpc: rpc.clone(),
        fatal: fatal.clone(),
    };
    println!("JobManager: waits for its turn to lead, messages {}", rpc.process());
    let machine = LeaderElection::new(config);
    let election =
        spawn_endpoint(&rpc, EndpointName::LeaderElection, machine, move |_| Box::new(work));
    let parts = LeaderParts {
        rpc: rpc.clone(),
        configuration,
        home: home.clone(),
        blobs: store,
        blob_address: blobs.address().to_string(),
        programs: working.path().join("programs"),
        files,
        waiting,
        fatal,
    };
    tokio::spawn(carry_out_orders(parts, ordered, election.clone()));
    let reason = tokio::select! {
        biased;
        reason = ended.recv() => reason,
        () = election.stopped() => ended.try_recv().ok(),
    };
    let fatally = reason.as_ref().is_some_and(|reason| !reason.starts_with("SIG"));
    let reason = reason.unwrap_or_else(|| "it was shut down over REST".to_owned());
    eprintln!("JobManager ends: {reason}");
    election.stop();
    let _ = tokio::time::timeout(Duration::from_secs(20), election.stopped()).await;
    rpc.shutdown();
    drop(blobs);
    match fatally {
        true => Err(Error::new(ErrorCode::Process, "the JobManager cannot go on").why(reason)),
        false => Ok(()),
    }
}

/// The records, which can be read at least, and the files beside them. May block.
fn open_records(
    storages: &Storages,
    settings: &HaSettings,
) -> std::result::Result<(Arc<dyn ConditionalStore>, JobFiles), StorageError> {
    let records = storages.create_records(&settings.directory, settings.patience())?;
    records.read(RECORD)?;
    Ok((records, JobFiles::new(storages.open(&settings.directory)?)))
}

/// Ends jobs, then the dispatcher; not for longer than people wait.
async fn shut_down(rpc: &RpcSystem, job_manager: &JobManager) {
    const PATIENCE: Duration = Duration::from_secs(10);
    let dispatcher = rpc.address(EndpointName::Dispatcher);
    let message = Message::Dispatcher(ToDispatcher::Shutdown);
    let _ = rpc.ask(&dispatcher, Some(STANDALONE_TOKEN), message, PATIENCE).await;
    let _ = tokio::time::timeout(PATIENCE, job_manager.stopped()).await;
    job_manager.stop();
}

/// Clients read where everything really is.
pub(super) fn write_effective(
    configuration: &mut Configuration,
    rpc: &str,
    blob: &str,
    token: FencingToken,
) {
    configuration.set(catalog::LEADER_SESSION_ID.key, token.to_string());
    let port = |address: &str| address.rsplit(':').next().unwrap_or_default().to_owned();
    configuration.set(catalog::JOBMANAGER_PORT.key, port(rpc));
    configuration.set(catalog::BLOB_PORT.key, port(blob));
    let host = rpc.rsplit_once(':').map_or(rpc, |(host, _)| host).to_owned();
    configuration.set(catalog::JOBMANAGER_ADDRESS.key, host);
}

/// Runs a TaskManager until it is asked to end. `name` tells it from others of the same home.
pub fn run_task_manager(configuration: Configuration, home: &Home, name: &str) -> Result<()> {
    home.create().map_err(|error| process_error("prepare the home directory", &error))?;
    let _pid_file = PidFile::create(&home.pid_file(name), name)
        .map_err(|error| process_error("start a TaskManager", &error))?;
    let (end, ended) = mpsc::unbounded_channel();
    let _signals = watch_signals(&end)?;
    runtime()?.block_on(serve_task_manager(configuration, home, name, end, ended))
}

async fn serve_task_manager(
    configuration: Configuration,
    home: &Home,
    name: &str,
    end: mpsc::UnboundedSender<String>,
    mut ended: mpsc::UnboundedReceiver<String>,
) -> Result<()> {
    let get = |error: ConfigError| config_error(&error);
    let host = configuration.get(&catalog::TASKMANAGER_BIND).map_err(get)?;
    check_exposure(&configuration, &[&host])?;
    let working_root = working_root(&configuration, home)?;

    let port = configuration.get(&catalog::TASKMANAGER_DATA_PORT).map_err(get)?;
    let targets = DataTargets::default();
    let data = start_data_port(&format!("{host}:{port}"), targets.clone())
        .map_err(|error| bind_error("data", &host, port, "taskmanager.data.port", &error))?;
    let port = configuration.get(&catalog::TASKMANAGER_PORT).map_err(get)?;
    let rpc = RpcSystem::listen(&format!("{host}:{port}"))
        .await
        .map_err(|error| bind_error("messages", &host, port, "taskmanager.rpc.port", &error))?;

    let working = WorkingDirectory::create(&working_root, name)
        .map_err(|error| process_error("prepare the working directory", &error))?;
    let settings = HaSettings::read(&configuration).map_err(get)?;
    let source = LeadersBlobs::default();
    if settings.is_none() {
        let job_manager = configuration.get(&catalog::JOBMANAGER_ADDRESS).map_err(get)?;
        let port = configuration.get(&catalog::BLOB_PORT).map_err(get)?;
        source.set(resolve(&format!("{job_manager}:{port}"))?);
    }
    let programs = working.path().join("programs");
    let cached = Box::new(source.clone());
    let blobs = BlobCache::open(&programs, cached, CachePolicy::default(), mono_now())
        .map_err(|error| process_error("open the blob cache", &error))?;
    let supervisor = Supervisor::start().map_err(|error| process_error("start threads", &error))?;
    supervisor.reap_orphans_if_init();
    let own_log = home.log().join(format!("{name}.log"));
    let local_state = LocalState::new(&configuration, working.path(), name)
        .map_err(|error| process_error("prepare the directories of local state", &error))?;
    let local_state = Arc::new(local_state);
    let places = Places {
        working: working.path().join("jobs"),
        logs: home.log(),
        own_log: own_log.exists().then_some(own_log),
        local_state: local_state.clone(),
        results: Results::within(working.path().join("results")),
    };
    let storages = Storages::new(&configuration);
    let children = ChildProcesses::new(supervisor, blobs, targets, places, storages.clone())
        .map_err(|error| process_error("start threads", &error))?;

    let resource = resource_id(&configuration, &data)?;
    let mut base = task_executor_base(&configuration, &rpc, &data, resource.clone())?;
    if settings.is_none() {
        let host = configuration.get(&catalog::JOBMANAGER_ADDRESS).map_err(get)?;
        let port = configuration.get(&catalog::JOBMANAGER_PORT).map_err(get)?;
        let process = format!("{host}:{port}");
        let address = Address { process, endpoint: EndpointName::ResourceManager };
        base.resource_manager = Some(Leader { address, token: STANDALONE_TOKEN });
    }
    let fatal = {
        let end = end.clone();
        Arc::new(move |reason: String| drop(end.send(reason)))
    };
    let task_executor = start_task_executor(&rpc, &configuration, base, children, fatal)
        .map_err(|error| config_error(&error))?;
    if let Some(settings) = settings {
        let records = storages.records(&settings.directory, settings.patience());
        let records = records.map_err(|error| process_error("find out who leads", &error))?;
        follow(&rpc, records, source, task_executor.clone());
    }
    println!("TaskManager {resource}: messages {}, data {data}", rpc.process());

    let reason = tokio::select! {
        reason = ended.recv() => reason.unwrap_or_default(),
        () = task_executor.stopped() => "the task executor has ended".to_owned(),
    };
    eprintln!("TaskManager {resource} ends: {reason}");
    local_state.keep();
    task_executor.stop();
    let _ = tokio::time::timeout(Duration::from_secs(10), task_executor.stopped()).await;
    rpc.shutdown();
    match reason.starts_with("SIG") {
        true => Ok(()),
        false => Err(Error::new(ErrorCode::Process, "the TaskManager cannot go on").why(reason)),
    }
}

/// Whoever leads is told to the task executor, and is where programs come from.
fn follow(
    rpc: &RpcSystem,
    records: Arc<dyn ConditionalStore>,
    source: LeadersBlobs,
    task_executor: EndpointHandle<TaskExecutor>,
) {
    follow_leader(rpc, records, move |found| {
        match resolve(&found.blob) {
            Ok(address) => source.set(address),
            Err(error) => eprintln!("TaskManager: the leader's blob server: {error}"),
        }
        let address = Address { process: found.rpc, endpoint: EndpointName::ResourceManager };
        let leader = Leader { address, token: found.token };
        task_executor.done(NOT_ASKED_FOR, Done::ResourceManagerLeader(Some(leader)));
    });
}

fn resource_id(configuration: &Configuration, data: &SocketAddr) -> Result<ResourceId> {
    let configured = configuration
        .get(&catalog::TASKMANAGER_RESOURCE_ID)
        .map_err(|error| config_error(&error))?;
    Ok(ResourceId(match configured.is_empty() {
        false => configured,
        true => format!("{data}-{:06x}", random_u128() as u32 & 0xFF_FFFF),
    }))
}

fn task_executor_base(
    configuration: &Configuration,
    rpc: &RpcSystem,
    data: &SocketAddr,
    resource: ResourceId,
) -> Result<TaskExecutorConfig> {
    let get = |error: ConfigError| config_error(&error);
    let slots = configuration.get(&catalog::TASKMANAGER_SLOTS).map_err(get)?;
    let process = configuration.get(&catalog::TASKMANAGER_MEMORY).map_err(get)?;
    let address = rpc.address(EndpointName::TaskExecutor);
    let mut base = TaskExecutorConfig::new(resource, address, data.to_string(), slots);
    // Flink's proportions: 40 % managed, 10 % network, the rest for tasks.
    let (managed, network) = (process / 10 * 4, process / 10);
    let task = process - managed - network;
    base.memory = MemoryConfiguration { process, task, network, managed };
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
    base.hardware = HardwareDescription {
        cpu_cores: cores,
        physical_memory: memory::physical_bytes().unwrap_or(0),
        free_memory: memory::available_bytes().unwrap_or(0),
        managed_memory: managed,
    };
    let per_slot = u64::from(slots);
    base.slot_profile = ResourceProfile {
        cpu_millis: 1000 * cores / slots.max(1),
        task_memory: task / per_slot,
        managed_memory: managed / per_slot,
        network_memory: network / per_slot,
    };
    Ok(base)
}

/// The first of the temporary directories, checked; without any, a directory of the home.
fn working_root(configuration: &Configuration, home: &Home) -> Result<PathBuf> {
    let directories =
        configuration.get(&catalog::TMP_DIRS).map_err(|error| config_error(&error))?;
    let mut directories: Vec<PathBuf> = directories.into_iter().map(PathBuf::from).collect();
    if directories.is_empty() {
        directories.push(home.run().join("tmp"));
    }
    check_temporary_directories(&directories)
        .map_err(|error| process_error("check the temporary directories (io.tmp.dirs)", &error))?;
    Ok(directories.swap_remove(0))
}

/// Beyond loopback nobody may reach us without saying that this is meant.
fn check_exposure(configuration: &Configuration, hosts: &[&str]) -> Result<()> {
    let insecure = configuration.get(&catalog::INSECURE).map_err(|error| config_error(&error))?;
    let is_loopback = |host: &str| match host.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => host == "localhost",
    };
    match hosts.iter().find(|host| !is_loopback(host)) {
        Some(host) if !insecure => {
            let summary = format!("will not listen on {host} without TLS and authentication");
            Err(Error::new(ErrorCode::Process, summary)
                .why("whoever reaches a cluster can run code on it")
                .next(
                    "bind to 127.0.0.1, or, on a network that nobody else can reach, set \
                     `security.insecure: true`",
                ))
        }
        Some(host) => {
            eprintln!("warning: listening on {host} without TLS and authentication");
            Ok(())
        }
        None => Ok(()),
    }
}

/// The socket address behind `host:port`.
pub fn resolve(address: &str) -> Result<SocketAddr> {
    let failed = |why: String| {
        Error::new(ErrorCode::Configuration, format!("`{address}` is no address")).why(why)
    };
    let mut found = address.to_socket_addrs().map_err(|error| failed(error.to_string()))?;
    found.next().ok_or_else(|| failed("the name stands for nothing".to_owned()))
}

fn watch_signals(end: &mpsc::UnboundedSender<String>) -> Result<SignalWatch> {
    let end = end.clone();
    SignalWatch::start(move |termination| {
        if termination.count > 1 {
            std::process::exit(130);
        }
        let _ = end.send(format!("{} was received", termination.signal));
    })
    .map_err(|error| process_error("watch signals", &error))
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(64)
        .thread_name("millstream")
        .enable_all()
        .build()
        .map_err(|error| process_error("start threads", &error))
}

fn process_error(attempted: &str, error: &(dyn std::error::Error + 'static)) -> Error {
    Error::new(ErrorCode::Process, format!("could not {attempted}")).why(chain(error))
}

fn config_error(error: &ConfigError) -> Error {
    Error::new(ErrorCode::Configuration, error.to_string())
}

fn bind_error(
    what: &str,
    host: &str,
    port: u16,
    key: &str,
    error: &(dyn std::error::Error + 'static),
) -> Error {
    Error::new(ErrorCode::Process, format!("cannot listen for {what} on {host}:{port}"))
        .why(chain(error))
        .next(format!("stop what uses the port, or choose another with `-D {key}=PORT`"))
}
