//! Life cycles of jobs and of execution attempts, with every legal move.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Where a job stands. The names are those of REST and CLI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum JobStatus {
    /// Accepted; its JobMaster is being made.
    Initializing,
    /// Its execution graph exists; nothing is scheduled yet.
    Created,
    /// Scheduled; tasks are waiting for slots or run.
    Running,
    /// An error that cannot be retried: tasks are being cancelled.
    Failing,
    /// Ended with an error.
    Failed,
    /// A user asked for the end: tasks are being cancelled.
    Cancelling,
    /// Ended because a user asked for it.
    Canceled,
    /// Ended because all tasks did their work.
    Finished,
    /// Between two attempts after a failure.
    Restarting,
    /// This JobMaster lost leadership; the job may go on elsewhere.
    Suspended,
    /// Reserved for adoption of running tasks by a new JobMaster.
    Reconciling,
}

impl JobStatus {
    /// No leader will ever run the job again.
    pub fn is_globally_terminal(self) -> bool {
        matches!(self, Self::Failed | Self::Canceled | Self::Finished)
    }

    /// Every status, in the order of REST's counters.
    pub const ALL: [JobStatus; 11] = [
        Self::Initializing,
        Self::Created,
        Self::Running,
        Self::Failing,
        Self::Failed,
        Self::Cancelling,
        Self::Canceled,
        Self::Finished,
        Self::Restarting,
        Self::Suspended,
        Self::Reconciling,
    ];
}

impl fmt::Display for JobStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Initializing => "INITIALIZING",
            Self::Created => "CREATED",
            Self::Running => "RUNNING",
            Self::Failing => "FAILING",
            Self::Failed => "FAILED",
            Self::Cancelling => "CANCELLING",
            Self::Canceled => "CANCELED",
            Self::Finished => "FINISHED",
            Self::Restarting => "RESTARTING",
            Self::Suspended => "SUSPENDED",
            Self::Reconciling => "RECONCILING",
        })
    }
}

/// Where an execution attempt stands. `Scheduled` exists at the JobMaster only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ExecutionState {
    /// Known, nothing asked for yet.
    Created,
    /// Waiting for a slot.
    Scheduled,
    /// Sent to its worker.
    Deploying,
    /// Operators are being built and restored.
    Initializing,
    /// Processing.
    Running,
    /// All its work is done.
    Finished,
    /// Asked to stop, not yet stopped.
    Canceling,
    /// Stopped because it was asked to.
    Canceled,
    /// Stopped by an error.
    Failed,
}

impl ExecutionState {
    /// Every legal move; whoever holds the state asserts it at the one place where it changes.
    pub fn may_become(self, next: Self) -> bool {
        use ExecutionState::*;
        match self {
            Created => matches!(next, Scheduled | Deploying | Canceled | Failed),
            Scheduled => matches!(next, Deploying | Canceled | Failed),
            Deploying => matches!(next, Initializing | Canceling | Canceled | Failed),
            Initializing => matches!(next, Running | Canceling | Canceled | Failed),
            Running => matches!(next, Finished | Canceling | Canceled | Failed),
            Canceling => matches!(next, Canceled | Failed | Finished),
            Finished | Canceled | Failed => false,
        }
    }

    /// The attempt is over.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Finished | Self::Canceled | Self::Failed)
    }

    /// Every state, in the order of REST's counters.
    pub const ALL: [ExecutionState; 9] = [
        Self::Created,
        Self::Scheduled,
        Self::Deploying,
        Self::Initializing,
        Self::Running,
        Self::Finished,
        Self::Canceling,
        Self::Canceled,
        Self::Failed,
    ];
}

impl fmt::Display for ExecutionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Created => "CREATED",
            Self::Scheduled => "SCHEDULED",
            Self::Deploying => "DEPLOYING",
            Self::Initializing => "INITIALIZING",
            Self::Running => "RUNNING",
            Self::Finished => "FINISHED",
            Self::Canceling => "CANCELING",
            Self::Canceled => "CANCELED",
            Self::Failed => "FAILED",
        })
    }
}
