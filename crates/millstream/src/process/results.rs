//! What tasks of jobs in BATCH mode have produced for others to read later: where it is on a worker.
//!
//! Each job has a directory of its own, beside those of its processes: what a process has finished can be
//! read when it is gone. The directory goes when the job has nothing on the worker any more.

use millstream_core::config::{Configuration, catalog};
use millstream_core::ids::JobId;
use millstream_shuffle::stored::StoredPartitions;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// `job-process`: the directory of the job's results.
const RESULTS: &str = "MILLSTREAM_RESULTS";

/// The results of all jobs on one worker.
#[derive(Debug)]
pub struct Results {
    root: PathBuf,
    /// So many directories were taken away.
    taken: AtomicU64,
}

/// The results of a job that has nothing on the worker any more. They are deleted when it is dropped, which
/// may take a while.
pub(super) struct TakenResults(StoredPartitions);

impl Results {
    /// Results in this directory, which is made with the first of them.
    pub fn within(root: PathBuf) -> Self {
        Self { root, taken: AtomicU64::new(0) }
    }

    /// The results of a job.
    pub(super) fn of_job(&self, job: JobId) -> StoredPartitions {
        StoredPartitions::within(self.directory_of(job))
    }

    fn directory_of(&self, job: JobId) -> PathBuf {
        self.root.join(job.to_string())
    }

    /// The variable from which a job process learns where they are.
    pub(super) fn environment(&self, job: JobId) -> (OsString, OsString) {
        (RESULTS.into(), self.directory_of(job).into())
    }

    /// The job has nothing here any more. If it comes back, it begins with an empty directory.
    pub(super) fn take(&self, job: JobId) -> Option<TakenResults> {
        let number = self.taken.fetch_add(1, Ordering::Relaxed);
        let aside = self.root.join(format!("{job}-{number}"));
        // Most jobs have none.
        fs::rename(self.directory_of(job), &aside).ok()?;
        Some(TakenResults(StoredPartitions::within(aside)))
    }
}

impl Drop for TakenResults {
    fn drop(&mut self) {
        self.0.remove_all();
    }
}

/// The results of the job that this process was started for. A TaskManager that names no place gets none
/// that outlives the process.
pub(crate) fn of_job_process(working_directory: &Path) -> StoredPartitions {
    let told = std::env::var_os(RESULTS).map(PathBuf::from);
    StoredPartitions::within(told.unwrap_or_else(|| working_directory.join("results")))
}

/// Where embedded jobs of this user have their results: below the first temporary directory.
pub(super) fn embedded_root(configuration: &BTreeMap<String, String>) -> PathBuf {
    let directories = Configuration(configuration.clone()).get(&catalog::TMP_DIRS);
    let first = directories.ok().and_then(|directories| directories.into_iter().next());
    let root = first.map_or_else(std::env::temp_dir, PathBuf::from);
    root.join(format!("millstream-{}", rustix::process::getuid().as_raw()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_comes_back_finds_nothing_of_its_former_results_and_they_are_deleted() {
        let root = std::env::temp_dir().join(format!("millstream-results-{}", std::process::id()));
        let results = Results::within(root.clone());
        let directory = results.directory_of(JobId(7));
        assert!(results.take(JobId(7)).is_none());
        fs::create_dir_all(&directory).expect("a temporary directory");
        fs::write(directory.join("a"), "results").expect("a temporary file");
        let taken = results.take(JobId(7)).expect("there are some");
        assert!(!directory.exists());
        fs::create_dir_all(&directory).expect("the job is back");
        drop(taken);
        let left = fs::read_dir(&root).expect("it is there").count();
        assert_eq!(left, 1, "only the directory of the job that is back");
        fs::remove_dir_all(root).expect("it can be removed");
    }
}
