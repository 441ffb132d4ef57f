//! One process's own directory: blobs, spilled data, its children's directories. It goes when the
//! process ends, and when the process was killed, the next one of its kind sweeps it up.
//!
//! Beside each directory NAME lies a file NAME.lock, which its owner keeps locked. The kernel lifts
//! the lock when the owner ends, however it ends. Process numbers would not do: two containers that
//! share a volume both have a process 1.
//!
//! An owner has its lock before it makes the directory, so a sweep never sees a directory in use
//! without one.

use super::{DirectoryError, make};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

const PURPOSE: &str = "the working directory";
const LOCK_ENDING: &str = "lock";

/// This process's directory; removed when dropped.
#[derive(Debug)]
pub struct WorkingDirectory {
    path: PathBuf,
    /// Says that we are alive.
    _lock: File,
}

impl WorkingDirectory {
    /// Makes a new directory in `base`, whose name begins with `kind`.
    pub fn create(base: &Path, kind: &str) -> Result<Self, DirectoryError> {
        make(PURPOSE, base)?;
        let failed =
            |cause| DirectoryError::NotWritable { purpose: PURPOSE, path: base.to_owned(), cause };
        loop {
            let path = base.join(new_name(kind));
            let lock = match File::create_new(lock_path(&path)) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(failed(error)),
            };
            lock.lock().map_err(failed)?;
            // A sweep may have had the lock between its making and its locking.
            if !is_same_file(&lock_path(&path), &lock) {
                continue;
            }
            match fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(WorkingDirectory { path, _lock: lock }),
                Err(error) => {
                    let _ = fs::remove_file(lock_path(&path));
                    if error.kind() != io::ErrorKind::AlreadyExists {
                        return Err(failed(error));
                    }
                }
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for WorkingDirectory {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// Removes what dead processes have left in `base`; returns the directories that were removed.
pub fn sweep(base: &Path) -> io::Result<Vec<PathBuf>> {
    let mut swept = Vec::new();
    for entry in fs::read_dir(base)? {
        let lock_path = entry?.path();
        if lock_path.extension().is_none_or(|ending| ending != LOCK_ENDING) {
            continue;
        }
        let Ok(lock) = OpenOptions::new().write(true).open(&lock_path) else { continue };
        match lock.try_lock() {
            Ok(()) if is_same_file(&lock_path, &lock) => {
                let path = lock_path.with_extension("");
                remove(&path);
                swept.push(path);
            }
            // Its owner is alive, or another sweep was faster.
            Ok(()) | Err(TryLockError::WouldBlock) => (),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(swept)
}

/// The directory first: as long as the lock file is there, a later sweep finds what is left.
fn remove(path: &Path) {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => (),
        _ => {
            let _ = fs::remove_file(lock_path(path));
        }
    }
}

/// For people: the number of the process. For uniqueness: a count and the clock, because another
/// container may have the same number.
fn new_name(kind: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let clock = std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.subsec_nanos());
    format!("{kind}-{}-{count}-{clock:08x}", std::process::id())
}

fn lock_path(path: &Path) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(".");
    name.push(LOCK_ENDING);
    name.into()
}

fn is_same_file(path: &Path, file: &File) -> bool {
    match (fs::metadata(path), file.metadata()) {
        (Ok(there), Ok(here)) => there.ino() == here.ino() && there.dev() == here.dev(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    fn entries(path: &Path) -> usize {
        fs::read_dir(path).unwrap().count()
    }

    #[test]
    fn a_directory_goes_with_all_that_is_in_it() {
        let scratch = Scratch::new();
        let directory = WorkingDirectory::create(&scratch.join("base"), "taskmanager").unwrap();
        fs::create_dir(directory.path().join("a")).unwrap();
        fs::write(directory.path().join("a/b"), "content").unwrap();
        let name = directory.path().file_name().unwrap().to_string_lossy().into_owned();
        assert!(name.starts_with(&format!("taskmanager-{}-", std::process::id())), "{name}");
        drop(directory);
        assert_eq!(entries(&scratch.join("base")), 0);
    }

    #[test]
    fn a_sweep_takes_the_dead_and_leaves_the_living() {
        let scratch = Scratch::new();
        let living = WorkingDirectory::create(scratch.path(), "taskmanager").unwrap();
        // What a killed process leaves: a directory, and a lock file that nobody holds.
        let dead = scratch.join("taskmanager-1-0-0");
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join("spilled"), "content").unwrap();
        File::create(lock_path(&dead)).unwrap();
        // What is not ours: no lock file lies beside it.
        fs::create_dir(scratch.join("photographs")).unwrap();

        assert_eq!(sweep(scratch.path()).unwrap(), [dead]);
        assert!(living.path().is_dir());
        assert!(sweep(scratch.path()).unwrap().is_empty());
        drop(living);
        assert_eq!(entries(scratch.path()), 1);
    }

    #[test]
    fn a_lock_without_a_directory_is_swept_too() {
        let scratch = Scratch::new();
        File::create(scratch.join("taskmanager-1-0-0.lock")).unwrap();
        assert_eq!(sweep(scratch.path()).unwrap().len(), 1);
        assert_eq!(entries(scratch.path()), 0);
    }

    #[test]
    fn many_processes_that_start_and_sweep_never_lose_theirs() {
        let scratch = Scratch::new();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let own = WorkingDirectory::create(scratch.path(), "t").unwrap();
                        sweep(scratch.path()).unwrap();
                        assert!(own.path().is_dir());
                    }
                });
            }
        });
        assert_eq!(entries(scratch.path()), 0);
    }
}
