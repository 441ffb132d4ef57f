//! The work that the shell does for a task executor, and what comes of it.
//!
//! Two kinds of work. [`Op::StartChild`], [`Op::KillChild`] and [`Op::ReadLog`] carry an id and end
//! with exactly one [`Done`]. [`Op::SendToChild`], [`Op::ReleasePartitions`] and [`Op::ReleaseJob`] carry
//! [`NO_ANSWER`] and have no end of their own: a child that cannot be written to is told as [`ChildEvent::LinkLost`].
//!
//! What nobody asked for (a child speaks, a child ends, another resource manager leads) also comes
//! in as `Done`, under [`UNSOLICITED`]; it names its child by job and incarnation.

use millstream_core::ids::{JobId, PartitionId};
use millstream_rpc::machine::OpId;
use millstream_rpc::protocol::job_link::{FromJobProcess, JobInformation, ToJobProcess};
use std::fmt;

use crate::config::Leader;

/// The id of work that has no end of its own.
pub const NO_ANSWER: OpId = OpId(0);

/// The id of events that nobody asked for.
pub const UNSOLICITED: OpId = OpId(0);

/// What a task executor has done by the shell.
#[derive(Debug)]
pub enum Op {
    /// Fetch the program, start it as a process (in a directory and a process group of its own)
    /// and open its control link. Ends with [`Done::Started`] once the process runs. Embedded: make
    /// a task host in this process. Everything the child says, beginning with `Hello`, comes as
    /// [`Done::Child`], in order, after `Started`.
    StartChild {
        /// Whose.
        job: JobId,
        /// Which start of it.
        incarnation: u64,
        /// Names the program, its arguments and its environment.
        information: Box<JobInformation>,
    },
    /// Write to the child's control link, in the order of the effects. No end.
    SendToChild {
        /// Whose.
        job: JobId,
        /// Which start of it. The shell drops what is for another one.
        incarnation: u64,
        /// What.
        message: ToJobProcess,
    },
    /// Kill the child's process group, also if it is only being started. Ends with
    /// [`Done::Killed`] when the signal is sent; the end of the process comes as
    /// [`ChildEvent::Exited`]. Embedded: cannot be done, and `Killed` says so.
    KillChild {
        /// Whose.
        job: JobId,
        /// Which start of it.
        incarnation: u64,
        /// For the log.
        reason: String,
    },
    /// Read the end of a log. Ends with [`Done::Log`].
    ReadLog {
        /// The output of this job's children; nothing: the worker's own log.
        job: Option<JobId>,
        /// At most so many bytes.
        bytes_max: u32,
    },
    /// Nobody will read these partitions of blocking exchanges any more: delete them. Readers that are not
    /// at their end read on. No end.
    ReleasePartitions {
        /// Whose.
        job: JobId,
        /// Which.
        partitions: Vec<PartitionId>,
    },
    /// The job has nothing here any more: give back its lease on the program, its directories, its
    /// place in the data port's table. Its log is kept. No end.
    ReleaseJob {
        /// Which.
        job: JobId,
    },
}

/// What came of an [`Op`], or what happened by itself.
#[derive(Debug)]
pub enum Done {
    /// Of [`Op::StartChild`].
    Started(Result<(), StartFailure>),
    /// Of [`Op::KillChild`]. An error: it cannot be killed (embedded), and why.
    Killed(Result<(), String>),
    /// Of [`Op::ReadLog`].
    Log(Result<String, String>),
    /// By itself: something happened to a child.
    Child {
        /// Whose.
        job: JobId,
        /// Which start of it.
        incarnation: u64,
        /// What.
        event: ChildEvent,
    },
    /// By itself: this is the resource manager now; nothing: there is none at the moment.
    ResourceManagerLeader(Option<Leader>),
}

/// Why a child could not be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartFailure {
    /// The whole story.
    pub message: String,
    /// Another attempt cannot succeed: the program is for another machine, is no program at all.
    pub permanent: bool,
}

/// What can happen to a child.
#[derive(Debug)]
pub enum ChildEvent {
    /// It says something.
    Message(FromJobProcess),
    /// Its control link broke or carries nonsense, while its process may still run.
    LinkLost {
        /// What was wrong.
        reason: String,
    },
    /// So many bytes of memory are its own now. Told when that has changed notably.
    Memory {
        /// Resident and not shared with others.
        bytes: u64,
    },
    /// Its process has ended; nothing follows.
    Exited(ChildExit),
}

/// How a child ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildExit {
    /// The status that the kernel gave.
    pub status: ExitStatus,
    /// The last lines of its output.
    pub last_lines: String,
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// By itself, with this code.
    Code(i32),
    /// By a signal, `SIGSEGV`.
    Signal(String),
    /// Nobody knows: its status was lost.
    Unknown(String),
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExitStatus::Code(code) => write!(f, "ended with exit code {code}"),
            ExitStatus::Signal(name) => write!(f, "was killed by {name}"),
            ExitStatus::Unknown(reason) => write!(f, "ended in an unknown way ({reason})"),
        }
    }
}
