//! `DashboardConfiguration`.

use serde::Serialize;

/// What a dashboard wants to know before it asks anything else.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct DashboardConfiguration {
    pub(crate) refresh_interval: u64,
    pub(crate) timezone_name: &'static str,
    pub(crate) timezone_offset: i32,
    pub(crate) flink_version: String,
    pub(crate) flink_revision: String,
    pub(crate) features: Features,
    pub(crate) millstream_version: &'static str,
}

/// What can be done over REST.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Features {
    pub(crate) web_submit: bool,
    pub(crate) web_cancel: bool,
    pub(crate) web_rescale: bool,
    pub(crate) web_history: bool,
}
