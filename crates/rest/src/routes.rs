//! All endpoints, in one table: method, path as Flink writes it, handler.

use crate::app::App;
use crate::error::ApiError;
use crate::handlers::jars::FORM_BYTES_MAX;
use crate::handlers::{
    cluster, jars, job, job_manager, jobs, logs, metrics, snapshots, task_managers, vertex,
};
use axum::extract::DefaultBodyLimit;
use axum::handler::Handler;
use axum::routing::MethodRouter;
use axum::{Router, routing};
use hyper::{Method, StatusCode, Uri};
use std::sync::Arc;

/// One endpoint.
struct Route {
    method: Method,
    /// With `:name` for parameters.
    path: &'static str,
    handler: MethodRouter<Arc<App>>,
}

/// Every endpoint: method, and path as Flink writes it (`/jobs/:jobid`). Each is also under `/v1`.
pub fn endpoints() -> impl Iterator<Item = (String, &'static str)> {
    table().into_iter().map(|route| (route.method.to_string(), route.path))
}

fn table() -> Vec<Route> {
    vec![
        get("/overview", cluster::overview),
        get("/config", cluster::config),
        delete("/cluster", cluster::shut_down),
        get("/jobmanager/config", job_manager::config),
        get("/jobmanager/environment", job_manager::environment),
        get("/jobs", jobs::ids),
        get("/jobs/overview", jobs::overview),
        get("/jobs/:jobid", job::details),
        patch("/jobs/:jobid", job::terminate),
        get("/jobs/:jobid/accumulators", job::accumulators),
        get("/jobs/:jobid/checkpoints", snapshots::statistics),
        post("/jobs/:jobid/checkpoints", snapshots::trigger_checkpoint),
        get("/jobs/:jobid/checkpoints/config", snapshots::config),
        get("/jobs/:jobid/checkpoints/:triggerid", snapshots::checkpoint),
        get("/jobs/:jobid/config", job::config),
        get("/jobs/:jobid/exceptions", job::exceptions),
        get("/jobs/:jobid/execution-result", job::execution_result),
        get("/jobs/:jobid/logs", logs::of_job),
        get("/jobs/:jobid/plan", job::plan),
        post("/jobs/:jobid/savepoints", snapshots::trigger_savepoint),
        get("/jobs/:jobid/savepoints/:triggerid", snapshots::savepoint),
        get("/jobs/:jobid/status", job::status),
        post("/jobs/:jobid/stop", snapshots::stop),
        get("/jobs/:jobid/vertices/:vertexid", vertex::details),
        get("/jobs/:jobid/vertices/:vertexid/accumulators", vertex::accumulators),
        get("/jobs/:jobid/vertices/:vertexid/metrics", metrics::of_vertex),
        get("/jobs/:jobid/vertices/:vertexid/subtasks/metrics", metrics::of_subtasks),
        get("/jobs/:jobid/vertices/:vertexid/subtasks/:subtaskindex", vertex::subtask),
        get("/jobs/:jobid/vertices/:vertexid/subtasks/:subtaskindex/metrics", metrics::of_subtask),
        get("/jobs/:jobid/vertices/:vertexid/subtasktimes", vertex::subtask_times),
        get("/jobs/:jobid/vertices/:vertexid/taskmanagers", vertex::task_managers),
        get("/jobs/:jobid/vertices/:vertexid/watermarks", vertex::watermarks),
        get("/taskmanagers", task_managers::all),
        get("/taskmanagers/:taskmanagerid", task_managers::one),
        get("/taskmanagers/:taskmanagerid/log", logs::of_task_manager),
        get("/jars", jars::list),
        post("/jars/upload", jars::upload),
        delete("/jars/:jarid", jars::delete),
        get("/jars/:jarid/plan", jars::plan),
        post("/jars/:jarid/plan", jars::plan),
        post("/jars/:jarid/run", jars::run),
    ]
}

/// The router of all endpoints, with and without `/v1`.
pub(crate) fn router(app: Arc<App>) -> Router {
    let mut routes = Router::new();
    for route in table() {
        routes = routes.route(&pattern(route.path), route.handler);
    }
    // Counted where it is read: `handlers::jars` and `request::body`.
    let largest = app.config.upload_bytes_max.saturating_add(FORM_BYTES_MAX);
    let routes =
        routes.layer(DefaultBodyLimit::max(usize::try_from(largest).unwrap_or(usize::MAX)));
    let versioned = routes.clone();
    routes
        .nest("/v1", versioned)
        .fallback(
            |uri: Uri| async move { ApiError::not_found(format!("Not found: {}", uri.path())) },
        )
        .method_not_allowed_fallback(|method: Method, uri: Uri| async move {
            let message = format!("{method} is not possible on {}", uri.path());
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, message)
        })
        .with_state(app)
}

/// `/jobs/:jobid` as the router writes it: `/jobs/{jobid}`.
fn pattern(path: &str) -> String {
    let segments = path.split('/').map(|segment| match segment.strip_prefix(':') {
        Some(name) => format!("{{{name}}}"),
        None => segment.to_owned(),
    });
    segments.collect::<Vec<_>>().join("/")
}

fn get<T: 'static>(path: &'static str, handler: impl Handler<T, Arc<App>>) -> Route {
    Route { method: Method::GET, path, handler: routing::get(handler) }
}

fn post<T: 'static>(path: &'static str, handler: impl Handler<T, Arc<App>>) -> Route {
    Route { method: Method::POST, path, handler: routing::post(handler) }
}

fn patch<T: 'static>(path: &'static str, handler: impl Handler<T, Arc<App>>) -> Route {
    Route { method: Method::PATCH, path, handler: routing::patch(handler) }
}

fn delete<T: 'static>(path: &'static str, handler: impl Handler<T, Arc<App>>) -> Route {
    Route { method: Method::DELETE, path, handler: routing::delete(handler) }
}
