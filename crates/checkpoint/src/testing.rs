//! A storage in memory, for tests of whoever writes or reads state.

use crate::storage::{StateOutput, Storage, StorageError};
use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Files in memory. Clones, and storages [`below`](Storage::below) it, are the same storage.
#[derive(Clone, Default)]
pub struct MemoryStorage {
    root: String,
    /// What stands before every path; empty or with a `/` at its end.
    prefix: String,
    content: Arc<Mutex<Content>>,
}

#[derive(Default)]
struct Content {
    files: BTreeMap<String, Vec<u8>>,
    refused: Option<(String, String)>,
    bytes_read: u64,
}

impl MemoryStorage {
    /// Holds nothing yet.
    pub fn new() -> Self {
        Self { root: "memory:".to_owned(), ..Self::default() }
    }

    /// From now on every `attempt` (`create`, `write`, `finish`, `read`, …) at a path that contains
    /// this text fails.
    pub fn refuse(&self, attempt: &str, path: &str) {
        self.content().refused = Some((attempt.to_owned(), path.to_owned()));
    }

    /// Everything that is there, by path from the outermost root.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        self.content().files.clone()
    }

    /// Changes a file behind everybody's back.
    pub fn set(&self, path: &str, bytes: Vec<u8>) {
        self.content().files.insert(self.full(path), bytes);
    }

    /// All bytes that were ever read.
    pub fn bytes_read(&self) -> u64 {
        self.content().bytes_read
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn full(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    fn error(&self, attempt: &str, path: &str, cause: &str) -> StorageError {
        StorageError {
            attempt: attempt.to_owned(),
            path: format!("{}/{path}", self.root),
            cause: cause.to_owned(),
            unknown: false,
        }
    }

    /// The content, unless this attempt is to fail.
    fn attempt(&self, attempt: &str, path: &str) -> Result<MutexGuard<'_, Content>, StorageError> {
        let content = self.content();
        match &content.refused {
            Some((what, part)) if what == attempt && path.contains(part.as_str()) => {
                Err(self.error(attempt, path, "refused by the test"))
            }
            _ => Ok(content),
        }
    }
}

impl Storage for MemoryStorage {
    fn root(&self) -> &str {
        &self.root
    }

    fn below(&self, path: &str) -> Arc<dyn Storage> {
        let root = format!("{}/{path}", self.root);
        let prefix = format!("{}{path}/", self.prefix);
        Arc::new(Self { root, prefix, content: Arc::clone(&self.content) })
    }

    fn create(&self, path: &str) -> Result<Box<dyn StateOutput>, StorageError> {
        drop(self.attempt("create", path)?);
        let (storage, path) = (self.clone(), path.to_owned());
        Ok(Box::new(MemoryOutput { storage, path, bytes: Vec::new() }))
    }

    fn read(&self, path: &str, range: Range<u64>) -> Result<Vec<u8>, StorageError> {
        let mut content = self.attempt("read", path)?;
        let bytes = content.files.get(&self.full(path));
        let found = bytes.and_then(|bytes| bytes.get(range.start as usize..range.end as usize));
        match found.map(<[u8]>::to_vec) {
            Some(found) => {
                content.bytes_read += found.len() as u64;
                Ok(found)
            }
            None => Err(self.error("read", path, "no such bytes")),
        }
    }

    fn length(&self, path: &str) -> Result<Option<u64>, StorageError> {
        let content = self.attempt("length", path)?;
        Ok(content.files.get(&self.full(path)).map(|bytes| bytes.len() as u64))
    }

    fn delete(&self, path: &str) -> Result<(), StorageError> {
        let full = self.full(path);
        let inside = format!("{full}/");
        let mut content = self.attempt("delete", path)?;
        content.files.retain(|name, _| *name != full && !name.starts_with(&inside));
        Ok(())
    }

    fn list(&self, path: &str) -> Result<Vec<String>, StorageError> {
        let inside = if path.is_empty() { self.prefix.clone() } else { self.full(path) + "/" };
        let content = self.attempt("list", path)?;
        let names = content.files.keys().filter(|name| name.starts_with(&inside));
        Ok(names.map(|name| name[self.prefix.len()..].to_owned()).collect())
    }
}

struct MemoryOutput {
    storage: MemoryStorage,
    path: String,
    bytes: Vec<u8>,
}

impl Write for MemoryOutput {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        drop(self.storage.attempt("write", &self.path).map_err(std::io::Error::other)?);
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl StateOutput for MemoryOutput {
    fn finish(self: Box<Self>) -> Result<(), StorageError> {
        let name = self.storage.full(&self.path);
        self.storage.attempt("finish", &self.path)?.files.insert(name, self.bytes);
        Ok(())
    }
}
