//! A job on its way, and every move it may make.

use super::work::Work;
use crate::ha::ResultRecord;
use millstream_core::ids::{FencingToken, JobId};
use millstream_core::job_graph::JobGraph;
use millstream_core::status::JobStatus;
use millstream_core::time::{Mono, Timestamp};
use millstream_rpc::machine::{AskId, ReplyTo};
use millstream_rpc::protocol::details::{ExecutionGraphDetails, JobSummary, VertexDetails};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// A job that has not ended, as far as anyone outside has been told.
#[derive(Debug)]
pub(super) struct Job {
    /// What was submitted; shared with the operations.
    pub(super) graph: Arc<JobGraph>,
    /// The term of its job master; every message to it carries it.
    pub(super) token: FencingToken,
    /// Where it is; changed by `Job::enter` only.
    pub(super) phase: Phase,
    /// The operation of this phase.
    pub(super) work: Work,
    /// Whether the plan store has confirmed the plan: nothing is started before.
    pub(super) persisted: bool,
    /// A former leader ran it: it does not go because it cannot be started.
    pub(super) recovered: bool,
    /// Why it could not be started the last time.
    pub(super) trouble: Option<String>,
    /// Who submitted it; answered when it runs or cannot.
    pub(super) submitter: Option<ReplyTo>,
    /// Who waits for its end, in the order in which they came.
    pub(super) waiters: VecDeque<ReplyTo>,
    /// How far a cancellation is.
    pub(super) cancel: Cancel,
    /// What its job master last said, for when it says nothing.
    pub(super) summary: JobSummary,
    /// Its job master is being asked how things stand.
    pub(super) details_ask: Option<AskId>,
    /// Who wants to hear that.
    pub(super) readers: Vec<ReplyTo>,
    /// The last word of its job master.
    pub(super) outcome: Option<Box<ExecutionGraphDetails>>,
}

/// Where a job is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its plan is being persisted.
    Persisting,
    /// Its job master is being made.
    Starting,
    /// Its job master has it.
    Running,
    /// It has ended for good; that is being written down.
    Recording,
    /// Its job master goes without having ended it.
    Suspending,
}

/// How far a cancellation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cancel {
    /// Nobody wants it.
    No,
    /// To be told to the job master as soon as there is one.
    Wanted,
    /// The job master is being told.
    Asked(AskId),
    /// It has not acknowledged and is told again then.
    RepeatAt(Mono),
    /// It knows.
    Acknowledged,
}

/// A job that has ended, or never began, and leaves things behind.
#[derive(Debug)]
pub(super) struct Leaving {
    pub(super) step: LeavingStep,
    /// The operation of this step.
    pub(super) work: Work,
}

/// What is being taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LeavingStep {
    /// Its job master.
    Stopping,
    /// Everything else.
    CleaningUp,
}

impl Phase {
    /// Every legal move.
    pub(super) fn may_become(self, next: Phase) -> bool {
        use Phase::{Persisting, Recording, Running, Starting, Suspending};
        match self {
            Persisting => matches!(next, Starting),
            // A job may end before we hear that its master has been made.
            Starting => matches!(next, Running | Recording | Suspending),
            Running => matches!(next, Recording | Suspending),
            // It may end while its master is being stopped.
            Suspending => matches!(next, Recording),
            Recording => false,
        }
    }
}

impl Job {
    pub(super) fn new(
        job: JobId,
        graph: Arc<JobGraph>,
        token: FencingToken,
        now: Timestamp,
        submitter: Option<ReplyTo>,
    ) -> Self {
        let summary = JobSummary {
            job,
            name: graph.name.clone(),
            status: JobStatus::Initializing,
            started: now,
            ended: None,
            last_modified: now,
            tasks: BTreeMap::new(),
        };
        Self {
            graph,
            token,
            phase: Phase::Persisting,
            work: Work::default(),
            persisted: false,
            recovered: false,
            trouble: None,
            submitter,
            waiters: VecDeque::new(),
            cancel: Cancel::No,
            summary,
            details_ask: None,
            readers: Vec::new(),
            outcome: None,
        }
    }

    /// The one place where a job moves on. Its operation is the next phase's.
    pub(super) fn enter(&mut self, next: Phase) {
        assert!(
            self.phase.may_become(next),
            "job {} may not go from {:?} to {next:?}",
            self.summary.job,
            self.phase
        );
        self.phase = next;
        self.work = Work::default();
    }

    /// The job in a list, as far as the dispatcher knows.
    pub(super) fn summary(&self) -> JobSummary {
        let mut summary = self.summary.clone();
        let wanted = self.cancel != Cancel::No && !summary.status.is_globally_terminal();
        if wanted {
            summary.status = JobStatus::Cancelling;
        }
        summary
    }

    /// What is to be remembered of its end.
    pub(super) fn result(&self) -> ResultRecord {
        let failure = self.outcome.as_ref().and_then(|outcome| outcome.root_failure.as_ref());
        ResultRecord {
            status: self.summary.status,
            name: self.summary.name.clone(),
            submitted: self.summary.started,
            ended: self.summary.ended.unwrap_or(self.summary.last_modified),
            failure: failure.map(|failure| failure.message.clone()),
            remains: Vec::new(),
        }
    }

    /// All that the dispatcher knows.
    pub(super) fn details(&self) -> ExecutionGraphDetails {
        if let Some(outcome) = &self.outcome {
            return (**outcome).clone();
        }
        let waiting_for = match self.phase {
            Phase::Persisting => "its plan to be stored",
            Phase::Starting => "its job master to be started",
            Phase::Running | Phase::Recording => "an answer of its job master",
            Phase::Suspending => "its job master to stop",
        };
        let waiting_for = match &self.trouble {
            Some(trouble) => format!("{waiting_for}, which failed: {trouble}"),
            None => waiting_for.to_owned(),
        };
        let summary = self.summary();
        let vertex = |_| VertexDetails { subtasks: Vec::new() };
        ExecutionGraphDetails {
            status_times: [(summary.status, summary.last_modified)].into(),
            summary,
            vertices: self.graph.vertices.iter().map(vertex).collect(),
            graph: (*self.graph).clone(),
            root_failure: None,
            failures: Vec::new(),
            waiting_for: Some(waiting_for),
            restarts: 0,
            checkpoints: None,
        }
    }
}
