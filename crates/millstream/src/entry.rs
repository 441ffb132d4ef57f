//! How a program learns what it was started for: its arguments and its launch mode.

use crate::embedded::EmbeddedExecutor;
use crate::job_process::JobProcessExecutor;
use crate::launch::{self, Launch, launch, variable};
use crate::planning::PlanningExecutor;
use crate::process::ha::retrieval::RECORDS_PATIENCE;
use crate::process::storage::Storages;
use crate::session::ClusterClient;
use crate::submission::SessionExecutor;
use millstream_api::args::Args;
use millstream_api::{PipelineExecutor, Result, StreamExecutionEnvironment};
use millstream_checkpoint::pointer::ConditionalStore;
use millstream_core::config::Configuration;
use millstream_rpc::shell::RpcSystem;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The short name of the environment.
pub type Env = StreamExecutionEnvironment;

/// Entry points of programs, as functions of [`Env`].
pub trait EnvFromArgs: Sized {
    /// An environment from the process's arguments (`--name value`, `--parallelism P`,
    /// `-D key=value`) and its launch mode.
    fn from_args() -> Result<Self>;

    /// The same for a program that reads its arguments itself.
    fn with_arguments(args: Args) -> Result<Self>;
}

impl EnvFromArgs for Env {
    fn from_args() -> Result<Self> {
        Self::with_arguments(Args::parse(std::env::args().skip(1))?)
    }

    fn with_arguments(args: Args) -> Result<Self> {
        // A linker may drop what nothing names.
        std::hint::black_box(&crate::JOB_LINK);
        let mut configuration = submitted_configuration();
        configuration.extend(args.configuration().clone());
        let executor: Box<dyn PipelineExecutor> = match launch()? {
            Launch::Embedded => {
                configuration.entry("parallelism.default".to_owned()).or_insert_with(cores);
                Box::new(EmbeddedExecutor::new(Configuration(configuration.clone())))
            }
            Launch::Session { job_manager, token, high_availability, blob_server, detached } => {
                let rpc = RpcSystem::local("client");
                let records = high_availability.as_deref().and_then(records);
                let client = ClusterClient::of_leader(rpc, job_manager, token, records);
                Box::new(SessionExecutor::new(client, blob_server, detached)?)
            }
            Launch::Plan { file } => Box::new(PlanningExecutor { file }),
            Launch::JobProcess => {
                let executor = JobProcessExecutor::connect()?;
                let configuration = executor.configuration().clone();
                let plan_values = executor.plan_values();
                return Ok(Env::with_executor(
                    args,
                    configuration,
                    plan_values,
                    Box::new(executor),
                ));
            }
        };
        Ok(Env::with_executor(args, configuration, BTreeMap::new(), executor))
    }
}

/// Where it is written down who leads; a program that cannot read it follows no change of leaders.
fn records(directory: &str) -> Option<Arc<dyn ConditionalStore>> {
    let storages = Storages::from_environment().map_err(|error| error.to_string());
    let records = storages.and_then(|storages| {
        storages.records(directory, RECORDS_PATIENCE).map_err(|error| error.to_string())
    });
    let told = |error| {
        eprintln!("warning: a JobManager that takes over will not be found: {error}");
    };
    records.map_err(told).ok()
}

/// What the command line of the CLI set for the job.
fn submitted_configuration() -> BTreeMap<String, String> {
    let mut configuration = launch::pairs(launch::DEFINITIONS);
    if let Some(parallelism) = variable(launch::PARALLELISM) {
        configuration.insert("parallelism.default".to_owned(), parallelism);
    }
    configuration
}

/// Embedded jobs use the whole machine unless told otherwise.
fn cores() -> String {
    std::thread::available_parallelism().map_or(1, usize::from).to_string()
}
