//! All jobs.

use crate::app::App;
use crate::json::jobs::{JobIdsWithStatus, JobsOverview};
use crate::reply::{Json, Reply};
use axum::extract::State;
use millstream_rpc::shell::endpoint::wall_now;
use std::sync::Arc;

/// `GET /jobs`
pub(crate) async fn ids(State(app): State<Arc<App>>) -> Reply<JobIdsWithStatus> {
    Ok(Json(JobIdsWithStatus::of(&app.gateway.jobs().await?)))
}

/// `GET /jobs/overview`
pub(crate) async fn overview(State(app): State<Arc<App>>) -> Reply<JobsOverview> {
    let jobs = app.gateway.jobs().await?;
    let types = app.job_types.of(&app.gateway, &jobs).await;
    Ok(Json(JobsOverview::of(&jobs, &types, wall_now())))
}
