//! Processes and what they are put together from: machines, their performers, the runtime.
//!
//! In reading order:
//! - [`config`]: from a configuration to what each machine wants to know;
//! - [`job_manager`]: dispatcher, resource manager, job masters;
//! - [`task_manager`]: the task executor over whatever runs its job processes;
//! - [`in_process`]: job processes that are none: task hosts of this very process;
//! - [`children`], [`data_port`]: job processes that are children, and how data reaches them;
//! - [`artefacts`]: programs that were uploaded over REST;
//! - [`storage`]: the storage that a directory's name means, with [`storage_reader`];
//! - [`local_state`]: copies of state files that a worker keeps for itself;
//! - [`results`]: what tasks of BATCH jobs have produced for others to read later;
//! - [`ha`]: a JobManager that another one can take over from;
//! - [`daemon`]: the processes of a standing cluster.

pub mod artefacts;
mod checkpoint_work;
pub mod children;
pub mod config;
pub mod daemon;
pub mod data_port;
pub mod ha;
pub mod in_process;
pub mod job_manager;
pub mod local_state;
pub mod results;
pub mod storage;
mod storage_reader;
pub mod task_manager;
