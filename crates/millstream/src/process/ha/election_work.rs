//! What the election wants done: the record is read and written on threads that may block, the
//! leader's process is looked for, and whoever makes and stops the parts of a leader is told.

use super::RECORD;
use super::handle::Waiting;
use crate::process::job_manager::FatalSink;
use millstream_checkpoint::pointer::{ConditionalStore, Put};
use millstream_checkpoint::storage::StorageError;
use millstream_core::ids::ResourceId;
use millstream_jobmanager::ha::{Grant, HaDone, HaOp, LeaderElection, Presence};
use millstream_rpc::machine::OpId;
use millstream_rpc::shell::{EndpointHandle, Performer, Probe, RpcSystem};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;

/// How long a process may take to greet.
const PROBE_PATIENCE: Duration = Duration::from_secs(2);

/// What is to become of the parts of a leader. At most two wait: a grant and its end.
#[derive(Debug)]
pub enum Order {
    /// Make them.
    Lead(Box<Grant>),
    /// Stop them.
    Stop {
        /// How the end will be called.
        op: OpId,
        /// Why.
        reason: String,
        /// There is time to suspend jobs in good order.
        orderly: bool,
    },
}

/// The performer of the election.
pub struct ElectionWork {
    /// Where the record is.
    pub store: Arc<dyn ConditionalStore>,
    /// What is wrong with that.
    pub troubles: Troubles,
    /// Who waits for which change.
    pub waiting: Waiting,
    /// Who makes and stops the parts of a leader.
    pub orders: UnboundedSender<Order>,
    /// For looking whether a process is there.
    pub rpc: RpcSystem,
    /// Ends the process.
    pub fatal: FatalSink,
}

/// Tells people why the record cannot be read or written: once, until it can be again. The election
/// itself tries again, and gives up when its lease is over.
#[derive(Clone, Default)]
pub struct Troubles(Arc<AtomicBool>);

impl Troubles {
    fn note(&self, error: Option<&StorageError>) {
        let were_told = self.0.swap(error.is_some(), Ordering::Relaxed);
        match error {
            Some(error) if !were_told => {
                eprintln!("JobManager: high availability: {error}; it is tried again");
            }
            None if were_told => {
                eprintln!("JobManager: high availability: the record can be used again");
            }
            _ => (),
        }
    }
}

impl Performer<LeaderElection> for ElectionWork {
    fn perform(&mut self, op: OpId, what: HaOp, endpoint: &EndpointHandle<LeaderElection>) {
        let endpoint = endpoint.clone();
        match what {
            HaOp::Read => {
                let (store, troubles) = (self.store.clone(), self.troubles.clone());
                tokio::task::spawn_blocking(move || {
                    let read = store.read(RECORD);
                    troubles.note(read.as_ref().err());
                    endpoint.done(op, HaDone::Read(read));
                });
            }
            HaOp::Put { bytes, expected } => {
                let (store, troubles) = (self.store.clone(), self.troubles.clone());
                tokio::task::spawn_blocking(move || {
                    let put = store.put_if(RECORD, &bytes, expected.as_ref());
                    troubles.note(match &put {
                        Put::Failed(error) | Put::Unknown(error) => Some(error),
                        Put::Written(_) | Put::Conflict => None,
                    });
                    endpoint.done(op, HaDone::Put(put));
                });
            }
            HaOp::Probe { rpc, process } => {
                let system = self.rpc.clone();
                tokio::spawn(async move {
                    let probe = system.probe(&rpc, PROBE_PATIENCE).await;
                    endpoint.done(op, HaDone::Probed(presence(probe, &process)));
                });
            }
            HaOp::Lead(grant) => drop(self.orders.send(Order::Lead(grant))),
            HaOp::StopLeading { reason, orderly, .. } => {
                drop(self.orders.send(Order::Stop { op, reason, orderly }));
            }
            HaOp::TellChange { change, end } => self.waiting.ended(change, end),
        }
    }

    fn fatal(&mut self, reason: String) {
        (self.fatal)(reason);
    }
}

/// This process, as the record names it.
pub fn process_name(rpc: &RpcSystem) -> ResourceId {
    ResourceId(format!("{}-{:032x}", rpc.process(), rpc.instance()))
}

fn presence(probe: Probe, process: &ResourceId) -> Presence {
    match probe {
        Probe::Instance(instance) if process.0.ends_with(&format!("-{instance:032x}")) => {
            Presence::There
        }
        Probe::Instance(_) | Probe::Refused => Presence::Gone,
        Probe::Silent => Presence::Silent,
    }
}
