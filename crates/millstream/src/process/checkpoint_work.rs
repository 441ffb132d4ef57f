//! The work of job masters: metadata of checkpoints is written and read, files that nobody needs any
//! more are deleted. No decision is taken here.
//!
//! The works of one job master are done one after the other, on a thread that may block; also those
//! that are left when it has stopped.

use super::ha::handle::{HaError, HaHandle};
use super::job_manager::FatalSink;
use super::storage::Storages;
use millstream_checkpoint::files;
use millstream_core::ids::JobId;
use millstream_jobmanager::ha::{ChangeEnd, CheckpointRecorder, RecorderStep};
use millstream_jobmanager::job_master::{JobMaster, JobMasterDone, JobMasterOp};
use millstream_rpc::machine::OpId;
use millstream_rpc::shell::{EndpointHandle, Performer};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// So many works may wait: a storage that hangs must not fill the memory.
const WORKS_MAX: usize = 256;

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
    /// Decides what is recorded when.
    steps: Mutex<CheckpointRecorder>,
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
        let recorder = Arc::new(Recorder::new(job, ha, storages));
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
    fn new(job: JobId, ha: Option<HaHandle>, storages: Storages) -> Self {
        Self { job, ha, storages, steps: Mutex::default() }
    }

    /// Does a work, with what belongs to it in the record.
    fn done(&self, what: JobMasterOp) -> JobMasterDone {
        let Some(ha) = &self.ha else { return done(&self.storages, what) };
        let mut steps = lock(&self.steps);
        let over = ha.is_over().then(|| format!("term {} is over", ha.epoch()));
        let mut next = steps.begin(what, over);
        loop {
            next = match next {
                RecorderStep::Forget(paths) => {
                    steps.on_changed(end_of(ha.forget_checkpoints(self.job, &paths)))
                }
                RecorderStep::Act(what) => steps.on_acted(done(&self.storages, what)),
                RecorderStep::Record(id, directory) => {
                    steps.on_changed(end_of(ha.checkpoint_completed(self.job, id, &directory)))
                }
                RecorderStep::End(done) => return done,
            };
        }
    }
}

fn end_of(change: Result<(), HaError>) -> ChangeEnd {
    match change {
        Ok(()) => ChangeEnd::Written,
        Err(HaError::Failed(reason)) => ChangeEnd::Failed { reason, deposed: false },
        Err(HaError::Deposed(reason)) => ChangeEnd::Failed { reason, deposed: true },
    }
}

fn done(storages: &Storages, what: JobMasterOp) -> JobMasterDone {
    let open = |directory: &str| storages.open(directory);
    let result = match what {
        JobMasterOp::WriteMetadata { directory, copies, bytes, .. } => {
            files::write(&open, &directory, copies.as_ref(), &bytes).map(|()| JobMasterDone::Done)
        }
        JobMasterOp::ReadMetadata { directory } => files::read(&open, &directory).map(|found| {
            found.map_or(JobMasterDone::Missing, |bytes| JobMasterDone::Read { bytes })
        }),
        JobMasterOp::ListFiles { directory } => open(&directory)
            .and_then(|storage| storage.list(""))
            .map(|paths| JobMasterDone::Listed { paths }),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::ha::RECORD;
    use crate::process::ha::election_work::{ElectionWork, Order, Troubles, process_name};
    use crate::process::ha::handle::Waiting;
    use millstream_checkpoint::coordinator::Copies;
    use millstream_checkpoint::metadata::METADATA_FILE;
    use millstream_checkpoint::pointer::{ConditionalStore, Put, Version};
    use millstream_core::checkpoint::CheckpointId;
    use millstream_host::pointer::DirectoryStore;
    use millstream_jobmanager::ha::{HaConfig, HaRecord, JobRecord, LeaderElection};
    use millstream_rpc::protocol::EndpointName;
    use millstream_rpc::shell::{RpcSystem, spawn_endpoint};
    use std::io::Write;

    #[test]
    fn metadata_is_written_with_its_copies_read_and_deleted() {
        let root = std::env::temp_dir().join(format!("millstream-work-{}", std::process::id()));
        let at = |name: &str| format!("{}/{name}", root.display());
        let storages = Storages::default();
        let open = |directory: &str| storages.open(directory);
        let done = |what| done(&storages, what);
        let job = open(&at("job")).expect("a directory");
        let mut file = job.create("chk-1/f").expect("is created");
        file.write_all(&[7; 9]).expect("is written");
        file.finish().expect("is durable");
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

    /// A leader's access to its record in a directory of its own, and the store.
    fn led(root: &std::path::Path) -> (tokio::runtime::Runtime, HaHandle, Arc<DirectoryStore>) {
        let runtime = tokio::runtime::Runtime::new().expect("threads");
        let store = Arc::new(DirectoryStore::create(root).expect("a directory"));
        let waiting = Waiting::default();
        let (orders, mut ordered) = tokio::sync::mpsc::unbounded_channel();
        let rpc = RpcSystem::local("here");
        let config =
            HaConfig { process: process_name(&rpc), rpc: "here".to_owned(), lease_ms: 60_000 };
        let fatal: FatalSink = Arc::new(|_| ());
        let work = ElectionWork {
            store: store.clone(),
            troubles: Troubles::default(),
            waiting: waiting.clone(),
            orders,
            rpc: rpc.clone(),
            fatal,
        };
        let machine = LeaderElection::new(config);
        let handle = runtime.block_on(async {
            let name = EndpointName::LeaderElection;
            let election = spawn_endpoint(&rpc, name, machine, move |_| Box::new(work));
            match ordered.recv().await {
                Some(Order::Lead(grant)) => {
                    HaHandle::new(grant.epoch, &grant.record, election, waiting)
                }
                other => panic!("{other:?}"),
            }
        });
        (runtime, handle, store)
    }

    fn recorded(store: &DirectoryStore) -> (Version, HaRecord) {
        let (version, bytes) = store.read(RECORD).expect("readable").expect("written");
        (version, HaRecord::decode(&bytes).expect("a record"))
    }

    #[test]
    fn a_checkpoint_is_recorded_before_it_is_complete_and_forgotten_before_it_is_deleted() {
        let root = std::env::temp_dir().join(format!("millstream-recorder-{}", std::process::id()));
        let (_runtime, ha, store) = led(&root.join("ha"));
        let job = JobId(7);
        ha.add_job(job, JobRecord::new("jobs/7-1".to_owned(), 0)).expect("it leads");
        let recorder = Recorder::new(job, Some(ha.clone()), Storages::default());
        let at = |id: u64| root.join(format!("chk-{id}")).display().to_string();
        let write = |id: u64| JobMasterOp::WriteMetadata {
            directory: at(id),
            copies: None,
            bytes: vec![1],
            recorded: Some(CheckpointId(id)),
        };
        let paths_of = |store: &DirectoryStore| -> Vec<String> {
            let (_, record) = recorded(store);
            record.jobs[&job].checkpoints.iter().map(|it| it.path.clone()).collect()
        };
        assert_eq!(recorder.done(write(1)), JobMasterDone::Done);
        assert_eq!(recorder.done(write(2)), JobMasterDone::Done);
        assert_eq!(paths_of(&store), [at(1), at(2)]);
        let delete = |id: u64| JobMasterOp::Delete { paths: vec![at(id)], ended: false };
        assert_eq!(recorder.done(delete(1)), JobMasterDone::Done);
        assert_eq!(paths_of(&store), [at(2)]);
        assert_eq!(recorder.done(write(3)), JobMasterDone::Done);
        assert_eq!(paths_of(&store), [at(2), at(3)]);

        // Somebody else takes over, and nothing that this leader does counts any more.
        let (version, mut record) = recorded(&store);
        record.epoch += 1;
        record.beat += 1;
        let put = store.put_if(RECORD, &record.encode(), Some(&version));
        assert!(matches!(put, Put::Written(_)), "{put:?}");
        for what in [write(4), delete(3), JobMasterOp::ReadMetadata { directory: at(4) }, delete(2)]
        {
            let done = recorder.done(what.clone());
            assert!(matches!(done, JobMasterDone::Unknown { .. }), "{what:?}: {done:?}");
        }
        assert_eq!(paths_of(&store), [at(2), at(3)]);
        assert!(root.join("chk-2/_metadata").exists() && root.join("chk-3/_metadata").exists());
        assert!(ha.is_over());
        std::fs::remove_dir_all(&root).expect("it can be removed");
    }
}
