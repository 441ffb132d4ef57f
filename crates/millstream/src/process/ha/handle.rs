//! How the parts of a leader change the record.
//!
//! Each handle belongs to one term. Once a change has told it that the term is over, or may be, it
//! refuses everything: whoever holds it may still be busy, and must not conclude from anything that
//! it finds that it may go on.

use millstream_core::checkpoint::CheckpointId;
use millstream_core::ids::JobId;
use millstream_jobmanager::ha::{
    Change, ChangeEnd, ChangeId, CheckpointRecord, HaDone, HaRecord, JobRecord, LeaderElection,
    ResultRecord, UNSOLICITED,
};
use millstream_jobmanager::job_master::JobRecovery;
use millstream_rpc::shell::EndpointHandle;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often somebody who waits looks whether there is still an election.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Who waits for which change. Cheap to clone; shared by all terms of a process.
#[derive(Clone, Default)]
pub struct Waiting(Arc<WaitingChanges>);

#[derive(Default)]
struct WaitingChanges {
    last: AtomicU64,
    senders: Mutex<BTreeMap<ChangeId, SyncSender<ChangeEnd>>>,
}

impl Waiting {
    /// A change has ended.
    pub fn ended(&self, change: ChangeId, end: ChangeEnd) {
        if let Some(sender) = lock(&self.0.senders).remove(&change) {
            // Whoever does not wait any more needs no answer.
            let _ = sender.try_send(end);
        }
    }
}

/// Why something was not written into the record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HaError {
    /// It is not there and will not be.
    #[error("{0}")]
    Failed(String),
    /// This process does not lead any more, or may not: nothing can be concluded.
    #[error("this JobManager does not lead any more: {0}")]
    Deposed(String),
}

/// One term's access to the record. Cheap to clone; every call may block.
#[derive(Clone)]
pub struct HaHandle(Arc<Inner>);

struct Inner {
    epoch: u64,
    election: EndpointHandle<LeaderElection>,
    waiting: Waiting,
    /// The term is over, or may be.
    over: AtomicBool,
    /// The jobs in the record, as far as this term has written it.
    jobs: Mutex<BTreeMap<JobId, JobRecord>>,
    /// What is to be deleted of jobs whose end is on record.
    remains: Mutex<BTreeMap<JobId, Vec<String>>>,
}

impl HaHandle {
    /// The access of the term that begins with this record.
    pub fn new(
        epoch: u64,
        record: &HaRecord,
        election: EndpointHandle<LeaderElection>,
        waiting: Waiting,
    ) -> Self {
        let remains = record.results.iter().map(|(job, result)| (*job, result.remains.clone()));
        Self(Arc::new(Inner {
            epoch,
            election,
            waiting,
            over: AtomicBool::new(false),
            jobs: Mutex::new(record.jobs.clone()),
            remains: Mutex::new(remains.filter(|(_, paths)| !paths.is_empty()).collect()),
        }))
    }

    /// The term.
    pub fn epoch(&self) -> u64 {
        self.0.epoch
    }

    /// The term is over: nothing is changed from now on.
    pub fn end(&self) {
        self.0.over.store(true, Ordering::SeqCst);
    }

    /// Whether the term is over, or may be.
    pub fn is_over(&self) -> bool {
        self.0.over.load(Ordering::SeqCst)
    }

    /// A job was submitted, and its files are in this directory.
    pub fn add_job(&self, job: JobId, record: JobRecord) -> Result<(), HaError> {
        self.change(Change::AddJob { job, record: record.clone() })?;
        self.jobs().entry(job).or_insert(record);
        Ok(())
    }

    /// Where the files of a job are, if it is in the record.
    pub fn directory_of(&self, job: JobId) -> Option<String> {
        self.jobs().get(&job).map(|known| known.directory.clone())
    }

    /// What a job goes on from.
    pub fn recovery_of(&self, job: JobId) -> Option<JobRecovery> {
        let jobs = self.jobs();
        let known = jobs.get(&job)?;
        let mut older: Vec<String> = known.checkpoints.iter().map(|it| it.path.clone()).collect();
        let checkpoint = older.pop();
        Some(JobRecovery { checkpoint, older, first: known.first_checkpoint })
    }

    /// The completed checkpoints of a job, oldest first.
    pub fn checkpoints_of(&self, job: JobId) -> Vec<CheckpointRecord> {
        self.jobs().get(&job).map(|known| known.checkpoints.clone()).unwrap_or_default()
    }

    /// A checkpoint's metadata is durable in the directory `path`: from now on this is what the job
    /// goes on from.
    pub fn checkpoint_completed(
        &self,
        job: JobId,
        id: CheckpointId,
        path: &str,
    ) -> Result<(), HaError> {
        let checkpoint = CheckpointRecord { id, path: path.to_owned() };
        self.change(Change::CompleteCheckpoint { job, checkpoint: checkpoint.clone() })?;
        if let Some(known) = self.jobs().get_mut(&job)
            && known.checkpoints.last() != Some(&checkpoint)
        {
            known.checkpoints.push(checkpoint);
        }
        Ok(())
    }

    /// These files and directories are about to be deleted: no checkpoint of the record is among
    /// them after this.
    pub fn forget_checkpoints(&self, job: JobId, paths: &[String]) -> Result<(), HaError> {
        let doomed = |checkpoint: &CheckpointRecord| paths.contains(&checkpoint.path);
        let all = self.checkpoints_of(job);
        let checkpoints: Vec<CheckpointId> =
            all.iter().filter(|checkpoint| doomed(checkpoint)).map(|it| it.id).collect();
        if checkpoints.is_empty() {
            return Ok(());
        }
        self.change(Change::DropCheckpoints { job, checkpoints })?;
        if let Some(known) = self.jobs().get_mut(&job) {
            known.checkpoints.retain(|checkpoint| !doomed(checkpoint));
        }
        Ok(())
    }

    /// These files and directories are to be deleted when the job's end is on record.
    pub fn delete_after_end(&self, job: JobId, paths: Vec<String>) {
        lock(&self.0.remains).insert(job, paths);
    }

    /// A job has ended for good.
    pub fn record_result(&self, job: JobId, mut result: ResultRecord) -> Result<(), HaError> {
        result.remains = self.remains_of(job);
        self.change(Change::RecordResult { job, result })
    }

    /// What is to be deleted of a job whose end is on record.
    pub fn remains_of(&self, job: JobId) -> Vec<String> {
        lock(&self.0.remains).get(&job).cloned().unwrap_or_default()
    }

    /// Nothing of the job is left but its plan and program, which may go after this.
    pub fn remove_job(&self, job: JobId) -> Result<(), HaError> {
        let Some(directory) = self.directory_of(job) else { return Ok(()) };
        self.change(Change::RemoveJob { job, directory })?;
        self.jobs().remove(&job);
        lock(&self.0.remains).remove(&job);
        Ok(())
    }

    fn change(&self, what: Change) -> Result<(), HaError> {
        let inner = &self.0;
        if self.is_over() {
            return Err(HaError::Deposed(format!("term {} is over", inner.epoch)));
        }
        let change = ChangeId(1 + inner.waiting.0.last.fetch_add(1, Ordering::Relaxed));
        let (sender, receiver) = sync_channel(1);
        lock(&inner.waiting.0.senders).insert(change, sender);
        let epoch = inner.epoch;
        inner.election.done(UNSOLICITED, HaDone::Change { change, epoch, what });
        let end = loop {
            match receiver.recv_timeout(LOOK_EVERY) {
                Ok(end) => break end,
                Err(RecvTimeoutError::Timeout) if !inner.election.is_stopped() => (),
                Err(_) => {
                    lock(&inner.waiting.0.senders).remove(&change);
                    let reason = "the process is ending".to_owned();
                    break ChangeEnd::Unknown { reason };
                }
            }
        };
        match end {
            ChangeEnd::Written => Ok(()),
            ChangeEnd::Failed { reason, deposed: false } => Err(HaError::Failed(reason)),
            ChangeEnd::Failed { reason, .. } | ChangeEnd::Unknown { reason } => {
                self.end();
                Err(HaError::Deposed(reason))
            }
        }
    }

    fn jobs(&self) -> MutexGuard<'_, BTreeMap<JobId, JobRecord>> {
        lock(&self.0.jobs)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What stands behind it is whole between any two statements.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
