//! Ctrl-C in an embedded program: the jobs that it waits for are cancelled, so that sinks take back
//! what is unfinished, and then the process ends.
//!
//! The program itself does not go on: it would begin with what comes after a job that has not done its
//! work. At the second Ctrl-C, or when no job is waited for, the process ends at once, as it would
//! have without us. A program that handles the signals itself before it first waits for a job keeps
//! doing so; [`JobClient::cancel`](millstream_api::JobClient::cancel) is what it needs then.

use crate::session::SubmittedJob;
use millstream_api::Result;
use millstream_api::error::ErrorCode;
use millstream_api::executor::{JobHandle, JobResult};
use millstream_core::ids::JobId;
use millstream_host::signals::{SignalWatch, Termination};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// How a shell says that a process was interrupted.
const EXIT_CODE: i32 = 130;

/// The jobs that somebody waits for.
static WAITED_FOR: Mutex<WaitedFor> = Mutex::new(WaitedFor { jobs: BTreeMap::new(), signal: None });

struct WaitedFor {
    jobs: BTreeMap<JobId, (String, SubmittedJob)>,
    /// The signal that came; the process ends with the last of the jobs.
    signal: Option<&'static str>,
}

/// Waits for a job's end. If the process is asked to end meanwhile, the job is cancelled and this
/// does not return.
pub(crate) fn wait(job: &mut SubmittedJob, name: &str) -> Result<JobResult> {
    watch_signals();
    let id = job.job();
    let signal = {
        let mut waited_for = lock();
        waited_for.jobs.insert(id, (name.to_owned(), job.clone()));
        waited_for.signal
    };
    if let Some(signal) = signal {
        cancel(name, job, signal);
    }
    let result = job.wait();
    let mut waited_for = lock();
    waited_for.jobs.remove(&id);
    let Some(signal) = waited_for.signal else { return result };
    match &result {
        Ok(_) => eprintln!("{signal}: job `{name}` ({id}) had just finished"),
        Err(error) if error.code == ErrorCode::JobCanceled => eprintln!(
            "{signal}: job `{name}` ({id}) was cancelled and its unfinished output removed"
        ),
        Err(error) => eprintln!("{error}"),
    }
    if waited_for.jobs.is_empty() {
        std::process::exit(EXIT_CODE);
    }
    drop(waited_for);
    // Who waits for the last job ends the process.
    loop {
        std::thread::park();
    }
}

/// From the first job on that is waited for, as long as the process lives.
fn watch_signals() {
    static WATCH: OnceLock<Option<SignalWatch>> = OnceLock::new();
    // A process that cannot watch signals ends when one comes, as it would without us.
    WATCH.get_or_init(|| SignalWatch::start_unless_handled(on_termination).ok().flatten());
}

fn on_termination(termination: Termination) {
    let signal = termination.signal;
    let jobs = {
        let mut waited_for = lock();
        waited_for.signal = Some(signal);
        waited_for.jobs.clone()
    };
    if termination.count > 1 {
        eprintln!("{signal}: ended at once; unfinished output may be left in hidden files");
    }
    if termination.count > 1 || jobs.is_empty() {
        std::process::exit(EXIT_CODE);
    }
    for (name, job) in jobs.values() {
        cancel(name, job, signal);
    }
}

fn cancel(name: &str, job: &SubmittedJob, signal: &str) {
    eprintln!("{signal}: cancelling job `{name}`; once more ends the process at once");
    if let Err(error) = job.cancel() {
        eprintln!("{error}");
    }
}

fn lock() -> MutexGuard<'static, WaitedFor> {
    WAITED_FOR.lock().unwrap_or_else(PoisonError::into_inner)
}
