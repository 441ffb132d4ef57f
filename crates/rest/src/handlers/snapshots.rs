//! Checkpoints and savepoints of one job: how they go, and those that somebody asks for.

use crate::app::App;
use crate::error::ApiError;
use crate::json::checkpoints::{CheckpointConfigBody, Checkpoints};
use crate::json::triggered::{
    CheckpointInfo, CheckpointRequest, Progress, SavepointInfo, SavepointRequest, StopRequest,
    Triggered,
};
use crate::reply::{Json, Queued, Reply};
use crate::request::{JsonBody, PathParameters};
use axum::extract::State;
use millstream_checkpoint::config::CheckpointConfig;
use millstream_core::ids::TriggerId;
use millstream_rpc::protocol::job_master::Drain;
use millstream_rpc::shell::system::random_u128;
use std::sync::Arc;

/// `GET /jobs/:jobid/checkpoints`
pub(crate) async fn statistics(
    State(app): State<Arc<App>>,
    path: PathParameters,
) -> Reply<Checkpoints> {
    let details = app.gateway.job(path.job()?).await?;
    Ok(Json(Checkpoints::of(&details)))
}

/// `GET /jobs/:jobid/checkpoints/config`
pub(crate) async fn config(
    State(app): State<Arc<App>>,
    path: PathParameters,
) -> Reply<CheckpointConfigBody> {
    let details = app.gateway.job(path.job()?).await?;
    // What the job says itself comes before what the cluster says.
    let mut configuration = app.configuration.clone();
    for (key, value) in &details.graph.configuration {
        configuration.set(key, value);
    }
    let config = CheckpointConfig::read(&configuration)
        .map_err(|error| ApiError::internal(error.to_string()))?;
    Ok(Json(CheckpointConfigBody::of(&config)))
}

/// `POST /jobs/:jobid/savepoints`
pub(crate) async fn trigger_savepoint(
    State(app): State<Arc<App>>,
    path: PathParameters,
    JsonBody(request): JsonBody<SavepointRequest>,
) -> Result<Queued<Triggered>, ApiError> {
    let stop = request.cancel_job.unwrap_or(false).then_some(Drain::No);
    if stop.is_some() && !app.config.allows_cancellation() {
        return Err(cancellation_is_off());
    }
    let request_id = request.trigger.unwrap_or_else(new_trigger);
    app.gateway.savepoint(path.job()?, request_id, request.target_directory, stop).await?;
    Ok(Queued(Triggered { request_id }))
}

/// `POST /jobs/:jobid/stop`
pub(crate) async fn stop(
    State(app): State<Arc<App>>,
    path: PathParameters,
    JsonBody(request): JsonBody<StopRequest>,
) -> Result<Queued<Triggered>, ApiError> {
    if !app.config.allows_cancellation() {
        return Err(cancellation_is_off());
    }
    let stop = if request.drain.unwrap_or(false) { Drain::Yes } else { Drain::No };
    let request_id = request.trigger.unwrap_or_else(new_trigger);
    app.gateway.savepoint(path.job()?, request_id, request.target_directory, Some(stop)).await?;
    Ok(Queued(Triggered { request_id }))
}

/// `GET /jobs/:jobid/savepoints/:triggerid`
pub(crate) async fn savepoint(
    State(app): State<Arc<App>>,
    path: PathParameters,
) -> Reply<Progress<SavepointInfo>> {
    let progress = app.gateway.snapshot_progress(path.job()?, path.trigger()?).await?;
    Ok(Json(Progress::of_savepoint(progress)))
}

/// `POST /jobs/:jobid/checkpoints`
pub(crate) async fn trigger_checkpoint(
    State(app): State<Arc<App>>,
    path: PathParameters,
    JsonBody(request): JsonBody<CheckpointRequest>,
) -> Result<Queued<Triggered>, ApiError> {
    let full = match request.checkpoint_type.as_deref().unwrap_or("CONFIGURED") {
        "CONFIGURED" => false,
        "FULL" => true,
        other => {
            let message = format!("checkpointType is `{other}`: expected one of CONFIGURED, FULL");
            return Err(ApiError::bad_request(message));
        }
    };
    let request_id = request.trigger.unwrap_or_else(new_trigger);
    app.gateway.checkpoint(path.job()?, request_id, full).await?;
    Ok(Queued(Triggered { request_id }))
}

/// `GET /jobs/:jobid/checkpoints/:triggerid`
pub(crate) async fn checkpoint(
    State(app): State<Arc<App>>,
    path: PathParameters,
) -> Reply<Progress<CheckpointInfo>> {
    let progress = app.gateway.snapshot_progress(path.job()?, path.trigger()?).await?;
    Ok(Json(Progress::of_checkpoint(progress)))
}

fn new_trigger() -> TriggerId {
    TriggerId(random_u128())
}

fn cancellation_is_off() -> ApiError {
    ApiError::forbidden("cancellation over REST is switched off (web.cancel.enable: false)")
}
