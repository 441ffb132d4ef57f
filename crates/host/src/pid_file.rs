//! The file that says which process of a kind runs here: `run/taskmanager.pid`.
//!
//! First line the number, as scripts expect; then the process's start time and the kind. Whoever
//! runs holds a lock on the file, which the kernel lifts when the process ends however it ends.
//! Number and start time decide where locks do not work, and for readers.

use crate::ErrorKind;
use crate::process;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// This process's file; removed when dropped.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    /// Holds the lock.
    file: File,
}

/// What a file says about a process that is alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Its number.
    pub pid: u32,
    /// Its kind: `taskmanager`.
    pub name: String,
}

/// How long a lock is waited for whose owner is dead or has not written its name yet.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// How often it is tried.
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// Why there is no file now.
#[derive(Debug, thiserror::Error)]
pub enum PidFileError {
    /// Another process is at it.
    #[error(
        "process {pid} already runs as {name} and holds {path}; stop it first, or give this one \
         another MILLSTREAM_HOME"
    )]
    Running {
        /// The file.
        path: PathBuf,
        /// The other process; 0 if it has not written its number yet.
        pid: u32,
        /// Its kind.
        name: String,
    },
    /// The file system said no.
    #[error("could not write the pid file {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
}

impl PidFileError {
    /// Who has to act.
    pub fn kind(&self) -> ErrorKind {
        match self {
            PidFileError::Running { .. } => ErrorKind::Request,
            PidFileError::Write { .. } => ErrorKind::Machine,
        }
    }
}

impl PidFile {
    /// Writes this process into the file; one that a dead process left behind is taken over.
    pub fn create(path: &Path, name: &str) -> Result<PidFile, PidFileError> {
        let failed = |cause| PidFileError::Write { path: path.to_owned(), cause };
        let began = Instant::now();
        loop {
            let mut file = open(path).map_err(failed)?;
            let held_by_other = match file.try_lock() {
                Ok(()) => false,
                Err(TryLockError::WouldBlock) => true,
                // A file system without locks: what the file says has to do.
                Err(TryLockError::Error(_)) => false,
            };
            let mut bytes = Vec::new();
            (&file).take(4096).read_to_end(&mut bytes).map_err(failed)?;
            let text = String::from_utf8_lossy(&bytes);
            let named = parse_running(&text);
            // A process that was killed holds its lock until the last of its threads is out of the
            // kernel, where one may be waiting for a disk.
            if held_by_other && named.is_none() && began.elapsed() < LOCK_PATIENCE {
                std::thread::sleep(LOCK_PAUSE);
                continue;
            }
            let other = named.filter(|other| other.pid != std::process::id());
            if held_by_other || other.is_some() {
                let (pid, name) = other.map_or((0, name.to_owned()), |o| (o.pid, o.name));
                return Err(PidFileError::Running { path: path.to_owned(), pid, name });
            }
            // Its last owner may have removed it between our opening and our locking it.
            if is_same_file(path, &file) {
                write(&mut file, name).map_err(failed)?;
                return Ok(PidFile { path: path.to_owned(), file });
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if is_same_file(&self.path, &self.file) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// The live process that the file names; `None` if there is no file or its process has ended.
pub fn running(path: &Path) -> io::Result<Option<Running>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(parse_running(&text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn open(path: &Path) -> io::Result<File> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

fn write(file: &mut File, name: &str) -> io::Result<()> {
    let pid = std::process::id();
    let start_time = process::start_time(pid).unwrap_or(0);
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(format!("{pid}\n{start_time}\n{name}\n").as_bytes())
}

fn is_same_file(path: &Path, file: &File) -> bool {
    match (std::fs::metadata(path), file.metadata()) {
        (Ok(there), Ok(here)) => there.ino() == here.ino() && there.dev() == here.dev(),
        _ => false,
    }
}

/// The process in the text, if it is alive and not another that was given its number.
fn parse_running(text: &str) -> Option<Running> {
    let mut lines = text.lines();
    let pid: u32 = lines.next()?.trim().parse().ok()?;
    let start_time: u64 = lines.next().and_then(|line| line.parse().ok()).unwrap_or(0);
    let name = lines.next().unwrap_or_default().to_owned();
    let same = start_time == 0 || process::start_time(pid).is_none_or(|found| found == start_time);
    (same && process::is_alive(pid)).then_some(Running { pid, name })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn a_file_names_this_process_and_goes_with_it() {
        let scratch = Scratch::new();
        let path = scratch.join("run/taskmanager.pid");
        let file = PidFile::create(&path, "taskmanager").unwrap();
        let expected = Running { pid: std::process::id(), name: "taskmanager".to_owned() };
        assert_eq!(running(&path).unwrap(), Some(expected));
        drop(file);
        assert!(!path.exists());
        assert_eq!(running(&path).unwrap(), None);
    }

    #[test]
    fn a_second_of_the_same_kind_is_refused() {
        let scratch = Scratch::new();
        let path = scratch.join("taskmanager.pid");
        let _first = PidFile::create(&path, "taskmanager").unwrap();
        let error = PidFile::create(&path, "taskmanager").unwrap_err();
        assert!(matches!(error, PidFileError::Running { .. }), "{error}");
        assert_eq!(error.kind(), ErrorKind::Request);
    }

    #[test]
    fn the_file_of_a_dead_process_is_taken_over() {
        let scratch = Scratch::new();
        let path = scratch.join("jobmanager.pid");
        for stale in ["2147483632\n5\njobmanager\n", "garbage", "", "\0\0\0\0"] {
            std::fs::write(&path, stale).unwrap();
            let file = PidFile::create(&path, "jobmanager").unwrap();
            assert_eq!(running(&path).unwrap().unwrap().pid, std::process::id());
            drop(file);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_live_process_without_a_lock_is_respected_and_a_reused_number_is_not() {
        let scratch = Scratch::new();
        let path = scratch.join("jobmanager.pid");
        let parent = std::os::unix::process::parent_id();
        let start_time = process::start_time(parent).unwrap();
        std::fs::write(&path, format!("{parent}\n{start_time}\njobmanager\n")).unwrap();
        let error = PidFile::create(&path, "jobmanager").unwrap_err();
        assert!(error.to_string().contains(&format!("process {parent} already runs")));
        std::fs::write(&path, format!("{parent}\n{}\njobmanager\n", start_time + 1)).unwrap();
        PidFile::create(&path, "jobmanager").unwrap();
    }
}
