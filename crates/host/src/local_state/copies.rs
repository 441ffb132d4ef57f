//! The copies of one job: `<directory of the job>/chk-7/…`, each with its proof beside it.

use super::copy::{CopyReader, CopyWriter, PROOF_ENDING};
use super::mirrored::Mirrored;
use crate::storage::path::file_below;
use millstream_checkpoint::local::{LocalCopies, Reads};
use millstream_checkpoint::storage::Storage;
use millstream_core::hash::xxh3_64;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Where what happens to copies is told: one line each.
pub type Teller = Arc<dyn Fn(&str) + Send + Sync>;

/// The copies of one job on this worker. Cheap to clone.
#[derive(Clone)]
pub struct Copies(Arc<Shared>);

struct Shared {
    /// Files are dealt out among these.
    directories: Vec<PathBuf>,
    tell: Teller,
    /// What was told last of copies that cannot be written: a full disk is told once.
    unwritten: Mutex<Option<String>>,
}

impl Copies {
    /// In these directories, at least one; they are made with the first copy.
    pub fn new(directories: Vec<PathBuf>, tell: Teller) -> Self {
        Self(Arc::new(Shared { directories, tell, unwritten: Mutex::default() }))
    }

    /// Where the copy of a file is; nothing for a name that no file of a checkpoint has.
    fn place(&self, path: &str) -> Option<PathBuf> {
        let directories = &self.0.directories;
        let count = directories.len().max(1) as u64;
        let directory = directories.get((xxh3_64(path.as_bytes()) % count) as usize)?;
        file_below("copy", directory, path).ok()
    }

    /// Begins a copy. One that cannot be written is told and no failure.
    pub(super) fn create(&self, path: &str, remote: &dyn Storage) -> Option<CopyWriter> {
        let place = self.place(path)?;
        match CopyWriter::create(place, remote.root(), path) {
            Ok(copy) => Some(copy),
            Err(error) => {
                self.not_written(path, &error);
                None
            }
        }
    }

    /// A copy will not be there.
    pub(super) fn not_written(&self, path: &str, error: &std::io::Error) {
        let why = error.to_string();
        let mut told = self.0.unwritten.lock().unwrap_or_else(PoisonError::into_inner);
        if told.as_ref() != Some(&why) {
            (self.0.tell)(&format!("cannot keep a local copy of {path}, nor of others: {why}"));
            *told = Some(why);
        }
    }

    /// The copy of a file, with what proves it; nothing if there is none, or none that can be used.
    pub(super) fn open(&self, path: &str, remote: &dyn Storage) -> Option<CopyReader> {
        let place = self.place(path)?;
        match CopyReader::open(&place, remote.root(), path) {
            Ok(copy) => Some(copy),
            Err(why) => {
                self.not_used(path, remote, &why);
                None
            }
        }
    }

    /// The original is read instead of the copy.
    pub(super) fn not_used(&self, path: &str, remote: &dyn Storage, why: &str) {
        let root = remote.root();
        (self.0.tell)(&format!(
            "the local copy of {path} is not used: {why}; reading {root}/{path}"
        ));
    }

    /// Removes the copy of a file, and its directory if nothing else is in it.
    pub(super) fn remove(&self, path: &str) {
        let Some(place) = self.place(path) else { return };
        // The proof first: without it the copy counts for nothing.
        let _ = fs::remove_file(proof_of(&place));
        let _ = fs::remove_file(&place);
        if let Some(directory) = place.parent() {
            let _ = fs::remove_dir(directory);
        }
    }
}

impl LocalCopies for Copies {
    fn writing(&self, remote: Arc<dyn Storage>) -> Arc<dyn Storage> {
        Arc::new(Mirrored::new(remote, self.clone(), None))
    }

    fn reading(&self, remote: Arc<dyn Storage>, reads: Reads) -> Arc<dyn Storage> {
        Arc::new(Mirrored::new(remote, self.clone(), Some(reads)))
    }

    fn list(&self) -> Vec<String> {
        let mut paths = Vec::new();
        for directory in &self.0.directories {
            // Copies lie one directory deep; what cannot be listed is not there.
            for below in fs::read_dir(directory).into_iter().flatten().flatten() {
                let Ok(group) = below.file_name().into_string() else { continue };
                for entry in fs::read_dir(below.path()).into_iter().flatten().flatten() {
                    let Ok(name) = entry.file_name().into_string() else { continue };
                    if name.starts_with('.') {
                        // What a killed process was writing.
                        let _ = fs::remove_file(entry.path());
                    } else if !name.ends_with(PROOF_ENDING) {
                        paths.push(format!("{group}/{name}"));
                    }
                }
            }
        }
        paths
    }

    fn delete(&self, paths: &[String]) {
        paths.iter().for_each(|path| self.remove(path));
    }

    fn tell(&self, line: &str) {
        (self.0.tell)(line);
    }
}

/// The name of a copy's proof.
pub(super) fn proof_of(place: &Path) -> PathBuf {
    let mut name = place.file_name().unwrap_or_default().to_owned();
    name.push(PROOF_ENDING);
    place.with_file_name(name)
}
