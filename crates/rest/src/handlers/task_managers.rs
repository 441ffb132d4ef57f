//! The workers.

use crate::app::App;
use crate::json::task_manager::{TaskManager, TaskManagerWithSlots, TaskManagers};
use crate::reply::{Json, Reply};
use crate::request::PathParameters;
use axum::extract::State;
use std::sync::Arc;

/// `GET /taskmanagers`
pub(crate) async fn all(State(app): State<Arc<App>>) -> Reply<TaskManagers> {
    let found = app.gateway.task_managers().await?;
    Ok(Json(TaskManagers { taskmanagers: found.iter().map(TaskManager::of).collect() }))
}

/// `GET /taskmanagers/:taskmanagerid`
pub(crate) async fn one(
    State(app): State<Arc<App>>,
    path: PathParameters,
) -> Reply<TaskManagerWithSlots> {
    let found = app.gateway.task_manager(&path.task_manager()?).await?;
    Ok(Json(TaskManagerWithSlots::of(&found)))
}
