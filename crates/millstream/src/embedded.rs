//! Embedded mode: JobManager, one TaskManager and the tasks, all in this process.
//!
//! The same machines as on a cluster, over a message system without sockets. The first job starts
//! them; they serve all further jobs of the process and end with it.

use crate::cached_files;
use crate::interrupt;
use crate::process::config::set_state_directories;
use crate::process::in_process::{InProcessChildren, Plans};
use crate::process::job_manager::{JobManager, LeaderTerm, STANDALONE_TOKEN};
use crate::process::storage::Storages;
use crate::process::task_manager::start_task_executor;
use crate::resume;
use crate::session::{ClusterClient, SubmittedJob};
use crate::state_backend;
use millstream_api::error::{Error, ErrorCode, Result};
use millstream_api::executor::{JobClient, PipelineExecutor};
use millstream_core::config::{ConfigError, Configuration, catalog};
use millstream_core::ids::{JobId, ResourceId};
use millstream_host::directories::Home;
use millstream_operator::plan::Plan;
use millstream_rest::{Port, RestConfig, RestServer};
use millstream_rpc::protocol::EndpointName;
use millstream_rpc::shell::RpcSystem;
use millstream_rpc::shell::system::random_u128;
use millstream_taskmanager::config::{Leader, TaskExecutorConfig};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use tokio::runtime::Runtime;

/// Slots of the embedded worker unless configured: a slot costs nothing until a task runs in it.
const SLOTS: u32 = 256;

/// Threads of the runtime that carries messages; data has threads of its own.
const RUNTIME_THREADS: usize = 1;

/// Runs plans in this process.
#[derive(Default)]
pub struct EmbeddedExecutor {
    configuration: Configuration,
    cluster: OnceLock<Arc<MiniCluster>>,
}

impl EmbeddedExecutor {
    /// Jobs run in a cluster of this process that reads this configuration.
    pub fn new(mut configuration: Configuration) -> Self {
        // Without a place to keep them there are no checkpoints, unless one is configured.
        if let Ok(home) = Home::from_env() {
            set_state_directories(&mut configuration, &home, None);
        }
        Self { configuration, cluster: OnceLock::new() }
    }

    fn cluster(&self) -> Result<Arc<MiniCluster>> {
        if let Some(cluster) = self.cluster.get() {
            return Ok(cluster.clone());
        }
        let cluster = Arc::new(MiniCluster::start(&self.configuration)?);
        Ok(self.cluster.get_or_init(|| cluster).clone())
    }
}

impl PipelineExecutor for EmbeddedExecutor {
    fn submit(&self, plan: Plan, _values: &BTreeMap<String, Vec<u8>>) -> Result<JobClient> {
        for warning in &plan.warnings {
            eprintln!("warning: {warning}");
        }
        state_backend::check(&plan.graph.configuration)?;
        resume::check(&plan.graph)?;
        cached_files::check(&plan.cached_files)?;
        let cluster = self.cluster()?;
        let job = cluster.submit(plan)?;
        Ok(JobClient::new(Box::new(job)))
    }
}

/// A whole cluster in one process.
pub struct MiniCluster {
    /// Dropped last: the machines run on it.
    runtime: Runtime,
    rpc: RpcSystem,
    plans: Plans,
    job_manager: JobManager,
    /// For people who watch; nothing if no port is free.
    rest: Option<RestServer>,
}

impl MiniCluster {
    /// Starts the cluster's machines.
    pub fn start(configuration: &Configuration) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(RUNTIME_THREADS)
            .thread_name("millstream")
            .enable_all()
            .build()
            .map_err(|error| {
                Error::new(ErrorCode::Process, "cannot start threads").why(error.to_string())
            })?;
        let guard = runtime.enter();
        let rpc = RpcSystem::local("embedded");
        let plans = Plans::default();
        let fatal = Arc::new(|reason: String| eprintln!("millstream: {reason}"));
        let wrong = |error: ConfigError| Error::new(ErrorCode::Configuration, error.to_string());
        // What runs in this process ends with it.
        let mut standalone = configuration.clone();
        standalone.0.retain(|key, _| !key.starts_with("high-availability"));
        let job_manager =
            JobManager::start(&rpc, &standalone, None, LeaderTerm::standalone(), fatal.clone())
                .map_err(wrong)?;
        let slots = match configuration.contains(&catalog::TASKMANAGER_SLOTS) {
            true => configuration.get(&catalog::TASKMANAGER_SLOTS).map_err(wrong)?,
            false => SLOTS,
        };
        let here = ResourceId("embedded".to_owned());
        let address = rpc.address(EndpointName::TaskExecutor);
        let mut base = TaskExecutorConfig::new(here.clone(), address, String::new(), slots);
        let address = rpc.address(EndpointName::ResourceManager);
        base.resource_manager = Some(Leader { address, token: STANDALONE_TOKEN });
        let children = InProcessChildren::new(here, plans.clone(), Storages::new(configuration));
        start_task_executor(&rpc, configuration, base, children, fatal).map_err(wrong)?;
        drop(guard);
        let rest = runtime.block_on(start_rest(configuration, &rpc)).map_err(wrong)?;
        Ok(Self { runtime, rpc, plans, job_manager, rest })
    }

    /// Begins to run a plan.
    pub fn submit(self: &Arc<Self>, mut plan: Plan) -> Result<EmbeddedJob> {
        // Without a checkpoint a restarted job begins anew and gives its results twice: embedded
        // jobs restart only if they are configured to.
        plan.graph
            .configuration
            .entry("restart-strategy.type".to_owned())
            .or_insert_with(|| "none".to_owned());
        let job = JobId(random_u128());
        let graph = plan.graph.clone();
        let name = graph.name.clone();
        self.plans.insert(job, Arc::new(plan));
        let client = ClusterClient::new(self.rpc.clone(), self.rpc.process().to_owned());
        let submitted = client.submit(self.runtime.handle(), job, graph)?;
        Ok(EmbeddedJob { cluster: self.clone(), name, submitted })
    }
}

/// REST to look at: on the first free port from the configured one. A process without a free port
/// does its work all the same.
async fn start_rest(
    configuration: &Configuration,
    rpc: &RpcSystem,
) -> std::result::Result<Option<RestServer>, ConfigError> {
    let mut config = RestConfig::from_configuration(configuration)?;
    config.port = Port::FirstFreeFrom(configuration.get(&catalog::REST_PORT)?);
    config.read_only = true;
    config.log = Arc::new(|_| ());
    let process = rpc.process().to_owned();
    let shown = configuration.clone();
    let started =
        RestServer::start(config, rpc.clone(), process, STANDALONE_TOKEN, shown, None).await;
    Ok(started.ok())
}

impl Drop for MiniCluster {
    fn drop(&mut self) {
        self.job_manager.stop();
    }
}

/// A job of this process.
pub struct EmbeddedJob {
    cluster: Arc<MiniCluster>,
    /// What the user called it.
    name: String,
    submitted: SubmittedJob,
}

impl millstream_api::executor::JobHandle for EmbeddedJob {
    fn job(&self) -> JobId {
        self.submitted.job()
    }

    fn status(&self) -> Result<millstream_core::status::JobStatus> {
        self.submitted.status()
    }

    fn cancel(&self) -> Result<()> {
        self.submitted.cancel()
    }

    fn stop_with_savepoint(&self) -> Result<String> {
        self.submitted.stop_with_savepoint()
    }

    fn web_interface(&self) -> Option<String> {
        self.cluster.rest.as_ref().map(|rest| format!("http://{}", rest.address()))
    }

    fn wait(&mut self) -> Result<millstream_api::JobResult> {
        let result = interrupt::wait(&mut self.submitted, &self.name);
        self.cluster.plans.remove(self.submitted.job());
        result
    }
}
