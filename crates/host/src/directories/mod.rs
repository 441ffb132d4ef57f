//! Where files live, and who sweeps up.
//!
//! - [`home`]: `MILLSTREAM_HOME`, what a user keeps;
//! - [`temporary`]: `io.tmp.dirs`, checked before anything relies on them;
//! - [`working`]: one process's own directory, which goes with it.

pub mod home;
pub mod temporary;
pub mod working;

use crate::ErrorKind;
use std::io;
use std::path::{Path, PathBuf};

pub use home::Home;
pub use temporary::check_temporary_directories;
pub use working::WorkingDirectory;

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// Something else has its name.
    #[error("{purpose} {path} is not a directory; give another path, or remove what is there")]
    NotADirectory {
        /// What it is for, as the user calls it.
        purpose: &'static str,
        /// The path.
        path: PathBuf,
    },
    /// It could not be made.
    #[error("could not make {purpose} {path}; make it, or give one that this user may make")]
    Create {
        /// What it is for.
        purpose: &'static str,
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// Nothing can be written into it.
    #[error("could not write into {purpose} {path}; check its permissions and the space left")]
    NotWritable {
        /// What it is for.
        purpose: &'static str,
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The list is empty.
    #[error("{purpose} names no directory; give at least one")]
    NoneGiven {
        /// What it is for.
        purpose: &'static str,
    },
    /// Neither of the variables says where.
    #[error("there is no place for Millstream's files: set MILLSTREAM_HOME, or HOME")]
    NoHome,
}

impl DirectoryError {
    /// Who has to act.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Machine
    }
}

/// Whether programs in the file system of `path` may not be executed. `false` if nobody can say.
pub fn is_noexec(path: &Path) -> bool {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{StatVfsMountFlags, statvfs};
        statvfs(path).is_ok_and(|found| found.f_flag.contains(StatVfsMountFlags::NOEXEC))
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = path;
        false
    }
}

/// Makes the directory if it is not there.
fn make(purpose: &'static str, path: &Path) -> Result<(), DirectoryError> {
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => return Err(DirectoryError::NotADirectory { purpose, path: path.to_owned() }),
        Err(_) => (),
    }
    std::fs::create_dir_all(path).map_err(|cause| DirectoryError::Create {
        purpose,
        path: path.to_owned(),
        cause,
    })
}
