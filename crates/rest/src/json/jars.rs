//! `JarListInfo`, `JarUploadResponseBody`, `JarRunRequestBody`, `JarRunResponseBody`.

use crate::artefacts::{Artefact, Launch, Restore};
use crate::error::ApiError;
use crate::request::Query;
use millstream_core::ids::{ContentHash, JobId};
use millstream_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// All uploaded programs.
#[derive(Serialize)]
pub(crate) struct JarFiles {
    /// Where this was asked.
    address: String,
    files: Vec<JarFile>,
}

#[derive(Serialize)]
struct JarFile {
    id: ContentHash,
    name: String,
    uploaded: Timestamp,
    /// Entry classes of a jar; an executable has one entry, and it needs no name.
    entry: [(); 0],
}

/// An upload has arrived.
#[derive(Serialize)]
pub(crate) struct JarUpload {
    /// Clients take what follows the last `/` for the id. Not a path of this machine.
    filename: String,
    status: &'static str,
}

/// A job has been submitted.
#[derive(Serialize)]
pub(crate) struct JarRun {
    pub(crate) jobid: JobId,
    #[serde(rename = "applicationId")]
    pub(crate) application_id: JobId,
}

/// How a program is to be planned or run. `entryClass` means nothing here and is ignored.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct JarRequest {
    program_args_list: Option<Vec<String>>,
    parallelism: Option<i64>,
    job_id: Option<JobId>,
    allow_non_restored_state: Option<bool>,
    savepoint_path: Option<String>,
    /// The old name of `claim_mode`.
    restore_mode: Option<String>,
    claim_mode: Option<String>,
    flink_configuration: Option<BTreeMap<String, String>>,
}

impl JarFiles {
    pub(crate) fn of(address: String, artefacts: &[Artefact]) -> Self {
        let files = artefacts.iter().map(|artefact| JarFile {
            id: artefact.id,
            name: artefact.display_name.clone(),
            uploaded: artefact.uploaded,
            entry: [],
        });
        Self { address, files: files.collect() }
    }
}

impl JarUpload {
    pub(crate) fn of(artefact: &Artefact) -> Self {
        Self { filename: format!("/jars/{}", artefact.id), status: "success" }
    }
}

impl JarRequest {
    /// The request; what the body does not say, the query may.
    pub(crate) fn launch(self, query: &Query) -> Result<Launch, ApiError> {
        let parallelism = match self.parallelism {
            None => query.parse("parallelism")?,
            some => some,
        };
        let restore = self.restore(query)?;
        Ok(Launch {
            arguments: self.program_args_list.unwrap_or_else(|| arguments(query)),
            parallelism: parallelism.map(checked_parallelism).transpose()?,
            configuration: self.flink_configuration.unwrap_or_default(),
            job: self.job_id,
            restore,
        })
    }

    fn restore(&self, query: &Query) -> Result<Option<Restore>, ApiError> {
        let path = self.savepoint_path.as_deref().or(query.text("savepointPath"));
        let Some(path) = path.filter(|path| !path.is_empty()) else { return Ok(None) };
        let allowed = match self.allow_non_restored_state {
            None => query.parse("allowNonRestoredState")?,
            some => some,
        };
        let claim_mode = self.claim_mode.clone().or(self.restore_mode.clone());
        let known = ["CLAIM", "NO_CLAIM", "LEGACY"];
        if let Some(mode) = claim_mode.as_deref().filter(|mode| !known.contains(mode)) {
            let message = format!("claimMode is `{mode}`: expected one of {}", known.join(", "));
            return Err(ApiError::bad_request(message));
        }
        Ok(Some(Restore {
            savepoint_path: path.to_owned(),
            allow_non_restored_state: allowed.unwrap_or(false),
            claim_mode,
        }))
    }
}

/// `programArg`: a list with commas, and it may come several times.
fn arguments(query: &Query) -> Vec<String> {
    let lists = query.all("programArg").filter(|list| !list.is_empty());
    lists.flat_map(|list| list.split(',')).map(str::to_owned).collect()
}

fn checked_parallelism(parallelism: i64) -> Result<u32, ApiError> {
    let above_zero = u32::try_from(parallelism).ok().filter(|p| *p > 0);
    above_zero.ok_or_else(|| {
        ApiError::bad_request(format!("parallelism is {parallelism}: it must be at least 1"))
    })
}
