//! What the operating system gives: child processes, directories, blob and state files, signals.
//!
//! No async runtime in here: threads with names, callbacks and channels. The shell above wraps them.
//! Nothing in here decides anything about jobs either; that is `taskmanager` and `jobmanager`.
//!
//! In reading order:
//! - [`child`]: starts, watches and kills the process of one job, and what that process calls itself;
//! - [`descriptor`]: hands an accepted connection to another process;
//! - [`artefact`]: looks at a user's program before anybody starts it;
//! - [`blob`]: files named by their content: store, server, client, cache;
//! - [`storage`]: where checkpoints keep their files;
//! - [`local_state`]: copies of those files that a worker keeps for itself;
//! - [`directories`]: where files live, and who sweeps up;
//! - `configuration` (a feature): reads the configuration file;
//! - `disk`: the calls on which their durability stands;
//! - [`mutant`]: planted bugs for the simulator;
//! - [`pointer`]: records in a directory that are changed by compare-and-set;
//! - [`log_file`], [`pid_file`], [`signals`], [`memory`], [`process`]: small tools.
//!
//! Errors answer `kind()`: [`ErrorKind`] says who has to act.
//!
//! `unsafe` is denied but for two files: `child/before_exec.rs`, which runs between fork and exec,
//! and `child/inherited.rs`, which takes over the descriptors that a child was started with.
//!
//! Linux gets everything. On macOS there is no pidfd, no parent death signal and no `/proc`: a thread
//! waits for each child instead, and what cannot be known is `None`.

#[cfg(not(unix))]
compile_error!(
    "Millstream runs on Linux (x86-64, aarch64) and, for development, on macOS. On Windows use \
     WSL 2 or a Linux container."
);

pub mod artefact;
pub mod blob;
pub mod child;
#[cfg(feature = "configuration")]
pub mod configuration;
pub mod descriptor;
pub mod directories;
#[cfg(feature = "simulated-disk")]
pub mod disk;
#[cfg(not(feature = "simulated-disk"))]
mod disk;
mod durable;
mod error_kind;
pub mod local_state;
pub mod log_file;
pub mod memory;
pub mod mutant;
pub mod pid_file;
pub mod pointer;
pub mod process;
#[cfg(test)]
mod scratch;
pub mod signals;
pub mod storage;

pub use error_kind::ErrorKind;
