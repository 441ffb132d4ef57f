//! Why a child was not started: what was tried, why it failed, what to do.

use crate::ErrorKind;
use crate::artefact::{self, ArtefactError};
use crate::directories;
use rustix::io::Errno;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Why a child was not started. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// The order contradicts itself.
    #[error("could not start a job process: {0}")]
    BadSpec(
        /// In what.
        String,
    ),
    /// The program cannot run here, whoever starts it.
    #[error("could not start a job process")]
    Artefact(
        /// Why.
        #[from]
        ArtefactError,
    ),
    /// The file system does not let programs be executed.
    #[error(
        "could not start a job process from {path}, because its file system is mounted noexec; \
         point io.tmp.dirs, or the working directory of this process, to one that is not, or \
         remount it with exec"
    )]
    NoExec {
        /// The program.
        path: PathBuf,
    },
    /// Somebody still writes to the file.
    #[error(
        "could not start a job process from {path}: after {waited_ms} ms another process still had \
         it open for writing; find it with `fuser {path}`"
    )]
    Busy {
        /// The program.
        path: PathBuf,
        /// How long we tried.
        waited_ms: u64,
    },
    /// Not allowed, and not because of the mount or the mode.
    #[error(
        "could not start a job process from {path}: permission denied; check that this user may \
         enter its directories, and that no security module forbids it"
    )]
    PermissionDenied {
        /// The program.
        path: PathBuf,
    },
    /// A limit of this process, user or machine.
    #[error(
        "could not start a job process from {path}, because a limit is reached ({limit}); raise \
         it, or run fewer jobs on this machine"
    )]
    Limit {
        /// The program.
        path: PathBuf,
        /// Which.
        limit: &'static str,
        /// What the kernel said.
        #[source]
        cause: io::Error,
    },
    /// Its directory.
    #[error("could not make the working directory {path} of a job process")]
    WorkingDirectory {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// Its log file.
    #[error("could not open the log file {path} of a job process")]
    Log {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// Anything else.
    #[error("could not start a job process from {path}: failed to {action}")]
    Other {
        /// The program.
        path: PathBuf,
        /// At what.
        action: &'static str,
        /// What the kernel said.
        #[source]
        cause: io::Error,
    },
    /// The supervisor is being dropped.
    #[error("could not start a job process, because this process is shutting down")]
    Stopping,
}

impl SpawnError {
    /// Who has to act.
    pub fn kind(&self) -> ErrorKind {
        match self {
            SpawnError::BadSpec(_) => ErrorKind::Internal,
            SpawnError::Artefact(error) => error.kind(),
            SpawnError::Busy { .. } | SpawnError::Limit { .. } | SpawnError::Stopping => {
                ErrorKind::Transient
            }
            SpawnError::NoExec { .. }
            | SpawnError::PermissionDenied { .. }
            | SpawnError::WorkingDirectory { .. }
            | SpawnError::Log { .. }
            | SpawnError::Other { .. } => ErrorKind::Machine,
        }
    }

    /// Explains why fork or exec failed, by looking at the file.
    pub(super) fn from_exec(path: &Path, cause: io::Error) -> Self {
        let path = path.to_owned();
        match cause.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::ACCESS | Errno::PERM) => denied(path),
            Some(Errno::NOENT | Errno::NOTDIR | Errno::NOEXEC | Errno::ISDIR) => {
                unsuitable(path, cause)
            }
            Some(Errno::AGAIN) => {
                SpawnError::Limit { path, limit: "number of processes, ulimit -u", cause }
            }
            Some(Errno::NOMEM) => SpawnError::Limit { path, limit: "memory", cause },
            Some(Errno::MFILE) => {
                SpawnError::Limit { path, limit: "open files of this process, ulimit -n", cause }
            }
            Some(Errno::NFILE) => {
                SpawnError::Limit { path, limit: "open files of this machine", cause }
            }
            Some(Errno::TOOBIG) => {
                SpawnError::Limit { path, limit: "size of arguments and environment", cause }
            }
            _ => SpawnError::Other { path, action: "execute it", cause },
        }
    }

    /// A step before or after exec failed.
    pub(super) fn step(path: &Path, action: &'static str, cause: io::Error) -> Self {
        let is_limit = matches!(
            cause.raw_os_error().map(Errno::from_raw_os_error),
            Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN)
        );
        if is_limit {
            return Self::from_exec(path, cause);
        }
        SpawnError::Other { path: path.to_owned(), action, cause }
    }
}

fn denied(path: PathBuf) -> SpawnError {
    let metadata = std::fs::metadata(&path);
    if metadata.as_ref().is_ok_and(|found| !found.is_file()) {
        return ArtefactError::NotAFile { path }.into();
    }
    if metadata.is_ok_and(|found| found.permissions().mode() & 0o111 == 0) {
        return ArtefactError::NotExecutable { path }.into();
    }
    if directories::is_noexec(&path) {
        return SpawnError::NoExec { path };
    }
    SpawnError::PermissionDenied { path }
}

/// The kernel found no program, or not one that it can run, although we did a moment ago.
fn unsuitable(path: PathBuf, cause: io::Error) -> SpawnError {
    match artefact::check_runs_here(&path) {
        // A script is a program to the kernel: what is missing is its interpreter.
        Ok(()) => SpawnError::Other { path, action: "find its interpreter", cause },
        Err(error) => error.into(),
    }
}
