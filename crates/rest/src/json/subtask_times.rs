//! `SubtasksTimesInfo`.

use crate::json::attempt::UNASSIGNED;
use crate::json::states::by_execution_state;
use crate::json::task_group::entered;
use crate::json::vertex_view::VertexView;
use millstream_core::ids::JobVertexId;
use millstream_core::status::ExecutionState;
use millstream_core::time::Timestamp;
use millstream_rpc::protocol::details::AttemptDetails;
use serde::Serialize;
use std::collections::BTreeMap;

/// When the subtasks of a vertex entered their states.
#[derive(Serialize)]
pub(crate) struct SubtaskTimes {
    id: JobVertexId,
    name: String,
    now: Timestamp,
    subtasks: Vec<Times>,
}

#[derive(Serialize)]
struct Times {
    subtask: u32,
    endpoint: String,
    /// Since it was scheduled.
    duration: i64,
    timestamps: BTreeMap<String, Timestamp>,
}

impl SubtaskTimes {
    pub(crate) fn of(view: &VertexView<'_>, now: Timestamp) -> Self {
        Self {
            id: view.vertex.id,
            name: view.vertex.name.clone(),
            now,
            subtasks: view.attempts.iter().map(|attempt| Times::of(attempt, now)).collect(),
        }
    }
}

impl Times {
    fn of(attempt: &AttemptDetails, now: Timestamp) -> Self {
        let scheduled = entered(attempt, ExecutionState::Scheduled);
        let until = if attempt.state.is_terminal() { entered(attempt, attempt.state) } else { now };
        Self {
            subtask: attempt.attempt.subtask,
            endpoint: attempt.endpoint.clone().unwrap_or_else(|| UNASSIGNED.to_owned()),
            duration: if scheduled > 0 { until - scheduled } else { -1 },
            timestamps: by_execution_state(|state| entered(attempt, state)),
        }
    }
}
