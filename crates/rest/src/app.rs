//! What handlers share.

use crate::artefacts::Artefacts;
use crate::artefacts::work::{WORK_MAX, Work};
use crate::config::RestConfig;
use crate::error::ApiError;
use crate::gateway::Gateway;
use crate::job_types::JobTypes;
use millstream_core::config::Configuration;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// What handlers share.
pub(crate) struct App {
    pub(crate) config: RestConfig,
    /// Where the server listens.
    pub(crate) bound: SocketAddr,
    pub(crate) gateway: Gateway,
    pub(crate) job_types: JobTypes,
    /// The JobManager's effective configuration.
    pub(crate) configuration: Configuration,
    pub(crate) artefacts: Option<Arc<dyn Artefacts>>,
    /// Places for pieces of work that the store does.
    places: Arc<Semaphore>,
}

impl App {
    pub(crate) fn new(
        config: RestConfig,
        bound: SocketAddr,
        gateway: Gateway,
        configuration: Configuration,
        artefacts: Option<Arc<dyn Artefacts>>,
    ) -> Self {
        let (job_types, places) = (JobTypes::default(), Arc::new(Semaphore::new(WORK_MAX)));
        Self { config, bound, gateway, job_types, configuration, artefacts, places }
    }

    /// The right to have the store of uploaded programs do one thing.
    pub(crate) fn work(&self) -> Result<Work, ApiError> {
        if !self.config.allows_submission() {
            return Err(ApiError::forbidden(self.why_no_submission()));
        }
        let artefacts = self.artefacts.clone();
        let artefacts = artefacts.ok_or_else(|| {
            ApiError::forbidden("this server keeps no programs; submit with `millstream run`")
        })?;
        let place = self.places.clone().try_acquire_owned().map_err(|_| {
            ApiError::unavailable(format!("{WORK_MAX} uploads and launches are under way"))
        })?;
        Ok(Work::new(artefacts, place))
    }

    fn why_no_submission(&self) -> &'static str {
        if self.config.read_only {
            "this REST server is read-only: the job runs embedded in its own process"
        } else {
            "uploads and submissions over REST are switched off (web.submit.enable: false)"
        }
    }
}
