//! What workers say of attempts, and what their silence says.
//!
//! Reports may be lost, late or doubled. A later state proves that the ones before it were passed;
//! an earlier one is old news. An attempt that does not count any more is unknown, and whoever
//! still runs it is told so.

use super::{Casualties, Failure, Moment, Scheduler};
use crate::execution_graph::ExecutionVertexId;
use crate::mutant;
use millstream_core::ids::{AllocationId, ExecutionAttemptId, ResourceId};
use millstream_core::status::ExecutionState;
use millstream_core::time::Mono;
use millstream_rpc::machine::Rng;
use millstream_rpc::protocol::job_master::{TaskExecutionState, TaskFailure, TaskFailureKind};

/// What became of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It concerned an attempt that counts.
    Known,
    /// It did not: the worker must end that attempt.
    Unknown,
}

/// What a report means for an attempt in the state that we know.
#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    /// It is not the attempt that counts, or that one is over.
    Stranger,
    /// Nothing new.
    OldNews,
    /// The attempt went on, through these states.
    Moved(&'static [ExecutionState]),
    /// The attempt failed, or stopped though nobody asked it to.
    Failed,
    /// The attempt is over, as we asked.
    Stopped,
}

fn meaning(current: ExecutionState, reported: ExecutionState) -> Meaning {
    use ExecutionState::{
        Canceled, Canceling, Created, Deploying, Failed, Finished, Initializing, Running, Scheduled,
    };
    match (current, reported) {
        (Created | Scheduled, _) => Meaning::Stranger,
        (Finished | Canceled | Failed, Finished | Canceled | Failed) => Meaning::OldNews,
        (Finished | Canceled | Failed, _) => Meaning::Stranger,
        (_, Created | Scheduled | Deploying | Canceling) => Meaning::OldNews,
        (Canceling, Initializing | Running) => Meaning::OldNews,
        (Canceling, Finished | Canceled | Failed) => Meaning::Stopped,
        (_, Failed | Canceled) => Meaning::Failed,
        (Deploying, Initializing) => Meaning::Moved(&[Initializing]),
        (Deploying, Running) => Meaning::Moved(&[Initializing, Running]),
        (Deploying, Finished) => Meaning::Moved(&[Initializing, Running, Finished]),
        (Initializing, Running) => Meaning::Moved(&[Running]),
        (Initializing, Finished) => Meaning::Moved(&[Running, Finished]),
        (Running, Finished) => Meaning::Moved(&[Finished]),
        (Initializing | Running, Initializing | Running) => Meaning::OldNews,
    }
}

impl Scheduler {
    /// A worker reports the state of an attempt.
    pub fn on_task_state(
        &mut self,
        report: &TaskExecutionState,
        at: Moment,
        rng: &mut Rng,
    ) -> Heard {
        let Some(id) = self.counted(report.attempt) else {
            return Heard::Unknown;
        };
        let meaning = meaning(self.graph.state(id), report.state);
        if meaning == Meaning::Stranger {
            return Heard::Unknown;
        }
        let counted = self.graph.attempt_id(id);
        assert_eq!(counted, report.attempt, "a report moves another attempt");
        self.graph.record_metrics(report.attempt, report.metrics.clone());
        self.confirm(id, at.now);
        match meaning {
            Meaning::Stranger | Meaning::OldNews => {}
            Meaning::Moved(states) => self.on_moved(id, states, at),
            Meaning::Failed => self.on_task_failure(id, report.failure.as_ref(), at, rng),
            Meaning::Stopped => self.on_stopped(id, report.state, at),
        }
        Heard::Known
    }

    /// The subtask whose current attempt this is.
    fn counted(&self, attempt: ExecutionAttemptId) -> Option<ExecutionVertexId> {
        if mutant::on("accept_unknown_attempt_update") {
            return self.graph.subtask_of(attempt);
        }
        self.graph.find(attempt)
    }

    fn on_moved(&mut self, id: ExecutionVertexId, states: &[ExecutionState], at: Moment) {
        for state in states {
            self.graph.change(id, *state, at.wall);
        }
        if self.graph.state(id) == ExecutionState::Finished {
            self.release_if_done(id);
            self.schedule_consumers(id, at);
            self.release_results(id);
        }
    }

    fn on_task_failure(
        &mut self,
        id: ExecutionVertexId,
        failure: Option<&TaskFailure>,
        at: Moment,
        rng: &mut Rng,
    ) {
        let failure = match failure {
            Some(failure) => Failure::of_task(failure),
            None => Failure::of_cluster("its worker stopped it and gave no reason".to_owned()),
        };
        let mut hit = Casualties::one(id);
        if let TaskFailureKind::PartitionUnavailable(partition) = &failure.kind {
            hit.lost.extend(self.graph.lose_partition(partition));
        }
        let failure = failure.about(id, self.resource_of(id));
        self.fail(&hit, failure, at, rng);
    }

    /// A cancelled attempt is over, one way or another.
    fn on_stopped(&mut self, id: ExecutionVertexId, state: ExecutionState, at: Moment) {
        self.graph.change(id, state, at.wall);
        self.release_if_done(id);
        self.advance_restarts(at);
    }

    pub(super) fn resource_of(&self, id: ExecutionVertexId) -> Option<ResourceId> {
        let place = self.graph.execution(id).place()?;
        Some(place.resource.clone())
    }

    fn confirm(&mut self, id: ExecutionVertexId, now: Mono) {
        self.graph.current_mut(id).confirmed.get_or_insert(now);
    }

    /// The worker has the attempt.
    pub fn on_submitted(&mut self, attempt: ExecutionAttemptId, at: Moment) {
        if let Some(id) = self.graph.find(attempt) {
            self.confirm(id, at.now);
        }
    }

    /// The worker could not be given the attempt, or has not said that it has it. `surely`: it
    /// has not got it.
    pub fn on_submit_failed(
        &mut self,
        attempt: ExecutionAttemptId,
        surely: bool,
        reason: String,
        at: Moment,
        rng: &mut Rng,
    ) {
        let Some(id) = self.graph.find(attempt) else {
            return;
        };
        let execution = self.graph.execution(id);
        // A report of the attempt has overtaken the answer: it is there after all.
        if execution.confirmed().is_some() {
            return;
        }
        match execution.state() {
            ExecutionState::Deploying => {
                let failure = Failure::of_cluster(reason).about(id, self.resource_of(id));
                self.fail(&Casualties::one(id), failure, at, rng);
            }
            ExecutionState::Canceling if surely => {
                self.on_stopped(id, ExecutionState::Canceled, at);
            }
            _ => {}
        }
    }

    /// The worker does not know the attempt that it was asked to stop: it is not there.
    pub fn on_cancel_unknown(&mut self, attempt: ExecutionAttemptId, at: Moment) {
        self.end_cancelling(attempt, ExecutionState::Canceled, at);
    }

    /// The worker could not be asked to stop the attempt. Waiting longer would hold up the job; if
    /// the attempt still runs, it is a stranger from now on and ended as such.
    pub fn on_cancel_failed(&mut self, attempt: ExecutionAttemptId, at: Moment) {
        self.end_cancelling(attempt, ExecutionState::Failed, at);
    }

    fn end_cancelling(&mut self, attempt: ExecutionAttemptId, end: ExecutionState, at: Moment) {
        let found = self.graph.find(attempt);
        if let Some(id) = found.filter(|id| self.graph.state(*id) == ExecutionState::Canceling) {
            self.on_stopped(id, end, at);
        }
    }

    /// The consumer could not be told where its producers are.
    pub fn on_update_failed(
        &mut self,
        attempt: ExecutionAttemptId,
        reason: String,
        at: Moment,
        rng: &mut Rng,
    ) {
        let found = self.graph.find(attempt);
        if let Some(id) = found.filter(|id| self.graph.execution(*id).is_running()) {
            let failure = Failure::of_cluster(reason).about(id, self.resource_of(id));
            self.fail(&Casualties::one(id), failure, at, rng);
        }
    }

    /// The worker says that it does not have an attempt that it should have.
    pub fn on_missing(&mut self, attempt: ExecutionAttemptId, at: Moment, rng: &mut Rng) {
        let Some(id) = self.graph.find(attempt) else {
            return;
        };
        match self.graph.state(id) {
            ExecutionState::Canceling => self.on_stopped(id, ExecutionState::Canceled, at),
            state if state.is_terminal() => {}
            _ => {
                let failure = Failure::of_cluster("its worker no longer has it".to_owned());
                let failure = failure.about(id, self.resource_of(id));
                self.fail(&Casualties::one(id), failure, at, rng);
            }
        }
    }

    /// Slots are gone, and what ran in them. `worker`: so is the worker, and what it had produced.
    pub fn on_slots_lost(
        &mut self,
        allocations: &[AllocationId],
        worker: Option<&ResourceId>,
        failure: Failure,
        at: Moment,
        rng: &mut Rng,
    ) {
        for allocation in allocations {
            self.slots.unassign(*allocation, at.now);
        }
        let in_lost_slot = |id: &ExecutionVertexId| {
            let execution = self.graph.execution(*id);
            let place = execution.place();
            let lost = place.is_some_and(|place| allocations.contains(&place.allocation));
            execution.is_on_worker() && lost
        };
        let failed: Vec<ExecutionVertexId> = self.graph.ids().filter(in_lost_slot).collect();
        let failure = match failed[..] {
            [only] => failure.about(only, self.resource_of(only)),
            _ => failure,
        };
        let restarts = &self.restarts;
        let lost = worker.map(|worker| {
            self.graph.lose_outputs_on(worker, |consumer| restarts.contains(consumer))
        });
        let lost = lost.unwrap_or_default();
        self.fail(&Casualties { failed, lost }, failure, at, rng);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_report_in_every_state_is_defined_and_only_legal_moves_follow() {
        for current in ExecutionState::ALL {
            for reported in ExecutionState::ALL {
                let mut state = current;
                match meaning(current, reported) {
                    Meaning::Stranger | Meaning::OldNews => {}
                    Meaning::Moved(states) => {
                        for next in states {
                            assert!(state.may_become(*next), "{current} {reported}");
                            state = *next;
                        }
                        assert_eq!(state, reported);
                    }
                    Meaning::Failed => assert!(state.may_become(ExecutionState::Failed)),
                    Meaning::Stopped => assert!(state.may_become(reported)),
                }
            }
        }
    }

    #[test]
    fn a_terminal_attempt_never_lives_again() {
        for current in ExecutionState::ALL.into_iter().filter(|s| s.is_terminal()) {
            for reported in ExecutionState::ALL {
                let expected = match reported.is_terminal() {
                    true => Meaning::OldNews,
                    false => Meaning::Stranger,
                };
                assert_eq!(meaning(current, reported), expected, "{current} {reported}");
            }
        }
    }
}
