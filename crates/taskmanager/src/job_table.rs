//! The jobs that have something on this worker: their master, their child, their tasks. Plain data
//! with small decisions; what is done about it stands in [`task_executor`](crate::task_executor).
//!
//! A job is here from the first slot that is held for it until it has neither slots nor tasks here
//! and its child has ended. Its [`MasterLink`] goes earlier: with the last slot and the last task
//! whose end was told.

use crate::child::Child;
use crate::config::{ChildConfig, Leader};
use millstream_core::ids::{
    AllocationId, ExecutionAttemptId, ExecutionGraphId, JobId, JobVertexId, ResourceId,
};
use millstream_core::status::ExecutionState;
use millstream_core::time::Mono;
use millstream_rpc::machine::AskId;
use millstream_rpc::protocol::deployment::TaskDeploymentDescriptor;
use millstream_rpc::protocol::job_master::{TaskExecutionState, TaskFailure, TaskMetrics};
use millstream_rpc::registration::{Registration, RegistrationConfig};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// All jobs that have something here.
pub type JobTable = BTreeMap<JobId, Job>;

/// A job that has something here.
#[derive(Debug)]
pub struct Job {
    /// The connection to its master, or the endeavour to have one; gone when nothing is left that
    /// the master would want to know.
    pub link: Option<MasterLink>,
    /// Its process.
    pub child: Child,
    /// Attempts that live here, and those whose end its master has not confirmed yet.
    pub tasks: BTreeMap<ExecutionAttemptId, Task>,
    /// The newest attempt that was ever submitted for each subtask. A submission may arrive twice,
    /// even after its attempt has ended: attempts only grow.
    pub newest: BTreeMap<(ExecutionGraphId, JobVertexId, u32), u32>,
    /// Active slots that its master's last heartbeat did not list.
    pub unlisted: BTreeSet<AllocationId>,
    /// `task.cancellation.timeout` of this job, from its last submission; 0: never.
    pub cancellation_timeout_ms: u64,
}

/// The connection to a job master.
#[derive(Debug)]
pub struct MasterLink {
    /// Names this connection: what is asked over an earlier one does not count any more.
    pub session: u64,
    /// Where the master is, and its term as far as we know.
    pub leader: Leader,
    /// How we become known to it.
    pub registration: Registration,
    /// Its process: we are registered.
    pub master: Option<ResourceId>,
    /// The newest offer of slots, as long as it has no answer. Only this one's answer counts.
    pub offer: Option<u64>,
}

/// An execution attempt on this worker.
#[derive(Debug)]
pub struct Task {
    /// The slot it lives in.
    pub allocation: AllocationId,
    /// Its vertex's name and its subtask, `map -> sink (2/4)`.
    pub name: String,
    /// The incarnation of the child that runs it, or will.
    pub incarnation: u64,
    /// As its child told last. DEPLOYING until then.
    pub state: ExecutionState,
    /// What it was told to do.
    pub ending: Ending,
    /// When its process is killed if it has not ended by then.
    pub kill_at: Option<Mono>,
    /// Its counters, as its child told last.
    pub metrics: TaskMetrics,
    /// What its master must still be told, oldest first: one at a time, so that a repeated message
    /// never overtakes a newer one. At most one entry per state.
    pub outbox: VecDeque<TaskExecutionState>,
    /// The ask that carries the outbox's first entry, if one is on its way.
    pub telling: Option<AskId>,
    /// Its master does not know it: nothing more is told.
    pub disowned: bool,
    /// Its wish for input.
    pub split: SplitRequest,
}

/// Whether an attempt was told to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It may go on.
    No,
    /// Its master wants it to stop: it will be CANCELED.
    Canceling,
    /// It cannot stay here: it will be FAILED, for this reason.
    Failing(TaskFailure),
}

/// How an attempt's wish for a split stands. One ask at a time; more wishes are counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SplitRequest {
    /// The ask that is on its way.
    pub asked: Option<AskId>,
    /// Wishes of the source's vertex that wait for their turn.
    pub waiting: u32,
    /// The vertex that was named.
    pub vertex: JobVertexId,
}

impl Job {
    /// A job that has nothing here yet.
    pub fn new(child: ChildConfig, resource: ResourceId, cancellation_timeout_ms: u64) -> Self {
        Self {
            link: None,
            child: Child::new(child, resource),
            tasks: BTreeMap::new(),
            newest: BTreeMap::new(),
            unlisted: BTreeSet::new(),
            cancellation_timeout_ms,
        }
    }

    /// The master, if we are registered there.
    pub fn connected(&self) -> Option<&MasterLink> {
        self.link.as_ref().filter(|link| link.master.is_some())
    }

    /// Attempts that have not ended.
    pub fn live_tasks(&self) -> impl Iterator<Item = (&ExecutionAttemptId, &Task)> {
        self.tasks.iter().filter(|(_, task)| task.is_live())
    }

    /// Whether the attempt was submitted before, or a newer one of the same subtask was.
    pub fn is_outdated(&self, attempt: &ExecutionAttemptId) -> bool {
        let newest = self.newest.get(&subtask_of(attempt));
        newest.is_some_and(|newest| attempt.attempt <= *newest)
    }

    /// Adds an attempt.
    pub fn add(&mut self, descriptor: &TaskDeploymentDescriptor, incarnation: u64) {
        let attempt = descriptor.attempt;
        self.newest.insert(subtask_of(&attempt), attempt.attempt);
        self.tasks.insert(attempt, Task::new(descriptor, incarnation));
    }
}

fn subtask_of(attempt: &ExecutionAttemptId) -> (ExecutionGraphId, JobVertexId, u32) {
    (attempt.graph, attempt.vertex, attempt.subtask)
}

impl MasterLink {
    /// Nothing has been said yet.
    pub fn new(session: u64, leader: Leader, registration: RegistrationConfig) -> Self {
        Self {
            session,
            leader,
            registration: Registration::new(registration),
            master: None,
            offer: None,
        }
    }
}

impl Task {
    fn new(descriptor: &TaskDeploymentDescriptor, incarnation: u64) -> Self {
        let subtask = descriptor.attempt.subtask + 1;
        Self {
            allocation: descriptor.allocation,
            name: format!("{} ({subtask}/{})", descriptor.task_name, descriptor.parallelism),
            incarnation,
            state: ExecutionState::Deploying,
            ending: Ending::No,
            kill_at: None,
            metrics: TaskMetrics::default(),
            outbox: VecDeque::new(),
            telling: None,
            disowned: false,
            split: SplitRequest::default(),
        }
    }

    /// It has not ended.
    pub fn is_live(&self) -> bool {
        !self.state.is_terminal()
    }

    /// Whether it was told to end.
    pub fn is_ending(&self) -> bool {
        self.ending != Ending::No
    }

    /// It has ended and nobody must be told any more.
    pub fn is_settled(&self) -> bool {
        !self.is_live() && self.outbox.is_empty() && self.telling.is_none()
    }

    /// Moves on, and notes what the master must be told. False: no legal move, nothing changed.
    pub fn enter(&mut self, attempt: ExecutionAttemptId, update: TaskExecutionState) -> bool {
        let canceling_twice = update.state == ExecutionState::Canceling;
        if !self.state.may_become(update.state) || canceling_twice && !self.is_ending() {
            return false;
        }
        self.state = update.state;
        self.metrics = update.metrics.clone();
        // CANCELING is the master's own word for what it asked us; it is not told back.
        if !self.disowned && update.state != ExecutionState::Canceling {
            self.outbox.push_back(TaskExecutionState { attempt, ..update });
        }
        true
    }
}
