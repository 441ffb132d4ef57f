//! The right to have the store do one thing, on a thread where that may block.

use super::{ArtefactError, Artefacts};
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;

/// One piece of work. Its place among the [`WORK_MAX`] is free when it is done, even if the client
/// who wanted it has gone away before.
pub(crate) struct Work {
    artefacts: Arc<dyn Artefacts>,
    _place: OwnedSemaphorePermit,
}

/// Uploads, plans and launches at a time: each holds a thread, and most a child process.
pub(crate) const WORK_MAX: usize = 16;

impl Work {
    pub(crate) fn new(artefacts: Arc<dyn Artefacts>, place: OwnedSemaphorePermit) -> Self {
        Self { artefacts, _place: place }
    }

    /// Begins the work.
    pub(crate) fn begin<T: Send + 'static>(
        self,
        what: impl FnOnce(&dyn Artefacts) -> Result<T, ArtefactError> + Send + 'static,
    ) -> JoinHandle<Result<T, ArtefactError>> {
        tokio::task::spawn_blocking(move || {
            let work = self;
            what(&*work.artefacts)
        })
    }
}
