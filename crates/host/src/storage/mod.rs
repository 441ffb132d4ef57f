//! State files on this machine's file systems: what checkpoints and savepoints are written to.
//!
//! In reading order:
//! - [`open`](fn@open): the storage that a user's path or URI names;
//! - [`local`](fn@local): a local directory, or one that is mounted on every machine;
//! - `output`: a file that is being written;
//! - `directories`: directories that survive a power cut;
//! - `advice`: what people can do about an error;
//! - `path`: which paths there can be.

mod advice;
mod directories;
mod local;
mod open;
mod output;
pub(crate) mod path;
#[cfg(test)]
mod tests;

pub use local::local;
pub use open::open;

use advice::Cause;
use millstream_checkpoint::storage::StorageError;
use std::path::Path;

/// Makes a directory and those above it, as far as they are missing, and their names durable.
pub(crate) fn make_directory(path: &Path) -> std::io::Result<()> {
    let path = std::path::absolute(path)?;
    directories::Directories::new(&path).make(&path)
}

/// The answer to something that had no effect.
fn refused(attempt: &str, path: impl AsRef<Path>, cause: impl Into<Cause>) -> StorageError {
    StorageError {
        attempt: attempt.to_owned(),
        path: path.as_ref().display().to_string(),
        cause: cause.into().0,
        unknown: false,
    }
}

/// The answer to something that may have had its effect.
fn unknown(attempt: &str, path: impl AsRef<Path>, cause: impl Into<Cause>) -> StorageError {
    StorageError { unknown: true, ..refused(attempt, path, cause) }
}
