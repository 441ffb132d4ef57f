//! Directories that survive a power cut.
//!
//! A file survives only if the entry of its directory does, and that of the directory above, and so
//! on. Whoever finds a directory in place cannot know whether its maker has got round to syncing the
//! entry: so each process syncs the entries below the root once itself, and remembers that.

use crate::disk;
use crate::mutant;
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
        if self.is_durable(directory) && disk::is_directory(directory) {
            return Ok(());
        }
        let is_made = match disk::create_directory(directory) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let above = directory.parent().ok_or(error)?;
                self.make(above)?;
                // Another process may be making it too.
                disk::create_directory(directory).is_ok()
            }
            Err(_) => false,
        };
        if !is_made {
            explain_missing(directory)?;
        }
        match directory.parent() {
            Some(above) if directory != self.root && directory.starts_with(&self.root) => {
                self.make(above)?;
                sync(above)?;
            }
            _ => sync_names_up(directory, is_made)?,
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

/// Makes the names of a directory and of all above it durable: whoever made one of them may have been
/// killed before it did that. What is not ours to open was set up by somebody else, who has seen to it;
/// only of a directory that was made just now the name must be durable. `is_made`: this one was.
fn sync_names_up(directory: &Path, is_made: bool) -> io::Result<()> {
    use io::ErrorKind::{InvalidInput, PermissionDenied, ReadOnlyFilesystem, Unsupported};
    let mut must = is_made;
    for above in directory.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()) {
        match sync(above).map_err(|error| (error.kind(), error)) {
            Ok(()) => must = false,
            Err((InvalidInput | PermissionDenied | ReadOnlyFilesystem | Unsupported, _))
                if !must =>
            {
                break;
            }
            Err((_, error)) => return Err(error),
        }
    }
    Ok(())
}

fn sync(directory: &Path) -> io::Result<()> {
    match mutant::on("directory_is_not_synced") {
        true => Ok(()),
        false => disk::sync_directory(directory),
    }
}

/// Nothing, if the directory is there after all; else why it could not be made.
fn explain_missing(directory: &Path) -> io::Result<()> {
    if disk::is_directory(directory) {
        return Ok(());
    }
    if disk::symlink_metadata(directory).is_ok() {
        let message = format!("`{}` is there and is no directory", directory.display());
        return Err(io::Error::new(io::ErrorKind::NotADirectory, message));
    }
    disk::create_directory(directory)
        .or_else(|error| if disk::is_directory(directory) { Ok(()) } else { Err(error) })
}
