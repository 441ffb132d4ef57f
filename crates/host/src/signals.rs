//! The wish that this process ends: SIGTERM and SIGINT.
//!
//! A thread of its own waits for them and calls back, outside of any signal handler, so the
//! callback may do what it likes. After the watch is dropped the signals are swallowed: a handler
//! that is gone cannot give back the default without a race, and a process drops its watch last.

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};
use std::io;
use std::thread::JoinHandle;

/// A wish to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Termination {
    /// `SIGTERM` or `SIGINT`.
    pub signal: &'static str,
    /// How many there have been, this one included: at the second a user has lost patience.
    pub count: u32,
}

/// Calls back as long as it lives.
#[derive(Debug)]
pub struct SignalWatch {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl SignalWatch {
    /// Calls `on_termination` for each SIGTERM and SIGINT, on a thread named `signals`.
    pub fn start(
        on_termination: impl FnMut(Termination) + Send + 'static,
    ) -> io::Result<SignalWatch> {
        Self::start_for(&[SIGTERM, SIGINT], on_termination)
    }

    /// The same, only for those that this process neither handles nor ignores yet: a program that has
    /// its own way to end keeps it. Nothing if that are none.
    pub fn start_unless_handled(
        on_termination: impl FnMut(Termination) + Send + 'static,
    ) -> io::Result<Option<SignalWatch>> {
        let taken = taken_signals();
        let free: Vec<i32> =
            [SIGTERM, SIGINT].into_iter().filter(|n| taken & (1 << (n - 1)) == 0).collect();
        match free.is_empty() {
            true => Ok(None),
            false => Self::start_for(&free, on_termination).map(Some),
        }
    }

    fn start_for(
        numbers: &[i32],
        mut on_termination: impl FnMut(Termination) + Send + 'static,
    ) -> io::Result<SignalWatch> {
        let mut signals = Signals::new(numbers)?;
        let handle = signals.handle();
        let thread = std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            for (number, count) in signals.forever().zip(1_u32..) {
                let signal = if number == SIGINT { "SIGINT" } else { "SIGTERM" };
                on_termination(Termination { signal, count });
            }
        })?;
        Ok(SignalWatch { handle, thread: Some(thread) })
    }
}

/// The signals that this process handles or ignores: bit `n - 1` for signal `n`. None where the
/// system does not tell.
fn taken_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
    };
    mask("SigCgt:") | mask("SigIgn:")
}

impl Drop for SignalWatch {
    fn drop(&mut self) {
        self.handle.close();
        let Some(thread) = self.thread.take() else { return };
        // The callback itself may drop the watch; a thread does not wait for itself.
        if thread.thread().id() != std::thread::current().id() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Signal, getpid, kill_process};
    use std::sync::mpsc;
    use std::time::Duration;

    // One test, because signals belong to the whole process.
    #[test]
    fn each_wish_to_end_calls_back_until_the_watch_is_dropped() {
        let (sender, received) = mpsc::channel();
        assert_eq!(taken_signals() & (1 << (SIGTERM - 1)), 0);
        let watch = SignalWatch::start(move |wish| sender.send(wish).unwrap()).unwrap();
        let wait = Duration::from_secs(10);
        kill_process(getpid(), Signal::TERM).unwrap();
        let first = received.recv_timeout(wait).unwrap();
        assert_eq!(first, Termination { signal: "SIGTERM", count: 1 });
        kill_process(getpid(), Signal::INT).unwrap();
        let second = received.recv_timeout(wait).unwrap();
        assert_eq!(second, Termination { signal: "SIGINT", count: 2 });
        let second_watch = SignalWatch::start_unless_handled(|_| ()).unwrap();
        assert!(second_watch.is_none(), "somebody else handles them");
        drop(watch);
        assert_eq!(received.recv_timeout(wait), Err(mpsc::RecvTimeoutError::Disconnected));
    }
}
