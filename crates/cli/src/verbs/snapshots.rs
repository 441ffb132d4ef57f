//! `savepoint`, `stop`, `checkpoint`: set off over REST, and waited for.

use super::jobs::job_id;
use super::state::snapshot::Snapshot;
use crate::arguments::{CheckpointArguments, SavepointArguments, StopArguments};
use crate::client::RestClient;
use crate::configuration::storages;
use millstream::api::error::{Error, ErrorCode, Result};
use millstream_checkpoint::metadata::METADATA_FILE;
use serde_json::{Value, json};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// How often the result is asked for.
const POLL_EVERY: Duration = Duration::from_millis(50);

pub(super) fn savepoint(arguments: &SavepointArguments) -> Result<ExitCode> {
    if let Some(path) = &arguments.dispose {
        return dispose(path, &arguments.target.definitions);
    }
    let job = job_id(arguments.job.as_deref().unwrap_or_default())?;
    let client = RestClient::of(&arguments.target)?;
    let directory = arguments.directory.as_deref().map(absolute_or_uri).transpose()?;
    let request = json!({ "target-directory": directory });
    let path = format!("/jobs/{job}/savepoints");
    let operation = set_off(&client, &path, &path, &request)?;
    let location = operation["location"].as_str().unwrap_or_default();
    println!("Savepoint completed. Path: {location}");
    println!("You can resume your program from it: millstream run -s {location} PROGRAM");
    Ok(ExitCode::SUCCESS)
}

pub(super) fn stop(arguments: &StopArguments) -> Result<ExitCode> {
    let job = job_id(&arguments.job)?;
    let client = RestClient::of(&arguments.target)?;
    let directory = arguments.savepoint_path.as_deref().map(absolute_or_uri).transpose()?;
    let request = json!({ "targetDirectory": directory, "drain": arguments.drain });
    let results = format!("/jobs/{job}/savepoints");
    let operation = set_off(&client, &format!("/jobs/{job}/stop"), &results, &request)?;
    let location = operation["location"].as_str().unwrap_or_default();
    println!("Stopped job {job}. Savepoint completed. Path: {location}");
    if !arguments.drain {
        println!("You can resume your program from it: millstream run -s {location} PROGRAM");
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn checkpoint(arguments: &CheckpointArguments) -> Result<ExitCode> {
    let job = job_id(&arguments.job)?;
    let client = RestClient::of(&arguments.target)?;
    let kind = if arguments.full { "FULL" } else { "CONFIGURED" };
    let path = format!("/jobs/{job}/checkpoints");
    let operation = set_off(&client, &path, &path, &json!({ "checkpointType": kind }))?;
    println!("Checkpoint {} completed.", operation["checkpointId"]);
    Ok(ExitCode::SUCCESS)
}

/// Sets something off, waits until it is done, and gives what came of it.
fn set_off(client: &RestClient, path: &str, results: &str, request: &Value) -> Result<Value> {
    let triggered = client.post(path, request)?;
    let trigger = triggered["request-id"].as_str().unwrap_or_default();
    loop {
        let mut progress = client.get(&format!("{results}/{trigger}"))?;
        if progress["status"]["id"] == "COMPLETED" {
            let operation = progress["operation"].take();
            return failure_of(&operation).map_or(Ok(operation), Err);
        }
        std::thread::sleep(POLL_EVERY);
    }
}

fn failure_of(operation: &Value) -> Option<Error> {
    let cause = ["failure-cause", "failureCause"].iter().find_map(|key| operation.get(*key))?;
    let text = cause["stack-trace"].as_str().unwrap_or("no cause was told");
    Some(Error::new(ErrorCode::Refused, "it could not be completed").why(text))
}

/// A savepoint is its directory: removes it, if it is one.
fn dispose(path: &str, definitions: &[String]) -> Result<ExitCode> {
    let storages = storages(definitions)?;
    let snapshot = Snapshot::open(path, storages.clone())?;
    let kind = snapshot.metadata.kind;
    if !kind.is_savepoint() {
        let what = format!("{path} is no savepoint but a {kind:?}");
        return Err(
            Error::new(ErrorCode::Argument, what).why("the job that took it decides when it goes")
        );
    }
    let failed = |error: millstream_checkpoint::storage::StorageError| {
        Error::new(ErrorCode::Process, error.to_string())
    };
    let (parent, name) = storages.open_parent(&snapshot.directory).map_err(failed)?;
    if name.is_empty() {
        let what = format!("{path} has no directory of its own");
        return Err(Error::new(ErrorCode::Argument, what));
    }
    // Without its metadata it is no savepoint any more: that goes first.
    parent.delete(&format!("{name}/{METADATA_FILE}")).map_err(failed)?;
    parent.delete(name).map_err(failed)?;
    println!("Savepoint {path} disposed.");
    Ok(ExitCode::SUCCESS)
}

/// The cluster has another working directory than this command.
pub(super) fn absolute_or_uri(path: &str) -> Result<String> {
    if path.contains("://") {
        return Ok(path.to_owned());
    }
    let absolute = super::run::absolute(Path::new(path))?;
    Ok(absolute.display().to_string())
}
