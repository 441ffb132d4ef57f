//! One started child: what others may know of it and do to it.

use super::exit::ExitStatus;
use super::memory_group::MemoryGroup;
use rustix::io::retry_on_intr;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, kill_process_group, waitid,
};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A child, with our ends of its two sockets.
///
/// Dropping it closes the sockets, which ends a child that watches its control socket. Whoever needs
/// certainty calls [`kill_group`](ChildProcess::kill_group).
#[derive(Debug)]
pub struct Child {
    /// To kill it, from any thread.
    pub process: ChildProcess,
    /// Our end of the control socket. Blocking, without timeouts.
    pub control: UnixStream,
    /// Our end of the socket on which data connections are handed over. Blocking; a write that takes
    /// longer than 5 s fails, so that a child that does not read cannot hold up other jobs.
    pub data: UnixStream,
    /// What could not be done for it, as sentences: a memory limit that the machine cannot enforce.
    pub warnings: Vec<String>,
}

impl Child {
    /// Its number.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// See [`ChildProcess::kill_group`].
    pub fn kill_group(&self) {
        self.process.kill_group();
    }

    /// See [`ChildProcess::is_running`].
    pub fn is_running(&self) -> bool {
        self.process.is_running()
    }
}

/// A handle on a child, cheap to clone; it may outlive the child.
#[derive(Clone, Debug)]
pub struct ChildProcess(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pid: Pid,
    /// Guards the number: nobody sends a signal to it while another reaps it.
    life: Mutex<Life>,
}

#[derive(Debug)]
struct Life {
    stage: Stage,
    kill_requested: bool,
    /// Given up when the process is reaped.
    memory_group: Option<MemoryGroup>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Running,
    /// A zombie: its number still means it, and its group.
    Ended,
    /// Its number may mean anybody.
    Reaped,
}

/// What the monitor learns when it reaps.
#[derive(Debug)]
pub(super) struct Reaped {
    pub(super) status: ExitStatus,
    pub(super) core_dumped: bool,
    pub(super) kill_requested: bool,
    pub(super) group_out_of_memory: bool,
}

impl ChildProcess {
    pub(super) fn new(pid: Pid, memory_group: Option<MemoryGroup>) -> Self {
        let life = Life { stage: Stage::Running, kill_requested: false, memory_group };
        ChildProcess(Arc::new(Inner { pid, life: Mutex::new(life) }))
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.0.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Kills it and all processes of its group with SIGKILL, now. Does nothing once it has been
    /// reaped, so it can never hit a process that was given its number later.
    pub fn kill_group(&self) {
        let mut life = self.life();
        if life.stage == Stage::Running {
            life.kill_requested = true;
        }
        self.kill(&life);
    }

    /// Whether its end has not been noticed yet.
    pub fn is_running(&self) -> bool {
        self.life().stage == Stage::Running
    }

    /// Its leader is dead: nobody of its group may outlive it.
    pub(super) fn end_group(&self) {
        let mut life = self.life();
        life.stage = Stage::Ended;
        self.kill(&life);
    }

    /// Takes its status from the kernel, which gives its number away.
    pub(super) fn reap(&self) -> Reaped {
        let mut life = self.life();
        let status = retry_on_intr(|| waitid(WaitId::Pid(self.0.pid), WaitIdOptions::EXITED));
        life.stage = Stage::Reaped;
        let memory_group = life.memory_group.take();
        let kill_requested = life.kill_requested;
        drop(life);
        let status = status.ok().flatten();
        Reaped {
            core_dumped: status.as_ref().is_some_and(WaitIdStatus::dumped),
            status: status.as_ref().map_or_else(status_was_lost, ExitStatus::from_wait),
            kill_requested,
            group_out_of_memory: memory_group.is_some_and(|group| group.has_run_out_of_memory()),
        }
    }

    /// The caller holds the lock, so the number still means the child.
    fn kill(&self, life: &Life) {
        if life.stage == Stage::Reaped {
            return;
        }
        // It cannot fail in a way that we could do something about: the leader exists, if only as a
        // zombie, and is ours.
        let _ = kill_process_group(self.0.pid, Signal::KILL);
        if let Some(group) = &life.memory_group {
            group.kill();
        }
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        // Nothing is left half-done by a panic under this lock.
        self.0.life.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn status_was_lost() -> ExitStatus {
    ExitStatus::Unknown("somebody else in this process took its status".to_owned())
}
