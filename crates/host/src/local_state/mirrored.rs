//! The storage of checkpoints, with copies beside it: written to both, read here first.

use super::copies::Copies;
use super::copy::{CopyReader, CopyWriter};
use millstream_checkpoint::local::Reads;
use millstream_checkpoint::storage::{StateOutput, Storage, StorageError};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// So many copies are open at once at most: descriptors are not without end.
const OPEN_MAX: usize = 64;

pub(super) struct Mirrored {
    remote: Arc<dyn Storage>,
    copies: Copies,
    /// Where reads are counted; nothing: copies are not read.
    reads: Option<Reads>,
    /// The copies that were asked for; nothing for those that cannot be used.
    open: Mutex<BTreeMap<String, Option<Arc<CopyReader>>>>,
}

impl Mirrored {
    pub(super) fn new(remote: Arc<dyn Storage>, copies: Copies, reads: Option<Reads>) -> Self {
        Self { remote, copies, reads, open: Mutex::default() }
    }

    /// The copy of a file, if it is there and has a proof.
    fn copy(&self, path: &str) -> Option<Arc<CopyReader>> {
        self.reads.as_ref()?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = open.get(path) {
            return known.clone();
        }
        let copy = self.copies.open(path, &*self.remote).map(Arc::new);
        if open.values().flatten().count() >= OPEN_MAX {
            open.retain(|_, copy| copy.is_none());
        }
        open.insert(path.to_owned(), copy.clone());
        copy
    }

    /// The copy is not what it was: it goes.
    fn abandon(&self, path: &str, why: &str) {
        self.copies.not_used(path, &*self.remote, why);
        self.copies.remove(path);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.insert(path.to_owned(), None);
    }

    fn count(&self, local: u64, remote: u64) {
        if let Some(reads) = &self.reads {
            let mut reads = reads.lock().unwrap_or_else(PoisonError::into_inner);
            reads.local += local;
            reads.remote += remote;
        }
    }
}

impl Storage for Mirrored {
    fn root(&self) -> &str {
        self.remote.root()
    }

    /// What is below has no copies: names of files are those below the job's own directory.
    fn below(&self, path: &str) -> Arc<dyn Storage> {
        self.remote.below(path)
    }

    fn create(&self, path: &str) -> Result<Box<dyn StateOutput>, StorageError> {
        let remote = self.remote.create(path)?;
        let copy = self.copies.create(path, &*self.remote);
        let (path, copies) = (path.to_owned(), self.copies.clone());
        Ok(Box::new(Twofold { remote: Some(remote), copy, path, copies }))
    }

    fn read(&self, path: &str, range: Range<u64>) -> Result<Vec<u8>, StorageError> {
        if let Some(copy) = self.copy(path) {
            match copy.read(&range) {
                Ok(bytes) => {
                    self.count(range.end - range.start, 0);
                    return Ok(bytes);
                }
                Err(why) => self.abandon(path, &why),
            }
        }
        let bytes = self.remote.read(path, range)?;
        self.count(0, bytes.len() as u64);
        Ok(bytes)
    }

    fn length(&self, path: &str) -> Result<Option<u64>, StorageError> {
        match self.copy(path) {
            Some(copy) => Ok(Some(copy.bytes())),
            None => self.remote.length(path),
        }
    }

    fn delete(&self, path: &str) -> Result<(), StorageError> {
        self.copies.remove(path);
        self.remote.delete(path)
    }

    fn list(&self, path: &str) -> Result<Vec<String>, StorageError> {
        self.remote.list(path)
    }
}

/// A file that is being written, and its copy.
struct Twofold {
    remote: Option<Box<dyn StateOutput>>,
    /// Nothing once it could not be written.
    copy: Option<CopyWriter>,
    path: String,
    copies: Copies,
}

impl Twofold {
    fn remote(&mut self) -> io::Result<&mut Box<dyn StateOutput>> {
        self.remote.as_mut().ok_or_else(|| io::Error::other("it is finished"))
    }
}

impl Write for Twofold {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.remote()?.write(bytes)?;
        if let Some(copy) = &mut self.copy
            && let Err(error) = copy.write(&bytes[..written])
        {
            self.copies.not_written(&self.path, &error);
            self.copy = None;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.remote()?.flush()
    }
}

impl StateOutput for Twofold {
    fn finish(mut self: Box<Self>) -> Result<(), StorageError> {
        if let Some(remote) = self.remote.take() {
            remote.finish()?;
        }
        if let Some(copy) = self.copy.take()
            && let Err(error) = copy.finish()
        {
            self.copies.not_written(&self.path, &error);
            self.copies.remove(&self.path);
        }
        Ok(())
    }
}
