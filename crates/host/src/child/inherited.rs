//! What a job process calls itself, to take over what it was started with. One of the two files with
//! `unsafe`.
//!
//! ```no_run
//! use millstream_host::child;
//!
//! child::set_parent_death_signal()?;
//! let control = child::control_socket_from_env().expect("a TaskManager started this process");
//! child::exit_when_closed(&control)?;
//! # Ok::<(), std::io::Error>(())
//! ```
#![allow(unsafe_code)]

use super::{CONTROL_FD_VARIABLE, DATA_FD_VARIABLE, SUPERVISOR_PID_VARIABLE};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd, retry_on_intr};
use rustix::net::{AddressFamily, sockopt};
use rustix::process::{Signal, getpgrp, getpid, kill_current_process_group, kill_process};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// The socket on which this process talks to the one that started it. `None` if nobody started it as
/// a child, and from the second call on: there is one owner.
pub fn control_socket_from_env() -> Option<UnixStream> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    take(CONTROL_FD_VARIABLE, &TAKEN)
}

/// The socket on which this process is handed data connections; see
/// [`receive_stream`](crate::descriptor::receive_stream). `None` as for the control socket.
pub fn data_socket_from_env() -> Option<UnixStream> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    take(DATA_FD_VARIABLE, &TAKEN)
}

/// Ends this process and its process group, at once and without any clean-up, when the other end of
/// `control` is closed: its parent is gone.
///
/// A thread of its own waits for that. It reads nothing, so the socket stays the caller's, and it
/// shares no lock with user code that could hold it up. SIGKILL runs no exit handler.
pub fn exit_when_closed(control: impl AsFd) -> io::Result<()> {
    let control = control.as_fd().try_clone_to_owned()?;
    thread::Builder::new().name("control-watch".to_owned()).stack_size(64 << 10).spawn(
        move || {
            wait_until_closed(control.as_fd());
            end_group();
        },
    )?;
    Ok(())
}

/// Asks the kernel to kill this process when the thread that started it ends. A supervisor has
/// arranged that already; a program that was started through another one asks again.
///
/// Fails where the kernel cannot do it (macOS); [`exit_when_closed`] then has to do alone.
pub fn set_parent_death_signal() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    return Ok(rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?);
    #[cfg(not(target_os = "linux"))]
    Err(io::Error::from(io::ErrorKind::Unsupported))
}

fn wait_until_closed(control: BorrowedFd<'_>) {
    #[cfg(target_os = "linux")]
    let closed = PollFlags::RDHUP;
    #[cfg(not(target_os = "linux"))]
    let closed = PollFlags::HUP;
    loop {
        let mut fds = [PollFd::new(&control, closed)];
        match retry_on_intr(|| poll(&mut fds, None)) {
            Ok(_) if fds[0].revents().is_empty() => (),
            // Also if it cannot be watched: a child that nobody can end is the worse evil.
            _ => return,
        }
    }
}

fn end_group() {
    // The leader of a group may end it all. Anybody else would hit strangers.
    if getpgrp() == getpid() {
        let _ = kill_current_process_group(Signal::KILL);
    }
    let _ = kill_process(getpid(), Signal::KILL);
}

fn take(variable: &str, taken: &AtomicBool) -> Option<UnixStream> {
    let number: RawFd = std::env::var(variable).ok()?.parse().ok()?;
    let supervisor: i32 = std::env::var(SUPERVISOR_PID_VARIABLE).ok()?.parse().ok()?;
    if number < 3 || taken.swap(true, Ordering::SeqCst) {
        return None;
    }
    // SAFETY: the descriptor is only looked at. If it is not open, each call fails with EBADF; if it
    // is not what we think, nothing is changed.
    let looked_at = unsafe { BorrowedFd::borrow_raw(number) };
    fcntl_getfd(looked_at).ok()?;
    if !is_made_by(looked_at, supervisor) {
        return None;
    }
    fcntl_setfd(looked_at, FdFlags::CLOEXEC).ok()?;
    // SAFETY: it is open and is a socket whose maker is the process that named it to us in our
    // environment, so it came through exec and no code of this process opened it. `taken` hands it
    // out once, hence the result is its only owner.
    Some(unsafe { UnixStream::from_raw_fd(number) })
}

/// Whether it is one end of a Unix socket pair that this process made.
fn is_made_by(socket: BorrowedFd<'_>, supervisor: i32) -> bool {
    #[cfg(target_os = "linux")]
    {
        sockopt::socket_domain(socket) == Ok(AddressFamily::UNIX)
            && sockopt::socket_peercred(socket)
                .is_ok_and(|maker| maker.pid.as_raw_nonzero().get() == supervisor)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = supervisor;
        rustix::net::getsockname(socket)
            .is_ok_and(|address| address.address_family() == AddressFamily::UNIX)
            && sockopt::socket_type(socket) == Ok(rustix::net::SocketType::STREAM)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn a_process_that_nobody_started_as_a_child_has_no_sockets() {
        assert!(control_socket_from_env().is_none());
        assert!(data_socket_from_env().is_none());
    }

    #[test]
    fn a_socket_is_known_by_its_maker() {
        let (socket, _other) = UnixStream::pair().unwrap();
        let own = getpid().as_raw_nonzero().get();
        assert!(is_made_by(socket.as_fd(), own));
        #[cfg(target_os = "linux")]
        assert!(!is_made_by(socket.as_fd(), own + 1));
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(!is_made_by(file.as_fd(), own));
    }

    #[test]
    fn data_is_no_end_and_unread_data_does_not_hide_the_end() {
        let (watched, mut other) = UnixStream::pair().unwrap();
        let (sender, closed) = mpsc::channel();
        thread::spawn(move || {
            wait_until_closed(watched.as_fd());
            sender.send(()).unwrap();
        });
        other.write_all(b"an order that nobody reads").unwrap();
        assert!(closed.recv_timeout(Duration::from_millis(50)).is_err());
        drop(other);
        closed.recv_timeout(Duration::from_secs(10)).unwrap();
    }
}
