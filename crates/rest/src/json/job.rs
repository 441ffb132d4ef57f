//! `JobDetailsInfo`.

use crate::json::io_metrics::IoMetrics;
use crate::json::jobs::JobSpan;
use crate::json::plan::Plan;
use crate::json::states::{by_execution_state, by_job_status};
use crate::json::task_group::{Span, TaskGroup};
use crate::json::vertex_view::VertexView;
use millstream_core::hash::xxh3_128;
use millstream_core::ids::{JobId, JobVertexId};
use millstream_core::job_graph::RuntimeMode;
use millstream_core::status::{ExecutionState, JobStatus};
use millstream_core::time::Timestamp;
use millstream_rpc::protocol::details::ExecutionGraphDetails;
use serde::Serialize;
use std::collections::BTreeMap;

/// A job with its vertices.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct JobDetails {
    jid: JobId,
    application_id: JobId,
    name: String,
    #[serde(rename = "isStoppable")]
    is_stoppable: bool,
    state: JobStatus,
    job_type: RuntimeMode,
    #[serde(rename = "schedulerType")]
    scheduler_type: &'static str,
    #[serde(flatten)]
    span: JobSpan,
    /// -1: what the job itself sets, nothing.
    #[serde(rename = "maxParallelism")]
    max_parallelism: i64,
    now: Timestamp,
    timestamps: BTreeMap<String, Timestamp>,
    vertices: Vec<Vertex>,
    /// Vertices, not subtasks.
    status_counts: BTreeMap<String, u32>,
    plan: Plan,
    /// Only a plan that is made while the job runs has one.
    stream_graph: Option<()>,
    pending_operators: u32,
    /// Ours: what the job waits for, in a sentence.
    waiting_for: Option<String>,
    /// Ours: how often tasks were restarted.
    restart_count: u32,
}

/// `JobVertexDetailsInfo` of a job.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Vertex {
    id: JobVertexId,
    #[serde(rename = "slotSharingGroupId")]
    slot_sharing_group: String,
    name: String,
    #[serde(rename = "maxParallelism")]
    max_parallelism: u32,
    parallelism: u32,
    status: ExecutionState,
    #[serde(flatten)]
    span: Span,
    tasks: BTreeMap<String, u32>,
    metrics: IoMetrics,
}

impl JobDetails {
    pub(crate) fn of(details: &ExecutionGraphDetails, now: Timestamp) -> Self {
        let (job, graph) = (&details.summary, &details.graph);
        let vertices: Vec<_> =
            VertexView::all(details).map(|view| Vertex::of(&view, now)).collect();
        let in_state = |state| vertices.iter().filter(|v| v.status == state).count() as u32;
        let status_counts = by_execution_state(in_state);
        let entered = |status| details.status_times.get(&status).copied().unwrap_or(0);
        let max_parallelism = graph.configuration.get("pipeline.max-parallelism");
        Self {
            jid: job.job,
            application_id: job.job,
            name: job.name.clone(),
            is_stoppable: false,
            state: job.status,
            job_type: graph.mode,
            scheduler_type: "Default",
            span: JobSpan::of(job, now),
            max_parallelism: max_parallelism.and_then(|text| text.parse().ok()).unwrap_or(-1),
            now,
            timestamps: by_job_status(entered),
            status_counts,
            vertices,
            plan: Plan::of(job.job, graph),
            stream_graph: None,
            pending_operators: 0,
            waiting_for: details.waiting_for.clone(),
            restart_count: details.restarts,
        }
    }
}

impl Vertex {
    fn of(view: &VertexView<'_>, now: Timestamp) -> Self {
        let (vertex, group) = (view.vertex, TaskGroup::of(view.attempts.iter()));
        Self {
            id: vertex.id,
            slot_sharing_group: group_id(&vertex.slot_sharing_group),
            name: vertex.name.clone(),
            max_parallelism: vertex.max_parallelism.get(),
            parallelism: vertex.parallelism,
            status: group.status(),
            span: group.span(now),
            tasks: group.state_counts(),
            metrics: group.metrics(),
        }
    }
}

/// Slot sharing groups have names here and ids in Flink.
fn group_id(name: &str) -> String {
    format!("{:032x}", xxh3_128(name.as_bytes()))
}
