//! `JobVertexTaskManagersInfo`.

use crate::json::attempt::{Attempt, UNASSIGNED};
use crate::json::io_metrics::IoMetrics;
use crate::json::summary::Aggregated;
use crate::json::task_group::{Span, TaskGroup};
use crate::json::vertex_view::VertexView;
use millstream_core::ids::JobVertexId;
use millstream_core::status::ExecutionState;
use millstream_core::time::Timestamp;
use millstream_rpc::protocol::details::AttemptDetails;
use serde::Serialize;
use std::collections::BTreeMap;

/// The subtasks of a vertex, worker by worker.
#[derive(Serialize)]
pub(crate) struct VertexTaskManagers {
    id: JobVertexId,
    name: String,
    now: Timestamp,
    taskmanagers: Vec<OnTaskManager>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct OnTaskManager {
    endpoint: String,
    status: ExecutionState,
    #[serde(flatten)]
    span: Span,
    metrics: IoMetrics,
    status_counts: BTreeMap<String, u32>,
    taskmanager_id: String,
    aggregated: Aggregated,
}

impl VertexTaskManagers {
    pub(crate) fn of(view: &VertexView<'_>, now: Timestamp) -> Self {
        let mut groups: BTreeMap<&str, Vec<&AttemptDetails>> = BTreeMap::new();
        for attempt in view.attempts.iter() {
            let worker = attempt.place.as_ref().map_or(UNASSIGNED, |(worker, _)| &worker.0);
            groups.entry(worker).or_default().push(attempt);
        }
        let groups = groups.iter();
        Self {
            id: view.vertex.id,
            name: view.vertex.name.clone(),
            now,
            taskmanagers: groups.map(|(id, there)| OnTaskManager::of(id, there, now)).collect(),
        }
    }
}

impl OnTaskManager {
    fn of(worker: &str, attempts: &[&AttemptDetails], now: Timestamp) -> Self {
        let group = TaskGroup::of(attempts.iter().copied());
        let each: Vec<_> = attempts.iter().map(|attempt| Attempt::of(attempt, now)).collect();
        let endpoint = attempts.iter().find_map(|attempt| attempt.endpoint.as_deref());
        Self {
            endpoint: endpoint.unwrap_or(UNASSIGNED).to_owned(),
            status: group.status(),
            span: group.span(now),
            metrics: group.metrics(),
            status_counts: group.state_counts(),
            taskmanager_id: worker.to_owned(),
            aggregated: Aggregated::of(&each),
        }
    }
}
