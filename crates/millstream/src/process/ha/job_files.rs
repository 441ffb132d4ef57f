//! Plans and programs of jobs, beside the record: `jobs/<job>-<epoch>/plan.json` and `…/program`, and what
//! programs registered as cached files: `…/file-<hash>`.
//!
//! They are written before the record refers to them. The term in the name keeps what a deposed
//! leader still writes apart from what its successor does, and tells what may be swept up.

use crate::process::storage_reader::StorageReader;
use millstream_checkpoint::storage::{Storage, StorageError};
use millstream_core::OperatorError;
use millstream_core::ids::{ContentHash, JobId};
use millstream_core::job_graph::{JobGraph, Program};
use millstream_host::blob::BlobStore;
use millstream_jobmanager::ha::HaRecord;
use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Arc;

const JOBS: &str = "jobs";
const PLAN: &str = "plan.json";
const PROGRAM: &str = "program";

/// No plan is larger: it travelled in one message.
const PLAN_BYTES_MAX: u64 = 64 << 20;

/// The files of one cluster's jobs.
#[derive(Clone)]
pub struct JobFiles {
    storage: Arc<dyn Storage>,
}

impl JobFiles {
    /// The files beside the record, which is in this storage.
    pub fn new(storage: Arc<dyn Storage>) -> Self {
        Self { storage }
    }

    /// Where the files of a job go that is submitted in this term.
    pub fn directory(job: JobId, epoch: u64) -> String {
        format!("{JOBS}/{job}-{epoch}")
    }

    /// Writes what is needed to run the job again.
    pub fn write(
        &self,
        directory: &str,
        graph: &JobGraph,
        blobs: Option<&BlobStore>,
    ) -> Result<(), String> {
        if let (Some(program), Some(blobs)) = (&graph.program, blobs) {
            for blob in program.blobs() {
                let (_, mut file) = blobs.get(blob).map_err(|error| error.to_string())?;
                self.put(&path_of(directory, program, blob), |out| {
                    std::io::copy(&mut file, out).map(drop)
                })?;
            }
        }
        let plan = serde_json::to_vec(graph).map_err(|error| error.to_string())?;
        self.put(&format!("{directory}/{PLAN}"), |out| out.write_all(&plan))
    }

    fn put(
        &self,
        path: &str,
        fill: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
    ) -> Result<(), String> {
        let mut out = self.storage.create(path).map_err(|error| error.to_string())?;
        fill(&mut out).map_err(|error| format!("could not write `{path}`: {error}"))?;
        out.finish().map_err(|error| error.to_string())
    }

    /// Reads a job's plan, and puts its program, with its files, where workers get it.
    pub fn recover(
        &self,
        job: JobId,
        directory: &str,
        blobs: Option<&BlobStore>,
    ) -> Result<JobGraph, String> {
        let graph = self.read_plan(&format!("{directory}/{PLAN}"))?;
        if let (Some(program), Some(blobs)) = (&graph.program, blobs) {
            for wanted in program.blobs() {
                self.give(job, &path_of(directory, program, wanted), wanted, blobs)?;
            }
        }
        Ok(graph)
    }

    /// Puts one file where workers get it.
    fn give(
        &self,
        job: JobId,
        path: &str,
        wanted: ContentHash,
        blobs: &BlobStore,
    ) -> Result<(), String> {
        let mut file = StorageReader::open(&*self.storage, path).map_err(text)?;
        let bytes = file.length();
        let found = blobs.put(job, &mut file, Some(bytes), None).map_err(|error| {
            format!("`{}`: {}", self.shown(path), OperatorError::from_error(&error).message)
        })?;
        match found == wanted {
            true => Ok(()),
            false => Err(format!("`{}` is {found} and not {wanted}", self.shown(path))),
        }
    }

    fn read_plan(&self, path: &str) -> Result<JobGraph, String> {
        let shown = || self.shown(path);
        let length = self.storage.length(path).map_err(text)?;
        let length = length.ok_or_else(|| format!("`{}` does not exist", shown()))?;
        if length > PLAN_BYTES_MAX {
            return Err(format!("`{}` has {length} bytes: that is no plan", shown()));
        }
        let bytes = self.storage.read(path, 0..length).map_err(text)?;
        serde_json::from_slice(&bytes).map_err(|error| format!("`{}`: {error}", shown()))
    }

    /// A path as people know it.
    fn shown(&self, path: &str) -> String {
        format!("{}/{path}", self.storage.root())
    }

    /// Deletes the files of a job.
    pub fn delete(&self, directory: &str) -> Result<(), StorageError> {
        self.storage.delete(directory)
    }

    /// Deletes what earlier terms wrote and the record does not refer to.
    pub fn sweep(&self, record: &HaRecord) -> Result<(), StorageError> {
        let known: BTreeSet<&str> =
            record.jobs.values().map(|known| known.directory.as_str()).collect();
        let files = self.storage.list(JOBS)?;
        let directories = files.iter().filter_map(|file| Some(file.rsplit_once('/')?.0));
        let directories: BTreeSet<&str> = directories.collect();
        for directory in directories.into_iter().filter(|it| !known.contains(it)) {
            let epoch = directory.rsplit_once('-').and_then(|(_, epoch)| epoch.parse().ok());
            if epoch.is_some_and(|epoch: u64| epoch < record.epoch) {
                self.storage.delete(directory)?;
            }
        }
        Ok(())
    }
}

/// Where a blob of a program goes.
fn path_of(directory: &str, program: &Program, blob: ContentHash) -> String {
    match blob == program.artefact {
        true => format!("{directory}/{PROGRAM}"),
        false => format!("{directory}/file-{blob}"),
    }
}

fn text(error: StorageError) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use millstream_core::job_graph::{PlanSignature, RuntimeMode};
    use millstream_host::storage::open;
    use millstream_jobmanager::ha::JobRecord;
    use std::collections::BTreeMap;

    fn graph(name: &str) -> JobGraph {
        JobGraph {
            name: name.to_owned(),
            vertices: Vec::new(),
            edges: Vec::new(),
            mode: RuntimeMode::Streaming,
            configuration: BTreeMap::new(),
            signature: PlanSignature::default(),
            program: None,
        }
    }

    #[test]
    fn plans_are_read_again_and_what_nobody_refers_to_is_swept() {
        let root = std::env::temp_dir().join(format!("millstream-jobfiles-{}", std::process::id()));
        let files = JobFiles::new(open(&root.display().to_string()).expect("a directory"));
        let (a, b) = (JobId(1), JobId(2));
        let kept = JobFiles::directory(a, 3);
        let (old, new) = (JobFiles::directory(b, 3), JobFiles::directory(b, 4));
        for directory in [&kept, &old, &new] {
            files.write(directory, &graph("x"), None).expect("it is written");
        }
        let mut record = HaRecord { epoch: 4, ..HaRecord::default() };
        record.jobs.insert(a, JobRecord::new(kept.clone(), 0));
        files.sweep(&record).expect("it is swept");
        assert_eq!(files.recover(a, &kept, None), Ok(graph("x")));
        assert!(files.recover(b, &old, None).expect_err("it is gone").contains("does not exist"));
        assert_eq!(files.recover(b, &new, None), Ok(graph("x")), "it may yet be referred to");
        std::fs::remove_dir_all(&root).expect("it can be removed");
    }
}
