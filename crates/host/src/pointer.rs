//! Records in a directory that are changed by compare-and-set, by any number of threads, processes
//! and, on a shared file system, machines.
//!
//! Version `n` of the record `key` is the file `key.n`; the highest is the newest. A version comes
//! into being by a hard link to a finished, synced temporary file: the link is refused if the name
//! exists, so of all who make a version from the same predecessor one succeeds. A name is never
//! replaced, and no reader sees half a file.
//!
//! Old versions are deleted, but only those far below the highest. That is what makes a slow writer
//! harmless: one that looked at version `n`, slept, and links `n + 1` when the others are long past
//! it, creates a file that nobody takes for the newest; and it notices, because its link could only
//! succeed after a deletion, and so the highest must be [`KEPT`] or more above.
//!
//! Both ends make the directory durable before they tell anything: the writer after its link, the
//! reader after it has looked. So nobody acts on a version that a power cut could take back, and no
//! number is given twice.
//!
//! It needs hard links and a directory that all see alike: local file systems, and NFS from version
//! 3 on, where a link whose answer was lost is recognised by the temporary file's own identity.

use crate::disk::{self, File, sync_directory};
use crate::mutant;
use crate::storage::make_directory;
use millstream_checkpoint::pointer::{ConditionalStore, Put, Version};
use millstream_checkpoint::storage::StorageError;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// So many versions below the highest are still there. More than anybody can fall behind between
/// listing the directory and opening a file, and enough to look at what happened last.
pub const KEPT: u64 = 32;

/// No record is larger: its readers hold it in memory.
pub const RECORD_BYTES_MAX: u64 = 64 << 20;

/// How often a reader looks again when versions vanish under its eyes.
const LOOKS_MAX: u32 = 100;

/// Temporary files that are older belong to writers that are gone.
const ABANDONED_AFTER: Duration = Duration::from_secs(3600);

/// Records in one directory.
pub struct DirectoryStore {
    directory: PathBuf,
    /// `directory` as text.
    name: String,
    /// Tells temporary files of this process from those of others.
    nonce: u64,
    written: AtomicU64,
}

impl DirectoryStore {
    /// The records in a directory, for reading and writing. The directory is made if it is not there,
    /// and what writers left behind long ago is removed.
    pub fn create(directory: &Path) -> Result<Self, StorageError> {
        make_directory(directory).map_err(|error| failed("create", directory, &error))?;
        let store = Self::at(directory);
        store.sweep();
        Ok(store)
    }

    /// The records in a directory, which need not be there yet.
    pub fn at(directory: &Path) -> Self {
        use std::hash::{BuildHasher, RandomState};
        Self {
            directory: directory.to_owned(),
            name: directory.display().to_string(),
            nonce: RandomState::new().hash_one(std::process::id()),
            written: AtomicU64::new(0),
        }
    }

    fn path(&self, key: &str, version: u64) -> PathBuf {
        self.directory.join(format!("{key}.{version}"))
    }

    /// The versions that are there, in ascending order.
    fn versions(&self, key: &str) -> io::Result<Vec<u64>> {
        let mut versions = Vec::new();
        for name in disk::names(&self.directory)? {
            let number = name.strip_prefix(key).and_then(|rest| rest.strip_prefix('.'));
            versions.extend(number.and_then(|number| number.parse::<u64>().ok()));
        }
        versions.sort_unstable();
        Ok(versions)
    }

    fn highest(&self, key: &str) -> io::Result<u64> {
        Ok(self.versions(key)?.last().copied().unwrap_or(0))
    }

    /// Writes a file that nobody looks at, to its last byte on disk.
    fn write_temporary(&self, key: &str, bytes: &[u8]) -> Result<PathBuf, StorageError> {
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        let path = self.directory.join(format!(".{key}.{:016x}-{number}.tmp", self.nonce));
        let write = || {
            let mut file = File::create_new(&path, 0o600)?;
            file.write_all(bytes)?;
            if mutant::on("record_is_not_synced") { Ok(()) } else { file.sync() }
        };
        write().map_err(|error| {
            // What is left of it is swept one day.
            let _ = disk::remove_file(&path);
            failed("write", &path, &error)
        })?;
        Ok(path)
    }

    /// Makes the temporary file version `next`, whose predecessor is the highest.
    fn publish(&self, key: &str, temporary: &Path, next: u64) -> Put {
        let path = self.path(key, next);
        let link = match mutant::on("version_is_replaced") {
            true => disk::rename(temporary, &path),
            false => disk::hard_link(temporary, &path),
        };
        if let Err(error) = link {
            if mutant::on("doubtful_link_has_failed") {
                return Put::Failed(failed("link", &path, &error));
            }
            if !is_same_file(temporary, &path) {
                return match error.kind() {
                    io::ErrorKind::AlreadyExists => Put::Conflict,
                    _ => Put::Unknown(unknown("link", &path, &error)),
                };
            }
        }
        // It is there; whether it counts depends on the others.
        let synced = match mutant::on("link_is_not_synced") {
            true => Ok(()),
            false => sync_directory(&self.directory),
        };
        match synced.and_then(|()| self.versions(key)) {
            Err(error) => Put::Unknown(unknown("sync", &path, &error)),
            Ok(versions) => self.judge(key, next, &versions),
        }
    }

    /// Whether version `next`, which we have just made, followed its predecessor.
    fn judge(&self, key: &str, next: u64, versions: &[u64]) -> Put {
        let highest = versions.last().copied().unwrap_or(0);
        if highest >= next.saturating_add(KEPT) {
            let why = format!("version {highest} has been written meanwhile");
            return Put::Unknown(unknown("write", &self.path(key, next), &io::Error::other(why)));
        }
        for old in versions.iter().take_while(|old| old.saturating_add(KEPT) <= highest) {
            // Whoever makes the next version tries again.
            let _ = disk::remove_file(&self.path(key, *old));
        }
        Put::Written(Version(next.to_string()))
    }

    /// Removes temporary files of writers that are gone.
    fn sweep(&self) {
        for name in disk::names(&self.directory).unwrap_or_default() {
            let is_temporary = name.starts_with('.') && name.ends_with(".tmp");
            let path = self.directory.join(name);
            let modified = disk::metadata(&path).ok().and_then(|meta| meta.modified);
            let age = modified.and_then(|at| SystemTime::now().duration_since(at).ok());
            if is_temporary && age.is_some_and(|age| age > ABANDONED_AFTER) {
                let _ = disk::remove_file(&path);
            }
        }
    }
}

impl ConditionalStore for DirectoryStore {
    fn root(&self) -> &str {
        &self.name
    }

    fn read(&self, key: &str) -> Result<Option<(Version, Vec<u8>)>, StorageError> {
        for _ in 0..LOOKS_MAX {
            let highest = match self.highest(key) {
                Err(error) => return Err(failed("list", &self.directory, &error)),
                Ok(0) => return Ok(None),
                Ok(highest) => highest,
            };
            let path = self.path(key, highest);
            let bytes = match read_file(&path) {
                // Far more have been written since we looked: look again.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other.map_err(|error| failed("read", &path, &error))?,
            };
            if !mutant::on("read_is_not_synced") {
                sync_directory(&self.directory)
                    .map_err(|error| failed("sync", &self.directory, &error))?;
            }
            return Ok(Some((Version(highest.to_string()), bytes)));
        }
        let error = io::Error::other("it is written faster than it can be read");
        Err(failed("read", &self.directory.join(key), &error))
    }

    fn put_if(&self, key: &str, bytes: &[u8], expected: Option<&Version>) -> Put {
        let base = match expected.map_or(Ok(0), |version| version.0.parse::<u64>()) {
            Ok(base) => base,
            Err(_) => return Put::Conflict, // No version of this store.
        };
        if bytes.len() as u64 > RECORD_BYTES_MAX {
            let why = format!("it has {} bytes and may have {RECORD_BYTES_MAX}", bytes.len());
            return Put::Failed(failed("write", &self.path(key, base), &io::Error::other(why)));
        }
        let temporary = match self.write_temporary(key, bytes) {
            Ok(temporary) => temporary,
            Err(error) => return Put::Failed(error),
        };
        let put = match self.highest(key) {
            Err(error) => Put::Failed(failed("list", &self.directory, &error)),
            Ok(highest) if highest != base => Put::Conflict,
            Ok(_) => self.publish(key, &temporary, base + 1),
        };
        let _ = disk::remove_file(&temporary);
        put
    }
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let bytes = File::open(path)?.read_at_most(RECORD_BYTES_MAX + 1)?;
    if bytes.len() as u64 > RECORD_BYTES_MAX {
        return Err(io::Error::other(format!("it has more than {RECORD_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

/// Whether both names lead to one file.
fn is_same_file(one: &Path, other: &Path) -> bool {
    match (disk::metadata(one), disk::metadata(other)) {
        (Ok(one), Ok(other)) => one.identity == other.identity,
        _ => false,
    }
}

fn failed(attempt: &str, path: &Path, error: &io::Error) -> StorageError {
    StorageError {
        attempt: attempt.to_owned(),
        path: path.display().to_string(),
        cause: error.to_string(),
        unknown: false,
    }
}

fn unknown(attempt: &str, path: &Path, error: &io::Error) -> StorageError {
    StorageError { unknown: true, ..failed(attempt, path, error) }
}

#[cfg(test)]
#[path = "pointer_test.rs"]
mod tests;
