//! The work of job masters: metadata of checkpoints is written and read, files that nobody needs any
//! more are deleted. No decision is taken here.
//!
//! The works of one job master are done one after the other, on a thread that may block; also those
//! that are left when it has stopped.

use millstream_checkpoint::coordinator::Copies;
use millstream_checkpoint::metadata::codec::{HEADER_BYTES, PAYLOAD_BYTES_MAX};
use millstream_checkpoint::storage::{Storage, StorageError};
use millstream_jobmanager::job_master::op::METADATA_FILE;
use millstream_jobmanager::job_master::{JobMaster, JobMasterDone, JobMasterOp};
use millstream_rpc::machine::OpId;
use millstream_rpc::shell::{EndpointHandle, Performer};
use std::collections::VecDeque;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use super::ha::handle::{HaError, HaHandle};
use super::job_manager::FatalSink;
use super::storage::Storages;
use millstream_core::ids::JobId;

/// So many works may wait: a storage that hangs must not fill the memory.
const WORKS_MAX: usize = 256;

/// A file is copied in pieces of so many bytes.
const COPY_BYTES: u64 = 4 << 20;

/// Does the work of one job master.
pub(super) struct CheckpointWork {
    queue: Arc<Mutex<Queue>>,
    recorder: Arc<Recorder>,
    fatal: FatalSink,
}

/// Keeps the record of high availability in step with the files.
struct Recorder {
    job: JobId,
    ha: Option<HaHandle>,
    storages: Storages,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<(OpId, JobMasterOp, EndpointHandle<JobMaster>)>,
    /// A thread is at work, and takes all that waits.
    busy: bool,
}

impl CheckpointWork {
    pub(super) fn new(
        job: JobId,
        ha: Option<HaHandle>,
        storages: Storages,
        fatal: FatalSink,
    ) -> Self {
        let recorder = Arc::new(Recorder { job, ha, storages });
        Self { queue: Arc::default(), recorder, fatal }
    }
}

impl Performer<JobMaster> for CheckpointWork {
    fn perform(&mut self, op: OpId, what: JobMasterOp, endpoint: &EndpointHandle<JobMaster>) {
        if let (JobMasterOp::Delete { paths, ended: true }, Some(ha)) = (&what, &self.recorder.ha) {
            // Before the dispatcher hears of the end, so that its result names them.
            ha.delete_after_end(self.recorder.job, paths.clone());
            return endpoint.done(op, JobMasterDone::Done);
        }
        let mut queue = lock(&self.queue);
        if queue.waiting.len() >= WORKS_MAX {
            let reason = format!("{WORKS_MAX} works wait for a storage that does not answer");
            return endpoint.done(op, JobMasterDone::Failed { reason });
        }
        queue.waiting.push_back((op, what, endpoint.clone()));
        if !std::mem::replace(&mut queue.busy, true) {
            let (queue, recorder) = (self.queue.clone(), self.recorder.clone());
            tokio::task::spawn_blocking(move || work_off(&queue, &recorder));
        }
    }

    fn fatal(&mut self, reason: String) {
        (self.fatal)(reason);
    }
}

fn lock(queue: &Mutex<Queue>) -> std::sync::MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

fn work_off(queue: &Mutex<Queue>, recorder: &Recorder) {
    loop {
        let next = {
            let mut queue = lock(queue);
            let next = queue.waiting.pop_front();
            queue.busy = next.is_some();
            next
        };
        let Some((op, what, endpoint)) = next else { break };
        endpoint.done(op, recorder.done(what));
    }
}

impl Recorder {
    /// Does a work, with what belongs to it in the record: what is recorded is there before, and
    /// what is deleted is forgotten before. Whoever does not lead any more, or may not, does nothing.
    fn done(&self, what: JobMasterOp) -> JobMasterDone {
        let recorded = match &what {
            JobMasterOp::WriteMetadata { directory, recorded, .. } => {
                recorded.map(|id| (id, directory.clone()))
            }
            JobMasterOp::Delete { paths, .. } => {
                let forgotten = self.ha.as_ref().map(|ha| ha.forget_checkpoints(self.job, paths));
                if let Some(Err(error)) = forgotten {
                    return unrecorded(error);
                }
                None
            }
            JobMasterOp::ReadMetadata { .. } => None,
        };
        if let Some(ha) = self.ha.as_ref().filter(|ha| ha.is_over()) {
            return unrecorded(HaError::Deposed(format!("term {} is over", ha.epoch())));
        }
        let done = done(&self.storages, what);
        match (&self.ha, recorded, &done) {
            (Some(ha), Some((id, directory)), JobMasterDone::Done) => {
                match ha.checkpoint_completed(self.job, id, &directory) {
                    Ok(()) => done,
                    Err(error) => unrecorded(error),
                }
            }
            _ => done,
        }
    }
}

fn unrecorded(error: HaError) -> JobMasterDone {
    let reason = error.to_string();
    match error {
        HaError::Failed(_) => JobMasterDone::Failed { reason },
        HaError::Deposed(_) => JobMasterDone::Unknown { reason },
    }
}

fn done(storages: &Storages, what: JobMasterOp) -> JobMasterDone {
    let result = match what {
        JobMasterOp::WriteMetadata { directory, copies, bytes, .. } => {
            write(storages, &directory, copies.as_ref(), &bytes).map(|()| JobMasterDone::Done)
        }
        JobMasterOp::ReadMetadata { directory } => read(storages, &directory),
        JobMasterOp::Delete { paths, .. } => {
            paths.iter().try_for_each(|path| storages.delete(path)).map(|()| JobMasterDone::Done)
        }
    };
    result.unwrap_or_else(|error| {
        let reason = error.to_string();
        match error.unknown {
            true => JobMasterDone::Unknown { reason },
            false => JobMasterDone::Failed { reason },
        }
    })
}

fn write(
    storages: &Storages,
    directory: &str,
    copies: Option<&Copies>,
    bytes: &[u8],
) -> Result<(), StorageError> {
    let target = storages.open(directory)?;
    if let Some(copies) = copies {
        let source = storages.open(&copies.from)?;
        for path in &copies.paths {
            // Nothing refers to a copy before the metadata does: a doubtful one is a failed one.
            copy(&*source, &*target, path)
                .map_err(|error| StorageError { unknown: false, ..error })?;
        }
    }
    put(&*target, METADATA_FILE, |out| out.write_all(bytes))
}

fn put(
    storage: &dyn Storage,
    path: &str,
    fill: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<(), StorageError> {
    let mut out = storage.create(path)?;
    fill(&mut out).map_err(|error| StorageError {
        attempt: "write".to_owned(),
        path: format!("{}/{path}", storage.root()),
        cause: error.to_string(),
        unknown: false,
    })?;
    out.finish()
}

fn copy(source: &dyn Storage, target: &dyn Storage, path: &str) -> Result<(), StorageError> {
    let Some(length) = source.length(path)? else { return Err(missing(source, path)) };
    let mut failed = None;
    let copied = put(target, path, |out| {
        let mut at = 0;
        while at < length {
            let end = length.min(at + COPY_BYTES);
            let piece = source.read(path, at..end).map_err(|error| {
                let told = std::io::Error::other(error.to_string());
                failed = Some(error);
                told
            })?;
            out.write_all(&piece)?;
            at = end;
        }
        Ok(())
    });
    failed.map_or(copied, Err)
}

fn missing(storage: &dyn Storage, path: &str) -> StorageError {
    StorageError {
        attempt: "read".to_owned(),
        path: format!("{}/{path}", storage.root()),
        cause: "it does not exist".to_owned(),
        unknown: false,
    }
}

fn read(storages: &Storages, directory: &str) -> Result<JobMasterDone, StorageError> {
    let storage = storages.open(directory)?;
    let Some(length) = storage.length(METADATA_FILE)? else { return Ok(JobMasterDone::Missing) };
    if length > PAYLOAD_BYTES_MAX + HEADER_BYTES as u64 {
        let reason = format!("{length} bytes are too many for the metadata of a checkpoint");
        return Ok(JobMasterDone::Failed { reason });
    }
    let bytes = storage.read(METADATA_FILE, 0..length)?;
    Ok(JobMasterDone::Read { bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_written_with_its_copies_read_and_deleted() {
        let root = std::env::temp_dir().join(format!("millstream-work-{}", std::process::id()));
        let at = |name: &str| format!("{}/{name}", root.display());
        let storages = Storages::default();
        let open = |directory: &str| storages.open(directory);
        let done = |what| done(&storages, what);
        let job = open(&at("job")).expect("a directory");
        put(&*job, "chk-1/f", |out| out.write_all(&[7; 9])).expect("is written");
        let copies = Copies { from: at("job"), paths: vec!["chk-1/f".to_owned()] };
        let directory = at("savepoint");
        let bytes = vec![1, 2, 3];
        let copied = JobMasterOp::WriteMetadata {
            directory: directory.clone(),
            copies: Some(copies),
            bytes: bytes.clone(),
            recorded: None,
        };
        assert_eq!(done(copied), JobMasterDone::Done);
        let there = open(&directory).expect("a directory");
        assert_eq!(there.read("chk-1/f", 0..9), Ok(vec![7; 9]));
        let reads = || done(JobMasterOp::ReadMetadata { directory: directory.clone() });
        assert_eq!(reads(), JobMasterDone::Read { bytes });
        let paths = vec![format!("{directory}/{METADATA_FILE}"), directory.clone(), at("none")];
        assert_eq!(done(JobMasterOp::Delete { paths, ended: false }), JobMasterDone::Done);
        assert_eq!(reads(), JobMasterDone::Missing);
        std::fs::remove_dir_all(&root).expect("can be removed");
    }
}
