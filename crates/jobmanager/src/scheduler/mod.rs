//! Decides when a job's subtasks are scheduled, deployed, cancelled and restarted.
//!
//! Events go in, [`Command`]s and changed states come out; the job master carries the commands out.
//! The scheduler knows nothing of messages, workers' addresses or physical slots: it asks for
//! *shared slots* (slot `i` of a slot sharing group) and is told which place each of them got.
//!
//! In reading order:
//! - [`options`]: what a job may configure, with Flink's keys;
//! - [`restart`], [`repeats`]: whether and when a failed job runs again;
//! - [`slot_sharing`]: which subtasks share a slot;
//! - `scheduling`: regions get their slots and go to work;
//! - `tasks`: what workers say of attempts;
//! - `results`: what nobody will read any more;
//! - `failover`, [`pending`]: what starts over after a failure, and when.
//!
//! The story of a failure: failed attempts become FAILED, the restart set is computed (the region,
//! producers of what cannot be read, all regions that read from these), the rest of the set is
//! cancelled, and a [`pending`] restart waits until all of the set is over *and* the backoff has
//! passed; then the set is reset and scheduled again. Cancelling and backoff overlap. Subtasks that
//! wait for their restart keep their share of a slot, so that a lost slot is replaced meanwhile.

pub mod options;
pub mod pending;
pub mod repeats;
pub mod restart;
pub mod slot_sharing;

mod check;
mod failover;
mod results;
mod scheduling;
mod tasks;

#[cfg(test)]
mod failover_test;
#[cfg(test)]
mod results_test;
#[cfg(test)]
mod scheduling_test;
#[cfg(test)]
mod testing;

pub use failover::{Casualties, Failure};
pub use tasks::Heard;

use crate::execution_graph::ExecutionGraph;
use crate::execution_graph::regions::RegionId;
use millstream_core::ids::{AllocationId, ExecutionAttemptId, ExecutionGraphId};
use millstream_core::job_graph::RuntimeMode;
use millstream_core::status::ExecutionState;
use millstream_core::time::{Mono, Timestamp};
use millstream_rpc::protocol::details::FailureDetails;
use options::{FailoverStrategy, Options};
use pending::PendingRestarts;
use repeats::RepeatedFailures;
use restart::RestartStrategy;
use slot_sharing::SharedSlots;
use std::collections::BTreeSet;

/// The time of an event: one clock to count with, one to show.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// For timeouts.
    pub now: Mono,
    /// For people.
    pub wall: Timestamp,
}

/// What the job master must do, in this order. A command names attempts: one that no longer counts
/// when its turn comes is left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Send these attempts to their places: a whole region, producers before consumers.
    Deploy(Vec<ExecutionAttemptId>),
    /// Ask the worker of this attempt to stop it.
    Cancel(ExecutionAttemptId),
    /// No subtask needs this slot any more.
    Free(AllocationId),
    /// Nobody will read any more what this attempt has produced for later.
    Release(ExecutionAttemptId),
}

/// Schedules one job.
#[derive(Debug)]
pub struct Scheduler {
    /// How all subtasks stand. Changed by this module only; others read it.
    graph: ExecutionGraph,
    /// Which slots are needed, and which place each has got.
    slots: SharedSlots,
    /// Regions that are scheduled and wait for slots.
    waiting: BTreeSet<RegionId>,
    /// What will start over, and when.
    restarts: PendingRestarts,
    /// Whether a failure is followed by a restart.
    strategy: RestartStrategy,
    /// Failures that come again and again.
    repeats: RepeatedFailures,
    /// What starts over with a failed region.
    failover: FailoverStrategy,
    /// The failure that ends the job, once there is one.
    doom: Option<FailureDetails>,
    /// Nothing is scheduled any more: the job is being cancelled or fails.
    stopping: bool,
    /// How often a restart was carried out.
    restart_count: u32,
    /// Orders deployments and failures: which attempts ran already when a failure was counted.
    order: u64,
    /// What the job master has still to do.
    commands: Vec<Command>,
}

impl Scheduler {
    /// Nothing is scheduled yet.
    pub fn new(graph: ExecutionGraph, options: Options) -> Self {
        Self {
            slots: SharedSlots::new(graph.graph()),
            graph,
            waiting: BTreeSet::new(),
            restarts: PendingRestarts::default(),
            strategy: options.restart,
            repeats: RepeatedFailures::new(options.repeat_limit),
            failover: options.failover,
            doom: None,
            stopping: false,
            restart_count: 0,
            order: 0,
            commands: Vec::new(),
        }
    }

    /// The job begins under this identity; nothing is scheduled yet.
    pub fn begin(&mut self, id: ExecutionGraphId, at: Moment) {
        self.graph.begin(id, at.wall);
    }

    /// How all subtasks stand.
    pub fn graph(&self) -> &ExecutionGraph {
        &self.graph
    }

    /// The graph, for what is not a decision: descriptors, counters, splits.
    pub fn graph_mut(&mut self) -> &mut ExecutionGraph {
        &mut self.graph
    }

    /// Which slots are needed, and which place each has got.
    pub fn slots(&self) -> &SharedSlots {
        &self.slots
    }

    /// What will start over, and when.
    pub fn restarts(&self) -> &PendingRestarts {
        &self.restarts
    }

    /// How a failure is answered, for people.
    pub fn strategy(&self) -> &RestartStrategy {
        &self.strategy
    }

    /// The failure that ends the job, once there is one.
    pub fn doom(&self) -> Option<&FailureDetails> {
        self.doom.as_ref()
    }

    /// How often a restart was carried out.
    pub fn restart_count(&self) -> u32 {
        self.restart_count
    }

    /// Nothing is scheduled any more.
    pub fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// All subtasks have done their work, and none has to do it again.
    pub fn is_finished(&self) -> bool {
        let mut states = self.graph.executions().map(|(_, e)| e.state());
        self.restarts.is_empty() && states.all(|state| state == ExecutionState::Finished)
    }

    /// No subtask is on a worker, or will be without a further decision.
    pub fn is_over(&self) -> bool {
        let mut states = self.graph.executions().map(|(_, e)| e.state());
        states.all(ExecutionState::is_terminal)
    }

    /// Takes what the job master must do.
    pub fn take_commands(&mut self) -> Vec<Command> {
        std::mem::take(&mut self.commands)
    }

    /// Whether the job master has something to do.
    pub fn has_commands(&self) -> bool {
        !self.commands.is_empty()
    }

    /// A checkpoint has completed: failures before it are no repetition of failures after it.
    pub fn on_checkpoint_completed(&mut self) {
        self.repeats.clear();
    }

    fn is_batch(&self) -> bool {
        self.graph.graph().mode == RuntimeMode::Batch
    }

    fn next_order(&mut self) -> u64 {
        self.order += 1;
        self.order
    }
}
