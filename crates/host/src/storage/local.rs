//! State files in a local directory, or in one that is mounted at the same place everywhere.
//!
//! A file is written under a hidden name in the directory where it belongs, synced, renamed, and the
//! directory synced. What a killed process was writing stays behind under its hidden name until the
//! directory is deleted; nobody is shown it.

use super::directories::Directories;
use super::output::Output;
use super::path::{below, file_below, is_hidden};
use super::refused;
use crate::disk::{self, File, Meta};
use millstream_checkpoint::storage::{StateOutput, Storage, StorageError};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Directories are no deeper than this; a link to a directory above itself is.
const DEPTH_MAX: usize = 64;

/// The storage below a directory. The directory need not be there: it is made with the first file.
pub fn local(root: &Path) -> Result<Arc<dyn Storage>, StorageError> {
    let invalid = |cause: &str| Err(refused("use directory", root, cause));
    if root.as_os_str().is_empty() {
        return invalid("the path is empty");
    }
    if root.to_str().is_none() {
        return invalid("the path is not UTF-8");
    }
    match disk::metadata(root) {
        Ok(meta) if !meta.is_directory => return invalid("it is not a directory"),
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(refused("use directory", root, error));
        }
        _ => (),
    }
    let root = std::path::absolute(root).map_err(|error| refused("use directory", root, error))?;
    let directories = Arc::new(Directories::new(&root));
    Ok(Arc::new(Local::new(root, directories)))
}

struct Local {
    root: PathBuf,
    /// `root` as text.
    name: String,
    /// Shared with all storages below.
    directories: Arc<Directories>,
}

impl Local {
    fn new(root: PathBuf, directories: Arc<Directories>) -> Self {
        let name = root.display().to_string();
        Self { root, name, directories }
    }
}

impl Storage for Local {
    fn root(&self) -> &str {
        &self.name
    }

    /// # Panics
    /// If the path leads out of this storage: it is the program's, not read from anywhere.
    fn below(&self, path: &str) -> Arc<dyn Storage> {
        let root =
            below("use directory", &self.root, path).unwrap_or_else(|error| panic!("{error}"));
        Arc::new(Self::new(root, Arc::clone(&self.directories)))
    }

    fn create(&self, path: &str) -> Result<Box<dyn StateOutput>, StorageError> {
        let path = file_below("create", &self.root, path)?;
        let directory = path.parent().unwrap_or(&self.root);
        self.directories
            .make(directory)
            .map_err(|error| refused("make directory", directory, error))?;
        Ok(Box::new(Output::create(&path)?))
    }

    fn read(&self, path: &str, range: Range<u64>) -> Result<Vec<u8>, StorageError> {
        let path = file_below("read", &self.root, path)?;
        read_exactly(&path, &range).map_err(|error| refused("read", &path, error))
    }

    fn length(&self, path: &str) -> Result<Option<u64>, StorageError> {
        let path = file_below("look at", &self.root, path)?;
        match disk::metadata(&path) {
            Ok(Meta { is_file: true, bytes, .. }) => Ok(Some(bytes)),
            Ok(_) => Err(refused("look at", &path, "it is not a file")),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(refused("look at", &path, error)),
        }
    }

    fn delete(&self, path: &str) -> Result<(), StorageError> {
        let path = below("delete", &self.root, path)?;
        match remove(&path) {
            Err(error) if !is_absent(&error) => Err(super::unknown("delete", &path, error)),
            _ => Ok(()),
        }
    }

    fn list(&self, path: &str) -> Result<Vec<String>, StorageError> {
        let directory = below("list", &self.root, path)?;
        let mut paths = Vec::new();
        let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
        add_files(&directory, &prefix, DEPTH_MAX, &mut paths)?;
        paths.sort_unstable();
        Ok(paths)
    }
}

/// There is nothing of this name: perhaps not even the directory, or that is a file.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// All of the range, or an error: a file that has become shorter is not the one that was written.
fn read_exactly(path: &Path, range: &Range<u64>) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let length = file.bytes()?;
    if range.start > range.end || range.end > length {
        let (from, to) = (range.start, range.end);
        let message = format!("bytes {from} to {to} were asked for, and it has {length}");
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
    }
    let bytes = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
    let mut content = vec![0; bytes];
    file.read_exact_at(&mut content, range.start)?;
    Ok(content)
}

/// Removes a file, or a directory with all that is in it, for good: what is deleted later is not gone
/// earlier, also after a power cut.
fn remove(path: &Path) -> io::Result<()> {
    if disk::symlink_metadata(path)?.is_directory {
        disk::remove_directory_and_content(path)?;
    } else {
        disk::remove_file(path)?;
    }
    path.parent().map_or(Ok(()), disk::sync_directory)
}

/// Adds the files below a directory; `prefix` is its path.
fn add_files(
    directory: &Path,
    prefix: &str,
    depth_left: usize,
    paths: &mut Vec<String>,
) -> Result<(), StorageError> {
    let failed = |error| refused("list", directory, error);
    let names = match disk::names(directory) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    for name in names {
        let inside = directory.join(&name);
        // What has vanished since is none of ours.
        let Ok(meta) = disk::metadata(&inside) else { continue };
        if is_hidden(&name) {
            continue;
        }
        let path = format!("{prefix}{name}");
        if meta.is_file {
            paths.push(path);
        } else if meta.is_directory {
            if depth_left == 0 {
                let cause = format!("there are more than {DEPTH_MAX} directories in each other");
                return Err(refused("list", &inside, cause));
            }
            add_files(&inside, &format!("{path}/"), depth_left - 1, paths)?;
        }
    }
    Ok(())
}
