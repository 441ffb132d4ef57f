//! Starts one child, on the spawner thread. Whatever fails, nothing of it stays behind.

use super::before_exec::BeforeExec;
use super::death::DeathWatch;
use super::error::SpawnError;
use super::memory_group::MemoryGroup;
use super::monitor::Monitor;
use super::output::{ChildEnds, Output};
use super::process::{Child, ChildProcess};
use super::spec::ChildSpec;
use super::supervisor::{OnExit, Registry};
use super::{CONTROL_FD_VARIABLE, DATA_FD_VARIABLE, SUPERVISOR_PID_VARIABLE};
use crate::artefact;
use crate::memory;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, getpid, kill_process_group};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

/// How long a child that does not read may hold up the one who hands it a connection.
const DATA_WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// A file that was just written may still be open for writing in a process that is between fork and
/// exec: another thread of ours forked at the wrong moment. That passes.
const BUSY_ATTEMPTS_MAX: u32 = 40;
const BUSY_PAUSE: Duration = Duration::from_millis(25);

/// Starts the child that `spec` describes.
pub(super) fn launch(
    spec: &ChildSpec,
    registry: &Arc<Registry>,
    on_exit: OnExit,
) -> Result<Child, SpawnError> {
    spec.check()?;
    if cfg!(target_os = "linux") {
        artefact::check_runs_here(&spec.executable)?;
    }
    let step = |action| move |cause| SpawnError::step(&spec.executable, action, cause);
    let directory = OwnDirectory::create(&spec.working_directory)?;
    let (output, ends) = Output::open(&spec.output)?;
    let (control, child_control) = UnixStream::pair().map_err(step("make its control socket"))?;
    let (data, child_data) = UnixStream::pair().map_err(step("make its data socket"))?;
    data.set_write_timeout(Some(DATA_WRITE_TIMEOUT)).map_err(step("set up its data socket"))?;
    let (memory_group, group_file, warnings) = make_memory_group(spec);
    // Before the fork: a child that nobody stands by must not exist.
    let monitor = start_monitor().map_err(step("start a thread for it"))?;

    let kills_before = memory::out_of_memory_kills();
    let mut command = make_command(spec, [&child_control, &child_data], ends)?;
    BeforeExec {
        parent: getpid(),
        kept: [child_control, child_data],
        oom_score_adj: spec.oom_score_adj.map(|score| score.to_string()),
        memory_group: group_file,
    }
    .install(&mut command);
    let pid = start(&mut command, &spec.executable)?;
    // Closes our copies of its ends: from now on its death is the end of its sockets and pipes.
    drop(command);

    let death = DeathWatch::of(pid).map_err(|cause| {
        let _ = kill_process_group(pid, Signal::KILL);
        ChildProcess::new(pid, None).reap();
        SpawnError::step(&spec.executable, "watch it", cause)
    })?;
    let process = ChildProcess::new(pid, memory_group);
    let (registry, serial) = (registry.clone(), registry.add(&process));
    let on_watch = Monitor {
        process: process.clone(),
        death,
        output,
        directory,
        registry,
        serial,
        kills_before,
        on_exit,
    };
    monitor.send(on_watch).expect("the monitor thread waits for its child");
    Ok(Child { process, control, data, warnings })
}

/// A thread that waits for its child; if the sender is dropped instead, it ends.
fn start_monitor() -> io::Result<mpsc::SyncSender<Monitor>> {
    let (sender, receiver) = mpsc::sync_channel::<Monitor>(1);
    thread::Builder::new().name("child-monitor".to_owned()).spawn(move || {
        if let Ok(monitor) = receiver.recv() {
            monitor.run();
        }
    })?;
    Ok(sender)
}

fn make_memory_group(spec: &ChildSpec) -> (Option<MemoryGroup>, Option<OwnedFd>, Vec<String>) {
    let Some(limit) = &spec.memory_limit else { return (None, None, Vec::new()) };
    match MemoryGroup::create(limit) {
        Ok((group, file)) => (Some(group), Some(file), Vec::new()),
        Err(error) => {
            let parent = limit.parent_group.display();
            let warning = format!(
                "the memory limit of {} bytes is not enforced by the kernel, because no control \
                 group with a memory controller could be made under {parent}: {error}",
                limit.bytes
            );
            (None, None, vec![warning])
        }
    }
}

fn make_command(
    spec: &ChildSpec,
    sockets: [&UnixStream; 2],
    ends: ChildEnds,
) -> Result<Command, SpawnError> {
    let absolute = std::path::absolute(&spec.executable);
    let executable = absolute
        .map_err(|cause| SpawnError::step(&spec.executable, "find its directory", cause))?;
    let mut command = Command::new(executable);
    command
        .args(&spec.arguments)
        .env_clear()
        .envs(spec.environment.iter().map(|(name, value)| (name, value)))
        .env(CONTROL_FD_VARIABLE, sockets[0].as_raw_fd().to_string())
        .env(DATA_FD_VARIABLE, sockets[1].as_raw_fd().to_string())
        .env(SUPERVISOR_PID_VARIABLE, std::process::id().to_string())
        .current_dir(&spec.working_directory)
        .stdin(Stdio::null())
        .stdout(ends.stdout)
        .stderr(ends.stderr);
    Ok(command)
}

fn start(command: &mut Command, path: &Path) -> Result<Pid, SpawnError> {
    for _ in 0..BUSY_ATTEMPTS_MAX {
        match command.spawn() {
            Ok(child) => return Ok(Pid::from_child(&child)),
            Err(error) if error.raw_os_error() == Some(Errno::TXTBSY.raw_os_error()) => {
                thread::sleep(BUSY_PAUSE);
            }
            Err(error) => return Err(SpawnError::from_exec(path, error)),
        }
    }
    let waited_ms = u64::from(BUSY_ATTEMPTS_MAX) * BUSY_PAUSE.as_millis() as u64;
    Err(SpawnError::Busy { path: path.to_owned(), waited_ms })
}

/// A directory made for one child; removed with all that is in it when dropped.
#[derive(Debug)]
pub(super) struct OwnDirectory(PathBuf);

impl OwnDirectory {
    fn create(path: &Path) -> Result<Self, SpawnError> {
        let failed = |cause| SpawnError::WorkingDirectory { path: path.to_owned(), cause };
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        match fs::DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => Ok(OwnDirectory(path.to_owned())),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let is_empty = fs::read_dir(path).map_err(failed)?.next().is_none();
                if is_empty { Ok(OwnDirectory(path.to_owned())) } else { Err(failed(not_empty())) }
            }
            Err(error) => Err(failed(error)),
        }
    }
}

fn not_empty() -> io::Error {
    io::Error::new(io::ErrorKind::DirectoryNotEmpty, "it is not empty")
}

impl Drop for OwnDirectory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
