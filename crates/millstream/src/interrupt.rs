//! Ctrl-C in an embedded program: the jobs that it waits for are stopped with a savepoint each, and
//! the process ends with the command that goes on from there. A job that takes no checkpoints, or
//! whose savepoint fails, is cancelled, so that sinks take back what is unfinished.
//!
//! The program itself does not go on: it would begin with what comes after a job that has not done its
//! work. At the second Ctrl-C, or when no job is waited for, the process ends at once, as it would
//! have without us. A program that handles the signals itself before it first waits for a job keeps
//! doing so; [`JobClient::cancel`](millstream_api::JobClient::cancel) is what it needs then.

use crate::session::SubmittedJob;
use millstream_api::Result;
use millstream_api::error::ErrorCode;
use millstream_api::executor::{JobHandle, JobResult};
use millstream_core::config::catalog;
use millstream_core::ids::JobId;
use millstream_host::signals::{SignalWatch, Termination};
use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

/// How a shell says that a process was interrupted.
const EXIT_CODE: i32 = 130;

/// The jobs that somebody waits for.
static WAITED_FOR: Mutex<WaitedFor> =
    Mutex::new(WaitedFor { jobs: BTreeMap::new(), stopping: BTreeMap::new(), signal: None });

/// The end of a job is known, or what became of its savepoint.
static CHANGED: Condvar = Condvar::new();

struct WaitedFor {
    jobs: BTreeMap<JobId, (String, SubmittedJob)>,
    /// Jobs that are being stopped, and where their savepoints are; nothing: not known yet, or none.
    stopping: BTreeMap<JobId, Stop>,
    /// The signal that came; the process ends with the last of the jobs.
    signal: Option<&'static str>,
}

/// How far the end of a job is that was asked for.
enum Stop {
    /// A savepoint is being taken.
    Pending,
    /// It is here.
    Saved(String),
    /// There is none: the job is cancelled.
    Cancelled,
}

/// Waits for a job's end. If the process is asked to end meanwhile, the job is stopped and this does
/// not return.
pub(crate) fn wait(job: &mut SubmittedJob, name: &str) -> Result<JobResult> {
    watch_signals();
    let id = job.job();
    let signal = {
        let mut waited_for = lock();
        waited_for.jobs.insert(id, (name.to_owned(), job.clone()));
        waited_for.signal
    };
    if let Some(signal) = signal {
        stop(name, job, signal);
    }
    let result = job.wait();
    let mut waited_for = lock();
    waited_for.jobs.remove(&id);
    let Some(signal) = waited_for.signal else { return result };
    while matches!(waited_for.stopping.get(&id), Some(Stop::Pending)) {
        waited_for = CHANGED.wait(waited_for).unwrap_or_else(PoisonError::into_inner);
    }
    match (&result, waited_for.stopping.get(&id)) {
        (Ok(_), Some(Stop::Saved(path))) => {
            eprintln!("{signal}: job `{name}` ({id}) was stopped with a savepoint; resume with:");
            println!("{}", resume_command(path));
        }
        (Ok(_), _) => eprintln!("{signal}: job `{name}` ({id}) had just finished"),
        (Err(error), _) if error.code == ErrorCode::JobCanceled => eprintln!(
            "{signal}: job `{name}` ({id}) was cancelled and its unfinished output removed"
        ),
        (Err(error), _) => eprintln!("{error}"),
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
    for (name, job) in jobs.into_values() {
        stop(&name, &job, signal);
    }
}

/// Stops the job with a savepoint, or cancels it; beside the caller, who has to hear a second signal.
fn stop(name: &str, job: &SubmittedJob, signal: &'static str) {
    if lock().stopping.insert(job.job(), Stop::Pending).is_some() {
        return;
    }
    eprintln!("{signal}: stopping job `{name}`; once more ends the process at once");
    let job = job.clone();
    let stop = move || {
        let stopped = match job.stop_with_savepoint() {
            Ok(path) => Stop::Saved(path),
            Err(_) => {
                if let Err(error) = job.cancel() {
                    eprintln!("{error}");
                }
                Stop::Cancelled
            }
        };
        lock().stopping.insert(job.job(), stopped);
        CHANGED.notify_all();
    };
    let stopping = std::thread::Builder::new().name("stop".to_owned()).spawn(stop);
    if let Err(error) = stopping {
        eprintln!("{signal}: cannot start a thread: {error}");
        std::process::exit(EXIT_CODE);
    }
}

/// This program with its arguments, to go on from the savepoint.
fn resume_command(path: &str) -> String {
    let is_recovery = |argument: &String| argument.starts_with(catalog::RECOVERY_PATH.key);
    let mut words: Vec<String> = std::env::args().collect();
    // A program that was resumed itself does not go on from two savepoints.
    while let Some(at) = words.iter().position(is_recovery) {
        words.drain(at.saturating_sub(1)..=at);
    }
    words.push("-D".to_owned());
    words.push(format!("{}={path}", catalog::RECOVERY_PATH.key));
    let quoted = words.iter().map(|word| quote(word));
    quoted.collect::<Vec<_>>().join(" ")
}

/// A word as a shell reads it.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-=:,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

fn lock() -> MutexGuard<'static, WaitedFor> {
    WAITED_FOR.lock().unwrap_or_else(PoisonError::into_inner)
}
