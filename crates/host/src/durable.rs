//! Files that are there in full or not at all, also after a power cut.

pub(crate) use crate::disk::sync_directory;
use std::io;
use std::path::Path;

/// Moves the finished, synced file `from` to `to` in the same file system.
pub(crate) fn publish(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)?;
    match to.parent() {
        Some(directory) => sync_directory(directory),
        None => Ok(()),
    }
}
