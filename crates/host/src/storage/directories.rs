//! Directories that survive a power cut.
//!
//! A file survives only if the entry of its directory does, and that of the directory above, and so
//! on. Whoever finds a directory in place cannot know whether its maker has got round to syncing the
//! entry: so each process syncs the entries below the root once itself, and remembers that.

use crate::durable::sync_directory;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// After so many directories it forgets, and syncs once more: a job makes one or more per checkpoint.
const DURABLE_MAX: usize = 4096;

/// Makes directories, and remembers which ones are durable.
#[derive(Debug)]
pub(super) struct Directories {
    root: PathBuf,
    durable: Mutex<BTreeSet<PathBuf>>,
}

impl Directories {
    /// Those below this one, and it.
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), durable: Mutex::default() }
    }

    /// Makes the directory and those above it, as far as they are missing, and all of it durable.
    pub(super) fn make(&self, directory: &Path) -> io::Result<()> {
        if self.is_durable(directory) && directory.is_dir() {
            return Ok(());
        }
        let is_made = match std::fs::create_dir(directory) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let above = directory.parent().ok_or(error)?;
                self.make(above)?;
                // Another process may be making it too.
                std::fs::create_dir(directory).is_ok()
            }
            Err(_) => false,
        };
        if !is_made {
            explain_missing(directory)?;
        }
        match directory.parent() {
            Some(above) if directory != self.root && directory.starts_with(&self.root) => {
                self.make(above)?;
                sync_directory(above)?;
            }
            // What was there above the root is not ours to vouch for, and often not ours to open.
            Some(above) if is_made => sync_directory(above)?,
            _ => (),
        }
        self.remember(directory);
        Ok(())
    }

    fn is_durable(&self, directory: &Path) -> bool {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner).contains(directory)
    }

    fn remember(&self, directory: &Path) {
        let mut durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        if durable.len() >= DURABLE_MAX {
            durable.clear();
        }
        durable.insert(directory.to_owned());
    }
}

/// Nothing, if the directory is there after all; else why it could not be made.
fn explain_missing(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    if std::fs::symlink_metadata(directory).is_ok() {
        let message = format!("`{}` is there and is no directory", directory.display());
        return Err(io::Error::new(io::ErrorKind::NotADirectory, message));
    }
    std::fs::create_dir(directory).or_else(
        |error| {
            if directory.is_dir() { Ok(()) } else { Err(error) }
        },
    )
}
