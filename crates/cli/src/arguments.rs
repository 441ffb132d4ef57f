//! What can be said on the command line. Flags are Flink's where Flink has them.

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Stateful stream processing: runs jobs embedded or on a cluster.
#[derive(Debug, Parser)]
#[command(name = "millstream", version, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run a program's jobs on a cluster
    Run(RunArguments),
    /// List the jobs of a cluster
    List(ListArguments),
    /// Show the plan of a job, or of a program that has not been submitted
    Info(InfoArguments),
    /// End a job with a savepoint
    Stop(StopArguments),
    /// Take a savepoint of a job, or dispose of one
    Savepoint(SavepointArguments),
    /// Take a checkpoint of a job now
    Checkpoint(CheckpointArguments),
    /// Cancel a job
    Cancel(JobArguments),
    /// Show what a job's processes wrote
    Logs(JobArguments),
    /// Look into a checkpoint or savepoint
    State {
        /// What to see of it.
        #[command(subcommand)]
        action: StateAction,
    },
    /// Start, stop or look at a cluster on this machine
    Cluster(ClusterArguments),
    /// Run a JobManager in the foreground
    Jobmanager(JobManagerArguments),
    /// Run a TaskManager in the foreground
    Taskmanager(TaskManagerArguments),
    /// Watch a job run: auctions and bids, counted as they come
    Demo(DemoArguments),
}

/// Where the cluster is.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Target {
    /// REST of the cluster, HOST:PORT [default: what runs on this machine]
    #[arg(short = 'm', long = "jobmanager", value_name = "HOST:PORT")]
    pub jobmanager: Option<String>,
    /// Configuration, over the file's
    #[arg(short = 'D', value_name = "KEY=VALUE", allow_hyphen_values = true)]
    pub definitions: Vec<String>,
}

/// `millstream run`.
#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// Return when the job is submitted
    #[arg(short = 'd', long)]
    pub detached: bool,
    /// Parallelism of operators that set none
    #[arg(short = 'p', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub parallelism: Option<u32>,
    /// Go on from a savepoint or checkpoint
    #[arg(short = 's', long = "fromSavepoint", value_name = "PATH")]
    pub from_savepoint: Option<String>,
    /// Leave state behind that no operator of the program claims
    #[arg(short = 'n', long = "allowNonRestoredState")]
    pub allow_non_restored_state: bool,
    /// Who owns what the job goes on from
    #[arg(long = "claimMode", visible_alias = "cm", value_name = "MODE", value_parser = ["claim", "no-claim"])]
    pub claim_mode: Option<String>,
    /// Pass an environment variable of this shell to the job's processes
    #[arg(short = 'E', long = "environment", value_name = "NAME")]
    pub environment: Vec<String>,
    #[command(flatten)]
    pub target: Target,
    /// The program's executable
    pub program: PathBuf,
    /// The program's arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub arguments: Vec<String>,
}

/// `millstream list`.
#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// Running jobs only
    #[arg(short = 'r', long)]
    pub running: bool,
    /// Scheduled jobs only
    #[arg(short = 's', long)]
    pub scheduled: bool,
    /// Ended jobs too
    #[arg(short = 'a', long)]
    pub all: bool,
    #[command(flatten)]
    pub target: Target,
}

/// A verb about one job.
#[derive(Debug, Args)]
pub(crate) struct JobArguments {
    /// The job's id, 32 hexadecimal digits
    pub job: String,
    #[command(flatten)]
    pub target: Target,
}

/// `millstream stop`.
#[derive(Debug, Args)]
pub(crate) struct StopArguments {
    /// Count all input as ended first: windows and timers fire, and the job is not to go on
    #[arg(short = 'd', long)]
    pub drain: bool,
    /// The savepoint gets a directory of its own below this one [default: the configured one]
    #[arg(short = 'p', long = "savepointPath", value_name = "DIRECTORY")]
    pub savepoint_path: Option<String>,
    /// The job's id, 32 hexadecimal digits
    pub job: String,
    #[command(flatten)]
    pub target: Target,
}

/// `millstream savepoint`.
#[derive(Debug, Args)]
pub(crate) struct SavepointArguments {
    /// Remove this savepoint
    #[arg(short = 'd', long, value_name = "PATH", conflicts_with = "job")]
    pub dispose: Option<String>,
    /// The job's id, 32 hexadecimal digits
    #[arg(required_unless_present = "dispose")]
    pub job: Option<String>,
    /// The savepoint gets a directory of its own below this one [default: the configured one]
    pub directory: Option<String>,
    #[command(flatten)]
    pub target: Target,
}

/// `millstream checkpoint`.
#[derive(Debug, Args)]
pub(crate) struct CheckpointArguments {
    /// Refer to no file of an earlier checkpoint
    #[arg(short = 'f', long)]
    pub full: bool,
    /// The job's id, 32 hexadecimal digits
    pub job: String,
    #[command(flatten)]
    pub target: Target,
}

/// `millstream info`.
#[derive(Debug, Args)]
pub(crate) struct InfoArguments {
    /// Parallelism of operators that set none
    #[arg(short = 'p', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub parallelism: Option<u32>,
    #[command(flatten)]
    pub target: Target,
    /// A job's id, or a program's executable
    pub job_or_program: String,
    /// The program's arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub arguments: Vec<String>,
}

/// What to see of a checkpoint or savepoint.
#[derive(Debug, Subcommand)]
pub(crate) enum StateAction {
    /// List its operators and their states: types, rows, bytes
    Ls {
        #[command(flatten)]
        place: SnapshotPlace,
    },
    /// Show the rows of one state as JSON lines
    Show(StateShowArguments),
    /// Show what a program would keep, change, add, drop and refuse of it
    Diff(StateDiffArguments),
}

/// Where a checkpoint or savepoint is.
#[derive(Debug, Args)]
pub(crate) struct SnapshotPlace {
    /// The directory of a checkpoint or savepoint: a path or `s3://...`
    pub path: String,
    /// Configuration, over the file's: how an object store is reached
    #[arg(short = 'D', value_name = "KEY=VALUE", allow_hyphen_values = true)]
    pub definitions: Vec<String>,
}

/// `millstream state show`.
#[derive(Debug, Args)]
pub(crate) struct StateShowArguments {
    #[command(flatten)]
    pub place: SnapshotPlace,
    /// An operator's name or id
    #[arg(short = 'o', long)]
    pub operator: String,
    /// The state's name
    #[arg(short = 's', long)]
    pub state: String,
    /// At most so many rows
    #[arg(short = 'n', long, default_value_t = u64::MAX, hide_default_value = true)]
    pub limit: u64,
}

/// `millstream state diff`.
#[derive(Debug, Args)]
pub(crate) struct StateDiffArguments {
    /// Write JSON
    #[arg(long)]
    pub json: bool,
    /// State that no operator of the program claims may be left behind
    #[arg(short = 'n', long = "allowNonRestoredState")]
    pub allow_non_restored_state: bool,
    /// How the program is planned
    #[command(flatten)]
    pub planning: Planning,
    /// The directory of a checkpoint or savepoint: a path or `s3://...`
    pub path: String,
    /// The program, or a later checkpoint or savepoint
    pub program: String,
    /// Its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub arguments: Vec<String>,
}

/// How a program is planned, but not run.
#[derive(Debug, Default, Args)]
pub(crate) struct Planning {
    /// Parallelism of operators that set none
    #[arg(short = 'p', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub parallelism: Option<u32>,
    /// Configuration, over the file's
    #[arg(short = 'D', value_name = "KEY=VALUE", allow_hyphen_values = true)]
    pub definitions: Vec<String>,
}

/// `millstream cluster`.
#[derive(Debug, Args)]
pub(crate) struct ClusterArguments {
    /// What to do with it.
    #[command(subcommand)]
    pub action: ClusterAction,
}

/// What to do with a cluster.
#[derive(Debug, Subcommand)]
pub(crate) enum ClusterAction {
    /// Start a JobManager and TaskManagers in the background
    Start {
        /// How many TaskManagers
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
        taskmanagers: u32,
        /// Slots of each
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
        slots: Option<u32>,
        /// Configuration, over the file's
        #[arg(short = 'D', value_name = "KEY=VALUE", allow_hyphen_values = true)]
        definitions: Vec<String>,
    },
    /// Stop all processes of the cluster
    Stop,
    /// Say what runs
    Status,
}

/// A process of a cluster.
#[derive(Debug, Args)]
pub(crate) struct ProcessArguments {
    /// Configuration, over the file's
    #[arg(short = 'D', value_name = "KEY=VALUE", allow_hyphen_values = true)]
    pub definitions: Vec<String>,
}

/// `millstream jobmanager`.
#[derive(Debug, Args)]
pub(crate) struct JobManagerArguments {
    /// Tells it from others of the same home directory
    #[arg(long, default_value = "jobmanager")]
    pub name: String,
    #[command(flatten)]
    pub process: ProcessArguments,
}

/// `millstream taskmanager`.
#[derive(Debug, Args)]
pub(crate) struct TaskManagerArguments {
    /// Tells it from others of the same home directory
    #[arg(long, default_value = "taskmanager")]
    pub name: String,
    #[command(flatten)]
    pub process: ProcessArguments,
}

/// `millstream demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// Events per second [default: as many as the machine can]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub rate: Option<u64>,
    /// Stop after so many events
    #[arg(long)]
    pub events: Option<u64>,
    /// Parallelism
    #[arg(short = 'p', long, value_parser = clap::value_parser!(u32).range(1..))]
    pub parallelism: Option<u32>,
    /// Configuration
    #[arg(short = 'D', value_name = "KEY=VALUE", allow_hyphen_values = true)]
    pub definitions: Vec<String>,
}
