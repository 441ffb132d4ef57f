//! Something that `poll` can wait for: the death of a child.
//!
//! On Linux that is a pidfd. Where there is none (macOS, a kernel before 5.3, a sandbox that forbids
//! it) a thread waits for the child without reaping it, and then closes a pipe.

use rustix::io::{Errno, retry_on_intr};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread;

/// Becomes readable, or hangs up, when the process has ended.
#[derive(Debug)]
pub(super) struct DeathWatch(OwnedFd);

impl DeathWatch {
    /// Watches a child that nobody has reaped yet.
    pub(super) fn of(pid: Pid) -> io::Result<Self> {
        #[cfg(target_os = "linux")]
        match rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) {
            Ok(pidfd) => return Ok(DeathWatch(pidfd)),
            Err(Errno::NOSYS | Errno::PERM | Errno::INVAL) => (),
            Err(error) => return Err(error.into()),
        }
        Self::by_thread(pid)
    }

    fn by_thread(pid: Pid) -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        thread::Builder::new().name("child-wait".to_owned()).spawn(move || {
            let _ = wait_without_reaping(pid);
            drop(writer);
        })?;
        Ok(DeathWatch(reader.into()))
    }
}

impl AsFd for DeathWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn wait_without_reaping(pid: Pid) -> Result<(), Errno> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    retry_on_intr(|| waitid(WaitId::Pid(pid), options)).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use std::process::Command;

    #[track_caller]
    fn check(watch: impl Fn(Pid) -> io::Result<DeathWatch>) {
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let watch = watch(Pid::from_child(&child)).unwrap();
        let is_dead = |seconds| {
            let mut fds = [PollFd::new(&watch, PollFlags::IN)];
            let timeout = Timespec { tv_sec: seconds, tv_nsec: 0 };
            retry_on_intr(|| poll(&mut fds, Some(&timeout))).unwrap() == 1
        };
        assert!(!is_dead(0));
        child.kill().unwrap();
        assert!(is_dead(10));
        // Nobody has taken its status away.
        assert_eq!(child.wait().unwrap().code(), None);
    }

    #[test]
    fn a_death_is_seen() {
        check(DeathWatch::of);
    }

    #[test]
    fn a_death_is_seen_without_a_pidfd() {
        check(DeathWatch::by_thread);
    }
}
