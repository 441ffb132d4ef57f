//! Some attempts seen as one: those of a vertex, or of a vertex on one worker.

use crate::json::io_metrics::IoMetrics;
use crate::json::states::by_execution_state;
use millstream_core::status::ExecutionState;
use millstream_core::time::Timestamp;
use millstream_rpc::protocol::details::AttemptDetails;
use serde::Serialize;
use std::collections::BTreeMap;

/// Some attempts.
pub(crate) struct TaskGroup<'a>(Vec<&'a AttemptDetails>);

/// When something began and ended, and how long it took; -1 where that is not known.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Span {
    pub(crate) start_time: Timestamp,
    pub(crate) end_time: Timestamp,
    pub(crate) duration: i64,
}

/// When the attempt entered a state; 0: never.
pub(crate) fn entered(attempt: &AttemptDetails, state: ExecutionState) -> Timestamp {
    attempt.state_times.get(&state).copied().unwrap_or(0)
}

impl<'a> TaskGroup<'a> {
    pub(crate) fn of(attempts: impl Iterator<Item = &'a AttemptDetails>) -> Self {
        Self(attempts.collect())
    }

    /// How the group stands as a whole. Flink's rule (`ExecutionJobVertex`).
    pub(crate) fn status(&self) -> ExecutionState {
        use ExecutionState::*;
        let finished = self.count(Finished);
        let decisive = [Failed, Canceling, Canceled, Initializing, Running];
        match decisive.into_iter().find(|state| self.count(*state) > 0) {
            Some(state) => state,
            None if finished == 0 => Created,
            None if finished == self.0.len() as u32 => Finished,
            None => Running,
        }
    }

    /// From the first deployment to the last end, if all have ended.
    pub(crate) fn span(&self, now: Timestamp) -> Span {
        let deployed = self.0.iter().map(|attempt| entered(attempt, ExecutionState::Deploying));
        let Some(start_time) = deployed.filter(|at| *at > 0).min() else {
            return Span { start_time: -1, end_time: -1, duration: -1 };
        };
        let ended = self.0.iter().all(|attempt| attempt.state.is_terminal());
        let last = self.0.iter().map(|attempt| entered(attempt, attempt.state)).max();
        let end_time = if ended { last.unwrap_or(now) } else { -1 };
        let until = if ended { end_time } else { now };
        Span { start_time, end_time, duration: until - start_time }
    }

    /// How many attempts are in each state.
    pub(crate) fn state_counts(&self) -> BTreeMap<String, u32> {
        by_execution_state(|state| self.count(state))
    }

    /// What the attempts have read and written together.
    pub(crate) fn metrics(&self) -> IoMetrics {
        IoMetrics::of(self.0.iter().map(|attempt| &attempt.metrics))
    }

    fn count(&self, state: ExecutionState) -> u32 {
        self.0.iter().filter(|attempt| attempt.state == state).count() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millstream_core::ids::{ExecutionAttemptId, ExecutionGraphId, JobVertexId};
    use millstream_rpc::protocol::job_master::TaskMetrics;

    fn attempt(state: ExecutionState, times: &[(ExecutionState, Timestamp)]) -> AttemptDetails {
        let (graph, vertex) = (ExecutionGraphId(1), JobVertexId(1));
        AttemptDetails {
            attempt: ExecutionAttemptId { graph, vertex, subtask: 0, attempt: 0 },
            state,
            state_times: times.iter().copied().collect(),
            place: None,
            endpoint: None,
            metrics: TaskMetrics::default(),
        }
    }

    #[test]
    fn the_state_of_a_group_follows_flinks_order() {
        use ExecutionState::*;
        for (states, expected) in [
            (&[Running, Failed, Canceling][..], Failed),
            (&[Running, Canceled, Canceling], Canceling),
            (&[Running, Canceled, Finished], Canceled),
            (&[Running, Initializing], Initializing),
            (&[Running, Finished, Deploying], Running),
            (&[Finished, Deploying], Running),
            (&[Finished, Finished], Finished),
            (&[Scheduled, Deploying], Created),
        ] {
            let attempts: Vec<_> = states.iter().map(|state| attempt(*state, &[])).collect();
            assert_eq!(TaskGroup::of(attempts.iter()).status(), expected, "{states:?}");
        }
    }

    #[test]
    fn a_group_lasts_from_its_first_deployment_to_its_last_end() {
        use ExecutionState::*;
        let ended = attempt(Finished, &[(Deploying, 100), (Finished, 180)]);
        let running = attempt(Running, &[(Deploying, 110), (Running, 120)]);
        let waiting = attempt(Scheduled, &[(Created, 90), (Scheduled, 95)]);
        let span = |attempts: &[&AttemptDetails]| {
            let span = TaskGroup::of(attempts.iter().copied()).span(200);
            (span.start_time, span.end_time, span.duration)
        };
        assert_eq!(span(&[&ended, &running]), (100, -1, 100));
        assert_eq!(span(&[&ended]), (100, 180, 80));
        assert_eq!(span(&[&waiting]), (-1, -1, -1));
        assert_eq!(span(&[]), (-1, -1, -1));
    }
}
