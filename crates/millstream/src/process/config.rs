//! From a configuration to what each machine wants to know.

use super::ha::settings::HaSettings;
pub use millstream_core::config::ConfigError;
use millstream_core::config::option::ConfigOption;
use millstream_core::config::{Configuration, catalog};
use millstream_host::directories::Home;
use millstream_jobmanager::dispatcher::DispatcherConfig;
use millstream_jobmanager::job_master::JobMasterConfig;
use millstream_jobmanager::resource_manager::ResourceManagerConfig;
use millstream_rpc::heartbeat::HeartbeatConfig;
use millstream_taskmanager::config::TaskExecutorConfig;

/// `heartbeat.*`.
pub fn heartbeat(configuration: &Configuration) -> Result<HeartbeatConfig, ConfigError> {
    Ok(HeartbeatConfig {
        interval_ms: configuration.get(&catalog::HEARTBEAT_INTERVAL)?,
        timeout_ms: configuration.get(&catalog::HEARTBEAT_TIMEOUT)?,
        failures_max: configuration.get(&catalog::HEARTBEAT_FAILURES)?,
    })
}

/// What the resource manager wants to know.
pub fn resource_manager(
    configuration: &Configuration,
) -> Result<ResourceManagerConfig, ConfigError> {
    Ok(ResourceManagerConfig {
        heartbeat: heartbeat(configuration)?,
        ask_timeout_ms: configuration.get(&catalog::ASK_TIMEOUT)?,
        startup_grace_ms: configuration.get(&catalog::STANDALONE_START_UP)?,
        ..ResourceManagerConfig::default()
    })
}

/// What the dispatcher wants to know.
pub fn dispatcher(configuration: &Configuration) -> Result<DispatcherConfig, ConfigError> {
    Ok(DispatcherConfig {
        ask_timeout_ms: configuration.get(&catalog::ASK_TIMEOUT)?,
        ended_jobs_max: configuration.get(&catalog::JOB_STORE_MAX)? as usize,
        plans_survive: HaSettings::read(configuration)?.is_some(),
        ..DispatcherConfig::default()
    })
}

/// Where checkpoints and savepoints go unless somebody says otherwise: into the home directory, or
/// to the other things that outlive a JobManager.
pub fn set_state_directories(
    configuration: &mut Configuration,
    home: &Home,
    ha: Option<&HaSettings>,
) {
    let mut default = |option: &ConfigOption<String>, directory: String| {
        if !configuration.contains(option) {
            configuration.set(option.key, directory);
        }
    };
    let (checkpoints, savepoints) = match ha {
        None => (home.checkpoints().display().to_string(), home.savepoints().display().to_string()),
        Some(ha) => {
            (format!("{}/checkpoints", ha.directory), format!("{}/savepoints", ha.directory))
        }
    };
    default(&catalog::CHECKPOINT_DIR, checkpoints);
    default(&catalog::SAVEPOINT_DIR, savepoints);
}

/// The cluster's values of what a job may say itself.
fn checkpoint_defaults(configuration: &Configuration) -> Configuration {
    const PREFIXES: [&str; 2] = ["execution.checkpointing.", "state."];
    let ours = |key: &str| PREFIXES.iter().any(|prefix| key.starts_with(prefix));
    let entries = configuration.0.iter().filter(|(key, _)| ours(key));
    Configuration(entries.map(|(key, value)| (key.clone(), value.clone())).collect())
}

/// What a job master wants to know, besides its job.
pub fn job_master(configuration: &Configuration) -> Result<JobMasterConfig, ConfigError> {
    Ok(JobMasterConfig {
        heartbeat: heartbeat(configuration)?,
        ask_timeout_ms: configuration.get(&catalog::ASK_TIMEOUT)?,
        slot_request_timeout_ms: configuration.get(&catalog::SLOT_REQUEST_TIMEOUT)?,
        slot_idle_timeout_ms: configuration.get(&catalog::SLOT_IDLE_TIMEOUT)?,
        defaults: checkpoint_defaults(configuration),
        ..JobMasterConfig::default()
    })
}

/// What a task executor wants to know, besides who and where it is.
pub fn task_executor(
    configuration: &Configuration,
    base: TaskExecutorConfig,
) -> Result<TaskExecutorConfig, ConfigError> {
    Ok(TaskExecutorConfig {
        heartbeat: heartbeat(configuration)?,
        ask_timeout_ms: configuration.get(&catalog::ASK_TIMEOUT)?,
        slot_timeout_ms: configuration.get(&catalog::TASKMANAGER_SLOT_TIMEOUT)?,
        registration_timeout_ms: configuration.get(&catalog::TASKMANAGER_REGISTRATION_TIMEOUT)?,
        task_cancellation_timeout_ms: configuration.get(&catalog::CANCELLATION_TIMEOUT)?,
        ..base
    })
}
