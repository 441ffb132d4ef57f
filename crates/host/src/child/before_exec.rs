//! What the child does between fork and exec. One of the two files with `unsafe`.
//!
//! The child is a copy of a process whose other threads are gone, perhaps in the middle of an
//! allocation: nothing here may allocate, lock or drop what does. Everything is prepared before the
//! fork; after it there are only system calls.
#![allow(unsafe_code)]

use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::process::setsid;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// What the child does to itself before it becomes the program.
#[derive(Debug)]
pub(super) struct BeforeExec {
    /// Who has to be its parent still: it may have died before the death signal was set.
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "there is no death signal"))]
    pub(super) parent: rustix::process::Pid,
    /// The sockets that it keeps: control and data.
    pub(super) kept: [UnixStream; 2],
    /// The text to write to its `oom_score_adj`.
    pub(super) oom_score_adj: Option<String>,
    /// The open `cgroup.procs` of the group that it joins.
    pub(super) memory_group: Option<OwnedFd>,
}

impl BeforeExec {
    /// Has `command` run this between fork and exec.
    pub(super) fn install(self, command: &mut Command) {
        // SAFETY: `run` only makes system calls through rustix's Linux backend or, in
        // `close_all_on_exec`, through `libc::syscall`; both are async-signal-safe. It neither
        // allocates (its errors are error numbers), nor takes locks, nor touches state that another
        // thread could have left half-written. `self` was built before the fork and is only read.
        unsafe { command.pre_exec(move || self.run().map_err(io::Error::from)) };
    }

    fn run(&self) -> Result<(), Errno> {
        setsid()?;
        #[cfg(target_os = "linux")]
        self.die_with_parent()?;
        #[cfg(target_os = "linux")]
        close_all_on_exec();
        for socket in &self.kept {
            fcntl_setfd(socket, FdFlags::empty())?;
        }
        self.score();
        if let Some(group) = &self.memory_group {
            // 0 means the writer itself.
            rustix::io::write(group, b"0")?;
        }
        Ok(())
    }

    #[cfg(target_os = "linux")]
    fn die_with_parent(&self) -> Result<(), Errno> {
        use rustix::process::{Signal, getppid, set_parent_process_death_signal};

        set_parent_process_death_signal(Some(Signal::KILL))?;
        if getppid() == Some(self.parent) { Ok(()) } else { Err(Errno::SRCH) }
    }

    /// Raising one's own score needs no privilege; where `/proc` is not mounted it stays as it is.
    fn score(&self) {
        use rustix::fs::{Mode, OFlags, open};

        let Some(text) = &self.oom_score_adj else { return };
        if let Ok(file) =
            open(c"/proc/self/oom_score_adj", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
        {
            let _ = rustix::io::write(&file, text.as_bytes());
        }
    }
}

/// The engine opens everything close-on-exec, but not so C libraries, nor whoever started us.
#[cfg(target_os = "linux")]
fn close_all_on_exec() {
    let (first, last) = (3 as libc::c_uint, libc::c_uint::MAX);
    // SAFETY: with CLOSE_RANGE_CLOEXEC no descriptor is closed, only flags are set in this process's
    // own table, which it has shared with nobody since the fork. A kernel before 5.11 answers with
    // an error, which leaves everything as it is.
    unsafe { libc::syscall(libc::SYS_close_range, first, last, libc::CLOSE_RANGE_CLOEXEC) };
}
