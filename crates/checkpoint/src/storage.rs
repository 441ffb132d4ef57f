//! Where state files live. Implemented by those who may touch disks and networks; every call may
//! block and belongs on a thread that may.

use std::io::Write;
use std::ops::Range;

/// Files below one directory or prefix, by relative path with `/`.
pub trait Storage: Send + Sync {
    /// The directory, as a user writes it: a path or `s3://bucket/prefix`.
    fn root(&self) -> &str;

    /// The same storage, below a directory of it.
    fn below(&self, path: &str) -> std::sync::Arc<dyn Storage>;

    /// Begins a file. Nobody sees it before it is finished; dropped unfinished, it vanishes.
    fn create(&self, path: &str) -> Result<Box<dyn StateOutput>, StorageError>;

    /// Exactly these bytes of a file.
    fn read(&self, path: &str, range: Range<u64>) -> Result<Vec<u8>, StorageError>;

    /// The length of a file; nothing if it is not there.
    fn length(&self, path: &str) -> Result<Option<u64>, StorageError>;

    /// Removes a file or everything below a directory; one that is not there is no error.
    fn delete(&self, path: &str) -> Result<(), StorageError>;

    /// The paths of all files below a directory, in order.
    fn list(&self, path: &str) -> Result<Vec<String>, StorageError>;
}

/// A file that is being written.
pub trait StateOutput: Write + Send {
    /// Makes the file durable and then visible under its name. A failure is final for this file: it
    /// is never tried again.
    fn finish(self: Box<Self>) -> Result<(), StorageError>;
}

/// Storage has said no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("could not {attempt} `{path}`: {cause}")]
pub struct StorageError {
    /// What was tried: "write", "read", …
    pub attempt: String,
    /// The file, with its storage's root.
    pub path: String,
    /// Why.
    pub cause: String,
    /// Whether the effect may have taken place all the same.
    pub unknown: bool,
}
