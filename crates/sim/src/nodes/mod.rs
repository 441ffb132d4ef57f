//! The processes of a simulated cluster: what each shell does around its machines.
//!
//! In reading order: [`task_manager`], with its [`job_process`]es; [`job_manager`]; [`client`].

pub mod client;
pub mod job_manager;
pub mod job_process;
pub mod task_manager;

use crate::host::{Env, HostId, Out};
use client::Client;
use job_manager::JobManager;
use millstream_core::ids::FencingToken;
use millstream_rpc::machine::{AskId, ReplyTo};
use millstream_rpc::protocol::{Answer, AskError, EndpointName, Message};
use task_manager::TaskManager;

/// A process.
#[derive(Debug)]
pub enum Node {
    /// Dispatcher, resource manager and job masters.
    JobManager(Box<JobManager>),
    /// A task executor and its job processes.
    TaskManager(Box<TaskManager>),
    /// Somebody who submits jobs.
    Client(Box<Client>),
}

/// What a process has to handle.
#[derive(Debug)]
pub enum NodeInput {
    /// It begins.
    Start,
    /// It is asked to end.
    Stop,
    /// A message for one of its endpoints.
    Message {
        /// Which.
        to: EndpointName,
        /// Who leads there, as the sender believes.
        token: Option<FencingToken>,
        /// What.
        message: Message,
        /// Where the answer goes.
        reply: Option<ReplyTo>,
    },
    /// An ask of one of its machines has ended.
    Answered {
        /// Whose.
        host: HostId,
        /// Which.
        ask: AskId,
        /// How.
        result: Result<Answer, AskError>,
    },
    /// A timer of one of its machines is due.
    Timer {
        /// Whose.
        host: HostId,
        /// Which.
        key: u64,
    },
    /// Something that the process itself had arranged.
    Later(Later),
    /// A peer is lost.
    PeerLost {
        /// Its name.
        process: String,
        /// Why.
        reason: String,
    },
    /// One of its job processes crashes.
    CrashChild,
}

/// Something that a process has arranged for itself.
#[derive(Debug)]
pub enum Later {
    /// Of a job process.
    Child(job_process::Event),
    /// Of a JobManager.
    Master(job_manager::Event),
    /// Somewhere an attempt has finished.
    Wake,
    /// The process looks who leads now (as a leader retrieval service tells it).
    Leader,
    /// Of a client.
    Client(client::Event),
}

impl Node {
    /// Handles one thing.
    pub fn handle(&mut self, env: &mut Env<'_>, input: NodeInput) {
        match self {
            Node::JobManager(node) => node.handle(env, input),
            Node::TaskManager(node) => node.handle(env, input),
            Node::Client(node) => node.handle(env, input),
        }
    }

    /// As a TaskManager.
    pub fn as_task_manager(&self) -> Option<&TaskManager> {
        match self {
            Node::TaskManager(node) => Some(node),
            _ => None,
        }
    }

    /// As a JobManager.
    pub fn as_job_manager(&self) -> Option<&JobManager> {
        match self {
            Node::JobManager(node) => Some(node),
            _ => None,
        }
    }

    /// As a client.
    pub fn as_client(&self) -> Option<&Client> {
        match self {
            Node::Client(node) => Some(node),
            _ => None,
        }
    }
}

/// Whoever asked for an endpoint that is not here learns it.
fn no_endpoint(env: &mut Env<'_>, reply: Option<ReplyTo>) {
    if let Some(reply) = reply {
        env.out.push(Out::NoEndpoint(reply.correlation, reply.process));
    }
}
