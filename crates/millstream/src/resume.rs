//! What a job is to go on from, held against its program where the job is submitted: a program that
//! cannot read a savepoint is refused before it is sent anywhere. The JobManager does the same before
//! it asks for a slot; it also sees what is not on this machine.

use millstream_api::error::{Error, ErrorCode, Result};
use millstream_checkpoint::config::RecoveryConfig;
use millstream_checkpoint::metadata::{self, METADATA_FILE};
use millstream_checkpoint::reassign::Reassignment;
use millstream_core::config::Configuration;
use millstream_core::job_graph::JobGraph;
use std::path::Path;
use std::sync::Arc;

/// An error if the program of this graph cannot go on from what its configuration names. Nothing is
/// said of what cannot be looked at from here.
pub(crate) fn check(graph: &JobGraph) -> Result<()> {
    let configuration = Configuration(graph.configuration.clone());
    let Ok(Some(recovery)) = RecoveryConfig::read(&configuration) else { return Ok(()) };
    let path = recovery.path.strip_prefix("file://").unwrap_or(&recovery.path);
    let path = Path::new(path);
    let file = if path.is_dir() { path.join(METADATA_FILE) } else { path.to_owned() };
    let Ok(bytes) = std::fs::read(&file) else { return Ok(()) };
    let refuse = |why: String| {
        Error::new(ErrorCode::CannotResume, "the job cannot go on from here; nothing was started")
            .attempted(format!("hold job `{}` against {}", graph.name, file.display()))
            .why(why)
            .next("`millstream state diff` shows all that differs")
    };
    let metadata = metadata::decode(&bytes, &file.display().to_string())
        .map_err(|error| refuse(error.to_string()))?;
    Reassignment::new(Arc::new(metadata), graph, recovery.ignore_unclaimed)
        .map_err(|error| refuse(error.to_string()))?;
    Ok(())
}
