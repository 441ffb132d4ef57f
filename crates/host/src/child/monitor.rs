//! The thread that stands by one child: moves its output, sees its death, buries it, tells.

use super::death::DeathWatch;
use super::exit::{ExitReport, ExitStatus};
use super::launch::OwnDirectory;
use super::output::Output;
use super::process::ChildProcess;
use super::supervisor::{OnExit, Registry, Serial};
use crate::memory;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::sync::Arc;

/// All that belongs to a running child on our side.
pub(super) struct Monitor {
    pub(super) process: ChildProcess,
    pub(super) death: DeathWatch,
    pub(super) output: Output,
    /// Removed when the child has ended.
    pub(super) directory: OwnDirectory,
    /// Where the child is listed until it has been reaped.
    pub(super) registry: Arc<Registry>,
    pub(super) serial: Serial,
    /// The machine's count of out-of-memory kills when the child was started.
    pub(super) kills_before: Option<u64>,
    pub(super) on_exit: OnExit,
}

impl Monitor {
    /// Runs until the child has ended.
    pub(super) fn run(mut self) {
        self.pump_until_death();
        self.process.end_group();
        self.output.drain();
        let reaped = self.process.reap();
        let is_unasked_kill =
            !reaped.kill_requested && matches!(reaped.status, ExitStatus::Signal { number: 9, .. });
        let kills = memory::out_of_memory_kills().zip(self.kills_before);
        let machine_out_of_memory = kills.is_some_and(|(now, before)| before < now);
        let report = ExitReport {
            pid: self.process.pid(),
            status: reaped.status,
            core_dumped: reaped.core_dumped,
            kill_requested: reaped.kill_requested,
            out_of_memory: is_unasked_kill && (reaped.group_out_of_memory || machine_out_of_memory),
            last_lines: self.output.last_lines(),
            output_bytes_lost: self.output.bytes_lost(),
        };
        // Everything of the child is gone before anybody hears of it.
        drop((self.output, self.death, self.directory));
        self.registry.remove(self.serial);
        (self.on_exit)(report);
    }

    fn pump_until_death(&mut self) {
        loop {
            let mut fds = vec![PollFd::new(&self.death, PollFlags::IN)];
            fds.extend(self.output.pipes().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
            match poll(&mut fds, None) {
                Ok(_) if !fds[0].revents().is_empty() => return,
                Ok(_) => (),
                Err(Errno::INTR | Errno::AGAIN | Errno::NOMEM) => continue,
                Err(error) => unreachable!("poll on open descriptors failed: {error}"),
            }
            self.output.pump();
        }
    }
}
