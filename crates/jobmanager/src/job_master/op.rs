//! The work that the shell does for a job master, and what comes of it.
//!
//! The works of one job master are done one after the other, in the order in which they were asked
//! for: what is to be deleted after a write is deleted after it. Each ends with exactly one
//! [`JobMasterDone`]. Directories are what users write: paths, or `s3://...`.

use millstream_checkpoint::coordinator::Copies;

/// The name of the file that makes a directory a checkpoint.
pub use millstream_checkpoint::metadata::METADATA_FILE;

/// Work that a job master has done by others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobMasterOp {
    /// Copy the files, make them durable, and then write [`METADATA_FILE`] and make that durable.
    WriteMetadata {
        /// The directory that it goes to.
        directory: String,
        /// What is copied there first.
        copies: Option<Copies>,
        /// The file's content.
        bytes: Vec<u8>,
    },
    /// Read [`METADATA_FILE`].
    ReadMetadata {
        /// The directory that it is in.
        directory: String,
    },
    /// Delete files or whole directories, in this order, and stop at the first that cannot be. What
    /// is not there is deleted.
    Delete {
        /// Which.
        paths: Vec<String>,
    },
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobMasterDone {
    /// Written, or deleted.
    Done,
    /// What was read.
    Read {
        /// The file's content.
        bytes: Vec<u8>,
    },
    /// There is no such file.
    Missing,
    /// It is not done.
    Failed {
        /// Why.
        reason: String,
    },
    /// It may have been done.
    Unknown {
        /// What happened.
        reason: String,
    },
}
