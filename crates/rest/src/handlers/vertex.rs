//! One vertex of a job, and its subtasks.

use crate::app::App;
use crate::error::ApiError;
use crate::json::accumulators::VertexAccumulators;
use crate::json::attempt::Attempt;
use crate::json::subtask_times::SubtaskTimes;
use crate::json::vertex::VertexDetailsBody;
use crate::json::vertex_task_managers::VertexTaskManagers;
use crate::json::vertex_view::VertexView;
use crate::json::watermarks::Watermark;
use crate::reply::{Json, Reply};
use crate::request::PathParameters;
use axum::extract::State;
use millstream_rpc::protocol::details::ExecutionGraphDetails;
use millstream_rpc::shell::endpoint::wall_now;
use std::sync::Arc;

/// `GET /jobs/:jobid/vertices/:vertexid`
pub(crate) async fn details(
    State(app): State<Arc<App>>,
    path: PathParameters,
) -> Reply<VertexDetailsBody> {
    let (job, vertex) = (path.job()?, path.vertex()?);
    let details = app.gateway.job(job).await?;
    let view = VertexView::find(&details, vertex).ok_or_else(|| not_found(vertex))?;
    Ok(Json(VertexDetailsBody::of(&view, wall_now())))
}

/// `GET /jobs/:jobid/vertices/:vertexid/subtasks/:subtaskindex`
pub(crate) async fn subtask(State(app): State<Arc<App>>, path: PathParameters) -> Reply<Attempt> {
    let (job, vertex, subtask) = (path.job()?, path.vertex()?, path.subtask()?);
    let details: Box<ExecutionGraphDetails> = app.gateway.job(job).await?;
    let view = VertexView::find(&details, vertex).ok_or_else(|| not_found(vertex))?;
    let attempt = view.attempts.get(subtask as usize).ok_or_else(|| no_subtask(vertex))?;
    Ok(Json(Attempt::of(attempt, wall_now())))
}

/// `GET /jobs/:jobid/vertices/:vertexid/accumulators`
pub(crate) async fn accumulators(
    State(app): State<Arc<App>>,
    path: PathParameters,
) -> Reply<VertexAccumulators> {
    let (job, vertex) = (path.job()?, path.vertex()?);
    let details = app.gateway.job(job).await?;
    let view = VertexView::find(&details, vertex).ok_or_else(|| not_found(vertex))?;
    Ok(Json(VertexAccumulators::of(&view)))
}

/// `GET /jobs/:jobid/vertices/:vertexid/subtasktimes`
pub(crate) async fn subtask_times(
    State(app): State<Arc<App>>,
    path: PathParameters,
) -> Reply<SubtaskTimes> {
    let (job, vertex) = (path.job()?, path.vertex()?);
    let details = app.gateway.job(job).await?;
    let view = VertexView::find(&details, vertex).ok_or_else(|| not_found(vertex))?;
    Ok(Json(SubtaskTimes::of(&view, wall_now())))
}

/// `GET /jobs/:jobid/vertices/:vertexid/taskmanagers`
pub(crate) async fn task_managers(
    State(app): State<Arc<App>>,
    path: PathParameters,
) -> Reply<VertexTaskManagers> {
    let (job, vertex) = (path.job()?, path.vertex()?);
    let details = app.gateway.job(job).await?;
    let view = VertexView::find(&details, vertex).ok_or_else(|| not_found(vertex))?;
    Ok(Json(VertexTaskManagers::of(&view, wall_now())))
}

/// `GET /jobs/:jobid/vertices/:vertexid/watermarks`
pub(crate) async fn watermarks(
    State(app): State<Arc<App>>,
    path: PathParameters,
) -> Reply<Vec<Watermark>> {
    let (job, vertex) = (path.job()?, path.vertex()?);
    let details = app.gateway.job(job).await?;
    let view = VertexView::find(&details, vertex).ok_or_else(|| not_found(vertex))?;
    Ok(Json(Watermark::all(&view)))
}

/// Flink's words.
pub(super) fn not_found(vertex: millstream_core::ids::JobVertexId) -> ApiError {
    ApiError::not_found(format!("JobVertex {vertex} not found"))
}

/// Flink's words too.
pub(super) fn no_subtask(vertex: millstream_core::ids::JobVertexId) -> ApiError {
    ApiError::not_found(format!("Invalid subtask index for vertex {vertex}"))
}
