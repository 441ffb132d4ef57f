//! The verbs. Those about jobs speak REST; `run` starts the program, which submits itself.

mod cluster;
mod jobs;
mod processes;
mod run;
mod snapshots;
mod state;

use crate::arguments::{Arguments, Verb};
use crate::demo;
use millstream::api::error::Result;
use std::process::ExitCode;

/// Does what the command line says.
pub(crate) fn run(arguments: Arguments) -> Result<ExitCode> {
    match arguments.verb {
        Verb::Run(arguments) => run::run(&arguments),
        Verb::List(arguments) => jobs::list(&arguments),
        Verb::Info(arguments) => jobs::info(&arguments),
        Verb::Stop(arguments) => snapshots::stop(&arguments),
        Verb::Savepoint(arguments) => snapshots::savepoint(&arguments),
        Verb::Checkpoint(arguments) => snapshots::checkpoint(&arguments),
        Verb::Cancel(arguments) => jobs::cancel(&arguments),
        Verb::Logs(arguments) => jobs::logs(&arguments),
        Verb::State { action } => state::state(&action),
        Verb::Cluster(arguments) => cluster::cluster(&arguments.action),
        Verb::Jobmanager(arguments) => processes::job_manager(&arguments),
        Verb::Taskmanager(arguments) => processes::task_manager(&arguments),
        Verb::Demo(arguments) => demo::run(&arguments),
    }
}
