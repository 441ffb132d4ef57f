//! What a worker keeps of its tasks' state for itself: where, as the TaskManager knows it and tells its job
//! processes.
//!
//! Copies of a job stay as long as the job has a slot or a task on the worker. Where the directories
//! outlive the process (`taskmanager.state.local.root-dirs`), those that an earlier worker left stay for a
//! while, for their job may come back.

use millstream_api::error::{Error, ErrorCode, Result as Outcome};
use millstream_core::config::{ConfigError, Configuration, catalog};
use millstream_core::ids::JobId;
use millstream_host::directories::DirectoryError;
use millstream_host::local_state::{Copies, LocalPlaces};
use millstream_task::storages::LocalFiles;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// `job-process`: where copies of the job's state files are kept, as JSON.
const LOCAL_STATE: &str = "MILLSTREAM_LOCAL_STATE";

/// What an earlier worker left is kept for so long: restarts are over by then.
const LEFT_KEPT: Duration = Duration::from_secs(15 * 60);

/// What a job process is told.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Told {
    directories: Vec<PathBuf>,
    /// What counts for a job that says nothing itself.
    from_local: bool,
}

/// The local state of a TaskManager.
pub struct LocalState {
    places: LocalPlaces,
    from_local: bool,
    /// What an earlier worker left, and when we found it.
    left: Mutex<(Instant, BTreeSet<String>)>,
    /// The process is ending: what is here may be of use to the next one.
    ending: AtomicBool,
}

impl LocalState {
    /// As it is configured for the TaskManager of this name, whose own directory is `working`.
    pub fn new(
        configuration: &Configuration,
        working: &Path,
        name: &str,
    ) -> Result<Self, LocalStateError> {
        let roots = configuration.get(&catalog::LOCAL_STATE_DIRS)?;
        let roots: Vec<PathBuf> = roots.into_iter().map(PathBuf::from).collect();
        let places = match roots.is_empty() {
            true => LocalPlaces::within(working),
            false => LocalPlaces::claim(&roots, name)?,
        };
        let from_local = configuration.get(&catalog::RECOVERY_FROM_LOCAL)?;
        let left = Mutex::new((Instant::now(), places.jobs()));
        Ok(Self { places, from_local, left, ending: AtomicBool::new(false) })
    }

    /// The variable from which a job process learns where its copies are.
    pub(super) fn environment(&self, job: JobId) -> (OsString, OsString) {
        let directories = self.places.of_job(&job.to_string());
        let told = Told { directories, from_local: self.from_local };
        let told = serde_json::to_string(&told).expect("paths that are UTF-8, and a word");
        (LOCAL_STATE.into(), told.into())
    }

    /// A job has nothing here any more.
    pub(super) fn release(&self, job: JobId) {
        if !self.ending.load(Ordering::Relaxed) {
            self.places.remove(&job.to_string());
        }
    }

    /// The process is asked to end, and not the jobs: what is here stays, unless it goes with the process.
    pub(super) fn keep(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    /// Removes what was left of jobs that have not come back.
    pub(super) fn tidy(&self, running: impl Fn(&str) -> bool) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        if left.1.is_empty() || left.0.elapsed() < LEFT_KEPT {
            return;
        }
        for job in std::mem::take(&mut left.1) {
            if !running(&job) {
                self.places.remove(&job);
            }
        }
    }
}

/// Why there is no place for local state.
#[derive(Debug, thiserror::Error)]
pub enum LocalStateError {
    /// A value cannot be read.
    #[error(transparent)]
    Configuration(#[from] ConfigError),
    /// A directory cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}

/// The copies of the job that this process was started for; nothing where none are wanted.
pub(crate) fn of_job_process(
    configuration: &BTreeMap<String, String>,
) -> Outcome<Option<LocalFiles>> {
    // A TaskManager that says nothing keeps nothing.
    let told = std::env::var(LOCAL_STATE).ok();
    let told: Told = told.map_or_else(|| Ok(Told::default()), |told| read(&told))?;
    let configuration = Configuration(configuration.clone());
    let wanted = match configuration.contains(&catalog::RECOVERY_FROM_LOCAL) {
        true => configuration.get(&catalog::RECOVERY_FROM_LOCAL).map_err(|error| {
            Error::new(ErrorCode::Configuration, "local state cannot be used")
                .why(error.to_string())
        })?,
        false => told.from_local,
    };
    let copies = (wanted && !told.directories.is_empty()).then(|| {
        let tell = Arc::new(|line: &str| eprintln!("local state: {line}"));
        Copies::new(told.directories, tell)
    });
    Ok(copies.map(|copies| LocalFiles::new(Arc::new(copies))))
}

fn read(told: &str) -> Outcome<Told> {
    serde_json::from_str(told).map_err(|error| {
        let summary = format!("`{LOCAL_STATE}` cannot be read");
        Error::new(ErrorCode::Process, summary).why(error.to_string())
    })
}
