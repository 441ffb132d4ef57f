//! The storages of a job process: opened once each, by whoever knows what a directory's name means; and
//! the copies of state files that its worker keeps for itself.

use millstream_checkpoint::local::kept::KeptFiles;
use millstream_checkpoint::local::{LocalCopies, Reads};
use millstream_checkpoint::state_file::StorageRoots;
use millstream_checkpoint::storage::{Storage, StorageError};
use millstream_shuffle::sync::{Arc, Mutex, MutexGuard, lock};
use std::collections::BTreeMap;

/// Opens the storage at a directory: a path or `s3://…`.
pub type StorageFactory = Arc<dyn Fn(&str) -> Result<Arc<dyn Storage>, StorageError> + Send + Sync>;

/// Storages by their directory.
pub struct Storages {
    open: StorageFactory,
    opened: Mutex<BTreeMap<String, Arc<dyn Storage>>>,
}

impl Storages {
    /// Opens what is asked for with this.
    pub fn new(open: StorageFactory) -> Self {
        Self { open, opened: Mutex::default() }
    }

    /// The storage at this directory. What cannot be opened is tried again the next time.
    pub(crate) fn at(&self, directory: &str) -> Result<Arc<dyn Storage>, StorageError> {
        if let Some(storage) = lock(&self.opened).get(directory) {
            return Ok(storage.clone());
        }
        // Not under the lock: it may take its time.
        let storage = (self.open)(directory)?;
        Ok(lock(&self.opened).entry(directory.to_owned()).or_insert(storage).clone())
    }
}

/// The copies that the worker keeps, and which of them are of use. Cheap to clone.
#[derive(Clone)]
pub struct LocalFiles {
    copies: std::sync::Arc<dyn LocalCopies>,
    kept: Arc<Mutex<KeptFiles>>,
}

impl LocalFiles {
    /// What is there of earlier processes of the job is taken over.
    pub fn new(copies: std::sync::Arc<dyn LocalCopies>) -> Self {
        let mut kept = KeptFiles::default();
        kept.found(copies.list());
        Self { copies, kept: Arc::new(Mutex::new(kept)) }
    }

    pub(crate) fn copies(&self) -> &dyn LocalCopies {
        &*self.copies
    }

    pub(crate) fn kept(&self) -> MutexGuard<'_, KeptFiles> {
        lock(&self.kept)
    }
}

/// Where the files of a checkpoint are: below the job's own directory, or where their names say.
pub(crate) struct Roots<'a> {
    pub(crate) storages: &'a Storages,
    /// The job's own; nothing for a job that takes no checkpoints.
    pub(crate) own: Option<&'a str>,
    /// What there is of the job's own files on this worker, and where reads are counted.
    pub(crate) local: Option<(&'a LocalFiles, Reads)>,
}

impl StorageRoots for Roots<'_> {
    fn at(&self, root: Option<&str>) -> Result<Arc<dyn Storage>, StorageError> {
        let nowhere = || StorageError {
            attempt: "open".to_owned(),
            path: "the checkpoint's directory".to_owned(),
            cause: "the task was deployed without one, and the file's name has none".to_owned(),
            unknown: false,
        };
        let storage = self.storages.at(root.or(self.own).ok_or_else(nowhere)?)?;
        Ok(match &self.local {
            Some((local, reads)) if root.is_none() => {
                local.copies().reading(storage, reads.clone())
            }
            _ => storage,
        })
    }
}
