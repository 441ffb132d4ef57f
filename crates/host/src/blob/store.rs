//! The blobs of a cluster's jobs, in a directory, and which job needs which.
//!
//! ```text
//! blobs/HASH        content, read-only
//! jobs/JOB/HASH     an empty file: JOB needs HASH
//! incoming/N        being written
//! ```
//!
//! A blob appears by a rename of a synced file, then its job's mark; a crash between the two leaves a
//! blob that nobody needs, which the next [`BlobStore::open`] removes, as it does what was incoming.
//! So which job needs what is known after a restart, and [`BlobStore::retain_jobs`] can drop what
//! belongs to jobs that are no more.
//!
//! One process owns a directory. Inside it all threads may call at once; content is moved without a
//! lock.

use super::error::BlobError;
use super::transfer::{self, Sink};
use crate::durable;
use millstream_core::ids::{ContentHash, JobId};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A directory of blobs.
#[derive(Debug)]
pub struct BlobStore {
    directory: PathBuf,
    quota_bytes: u64,
    index: Mutex<Index>,
}

#[derive(Debug, Default)]
struct Index {
    blobs: BTreeMap<ContentHash, Entry>,
    /// What is there, and what is on its way.
    used_bytes: u64,
    /// Names what is on its way.
    incoming: u64,
}

#[derive(Debug, Default)]
struct Entry {
    /// How long it is; `None` if it was damaged and is gone, but still needed.
    bytes: Option<u64>,
    jobs: BTreeSet<JobId>,
}

impl BlobStore {
    /// Opens the directory, and makes it if it is not there. Removes what nobody needs.
    pub fn open(directory: &Path, quota_bytes: u64) -> Result<Self, BlobError> {
        let store = BlobStore {
            directory: directory.to_owned(),
            quota_bytes,
            index: Mutex::new(Index::default()),
        };
        let _ = fs::remove_dir_all(store.incoming());
        for path in [store.blobs(), store.jobs(), store.incoming()] {
            fs::create_dir_all(&path).map_err(BlobError::file("make", &path))?;
        }
        store.load()?;
        store.remove_unneeded(&mut store.index())?;
        Ok(store)
    }

    /// Stores what `source` gives for a job, and returns its name.
    ///
    /// `bytes` is how much will come, `expected` what its name is to be, where they are known: with
    /// the one a blob that does not fit is refused before it is sent, with the other damage is found.
    pub fn put(
        &self,
        job: JobId,
        source: &mut dyn Read,
        bytes: Option<u64>,
        expected: Option<ContentHash>,
    ) -> Result<ContentHash, BlobError> {
        let mut incoming = self.begin(bytes.unwrap_or(0))?;
        let read_error = |cause| BlobError::Transfer {
            hash: expected.unwrap_or_default(),
            cause: std::sync::Arc::new(cause),
        };
        let (_, found) = transfer::copy(source, read_error, &mut incoming)?;
        transfer::verify(expected.unwrap_or(found), found)?;
        incoming.finish(job, found)?;
        Ok(found)
    }

    /// Stores a file for a job.
    pub fn put_file(&self, job: JobId, path: &Path) -> Result<ContentHash, BlobError> {
        let mut file = File::open(path).map_err(BlobError::file("read", path))?;
        let bytes = file.metadata().map_err(BlobError::file("read", path))?.len();
        self.put(job, &mut file, Some(bytes), None)
    }

    /// Says that `job` needs a blob that is there already; whether it is.
    pub fn add_reference(&self, job: JobId, hash: ContentHash) -> Result<bool, BlobError> {
        let mut index = self.index();
        let there = index.blobs.get_mut(&hash).filter(|entry| entry.bytes.is_some());
        let Some(entry) = there else { return Ok(false) };
        if entry.jobs.insert(job) {
            self.write_mark(job, hash)?;
        }
        Ok(true)
    }

    /// Opens a blob for reading; its length and content. Its bytes are not checked.
    pub fn get(&self, hash: ContentHash) -> Result<(u64, File), BlobError> {
        let bytes = self.length(hash).ok_or(BlobError::Unknown(hash))?;
        let path = self.path(hash);
        let file = File::open(&path).map_err(BlobError::file("read", &path))?;
        Ok((bytes, file))
    }

    /// Reads a blob from the disk and checks it. One that is damaged is removed, so that it can be
    /// put again.
    pub fn verify(&self, hash: ContentHash) -> Result<(), BlobError> {
        if !self.contains(hash) {
            return Err(BlobError::Unknown(hash));
        }
        let result = transfer::verify(hash, transfer::hash_of(&self.path(hash))?);
        if result.is_err() {
            self.discard(hash);
        }
        result
    }

    /// Whether the blob is there.
    pub fn contains(&self, hash: ContentHash) -> bool {
        self.length(hash).is_some()
    }

    /// The job has ended: what no other job needs is removed. How many bytes that gave.
    pub fn release_job(&self, job: JobId) -> Result<u64, BlobError> {
        let mut index = self.index();
        self.drop_job(&mut index, job)?;
        self.remove_unneeded(&mut index)
    }

    /// Removes what belongs to jobs other than these. How many bytes that gave.
    pub fn retain_jobs(&self, known: &BTreeSet<JobId>) -> Result<u64, BlobError> {
        let mut index = self.index();
        let found: BTreeSet<JobId> =
            index.blobs.values().flat_map(|entry| entry.jobs.iter().copied()).collect();
        for job in found.difference(known) {
            self.drop_job(&mut index, *job)?;
        }
        self.remove_unneeded(&mut index)
    }

    /// How many bytes are there or on their way.
    pub fn used_bytes(&self) -> u64 {
        self.index().used_bytes
    }

    /// A damaged blob goes; who needs it stays known until it is put again.
    pub(super) fn discard(&self, hash: ContentHash) {
        let mut index = self.index();
        if let Some(bytes) = index.blobs.get_mut(&hash).and_then(|entry| entry.bytes.take()) {
            index.used_bytes -= bytes;
            let _ = fs::remove_file(self.path(hash));
        }
    }

    fn length(&self, hash: ContentHash) -> Option<u64> {
        self.index().blobs.get(&hash)?.bytes
    }

    /// Makes room for a blob that is to come, and a file to write it to.
    pub(super) fn begin(&self, bytes: u64) -> Result<Incoming<'_>, BlobError> {
        let number = {
            let mut index = self.index();
            self.reserve(&mut index, bytes)?;
            index.incoming += 1;
            index.incoming
        };
        let path = self.incoming().join(number.to_string());
        // From here on the reservation is the value's, which gives it back.
        let mut incoming = Incoming { store: self, path, file: None, reserved: bytes, written: 0 };
        let file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&incoming.path);
        incoming.file = Some(file.map_err(BlobError::file("make", &incoming.path))?);
        Ok(incoming)
    }

    fn reserve(&self, index: &mut Index, bytes: u64) -> Result<(), BlobError> {
        let used = index.used_bytes;
        match used.checked_add(bytes) {
            Some(total) if total <= self.quota_bytes => {
                index.used_bytes = total;
                Ok(())
            }
            _ => Err(BlobError::Quota { needed: bytes, used, quota: self.quota_bytes }),
        }
    }

    /// Reads names and marks back from the disk.
    fn load(&self) -> Result<(), BlobError> {
        let mut index = self.index();
        for (hash, path) in named::<ContentHash>(&self.blobs())? {
            let bytes = fs::metadata(&path).map_err(BlobError::file("read", &path))?.len();
            index.blobs.insert(hash, Entry { bytes: Some(bytes), jobs: BTreeSet::new() });
            index.used_bytes += bytes;
        }
        for (job, path) in named::<JobId>(&self.jobs())? {
            for (hash, _) in named::<ContentHash>(&path)? {
                index.blobs.entry(hash).or_default().jobs.insert(job);
            }
        }
        Ok(())
    }

    fn drop_job(&self, index: &mut Index, job: JobId) -> Result<(), BlobError> {
        let path = self.job(job);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(BlobError::file("remove", &path)(error));
            }
            _ => (),
        }
        index.blobs.values_mut().for_each(|entry| {
            entry.jobs.remove(&job);
        });
        Ok(())
    }

    fn remove_unneeded(&self, index: &mut Index) -> Result<u64, BlobError> {
        let unneeded: Vec<(ContentHash, u64)> = index
            .blobs
            .iter()
            .filter(|(_, entry)| entry.jobs.is_empty())
            .map(|(hash, entry)| (*hash, entry.bytes.unwrap_or(0)))
            .collect();
        let mut freed = 0;
        for (hash, bytes) in unneeded {
            let path = self.path(hash);
            // Who is reading it goes on reading: the content lives as long as it is open.
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(BlobError::file("remove", &path)(error));
                }
                _ => (),
            }
            index.blobs.remove(&hash);
            index.used_bytes -= bytes;
            freed += bytes;
        }
        Ok(freed)
    }

    fn write_mark(&self, job: JobId, hash: ContentHash) -> Result<(), BlobError> {
        let directory = self.job(job);
        let failed = BlobError::file("write", &directory);
        let written = fs::create_dir_all(&directory)
            .and_then(|()| File::create(directory.join(hash.to_string())))
            .and_then(|_| durable::sync_directory(&directory))
            .and_then(|()| durable::sync_directory(&self.jobs()));
        written.map_err(failed)
    }

    fn blobs(&self) -> PathBuf {
        self.directory.join("blobs")
    }

    fn jobs(&self) -> PathBuf {
        self.directory.join("jobs")
    }

    fn incoming(&self) -> PathBuf {
        self.directory.join("incoming")
    }

    fn job(&self, job: JobId) -> PathBuf {
        self.jobs().join(job.to_string())
    }

    fn path(&self, hash: ContentHash) -> PathBuf {
        self.blobs().join(hash.to_string())
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A blob on its way into the store. Dropping it gives file and room back.
#[derive(Debug)]
pub(super) struct Incoming<'a> {
    store: &'a BlobStore,
    path: PathBuf,
    /// `None` before it is made and after it is closed.
    file: Option<File>,
    reserved: u64,
    written: u64,
}

impl Sink for Incoming<'_> {
    fn accept(&mut self, chunk: &[u8]) -> Result<(), BlobError> {
        self.written += chunk.len() as u64;
        if let Some(more) = self.written.checked_sub(self.reserved).filter(|more| 0 < *more) {
            self.store.reserve(&mut self.store.index(), more)?;
            self.reserved += more;
        }
        let file = self.file.as_mut().expect("it is open until it is finished");
        file.write_all(chunk).map_err(BlobError::file("write", &self.path))
    }
}

impl Incoming<'_> {
    /// All has come, and is what it should be.
    pub(super) fn finish(mut self, job: JobId, hash: ContentHash) -> Result<(), BlobError> {
        let file = self.file.take().expect("it is finished once");
        file.sync_all().map_err(BlobError::file("write", &self.path))?;
        drop(file);
        let mut index = self.store.index();
        if index.blobs.get(&hash).is_none_or(|entry| entry.bytes.is_none()) {
            let path = self.store.path(hash);
            durable::publish(&self.path, &path).map_err(BlobError::file("write", &path))?;
            // The room now belongs to the blob; what was reserved too much goes back.
            index.used_bytes = index.used_bytes - self.reserved + self.written;
            self.reserved = 0;
            index.blobs.entry(hash).or_default().bytes = Some(self.written);
        }
        index.blobs.entry(hash).or_default().jobs.insert(job);
        let marked = self.store.write_mark(job, hash);
        drop(index);
        marked
    }
}

impl Drop for Incoming<'_> {
    fn drop(&mut self) {
        // After `finish` there is nothing left under this name, unless the blob was there already.
        let _ = fs::remove_file(&self.path);
        if 0 < self.reserved {
            self.store.index().used_bytes -= self.reserved;
        }
    }
}

/// The entries of a directory whose names are ids.
fn named<Id: FromStr>(directory: &Path) -> Result<Vec<(Id, PathBuf)>, BlobError> {
    let failed = || BlobError::file("read", directory);
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed())? {
        let entry = entry.map_err(failed())?;
        if let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
            found.push((id, entry.path()));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    const A: JobId = JobId(0xA);
    const B: JobId = JobId(0xB);

    fn put(store: &BlobStore, job: JobId, content: &[u8]) -> Result<ContentHash, BlobError> {
        store.put(job, &mut &*content, Some(content.len() as u64), None)
    }

    fn content(store: &BlobStore, hash: ContentHash) -> Vec<u8> {
        let mut bytes = Vec::new();
        store.get(hash).unwrap().1.read_to_end(&mut bytes).unwrap();
        bytes
    }

    /// How many files lie where incoming blobs are written.
    fn incoming(store: &BlobStore) -> usize {
        fs::read_dir(store.incoming()).unwrap().count()
    }

    #[test]
    fn two_jobs_share_content_and_the_last_one_takes_it_along() {
        let scratch = Scratch::new();
        let store = BlobStore::open(scratch.path(), 1000).unwrap();
        let hash = put(&store, A, b"program").unwrap();
        assert_eq!(put(&store, B, b"program").unwrap(), hash);
        assert_eq!((store.used_bytes(), incoming(&store)), (7, 0));
        assert_eq!(content(&store, hash), b"program");

        assert_eq!(store.release_job(A).unwrap(), 0);
        assert!(store.contains(hash));
        assert_eq!(store.release_job(B).unwrap(), 7);
        assert!(matches!(store.get(hash), Err(BlobError::Unknown(_))));
        assert_eq!(store.used_bytes(), 0);
    }

    #[test]
    fn a_reopened_store_knows_who_needs_what_and_drops_unknown_jobs() {
        let scratch = Scratch::new();
        let (first, second, orphan);
        {
            let store = BlobStore::open(scratch.path(), 1000).unwrap();
            first = put(&store, A, b"first").unwrap();
            second = put(&store, B, b"second").unwrap();
            orphan = put(&store, B, b"orphan").unwrap();
            fs::remove_file(store.job(B).join(orphan.to_string())).unwrap();
            fs::write(store.incoming().join("99"), b"half").unwrap();
        }
        let store = BlobStore::open(scratch.path(), 1000).unwrap();
        assert_eq!(store.used_bytes(), 11);
        assert!(!store.contains(orphan));
        assert_eq!(incoming(&store), 0);

        assert_eq!(store.retain_jobs(&BTreeSet::from([A])).unwrap(), 6);
        assert!(store.contains(first) && !store.contains(second));
        assert!(!store.job(B).exists());
    }

    #[test]
    fn the_quota_holds_whether_the_length_is_told_or_not() {
        let scratch = Scratch::new();
        let store = BlobStore::open(scratch.path(), 10).unwrap();
        put(&store, A, b"12345").unwrap();
        let error = put(&store, A, b"678901").unwrap_err();
        assert!(matches!(error, BlobError::Quota { needed: 6, used: 5, quota: 10 }));
        let error = store.put(A, &mut &b"678901"[..], None, None).unwrap_err();
        assert!(matches!(error, BlobError::Quota { .. }));
        let error = store.put(A, &mut &b""[..], Some(u64::MAX), None).unwrap_err();
        assert!(matches!(error, BlobError::Quota { .. }));
        assert_eq!((store.used_bytes(), incoming(&store)), (5, 0));
        // A source that told too much gives the difference back.
        store.put(A, &mut &b"x"[..], Some(5), None).unwrap();
        assert_eq!(store.used_bytes(), 6);
        put(&store, A, b"7890").unwrap();
        assert_eq!(store.used_bytes(), 10);
    }

    #[test]
    fn content_that_is_not_what_was_named_is_not_kept() {
        let scratch = Scratch::new();
        let store = BlobStore::open(scratch.path(), 1000).unwrap();
        let error = store.put(A, &mut &b"x"[..], None, Some(ContentHash(1))).unwrap_err();
        assert!(matches!(error, BlobError::Damaged { .. }));
        assert_eq!((store.used_bytes(), incoming(&store)), (0, 0));
    }

    #[test]
    fn damage_on_the_disk_is_found_and_healed_by_another_put() {
        let scratch = Scratch::new();
        let store = BlobStore::open(scratch.path(), 1000).unwrap();
        let hash = put(&store, A, b"program").unwrap();
        store.verify(hash).unwrap();
        fs::write(store.path(hash), b"progrem").unwrap();
        let error = store.verify(hash).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Corrupt);
        assert!(!store.contains(hash));
        assert!(!store.add_reference(B, hash).unwrap());
        put(&store, B, b"program").unwrap();
        store.verify(hash).unwrap();
        // The job that needed it before still does.
        store.release_job(B).unwrap();
        assert!(store.contains(hash));
    }

    #[test]
    fn a_job_may_need_what_is_there_without_sending_it() {
        let scratch = Scratch::new();
        let store = BlobStore::open(scratch.path(), 1000).unwrap();
        assert!(!store.add_reference(B, ContentHash(7)).unwrap());
        let hash = put(&store, A, b"program").unwrap();
        assert!(store.add_reference(B, hash).unwrap());
        store.release_job(A).unwrap();
        assert!(store.contains(hash));
    }

    #[test]
    fn many_threads_that_put_the_same_leave_one_file() {
        let scratch = Scratch::new();
        let store = BlobStore::open(scratch.path(), 1 << 20).unwrap();
        std::thread::scope(|scope| {
            for job in 0..8 {
                let store = &store;
                scope.spawn(move || {
                    for _ in 0..5 {
                        let hash = put(store, JobId(job), &[7; 10_000]).unwrap();
                        assert_eq!(content(store, hash).len(), 10_000);
                        store.release_job(JobId(job)).unwrap();
                        put(store, JobId(job), &[7; 10_000]).unwrap();
                    }
                });
            }
        });
        assert_eq!((store.used_bytes(), incoming(&store)), (10_000, 0));
    }
}
