//! What this process was started for. Said by variables that the CLI, the JobManager and the
//! TaskManager set; a program started by hand finds none of them and runs embedded.

use crate::process::job_manager::STANDALONE_TOKEN;
use millstream_api::error::{Error, ErrorCode, Result};
use millstream_core::ids::{FencingToken, ParseIdError};
use std::path::PathBuf;

/// Names the launch mode: `session`, `plan` or `job-process`; unset: embedded.
pub const MODE: &str = "MILLSTREAM_MODE";
/// `session`: `host:port` of the JobManager.
pub const JOB_MANAGER: &str = "MILLSTREAM_JOBMANAGER";
/// `session`: the JobManager's term of leadership; unset: there is no other.
pub const SESSION_ID: &str = "MILLSTREAM_JOBMANAGER_SESSION";
/// `session`: the directory of the cluster's high availability, in which its leader is found: a path
/// or `s3://…`.
pub const HIGH_AVAILABILITY: &str = "MILLSTREAM_HIGH_AVAILABILITY";
/// `session`: `host:port` of the blob server.
pub const BLOB_SERVER: &str = "MILLSTREAM_BLOB_SERVER";
/// `session`: set if `execute` is not to wait for the job's end.
pub const DETACHED: &str = "MILLSTREAM_DETACHED";
/// `session`, `plan`: names of environment variables that job processes get, separated by commas.
pub const ENVIRONMENT: &str = "MILLSTREAM_ENVIRONMENT";
/// `session`, `plan`: configuration of the job, `key=value` per line.
pub const DEFINITIONS: &str = "MILLSTREAM_DEFINITIONS";
/// `session`, `plan`: what the cluster says of jobs that do not say it, `key=value` per line. Only to
/// refuse what cannot run there: the cluster adds it by itself.
pub const DEFAULTS: &str = "MILLSTREAM_DEFAULTS";
/// `session`, `plan`: the parallelism of operators that set none.
pub const PARALLELISM: &str = "MILLSTREAM_PARALLELISM";
/// `plan`: the file into which the job graph is written.
pub const PLAN_FILE: &str = "MILLSTREAM_PLAN_FILE";
/// `job-process`: the directory of the blobs that belong to the job.
pub const BLOBS: &str = "MILLSTREAM_BLOBS";

/// What this process was started for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Launch {
    /// To run its jobs itself.
    Embedded,
    /// To submit its jobs to a cluster.
    Session {
        /// `host:port` of the JobManager.
        job_manager: String,
        /// Its term.
        token: FencingToken,
        /// Where to find out who leads now.
        high_availability: Option<String>,
        /// `host:port` of the blob server.
        blob_server: String,
        /// `execute` does not wait.
        detached: bool,
    },
    /// To write the graph of its first job into a file.
    Plan {
        /// The file.
        file: PathBuf,
    },
    /// To run tasks for a TaskManager.
    JobProcess,
}

/// Reads the launch mode from the environment.
pub fn launch() -> Result<Launch> {
    let required = |name: &str| {
        variable(name).ok_or_else(|| {
            let summary = format!("`{MODE}` is set, but `{name}` is not");
            Error::new(ErrorCode::Process, summary).next("start the program with `millstream run`")
        })
    };
    match variable(MODE).as_deref() {
        None | Some("embedded") => Ok(Launch::Embedded),
        Some("session") => Ok(Launch::Session {
            job_manager: required(JOB_MANAGER)?,
            token: match variable(SESSION_ID) {
                None => STANDALONE_TOKEN,
                Some(text) => text.parse().map_err(|error: ParseIdError| {
                    let summary = format!("`{SESSION_ID}`: {error}");
                    Error::new(ErrorCode::Process, summary)
                        .next("start the program with `millstream run`")
                })?,
            },
            high_availability: variable(HIGH_AVAILABILITY),
            blob_server: required(BLOB_SERVER)?,
            detached: variable(DETACHED).is_some(),
        }),
        Some("plan") => Ok(Launch::Plan { file: required(PLAN_FILE)?.into() }),
        Some("job-process") => Ok(Launch::JobProcess),
        Some(other) => {
            let summary = format!("`{MODE}={other}` is not a launch mode");
            Err(Error::new(ErrorCode::Process, summary)
                .next("unset it, or use `session`, `plan` or `job-process`"))
        }
    }
}

/// A variable that is set and not empty.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Pairs of a variable, `key=value` per line.
pub(crate) fn pairs(name: &str) -> std::collections::BTreeMap<String, String> {
    let text = variable(name).unwrap_or_default();
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// The variables that job processes are to get: those that the user named, with their values here.
pub(crate) fn passed_environment() -> std::collections::BTreeMap<String, String> {
    let names = variable(ENVIRONMENT).unwrap_or_default();
    let names = names.split(',').map(str::trim).filter(|name| !name.is_empty());
    names.filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?))).collect()
}
