//! What a leader may change in the record.

use super::record::{
    CHECKPOINT_IDS, CheckpointRecord, HaRecord, JobRecord, LeaderRecord, RESULTS_MAX, ResultRecord,
};
use crate::mutant;
use millstream_core::checkpoint::CheckpointId;
use millstream_core::ids::JobId;

/// Names a change until its end is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChangeId(pub u64);

/// A change. Each may be made twice and is then made once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A job was submitted; its files are there.
    AddJob {
        /// Which.
        job: JobId,
        /// What is to be remembered of it.
        record: JobRecord,
    },
    /// A checkpoint is complete; its metadata is there.
    CompleteCheckpoint {
        /// Of which job.
        job: JobId,
        /// Which.
        checkpoint: CheckpointRecord,
    },
    /// Checkpoints are not needed any more; their files may go when this has been written.
    DropCheckpoints {
        /// Of which job.
        job: JobId,
        /// Which.
        checkpoints: Vec<CheckpointId>,
    },
    /// A job has ended for good.
    RecordResult {
        /// Which.
        job: JobId,
        /// How.
        result: ResultRecord,
    },
    /// Nothing is to be recovered of a job any more; its files may go when this has been written.
    RemoveJob {
        /// Which.
        job: JobId,
        /// Where its files are. Another job of the same id is not meant.
        directory: String,
    },
}

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeEnd {
    /// It is in the record, for every leader to come.
    Written,
    /// It is not in the record and never will be.
    Failed {
        /// Why.
        reason: String,
        /// Whoever wanted it does not lead any more.
        deposed: bool,
    },
    /// It may be in the record; its writer was deposed before that was certain.
    Unknown {
        /// What happened.
        reason: String,
    },
}

impl Change {
    /// Makes the change; an error says why it must not be made, and leaves the record as it was.
    pub fn apply(&self, record: &mut HaRecord) -> Result<(), String> {
        match self {
            Change::AddJob { job, record: added } => add_job(record, *job, added),
            Change::CompleteCheckpoint { job, checkpoint } => {
                complete_checkpoint(record, *job, checkpoint)
            }
            Change::DropCheckpoints { job, checkpoints } => {
                if let Some(known) = record.jobs.get_mut(job) {
                    known.checkpoints.retain(|checkpoint| !checkpoints.contains(&checkpoint.id));
                }
                Ok(())
            }
            Change::RecordResult { job, result } => record_result(record, *job, result),
            Change::RemoveJob { job, directory } => {
                if record.jobs.get(job).is_some_and(|known| known.directory == *directory) {
                    record.jobs.remove(job);
                    if let Some(result) = record.results.get_mut(job) {
                        result.remains.clear();
                    }
                }
                forget_old_results(record);
                Ok(())
            }
        }
    }
}

fn add_job(record: &mut HaRecord, job: JobId, added: &JobRecord) -> Result<(), String> {
    if let Some(result) = record.results.get(&job) {
        return Err(format!("job {job} has been submitted before: it is {}", result.status));
    }
    match record.jobs.get(&job) {
        Some(known) if known.directory != added.directory => {
            Err(format!("job {job} has been submitted before"))
        }
        Some(_) => Ok(()),
        None => {
            record.jobs.insert(job, added.clone());
            Ok(())
        }
    }
}

fn complete_checkpoint(
    record: &mut HaRecord,
    job: JobId,
    checkpoint: &CheckpointRecord,
) -> Result<(), String> {
    let ended = record.results.contains_key(&job);
    let Some(known) = record.jobs.get_mut(&job).filter(|_| !ended) else {
        return Err(format!("job {job} has ended"));
    };
    match known.checkpoints.last() {
        Some(last) if last == checkpoint => return Ok(()),
        Some(last) if last.id >= checkpoint.id => {
            return Err(format!("checkpoint {} has been completed since", last.id));
        }
        _ => (),
    }
    known.checkpoints.push(checkpoint.clone());
    // Well before the ids of this term are used up it gets more.
    if checkpoint.id.0 + CHECKPOINT_IDS / 2 >= known.next_checkpoint.0 {
        known.next_checkpoint = CheckpointId(checkpoint.id.0 + CHECKPOINT_IDS);
    }
    Ok(())
}

fn record_result(record: &mut HaRecord, job: JobId, result: &ResultRecord) -> Result<(), String> {
    match record.results.get(&job) {
        Some(known) if known.status == result.status => return Ok(()),
        Some(known) => return Err(format!("job {job} has ended before: it is {}", known.status)),
        None => (),
    }
    if !record.jobs.contains_key(&job) {
        return Err(format!("job {job} is not known"));
    }
    record.results.insert(job, result.clone());
    Ok(())
}

/// Results whose jobs have been cleaned up are kept for a while, the latest longest.
fn forget_old_results(record: &mut HaRecord) {
    let clean = record.results.iter().filter(|(job, _)| !record.jobs.contains_key(job));
    let mut clean: Vec<_> = clean.map(|(job, result)| (result.ended, *job)).collect();
    clean.sort_unstable();
    let surplus = clean.len().saturating_sub(RESULTS_MAX);
    for (_, job) in clean.into_iter().take(surplus) {
        record.results.remove(&job);
    }
}

/// A new term begins: its leader is `leader`, its checkpoints have ids of its own.
pub(super) fn take_over(record: &mut HaRecord, leader: LeaderRecord) {
    if !mutant::on("ha_epoch_not_raised") || record.epoch == 0 {
        record.epoch += 1;
    }
    record.leader = Some(leader);
    for job in record.jobs.values_mut() {
        if mutant::on("ha_checkpoint_ids_from_one") {
            continue;
        }
        job.first_checkpoint = job.next_checkpoint;
        job.next_checkpoint = CheckpointId(job.first_checkpoint.0 + CHECKPOINT_IDS);
    }
}
