//! Partitions on local disk: what a blocking exchange is made of.
//!
//! A producer writes all that it makes for one edge into one file and gives that its name at the end,
//! so whatever has a name is whole. Consumers come afterwards, as many as like and as often as they
//! like: each reads its own part, in the order in which it was written. Files outlive the process that
//! wrote them: the next job process on the same worker finds them by their names. They go when the
//! job's master says that nobody will read them any more, or with the job.
//!
//! In reading order: [`format`] (what is in a file), [`writer`], [`reader`] (for a consumer of this
//! process), [`outlet`] (for one in another process).

pub(crate) mod format;
pub(crate) mod outlet;
pub(crate) mod reader;
pub(crate) mod writer;

#[cfg(all(test, not(shuttle)))]
mod tests;

pub use reader::StoredReader;
pub use writer::StoredWriter;

use millstream_core::ids::PartitionId;
use std::fmt::Display;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The ending of a file that is still being written.
const UNFINISHED: &str = "unfinished";

/// A partition could not be written to local disk, or read from there: what was attempted, with which
/// file, and what is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StoredError(String);

impl StoredError {
    fn new(attempted: &'static str, path: &Path, reason: impl Display) -> Self {
        Self(format!("cannot {attempted} {}: {reason}", path.display()))
    }

    fn to_write(path: &Path, error: &io::Error) -> Self {
        let next = "make room there, or name another directory with `io.tmp.dirs`";
        Self::new("write results to", path, format_args!("{error}; {next}"))
    }
}

/// The directory of one job's stored partitions on one worker.
#[derive(Clone, Debug)]
pub struct StoredPartitions {
    directory: PathBuf,
}

impl StoredPartitions {
    /// Partitions in this directory, which is made when the first of them is written.
    pub fn within(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Begins a partition for so many consumers.
    pub fn create(&self, id: PartitionId, consumers: usize) -> Result<StoredWriter, StoredError> {
        fs::create_dir_all(&self.directory)
            .map_err(|error| StoredError::to_write(&self.directory, &error))?;
        StoredWriter::create(self.path_of(id), consumers)
    }

    /// Opens one consumer's part of a partition; nothing: there is no such partition here.
    pub fn open(
        &self,
        id: PartitionId,
        consumer: u32,
    ) -> Option<Result<StoredReader, StoredError>> {
        let path = self.path_of(id);
        match fs::File::open(&path) {
            Ok(file) => Some(StoredReader::open(file, path, consumer)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => Some(Err(StoredError::new("open results", &path, error))),
        }
    }

    /// Nobody will read the partition any more. Who reads it just now reads on.
    pub fn remove(&self, id: PartitionId) {
        // What is not there needs not be removed; what cannot be, goes with the directory.
        let _ = fs::remove_file(self.path_of(id));
    }

    /// Nobody will read any of them any more.
    pub fn remove_all(&self) {
        let _ = fs::remove_dir_all(&self.directory);
    }

    fn path_of(&self, id: PartitionId) -> PathBuf {
        self.directory.join(id.to_string())
    }
}
