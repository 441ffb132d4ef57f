//! How a child ended.

use rustix::process::{Signal, WaitIdStatus};
use std::fmt;

/// How a child ended, and its last words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExitReport {
    /// Its number.
    pub pid: u32,
    /// What the kernel says.
    pub status: ExitStatus,
    /// It left a core dump, or the kernel tried to.
    pub core_dumped: bool,
    /// We killed it, with `kill_group` or by dropping the supervisor.
    pub kill_requested: bool,
    /// The kernel killed a process of its control group, or of the machine, for want of memory while
    /// it ran, and it ended by a SIGKILL that we did not ask for.
    pub out_of_memory: bool,
    /// The end of its output: at most 20 lines and 4 KiB, standard error before standard output
    /// where there is not room for both.
    pub last_lines: Vec<String>,
    /// Output that could not be written to its log files.
    pub output_bytes_lost: u64,
}

/// What the kernel says about the end of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// It ended by itself, with this code.
    Code(i32),
    /// A signal ended it.
    Signal {
        /// 11.
        number: i32,
        /// `SIGSEGV`.
        name: String,
    },
    /// Nobody knows.
    Unknown(
        /// Why.
        String,
    ),
}

impl ExitReport {
    /// Whether it ended by itself and without an error.
    pub fn is_success(&self) -> bool {
        self.status == ExitStatus::Code(0)
    }
}

impl fmt::Display for ExitReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} {}", self.pid, self.status)?;
        if self.core_dumped {
            f.write_str(" and left a core dump")?;
        }
        if self.kill_requested {
            f.write_str(", as it was asked to")?;
        }
        if self.out_of_memory {
            f.write_str(", while the kernel ran out of memory")?;
        }
        if !self.last_lines.is_empty() {
            write!(f, "; its last lines:\n  {}", self.last_lines.join("\n  "))?;
        }
        Ok(())
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExitStatus::Code(code) => write!(f, "ended with exit code {code}"),
            ExitStatus::Signal { number, name } => {
                write!(f, "was killed by {name} (signal {number})")
            }
            ExitStatus::Unknown(reason) => write!(f, "ended in an unknown way ({reason})"),
        }
    }
}

impl ExitStatus {
    pub(super) fn from_wait(status: &WaitIdStatus) -> Self {
        if let Some(code) = status.exit_status() {
            return ExitStatus::Code(code);
        }
        match status.terminating_signal() {
            Some(number) => ExitStatus::Signal { number, name: signal_name(number) },
            None => ExitStatus::Unknown(format!("wait code {}", status.raw_code())),
        }
    }
}

/// `SIGSEGV` for 11.
pub fn signal_name(number: i32) -> String {
    const NAMES: [(Signal, &str); 28] = [
        (Signal::HUP, "SIGHUP"),
        (Signal::INT, "SIGINT"),
        (Signal::QUIT, "SIGQUIT"),
        (Signal::ILL, "SIGILL"),
        (Signal::TRAP, "SIGTRAP"),
        (Signal::ABORT, "SIGABRT"),
        (Signal::BUS, "SIGBUS"),
        (Signal::FPE, "SIGFPE"),
        (Signal::KILL, "SIGKILL"),
        (Signal::USR1, "SIGUSR1"),
        (Signal::SEGV, "SIGSEGV"),
        (Signal::USR2, "SIGUSR2"),
        (Signal::PIPE, "SIGPIPE"),
        (Signal::ALARM, "SIGALRM"),
        (Signal::TERM, "SIGTERM"),
        (Signal::CHILD, "SIGCHLD"),
        (Signal::CONT, "SIGCONT"),
        (Signal::STOP, "SIGSTOP"),
        (Signal::TSTP, "SIGTSTP"),
        (Signal::TTIN, "SIGTTIN"),
        (Signal::TTOU, "SIGTTOU"),
        (Signal::URG, "SIGURG"),
        (Signal::XCPU, "SIGXCPU"),
        (Signal::XFSZ, "SIGXFSZ"),
        (Signal::VTALARM, "SIGVTALRM"),
        (Signal::PROF, "SIGPROF"),
        (Signal::WINCH, "SIGWINCH"),
        (Signal::SYS, "SIGSYS"),
    ];
    let known = NAMES.iter().find(|(signal, _)| signal.as_raw() == number);
    known.map_or_else(|| format!("signal {number}"), |(_, name)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(status: ExitStatus) -> ExitReport {
        ExitReport {
            pid: 7,
            status,
            core_dumped: false,
            kill_requested: false,
            out_of_memory: false,
            last_lines: Vec::new(),
            output_bytes_lost: 0,
        }
    }

    #[test]
    fn signals_are_called_by_their_names() {
        assert_eq!(signal_name(9), "SIGKILL");
        assert_eq!(signal_name(11), "SIGSEGV");
        assert_eq!(signal_name(6), "SIGABRT");
        assert_eq!(signal_name(35), "signal 35");
    }

    #[test]
    fn a_report_reads_as_a_sentence() {
        let signal = ExitStatus::Signal { number: 9, name: "SIGKILL".to_owned() };
        let mut killed = report(signal);
        killed.out_of_memory = true;
        killed.last_lines = vec!["one".to_owned(), "two".to_owned()];
        assert_eq!(
            killed.to_string(),
            "process 7 was killed by SIGKILL (signal 9), while the kernel ran out of memory; its \
             last lines:\n  one\n  two"
        );
        assert_eq!(report(ExitStatus::Code(3)).to_string(), "process 7 ended with exit code 3");
        assert!(report(ExitStatus::Code(0)).is_success());
    }
}
