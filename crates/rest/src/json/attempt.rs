//! `SubtaskExecutionAttemptDetailsInfo`.

use crate::json::io_metrics::IoMetrics;
use crate::json::task_group::entered;
use millstream_core::status::ExecutionState;
use millstream_core::time::Timestamp;
use millstream_rpc::protocol::details::AttemptDetails;
use serde::Serialize;
use std::collections::BTreeMap;

/// In place of a worker that there is not. Flink's word.
pub(crate) const UNASSIGNED: &str = "(unassigned)";

/// The states whose durations are told.
pub(crate) const COUNTED_STATES: [ExecutionState; 5] = [
    ExecutionState::Created,
    ExecutionState::Scheduled,
    ExecutionState::Deploying,
    ExecutionState::Initializing,
    ExecutionState::Running,
];

/// The current attempt of a subtask.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Attempt {
    subtask: u32,
    status: ExecutionState,
    attempt: u32,
    endpoint: String,
    start_time: Timestamp,
    end_time: Timestamp,
    duration: i64,
    pub(crate) metrics: IoMetrics,
    taskmanager_id: String,
    pub(crate) status_duration: BTreeMap<String, i64>,
    /// There is one attempt at a time.
    other_concurrent_attempts: [(); 0],
    /// The same again: an old name that clients read.
    #[serde(rename = "start_time")]
    start_time_old: Timestamp,
}

impl Attempt {
    pub(crate) fn of(details: &AttemptDetails, now: Timestamp) -> Self {
        let deployed = entered(details, ExecutionState::Deploying);
        let start_time = if deployed > 0 { deployed } else { -1 };
        let ended = details.state.is_terminal().then(|| entered(details, details.state));
        let worker = details.place.as_ref().map(|(worker, _)| worker.0.clone());
        Self {
            subtask: details.attempt.subtask,
            status: details.state,
            attempt: details.attempt.attempt,
            endpoint: details.endpoint.clone().unwrap_or_else(|| UNASSIGNED.to_owned()),
            start_time,
            end_time: ended.unwrap_or(-1),
            duration: if start_time > 0 { ended.unwrap_or(now) - start_time } else { -1 },
            metrics: IoMetrics::of(std::iter::once(&details.metrics)),
            taskmanager_id: worker.unwrap_or_else(|| UNASSIGNED.to_owned()),
            status_duration: durations(details, now),
            other_concurrent_attempts: [],
            start_time_old: start_time,
        }
    }
}

/// How long the attempt was in each state: until it entered the next one. -1: it never was.
fn durations(details: &AttemptDetails, now: Timestamp) -> BTreeMap<String, i64> {
    let duration = |state: ExecutionState| {
        let Some(since) = details.state_times.get(&state) else { return -1 };
        let later = details.state_times.iter().filter(|(next, _)| rank(**next) > rank(state));
        let until = later.min_by_key(|(next, _)| rank(**next)).map_or(now, |(_, at)| *at);
        until - since
    };
    COUNTED_STATES.into_iter().map(|state| (state.to_string(), duration(state))).collect()
}

/// States in the order in which an attempt passes them.
fn rank(state: ExecutionState) -> u8 {
    use ExecutionState::*;
    match state {
        Created => 0,
        Scheduled => 1,
        Deploying => 2,
        Initializing => 3,
        Running => 4,
        Canceling => 5,
        Finished | Canceled | Failed => 6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millstream_core::ids::{ExecutionAttemptId, ExecutionGraphId, JobVertexId};
    use millstream_rpc::protocol::job_master::TaskMetrics;

    #[test]
    fn a_state_lasts_until_the_next_one_is_entered() {
        use ExecutionState::*;
        let (graph, vertex) = (ExecutionGraphId(1), JobVertexId(1));
        let details = AttemptDetails {
            attempt: ExecutionAttemptId { graph, vertex, subtask: 1, attempt: 2 },
            state: Canceling,
            state_times: [(Created, 10), (Scheduled, 20), (Deploying, 50), (Canceling, 90)].into(),
            place: None,
            endpoint: None,
            metrics: TaskMetrics::default(),
        };
        let attempt = Attempt::of(&details, 100);
        let expected = [
            ("CREATED", 10),
            ("DEPLOYING", 40),
            ("INITIALIZING", -1),
            ("RUNNING", -1),
            ("SCHEDULED", 30),
        ];
        let durations: Vec<_> =
            attempt.status_duration.iter().map(|(state, ms)| (state.as_str(), *ms)).collect();
        assert_eq!(durations, expected);
        assert_eq!((attempt.start_time, attempt.end_time, attempt.duration), (50, -1, 50));
        assert_eq!(attempt.endpoint, UNASSIGNED);
    }
}
