//! One job.

use crate::app::App;
use crate::error::ApiError;
use crate::json::accumulators::JobAccumulators;
use crate::json::exceptions::JobExceptions;
use crate::json::execution_result::ExecutionResult;
use crate::json::job::JobDetails;
use crate::json::job_config::JobConfig;
use crate::json::jobs::JobStatusBody;
use crate::json::plan::PlanBody;
use crate::reply::{Accepted, Json, Reply};
use crate::request::{PathParameters, Query};
use axum::extract::State;
use millstream_core::ids::JobId;
use millstream_rpc::protocol::details::ExecutionGraphDetails;
use millstream_rpc::shell::endpoint::wall_now;
use std::sync::Arc;
use std::time::Duration;

/// How many exceptions are told unless asked otherwise. Flink's number.
const EXCEPTIONS_MAX: usize = 20;

/// The longest wait for the end of a job; a client that wants more asks again.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// `GET /jobs/:jobid`
pub(crate) async fn details(
    State(app): State<Arc<App>>,
    path: PathParameters,
) -> Reply<JobDetails> {
    let details = app.gateway.job(path.job()?).await?;
    Ok(Json(JobDetails::of(&details, wall_now())))
}

/// `GET /jobs/:jobid/status`
pub(crate) async fn status(
    State(app): State<Arc<App>>,
    path: PathParameters,
) -> Reply<JobStatusBody> {
    let details = app.gateway.job(path.job()?).await?;
    Ok(Json(JobStatusBody { status: details.summary.status }))
}

/// `GET /jobs/:jobid/accumulators`
pub(crate) async fn accumulators(
    State(app): State<Arc<App>>,
    path: PathParameters,
) -> Reply<JobAccumulators> {
    let details = app.gateway.job(path.job()?).await?;
    Ok(Json(JobAccumulators::of(&details)))
}

/// `GET /jobs/:jobid/plan`
pub(crate) async fn plan(State(app): State<Arc<App>>, path: PathParameters) -> Reply<PlanBody> {
    let job = path.job()?;
    let details = app.gateway.job(job).await?;
    Ok(Json(PlanBody::of(job, &details.graph)))
}

/// `GET /jobs/:jobid/config`
pub(crate) async fn config(State(app): State<Arc<App>>, path: PathParameters) -> Reply<JobConfig> {
    let job = path.job()?;
    let details = app.gateway.job(job).await?;
    Ok(Json(JobConfig::of(job, &details.graph)))
}

/// `GET /jobs/:jobid/exceptions?maxExceptions=N&failureLabelFilter=key:value`
pub(crate) async fn exceptions(
    State(app): State<Arc<App>>,
    path: PathParameters,
    query: Query,
) -> Reply<JobExceptions> {
    let job = path.job()?;
    let max = query.parse("maxExceptions")?.unwrap_or(EXCEPTIONS_MAX);
    let details = app.gateway.job(job).await?;
    // Failures have no labels yet, so that whoever filters by one sees none.
    let filtered = query.text("failureLabelFilter").is_some();
    Ok(Json(if filtered { JobExceptions::default() } else { JobExceptions::of(&details, max) }))
}

/// `GET /jobs/:jobid/execution-result`; ours: `?wait-ms=N` waits for the end, so that nobody polls.
pub(crate) async fn execution_result(
    State(app): State<Arc<App>>,
    path: PathParameters,
    query: Query,
) -> Reply<ExecutionResult> {
    let job = path.job()?;
    let details = match query.parse("wait-ms")? {
        None => Some(app.gateway.job(job).await?),
        Some(wait) => await_end(&app, job, Duration::from_millis(wait)).await?,
    };
    Ok(Json(details.map_or_else(ExecutionResult::in_progress, |d| ExecutionResult::of(&d))))
}

async fn await_end(
    app: &App,
    job: JobId,
    wait: Duration,
) -> Result<Option<Box<ExecutionGraphDetails>>, ApiError> {
    app.gateway.job_end(job, wait.min(WAIT_MAX)).await
}

/// `PATCH /jobs/:jobid?mode=cancel`
pub(crate) async fn terminate(
    State(app): State<Arc<App>>,
    path: PathParameters,
    query: Query,
) -> Result<Accepted, ApiError> {
    if !app.config.allows_cancellation() {
        let why = "cancellation over REST is switched off (web.cancel.enable: false)";
        return Err(ApiError::forbidden(why));
    }
    let job = path.job()?;
    // Flink cancels unless told otherwise; its other mode, `stop`, it does not know any more either.
    match query.text("mode").unwrap_or("cancel") {
        "cancel" => app.gateway.cancel(job).await.map(|()| Accepted),
        other => Err(ApiError::bad_query("mode", other)),
    }
}
