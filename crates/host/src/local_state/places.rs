//! The directories of one worker's local state.
//!
//! ```text
//! <root>/taskmanager.lock      held by the worker as long as it lives
//! <root>/taskmanager/<job>/    copies of the job's files
//! ```
//!
//! Without configured roots they lie in the process's working directory and go with it. Where a root is
//! configured, a worker takes the first name there that no living worker has: so the one that is started
//! in place of another finds what that had. Two that are started at once may find each other's, and then
//! read the originals.

use crate::directories::DirectoryError;
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

const PURPOSE: &str = "the directory of local state (taskmanager.state.local.root-dirs)";

/// So many workers share a root at most.
const WORKERS_MAX: u32 = 1024;

/// The directories of one worker.
#[derive(Debug)]
pub struct LocalPlaces {
    directories: Vec<PathBuf>,
    /// Say that we are alive.
    _locks: Vec<File>,
}

impl LocalPlaces {
    /// In a directory that goes with the process.
    pub fn within(working: &Path) -> Self {
        Self { directories: vec![working.join("localState")], _locks: Vec::new() }
    }

    /// In each of the roots the first directory of this name that no living worker has.
    pub fn claim(roots: &[PathBuf], name: &str) -> Result<Self, DirectoryError> {
        let (mut directories, mut locks) = (Vec::new(), Vec::new());
        for root in roots {
            let failed = |cause| {
                let path = root.clone();
                DirectoryError::NotWritable { purpose: PURPOSE, path, cause }
            };
            fs::create_dir_all(root).map_err(|cause| {
                let path = root.clone();
                DirectoryError::Create { purpose: PURPOSE, path, cause }
            })?;
            let (directory, lock) = claim_in(root, name).map_err(failed)?;
            fs::create_dir_all(&directory).map_err(failed)?;
            directories.push(std::path::absolute(&directory).map_err(failed)?);
            locks.push(lock);
        }
        Ok(Self { directories, _locks: locks })
    }

    /// The directories of a job; they need not be there.
    pub fn of_job(&self, job: &str) -> Vec<PathBuf> {
        self.directories.iter().map(|directory| directory.join(job)).collect()
    }

    /// The jobs of which there is something here.
    pub fn jobs(&self) -> BTreeSet<String> {
        let entries = self.directories.iter().filter_map(|directory| fs::read_dir(directory).ok());
        let names = entries.flatten().flatten().map(|entry| entry.file_name());
        names.filter_map(|name| name.into_string().ok()).collect()
    }

    /// Removes what there is of a job. What cannot be removed is of no use to anybody.
    pub fn remove(&self, job: &str) {
        for directory in self.of_job(job) {
            let _ = fs::remove_dir_all(directory);
        }
    }
}

fn claim_in(root: &Path, name: &str) -> io::Result<(PathBuf, File)> {
    for number in 1..=WORKERS_MAX {
        let name = if number == 1 { name.to_owned() } else { format!("{name}-{number}") };
        let path = root.join(format!("{name}.lock"));
        // Lock files are never removed: whoever has the lock has the one that others see.
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
        match lock.try_lock() {
            Ok(()) => return Ok((root.join(name), lock)),
            Err(TryLockError::WouldBlock) => (),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Err(io::Error::other(format!("{WORKERS_MAX} workers use it")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn a_worker_finds_what_the_one_before_it_had_and_not_what_a_living_one_has() {
        let scratch = Scratch::new();
        let roots = [scratch.join("a"), scratch.join("b")];
        let claim = || LocalPlaces::claim(&roots, "taskmanager").unwrap();
        let first = claim();
        let job = first.of_job("0f");
        assert_eq!(job, [roots[0].join("taskmanager/0f"), roots[1].join("taskmanager/0f")]);
        fs::create_dir_all(&job[1]).unwrap();
        let second = claim();
        assert!(second.jobs().is_empty());
        assert!(second.of_job("0f")[0].starts_with(roots[0].join("taskmanager-2")));
        drop(first);
        let third = claim();
        assert_eq!(third.jobs(), ["0f".to_owned()].into());
        third.remove("0f");
        assert!(third.jobs().is_empty() && !job[1].exists());
    }

    #[test]
    fn a_root_that_cannot_be_used_is_named_with_its_key() {
        let scratch = Scratch::new();
        let file = scratch.join("file");
        fs::write(&file, "").unwrap();
        let error = LocalPlaces::claim(std::slice::from_ref(&file), "t").unwrap_err().to_string();
        assert!(error.contains("taskmanager.state.local.root-dirs"), "{error}");
        assert!(error.contains(file.to_str().unwrap()), "{error}");
    }
}
