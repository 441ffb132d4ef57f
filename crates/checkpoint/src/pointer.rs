//! Small records that are changed by compare-and-set: what high availability stands on.
//!
//! A record has a key and versions. Whoever changes it names the version that the change is based
//! on, so of several who try at once exactly one succeeds and the others learn of it. Nothing else
//! is needed to elect a leader and to keep a deposed one from changing anything.
//!
//! Implemented by those who may touch disks and networks; every call may block and belongs on a
//! thread that may.

use crate::storage::StorageError;
use std::fmt;

/// Names one version of a record; means something to its store only. No two versions of a record
/// ever have the same name, also not after a crash.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub String);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Records below one directory or prefix.
pub trait ConditionalStore: Send + Sync {
    /// The directory, as a user writes it: a path or `s3://bucket/prefix`.
    fn root(&self) -> &str;

    /// The newest version of a record; nothing: there never was one. What is given back is durable:
    /// no crash makes it undone.
    fn read(&self, key: &str) -> Result<Option<(Version, Vec<u8>)>, StorageError>;

    /// Makes `bytes` the newest version, if `expected` is the newest so far; `None`: if there is
    /// none at all.
    fn put_if(&self, key: &str, bytes: &[u8], expected: Option<&Version>) -> Put;
}

/// What became of a conditional write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Put {
    /// This is the newest version now, or was, and it is durable.
    Written(Version),
    /// Another version was the newest. Nothing was written.
    Conflict,
    /// Nothing was written, and nothing will be.
    Failed(StorageError),
    /// It may have been written, or may yet be: only reading back tells.
    Unknown(StorageError),
}
