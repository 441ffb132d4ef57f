//! The work that the shell does for a job master, and what comes of it.
//!
//! The works of one job master are done one after the other, in the order in which they were asked
//! for: what is to be deleted after a write is deleted after it. Each ends with exactly one
//! [`JobMasterDone`]. Directories are what users write: paths, or `s3://...`.

use millstream_checkpoint::coordinator::Copies;
use millstream_core::checkpoint::CheckpointId;

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
        /// Under high availability: have it recorded under this number as what the job goes on
        /// from, and only then is it written. Who does not lead any more must not have it recorded.
        recorded: Option<CheckpointId>,
    },
    /// Read [`METADATA_FILE`].
    ReadMetadata {
        /// The directory that it is in.
        directory: String,
    },
    /// The paths of all files below a directory.
    ListFiles {
        /// Which.
        directory: String,
    },
    /// Delete files or whole directories, in this order, and stop at the first that cannot be. What
    /// is not there is deleted.
    ///
    /// Under high availability nothing is deleted that the record refers to: it stops doing so
    /// first, which only a leader can bring about.
    Delete {
        /// Which.
        paths: Vec<String>,
        /// The job has ended and these are all that is left of it: they are deleted when its end is
        /// on record.
        ended: bool,
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
    /// The files that there are, by their paths below the directory.
    Listed {
        /// Those.
        paths: Vec<String>,
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
