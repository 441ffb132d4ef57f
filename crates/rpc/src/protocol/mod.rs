//! What endpoints say to each other: pure data, one file per endpoint that is spoken to.
//!
//! A message either wants an answer (an *ask*) or not (a *tell*); each enum says which. Every
//! message to a fenced endpoint (dispatcher, resource manager, job master) travels with the fencing
//! token that its sender believes in; the task executor checks the ids inside its messages itself.
//!
//! In reading order: [`resource`], [`deployment`], [`task_executor`], [`resource_manager`],
//! [`job_master`], [`dispatcher`], [`details`] (what people may ask), [`job_link`] (the
//! conversation with a job process, versioned on its own).

pub mod deployment;
pub mod details;
pub mod dispatcher;
pub mod job_link;
pub mod job_master;
pub mod resource;
pub mod resource_manager;
pub mod task_executor;

use millstream_core::ids::{FencingToken, JobId};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The version of everything in here but [`job_link`]: JobManager and TaskManager must have the same.
pub const PROTOCOL_VERSION: u32 = 1;

/// Where an endpoint can be reached.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Address {
    /// `host:port` of the process that serves it.
    pub process: String,
    /// Which endpoint of that process.
    pub endpoint: EndpointName,
}

/// Which endpoint of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum EndpointName {
    /// The dispatcher.
    Dispatcher,
    /// The resource manager.
    ResourceManager,
    /// The job master of a job.
    JobMaster(JobId),
    /// The task executor.
    TaskExecutor,
    /// The process's part in the election of a leader. Nobody speaks to it; it hears of lost
    /// processes.
    LeaderElection,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.endpoint {
            EndpointName::Dispatcher => write!(f, "dispatcher@{}", self.process),
            EndpointName::ResourceManager => write!(f, "resourcemanager@{}", self.process),
            EndpointName::JobMaster(job) => write!(f, "jobmaster_{job}@{}", self.process),
            EndpointName::TaskExecutor => write!(f, "taskexecutor@{}", self.process),
            EndpointName::LeaderElection => write!(f, "leaderelection@{}", self.process),
        }
    }
}

/// A message to one of the endpoints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Message {
    /// To the dispatcher.
    Dispatcher(dispatcher::ToDispatcher),
    /// To the resource manager.
    ResourceManager(resource_manager::ToResourceManager),
    /// To a job master.
    JobMaster(job_master::ToJobMaster),
    /// To a task executor.
    TaskExecutor(task_executor::ToTaskExecutor),
}

/// The answer to an ask.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    /// Done as asked.
    Ack,
    /// Not done, and why.
    Refused(Refusal),
    /// Of the dispatcher.
    Dispatcher(dispatcher::DispatcherAnswer),
    /// Of the resource manager.
    ResourceManager(resource_manager::ResourceManagerAnswer),
    /// Of a job master.
    JobMaster(job_master::JobMasterAnswer),
    /// Of a task executor.
    TaskExecutor(task_executor::TaskExecutorAnswer),
}

/// Why an endpoint did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The sender believes in another leader.
    #[error("fenced: the receiver's token is {expected:?}, the message carries {found:?}")]
    Fenced {
        /// The receiver's token, if it leads.
        expected: Option<FencingToken>,
        /// The sender's.
        found: Option<FencingToken>,
    },
    /// The receiver does not know who or what is meant.
    #[error("unknown {0}")]
    Unknown(String),
    /// The receiver is not ready for it; the same ask may succeed later.
    #[error("not ready: {0}")]
    NotReady(String),
    /// The ask makes no sense to the receiver; repeating it is useless.
    #[error("{0}")]
    Invalid(String),
}

/// Why an ask brought no answer of the receiver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum AskError {
    /// Nothing came back in time. Whether the ask was carried out is unknown.
    #[error("no answer from {to} within {timeout_ms} ms")]
    Timeout {
        /// Who was asked.
        to: String,
        /// How long the asker waited.
        timeout_ms: u64,
    },
    /// Nobody is there: connection refused, reset, or no such endpoint.
    #[error("{to} cannot be reached: {reason}")]
    Unreachable {
        /// Who was asked.
        to: String,
        /// What the connection said.
        reason: String,
    },
    /// Something came back that is not an answer to this ask.
    #[error("{to} answered with something unreadable: {reason}")]
    Unreadable {
        /// Who was asked.
        to: String,
        /// What was wrong with it.
        reason: String,
    },
}
