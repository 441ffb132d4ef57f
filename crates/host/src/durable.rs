//! Files that are there in full or not at all, also after a power cut.

use std::fs::File;
use std::io;
use std::path::Path;

/// Makes names that were added to or removed from `directory` survive a power cut.
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Moves the finished, synced file `from` to `to` in the same file system.
pub(crate) fn publish(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)?;
    match to.parent() {
        Some(directory) => sync_directory(directory),
        None => Ok(()),
    }
}
