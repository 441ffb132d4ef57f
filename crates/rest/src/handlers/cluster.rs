//! The cluster as a whole.

use crate::app::App;
use crate::config::version;
use crate::error::ApiError;
use crate::json::dashboard::{DashboardConfiguration, Features};
use crate::json::error::EmptyBody;
use crate::json::overview::ClusterOverview;
use crate::reply::{Json, Reply};
use axum::extract::State;
use std::sync::Arc;

/// `GET /overview`
pub(crate) async fn overview(State(app): State<Arc<App>>) -> Reply<ClusterOverview> {
    let (resources, jobs) = tokio::join!(app.gateway.cluster_resources(), app.gateway.jobs());
    Ok(Json(ClusterOverview::of(resources?, &jobs?, &app.config.revision)))
}

/// `GET /config`
pub(crate) async fn config(State(app): State<Arc<App>>) -> Json<DashboardConfiguration> {
    let config = &app.config;
    Json(DashboardConfiguration {
        refresh_interval: config.refresh_interval_ms,
        timezone_name: "Coordinated Universal Time",
        timezone_offset: 0,
        flink_version: version(),
        flink_revision: config.revision.clone(),
        features: Features {
            web_submit: config.allows_submission() && app.artefacts.is_some(),
            web_cancel: config.allows_cancellation(),
            web_rescale: false,
            web_history: false,
        },
        millstream_version: env!("CARGO_PKG_VERSION"),
    })
}

/// `DELETE /cluster`
pub(crate) async fn shut_down(State(app): State<Arc<App>>) -> Result<Json<EmptyBody>, ApiError> {
    app.gateway.shut_down().await?;
    Ok(Json(EmptyBody {}))
}
