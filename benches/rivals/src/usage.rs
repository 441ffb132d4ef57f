//! What the kernel knows about processes: CPU seconds, peak memory, a clock that they share.
//!
//! The only file with `unsafe`: four system calls that std does not offer.
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::process::{Child, ExitStatus};

/// What a process has used up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// User and system time of all threads.
    pub cpu_seconds: f64,
    /// Largest resident set so far.
    pub peak_rss_kb: u64,
}

impl Usage {
    fn from_raw(raw: &libc::rusage) -> Self {
        let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 * 1e-6;
        Self {
            cpu_seconds: seconds(raw.ru_utime) + seconds(raw.ru_stime),
            peak_rss_kb: raw.ru_maxrss as u64,
        }
    }

    /// Of this process.
    ///
    /// The peak is `VmHWM`: `ru_maxrss` starts at what the parent had when it forked.
    pub fn of_self() -> Self {
        Self { peak_rss_kb: peak_rss_kb_of_self(), ..usage_of(libc::RUSAGE_SELF) }
    }

    /// Of all children that have been waited for; the peak is the largest child's.
    pub fn of_children() -> Self {
        usage_of(libc::RUSAGE_CHILDREN)
    }
}

fn usage_of(who: libc::c_int) -> Usage {
    let mut raw = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is valid for a whole `rusage`, which the call fills.
    let failed = unsafe { libc::getrusage(who, raw.as_mut_ptr()) };
    assert_eq!(failed, 0, "getrusage fails only on a wrong argument");
    // SAFETY: filled above; all-zero bytes are a valid `rusage` as well.
    Usage::from_raw(&unsafe { raw.assume_init() })
}

fn peak_rss_kb_of_self() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|rest| rest.trim().strip_suffix(" kB")?.parse().ok())
        .unwrap_or(0)
}

/// Waits for a child and tells what it used, with the children that it waited for itself.
pub fn wait(child: Child) -> io::Result<(ExitStatus, Usage)> {
    let mut status = 0;
    let mut raw = MaybeUninit::<libc::rusage>::zeroed();
    loop {
        // SAFETY: both pointers are valid for writing, and the child is ours and not yet reaped:
        // `Child` is owned here and never asked to wait.
        let pid = unsafe { libc::wait4(child.id() as i32, &mut status, 0, raw.as_mut_ptr()) };
        if pid >= 0 {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    // SAFETY: the call above filled it.
    let usage = Usage::from_raw(&unsafe { raw.assume_init() });
    Ok((std::os::unix::process::ExitStatusExt::from_raw(status), usage))
}

/// Ends a process that has not been waited for yet.
pub fn kill(pid: u32) {
    // SAFETY: takes no pointers; a process that has ended in the meantime is no harm.
    unsafe { libc::kill(pid as i32, libc::SIGKILL) };
}

/// Nanoseconds on a clock that all processes of this machine share (an `Instant` cannot travel).
pub fn monotonic_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is valid for a whole `timespec`.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    assert_eq!(failed, 0, "every Linux has a monotonic clock");
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
