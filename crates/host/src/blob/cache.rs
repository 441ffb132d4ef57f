//! A worker's copies of blobs: fetched once, checked, ready to be executed.
//!
//! A job uses a blob from [`BlobCache::acquire`] to [`BlobCache::release_job`]. A blob that no job
//! uses stays for a while, because a job that restarts comes back; [`BlobCache::expire`] then removes
//! it. Time is an argument.
//!
//! Several threads that ask for one blob wait for one download, and share its error. A blob that was
//! there when the directory was opened, or has vanished since, is not trusted: it is read and checked
//! when it is first asked for.

use super::client::BlobClient;
use super::error::BlobError;
use super::store::BlobStore;
use super::transfer;
use millstream_core::hash::Hasher128;
use millstream_core::ids::{ContentHash, JobId};
use millstream_core::time::Mono;
use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// How long a blob stays that no job uses: `blob.service.cleanup.interval`.
pub const LINGER_MS: u64 = 3_600_000;

/// How often a download is tried again.
pub const RETRIES_MAX: u32 = 5;

/// How long to wait before the first retry; each further one waits twice as long.
pub const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// Where blobs come from.
pub trait Fetch: Send + Sync {
    /// Writes the blob to `sink`, which messages call `path`. The cache checks what came.
    fn fetch(&self, hash: ContentHash, sink: &mut dyn Write, path: &Path) -> Result<(), BlobError>;
}

impl Fetch for BlobClient {
    fn fetch(&self, hash: ContentHash, sink: &mut dyn Write, path: &Path) -> Result<(), BlobError> {
        self.get(hash, sink, path).map(|_| ())
    }
}

/// The JobManager in the same process.
impl Fetch for BlobStore {
    fn fetch(&self, hash: ContentHash, sink: &mut dyn Write, path: &Path) -> Result<(), BlobError> {
        let (_, mut file) = self.get(hash)?;
        io::copy(&mut file, sink).map_err(BlobError::file("write", path))?;
        Ok(())
    }
}

/// How stubborn and how thrifty a cache is.
#[derive(Clone, Copy, Debug)]
pub struct CachePolicy {
    /// See [`RETRIES_MAX`].
    pub retries_max: u32,
    /// See [`RETRY_PAUSE`].
    pub retry_pause: Duration,
    /// See [`LINGER_MS`].
    pub linger_ms: u64,
}

impl Default for CachePolicy {
    fn default() -> Self {
        CachePolicy { retries_max: RETRIES_MAX, retry_pause: RETRY_PAUSE, linger_ms: LINGER_MS }
    }
}

/// A directory of blobs that were fetched from elsewhere.
pub struct BlobCache {
    directory: PathBuf,
    source: Box<dyn Fetch>,
    policy: CachePolicy,
    entries: Mutex<BTreeMap<ContentHash, Entry>>,
}

struct Entry {
    /// How often each job has acquired it.
    users: BTreeMap<JobId, u32>,
    /// Since when it has had no user.
    idle_since: Option<Mono>,
    phase: Phase,
}

enum Phase {
    /// There may be a file, but nobody has looked into it.
    Unchecked,
    /// Somebody is at it.
    Flying(Arc<Flight>),
    /// It can be used.
    Ready,
}

/// One download, for all who wait for it.
#[derive(Default)]
struct Flight {
    outcome: Mutex<Option<Result<(), BlobError>>>,
    landed: Condvar,
}

impl BlobCache {
    /// Opens the directory, and makes it if it is not there. What it holds is kept for now.
    pub fn open(
        directory: &Path,
        source: Box<dyn Fetch>,
        policy: CachePolicy,
        now: Mono,
    ) -> Result<Self, BlobError> {
        let failed = || BlobError::file("read", directory);
        fs::create_dir_all(directory).map_err(BlobError::file("make", directory))?;
        let mut entries = BTreeMap::new();
        for file in fs::read_dir(directory).map_err(failed())? {
            let file = file.map_err(failed())?;
            match file.file_name().to_str().and_then(|name| name.parse().ok()) {
                Some(hash) => {
                    let entry = Entry::new(Some(now));
                    entries.insert(hash, entry);
                }
                // A download that was cut off.
                None => {
                    let _ = fs::remove_file(file.path());
                }
            }
        }
        let directory = directory.to_owned();
        Ok(BlobCache { directory, source, policy, entries: Mutex::new(entries) })
    }

    /// Fetches the blob unless it is here, and keeps it for `job`. The path of a file that may be
    /// executed and is not written any more.
    pub fn acquire(&self, job: JobId, hash: ContentHash) -> Result<PathBuf, BlobError> {
        let path = self.path(hash);
        let (flight, is_pilot) = {
            let mut entries = self.entries();
            let entry = entries.entry(hash).or_insert_with(|| Entry::new(None));
            *entry.users.entry(job).or_default() += 1;
            entry.idle_since = None;
            match &entry.phase {
                // Cleaners of temporary directories exist.
                Phase::Ready if path.exists() => return Ok(path),
                Phase::Flying(flight) => (flight.clone(), false),
                Phase::Ready | Phase::Unchecked => {
                    let flight = Arc::new(Flight::default());
                    entry.phase = Phase::Flying(flight.clone());
                    (flight, true)
                }
            }
        };
        if is_pilot {
            self.fly(hash, &flight);
        }
        match flight.wait() {
            Ok(()) => Ok(path),
            Err(error) => {
                self.give_back(job, hash);
                Err(error)
            }
        }
    }

    /// One use of a blob by a job has ended.
    pub fn release(&self, job: JobId, hash: ContentHash, now: Mono) {
        if let Some(entry) = self.entries().get_mut(&hash) {
            entry.release_once(job, now);
        }
    }

    /// All uses by a job have ended.
    pub fn release_job(&self, job: JobId, now: Mono) {
        for entry in self.entries().values_mut() {
            if entry.users.remove(&job).is_some() {
                entry.note_idle(now);
            }
        }
    }

    /// Removes what no job has used for long enough; how many blobs that were.
    pub fn expire(&self, now: Mono) -> usize {
        let mut entries = self.entries();
        let before = entries.len();
        entries.retain(|hash, entry| {
            let is_flying = matches!(entry.phase, Phase::Flying(_));
            let has_lingered =
                entry.idle_since.is_some_and(|since| self.policy.linger_ms <= now.since(since));
            if is_flying || !has_lingered {
                return true;
            }
            let _ = fs::remove_file(self.path(*hash));
            false
        });
        before - entries.len()
    }

    /// Downloads, tells everybody, and never panics.
    fn fly(&self, hash: ContentHash, flight: &Flight) {
        let provided = catch_unwind(AssertUnwindSafe(|| self.provide(hash)));
        let outcome = provided
            .unwrap_or_else(|_| Err(BlobError::Server("the download has panicked".to_owned())));
        if let Some(entry) = self.entries().get_mut(&hash) {
            entry.phase = if outcome.is_ok() { Phase::Ready } else { Phase::Unchecked };
        }
        flight.land(outcome);
    }

    /// Makes sure that the file is there and is what it should be.
    fn provide(&self, hash: ContentHash) -> Result<(), BlobError> {
        let path = self.path(hash);
        if transfer::hash_of(&path).is_ok_and(|found| found == hash) {
            return make_executable(&path).map_err(BlobError::file("make executable", &path));
        }
        let mut pause = self.policy.retry_pause;
        for _ in 0..self.policy.retries_max {
            match self.download(hash) {
                Err(error) if error.may_be_retried() => {
                    thread::sleep(pause);
                    pause *= 2;
                }
                result => return result,
            }
        }
        self.download(hash)
    }

    /// To a temporary name, and there only by its own name once it is complete and closed.
    fn download(&self, hash: ContentHash) -> Result<(), BlobError> {
        // There is one download of a blob at a time.
        let part = Part(self.directory.join(format!("{hash}.part")));
        self.download_to(&part.0, hash)?;
        let path = self.path(hash);
        fs::rename(&part.0, &path).map_err(BlobError::file("write", &path))
    }

    fn download_to(&self, path: &Path, hash: ContentHash) -> Result<(), BlobError> {
        let file = File::create(path).map_err(BlobError::file("make", path))?;
        let mut sink = HashedFile { file, hasher: Hasher128::new() };
        self.source.fetch(hash, &mut sink, path)?;
        transfer::verify(hash, ContentHash(sink.hasher.finish()))?;
        drop(sink);
        make_executable(path).map_err(BlobError::file("make executable", path))
    }

    /// A use that never began ends; there is nothing to linger.
    fn give_back(&self, job: JobId, hash: ContentHash) {
        let mut entries = self.entries();
        let Some(entry) = entries.get_mut(&hash) else { return };
        entry.release_once(job, Mono(0));
        let is_absent = matches!(entry.phase, Phase::Unchecked);
        if entry.users.is_empty() && is_absent {
            let _ = fs::remove_file(self.path(hash));
            entries.remove(&hash);
        }
    }

    fn path(&self, hash: ContentHash) -> PathBuf {
        self.directory.join(hash.to_string())
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<ContentHash, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn new(idle_since: Option<Mono>) -> Self {
        Entry { users: BTreeMap::new(), idle_since, phase: Phase::Unchecked }
    }

    fn release_once(&mut self, job: JobId, now: Mono) {
        if let Some(uses) = self.users.get_mut(&job) {
            *uses -= 1;
            if *uses == 0 {
                self.users.remove(&job);
                self.note_idle(now);
            }
        }
    }

    fn note_idle(&mut self, now: Mono) {
        if self.users.is_empty() {
            self.idle_since = Some(now);
        }
    }
}

impl Flight {
    fn land(&self, outcome: Result<(), BlobError>) {
        *self.outcome() = Some(outcome);
        self.landed.notify_all();
    }

    fn wait(&self) -> Result<(), BlobError> {
        let landed = self.landed.wait_while(self.outcome(), |outcome| outcome.is_none());
        let outcome = landed.unwrap_or_else(PoisonError::into_inner);
        outcome.clone().expect("it was waited for")
    }

    fn outcome(&self) -> MutexGuard<'_, Option<Result<(), BlobError>>> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A file that goes when it is dropped, unless it has been given another name.
struct Part(PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// A file that knows the hash of what was written.
struct HashedFile {
    file: File,
    hasher: Hasher128,
}

impl Write for HashedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn make_executable(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(0o755))
}

#[cfg(test)]
mod tests;
