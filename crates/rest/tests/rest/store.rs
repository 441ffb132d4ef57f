//! A store of programs in memory.

use crate::fixtures::{RUNNING, graph};
use millstream_core::hash::xxh3_128;
use millstream_core::ids::{ContentHash, JobId};
use millstream_core::job_graph::{JobGraph, RuntimeMode};
use millstream_rest::{Artefact, ArtefactError, ArtefactErrorKind, Artefacts, Launch, Upload};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

/// Remembers what it is asked to do.
#[derive(Default)]
pub(crate) struct Store(Mutex<Inner>);

#[derive(Default)]
pub(crate) struct Inner {
    pub(crate) kept: BTreeMap<ContentHash, (Artefact, Vec<u8>)>,
    pub(crate) launches: Vec<(ContentHash, Launch)>,
    /// How reading ended for uploads that were not complete.
    pub(crate) broken: Vec<String>,
    /// What the next call is refused with.
    pub(crate) refusal: Option<ArtefactErrorKind>,
}

impl Store {
    pub(crate) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("no test fails under this lock")
    }

    fn check(&self, id: ContentHash) -> Result<(), ArtefactError> {
        let inner = self.inner();
        if let Some(kind) = inner.refusal {
            return Err(ArtefactError { kind, message: "the store refuses".to_owned() });
        }
        let kind = ArtefactErrorKind::Unknown;
        let message = format!("there is no program {id}");
        inner.kept.get(&id).map(|_| ()).ok_or(ArtefactError { kind, message })
    }
}

impl Artefacts for Store {
    fn store(&self, upload: Upload<'_>) -> Result<Artefact, ArtefactError> {
        let mut content = Vec::new();
        if let Err(error) = upload.content.read_to_end(&mut content) {
            self.inner().broken.push(error.to_string());
            return Err(error.into());
        }
        let id = ContentHash(xxh3_128(&content));
        let display_name = upload.display_name.to_owned();
        let artefact = Artefact { id, display_name, uploaded: crate::fixtures::T0 };
        self.inner().kept.insert(id, (artefact.clone(), content));
        Ok(artefact)
    }

    fn list(&self) -> Result<Vec<Artefact>, ArtefactError> {
        Ok(self.inner().kept.values().map(|(artefact, _)| artefact.clone()).collect())
    }

    fn delete(&self, id: ContentHash) -> Result<(), ArtefactError> {
        self.check(id)?;
        self.inner().kept.remove(&id);
        Ok(())
    }

    fn run(&self, id: ContentHash, launch: Launch) -> Result<JobId, ArtefactError> {
        self.check(id)?;
        let job = launch.job.unwrap_or(RUNNING);
        self.inner().launches.push((id, launch));
        Ok(job)
    }

    fn plan(&self, id: ContentHash, launch: Launch) -> Result<JobGraph, ArtefactError> {
        self.check(id)?;
        self.inner().launches.push((id, launch));
        Ok(graph("planned", RuntimeMode::Streaming))
    }
}
