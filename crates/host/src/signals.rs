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
        mut on_termination: impl FnMut(Termination) + Send + 'static,
    ) -> io::Result<SignalWatch> {
        let mut signals = Signals::new([SIGTERM, SIGINT])?;
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
        let watch = SignalWatch::start(move |wish| sender.send(wish).unwrap()).unwrap();
        let wait = Duration::from_secs(10);
        kill_process(getpid(), Signal::TERM).unwrap();
        let first = received.recv_timeout(wait).unwrap();
        assert_eq!(first, Termination { signal: "SIGTERM", count: 1 });
        kill_process(getpid(), Signal::INT).unwrap();
        let second = received.recv_timeout(wait).unwrap();
        assert_eq!(second, Termination { signal: "SIGINT", count: 2 });
        drop(watch);
        assert_eq!(received.recv_timeout(wait), Err(mpsc::RecvTimeoutError::Disconnected));
    }
}
