//! The JobManager's process.

use crate::app::App;
use crate::config::version;
use crate::json::job_manager::{ConfigurationEntry, Environment, Runtime};
use crate::reply::Json;
use axum::extract::State;
use std::sync::Arc;

/// `GET /jobmanager/config`
pub(crate) async fn config(State(app): State<Arc<App>>) -> Json<Vec<ConfigurationEntry>> {
    Json(ConfigurationEntry::shown(&app.configuration))
}

/// `GET /jobmanager/environment`
pub(crate) async fn environment() -> Json<Environment> {
    let jvm = Runtime { version: version(), arch: std::env::consts::ARCH, options: [] };
    Json(Environment { jvm, classpath: [] })
}
