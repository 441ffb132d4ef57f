//! What a dispatcher begins with under high availability, and how it ends when its term is over.
//!
//! Jobs that ran under the former leader are started; jobs that ended and left something behind are
//! cleaned up and never started; of the others' ends it knows. A recovered job is in the plan store
//! already, so it never leaves it because of something that merely went wrong here: it is started
//! again and again, for as long as nobody cancels it.
//!
//! A dispatcher whose term is over touches nothing in any store. Its job masters are stopped, which
//! leaves their jobs to the next leader, and everybody who waits is told.

use super::job::{Cancel, Job, LeavingStep, Phase};
use super::machine::{Dispatcher, Stage};
use super::work::DispatcherDone;
use crate::ha::ResultRecord;
use crate::mutant;
use millstream_core::ids::JobId;
use millstream_core::job_graph::{JobGraph, PlanSignature, RuntimeMode};
use millstream_core::status::JobStatus;
use millstream_core::time::Timestamp;
use millstream_rpc::machine::Cx;
use millstream_rpc::protocol::details::{ExecutionGraphDetails, FailureDetails, JobSummary};
use millstream_rpc::protocol::{Answer, Refusal};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the former leaders left.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recovered {
    /// Jobs that go on.
    pub jobs: Vec<RecoveredJob>,
    /// Jobs that have ended.
    pub ended: Vec<(JobId, ResultRecord)>,
    /// Those of them that have not been cleaned up.
    pub dirty: Vec<JobId>,
}

/// A job that goes on.
#[derive(Clone, Debug, PartialEq)]
pub struct RecoveredJob {
    /// Which.
    pub job: JobId,
    /// Its plan.
    pub graph: Arc<JobGraph>,
    /// When it was submitted.
    pub submitted: Timestamp,
}

impl Dispatcher {
    /// Begins with what the former leaders left.
    pub fn with_recovered(mut self, recovered: Recovered) -> Self {
        self.recovered = recovered;
        self
    }

    pub(super) fn recover(&mut self, cx: &mut Cx<'_, Self>) {
        let recovered = std::mem::take(&mut self.recovered);
        for (job, result) in recovered.ended {
            self.ended.insert(cx.now, job, Box::new(details_of(job, result)));
        }
        for RecoveredJob { job, graph, submitted } in recovered.jobs {
            let mut state = Job::new(job, graph, self.fence.token(), cx.wall, None);
            state.summary.started = submitted;
            state.persisted = true;
            state.recovered = true;
            state.enter(Phase::Starting);
            self.jobs.insert(job, state);
            self.work_on(cx, job);
        }
        for job in recovered.dirty {
            if !self.jobs.contains_key(&job) {
                self.leave(cx, job, LeavingStep::CleaningUp);
            }
        }
    }

    /// A recovered job could not be started this time.
    pub(super) fn on_recovered_not_started(
        &mut self,
        cx: &mut Cx<'_, Self>,
        job: JobId,
        reason: String,
    ) {
        let Some(state) = self.jobs.get_mut(&job) else {
            return;
        };
        state.trouble = Some(reason);
        if state.cancel == Cancel::No {
            return self.retry_later(cx, job);
        }
        state.summary.status = JobStatus::Canceled;
        state.summary.ended = Some(cx.wall);
        state.summary.last_modified = cx.wall;
        state.outcome = Some(Box::new(state.details()));
        state.enter(Phase::Recording);
        self.work_on(cx, job);
    }

    /// The term is over. `reason` is told to everybody who waits.
    pub(super) fn on_deposed(&mut self, cx: &mut Cx<'_, Self>, reason: &str) {
        if self.deposed {
            return;
        }
        self.deposed = true;
        self.phase = Stage::Ending;
        self.leaving.retain(|_, leaving| leaving.step == LeavingStep::Stopping);
        let jobs: Vec<JobId> = self.jobs.keys().copied().collect();
        for job in jobs {
            let has_master = self.jobs.get(&job).is_some_and(|s| s.phase != Phase::Persisting);
            let why = format!("this JobManager does not lead any more: {reason}");
            self.drop_job(cx, job, &Answer::Refused(Refusal::NotReady(why)));
            if has_master {
                let step = match mutant::on("deposed_cleans_up") {
                    true => LeavingStep::CleaningUp,
                    false => LeavingStep::Stopping,
                };
                self.leave(cx, job, step);
            }
        }
        self.stop_if_done(cx);
    }

    /// A message of the shell that no operation asked for.
    pub(super) fn on_unsolicited(&mut self, cx: &mut Cx<'_, Self>, news: DispatcherDone) {
        match news {
            DispatcherDone::Deposed { reason } => self.on_deposed(cx, &reason),
            _ => self.counters.stale += 1,
        }
    }
}

/// What is still known of a job that ended under a former leader.
fn details_of(job: JobId, result: ResultRecord) -> ExecutionGraphDetails {
    let ResultRecord { status, name, submitted, ended, failure, .. } = result;
    let failure =
        failure.map(|message| FailureDetails { at: ended, message, task: None, resource: None });
    let graph = JobGraph {
        name: name.clone(),
        vertices: Vec::new(),
        edges: Vec::new(),
        mode: RuntimeMode::Streaming,
        configuration: BTreeMap::new(),
        signature: PlanSignature::default(),
        program: None,
    };
    let summary = JobSummary {
        job,
        name,
        status,
        started: submitted,
        ended: Some(ended),
        last_modified: ended,
        tasks: BTreeMap::new(),
    };
    ExecutionGraphDetails {
        summary,
        status_times: [(status, ended)].into(),
        graph,
        vertices: Vec::new(),
        failures: failure.iter().cloned().collect(),
        root_failure: failure,
        waiting_for: None,
        restarts: 0,
        checkpoints: None,
    }
}
