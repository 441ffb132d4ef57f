//! `jobmanager` and `taskmanager`: processes of a cluster, in the foreground.

use crate::arguments::{JobManagerArguments, TaskManagerArguments};
use crate::configuration::{home, load};
use millstream::api::error::Result;
use millstream::process::daemon;
use std::process::ExitCode;

pub(super) fn job_manager(arguments: &JobManagerArguments) -> Result<ExitCode> {
    let home = home()?;
    let configuration = load(&home, &arguments.process.definitions)?;
    daemon::run_job_manager(configuration, &home, &arguments.name)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn task_manager(arguments: &TaskManagerArguments) -> Result<ExitCode> {
    let home = home()?;
    let configuration = load(&home, &arguments.process.definitions)?;
    daemon::run_task_manager(configuration, &home, &arguments.name)?;
    Ok(ExitCode::SUCCESS)
}
