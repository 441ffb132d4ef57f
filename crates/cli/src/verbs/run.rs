//! `run`: starts the program as the client of a cluster.
//!
//! The program's `main` runs here, in a process of its own, to its end. At `execute` it uploads
//! itself, submits its graph, and waits for the job unless it is detached.

use super::snapshots::absolute_or_uri;
use crate::arguments::RunArguments;
use crate::client::RestClient;
use crate::configuration::storages;
use millstream::api::error::{Error, ErrorCode, Result};
use millstream::core::config::catalog;
use millstream::launch;
use millstream::process::storage::is_object_store_key;
use millstream_host::artefact;
use std::path::Path;
use std::process::{Command, ExitCode};

pub(super) fn run(arguments: &RunArguments) -> Result<ExitCode> {
    check_program(&arguments.program)?;
    let cluster = RestClient::of(&arguments.target)?.submission_addresses()?;
    let mut program = Command::new(absolute(&arguments.program)?);
    program
        .args(&arguments.arguments)
        .env(launch::MODE, "session")
        .env(launch::JOB_MANAGER, cluster.job_manager)
        .env(launch::BLOB_SERVER, cluster.blob_server)
        .env(launch::SESSION_ID, cluster.session.unwrap_or_default())
        .env(launch::HIGH_AVAILABILITY, cluster.high_availability.unwrap_or_default())
        .envs(storages(&arguments.target.definitions)?.environment())
        .env(launch::DETACHED, if arguments.detached { "1" } else { "" })
        .env(launch::ENVIRONMENT, arguments.environment.join(","))
        .env(launch::DEFAULTS, cluster.defaults)
        .env(launch::DEFINITIONS, definitions(arguments)?.join("\n"))
        .env(launch::PARALLELISM, arguments.parallelism.map(|p| p.to_string()).unwrap_or_default());
    for name in &arguments.environment {
        if std::env::var_os(name).is_none() {
            let summary = format!("`-E {name}`: there is no such variable here");
            return Err(Error::new(ErrorCode::Argument, summary));
        }
    }
    let status = program.status().map_err(|error| {
        Error::new(ErrorCode::Process, "the program cannot be started")
            .at(arguments.program.display().to_string())
            .why(error.to_string())
    })?;
    Ok(ExitCode::from(status.code().unwrap_or(1) as u8))
}

/// What the job is configured with: `-D`, and what it goes on from. How object stores are reached is
/// for this command and the program; the cluster knows it by itself.
fn definitions(arguments: &RunArguments) -> Result<Vec<String>> {
    let mut definitions = arguments.target.definitions.clone();
    definitions.retain(|definition| !is_object_store_key(definition.trim_start()));
    let mut define = |key: &str, value: &str| definitions.push(format!("{key}={value}"));
    if let Some(path) = &arguments.from_savepoint {
        define(catalog::RECOVERY_PATH.key, &absolute_or_uri(path)?);
    }
    if arguments.allow_non_restored_state {
        define(catalog::RECOVERY_IGNORE_UNCLAIMED.key, "true");
    }
    if let Some(mode) = &arguments.claim_mode {
        define(catalog::RECOVERY_CLAIM_MODE.key, mode);
    }
    Ok(definitions)
}

/// A program that no worker could start is refused before it is.
pub(super) fn check_program(path: &Path) -> Result<()> {
    use millstream::rpc::protocol::job_link::{JOB_LINK_VERSION, JOB_LINK_VERSION_MIN};
    let wrong = |error: artefact::ArtefactError| {
        Error::new(ErrorCode::Argument, "the program cannot run on the cluster")
            .attempted(format!("check {}", path.display()))
            .why(error.to_string())
    };
    let info = artefact::inspect(path).map_err(wrong)?;
    info.check_job_link(JOB_LINK_VERSION_MIN, JOB_LINK_VERSION).map_err(wrong)?;
    info.check_loader().map_err(wrong)
}

/// `Command` looks a bare name up in PATH; a file of this directory is meant.
pub(super) fn absolute(path: &Path) -> Result<std::path::PathBuf> {
    std::path::absolute(path).map_err(|error| {
        Error::new(ErrorCode::Argument, format!("`{}` is no path", path.display()))
            .why(error.to_string())
    })
}
