//! Sees everything that reaches the store and everything that anybody is told, and knows what must
//! hold. A violation panics.

use millstream_core::checkpoint::CheckpointId;
use millstream_core::ids::JobId;
use millstream_core::status::JobStatus;
use millstream_jobmanager::ha::{Change, ChangeEnd, Grant, HaRecord};
use std::collections::{BTreeMap, BTreeSet};

/// What the judge knows.
#[derive(Debug, Default)]
pub struct Judge {
    /// The newest version of the record.
    pub record: Option<HaRecord>,
    /// Directories of jobs that are there.
    pub files: BTreeSet<String>,
    /// Jobs whose submitter was told that they run.
    acknowledged: BTreeSet<JobId>,
    /// Jobs that were refused and are therefore in nobody's hands.
    refused: BTreeSet<JobId>,
    /// How each job ended, as anybody was told or as was recorded.
    ends: BTreeMap<JobId, JobStatus>,
    /// The term that used an id of a checkpoint.
    checkpoint_ids: BTreeMap<(JobId, CheckpointId), u64>,
    /// The newest checkpoint of each job of which its leader was told that it is recorded.
    completed: BTreeMap<JobId, CheckpointId>,
    /// Directories whose job was told to be recorded neither now nor later.
    never: BTreeSet<String>,
    /// Terms that were granted.
    granted: BTreeSet<u64>,
}

impl Judge {
    /// A write takes effect: that of this process, which leads in this term.
    pub fn on_effect(&mut self, bytes: &[u8], writer: &str) {
        let record = HaRecord::decode(bytes).expect("only records are written");
        let former = self.record.take().unwrap_or_default();
        assert!(record.beat > former.beat, "two versions have the same number");
        match record.epoch - former.epoch {
            0 => {
                let led = former.leader.as_ref().map(|leader| leader.process.0.as_str());
                assert_eq!(led, Some(writer), "I3: a write of somebody who does not lead");
            }
            1 => {
                let leads = record.leader.as_ref().map(|leader| leader.process.0.as_str());
                assert_eq!(leads, Some(writer), "I3: a term begins with another leader");
            }
            _ => panic!("I3: from term {} to {}", former.epoch, record.epoch),
        }
        self.check_jobs(&former, &record);
        self.record = Some(record);
    }

    fn check_jobs(&mut self, former: &HaRecord, record: &HaRecord) {
        for job in former.results.keys().chain(&self.acknowledged) {
            let known = record.results.contains_key(job) || record.jobs.contains_key(job);
            assert!(known, "job {job} is lost");
        }
        for job in former.jobs.keys().filter(|job| !record.jobs.contains_key(job)) {
            let ended = record.results.contains_key(job) || self.refused.contains(job);
            assert!(ended, "job {job} is forgotten before it ended");
        }
        for (job, known) in &record.jobs {
            let there = self.files.contains(&known.directory);
            assert!(there, "the files of job {job} are not there: {}", known.directory);
            assert!(!self.never.contains(&known.directory), "a failed change was made: {job}");
            for added in &known.checkpoints {
                let former = former.jobs.get(job);
                if former.is_none_or(|former| !former.checkpoints.contains(added)) {
                    let begun = self.checkpoint_ids.get(&(*job, added.id));
                    assert_eq!(begun, Some(&record.epoch), "a checkpoint of another term");
                }
            }
            let newest = known.checkpoints.last().map_or(CheckpointId(0), |last| last.id);
            let told = self.completed.get(job).copied().unwrap_or_default();
            assert!(newest >= told, "checkpoint {told} of job {job} is lost");
        }
        for (job, result) in &record.results {
            self.on_end(*job, result.status);
        }
    }

    fn on_end(&mut self, job: JobId, status: JobStatus) {
        let first = *self.ends.entry(job).or_insert(status);
        assert_eq!(first, status, "I10: job {job} ended twice");
    }

    /// A client was told how a job ended.
    pub fn on_told_end(&mut self, job: JobId, status: JobStatus) {
        let recorded = self.record.as_ref().and_then(|record| record.results.get(&job));
        let recorded = recorded.map(|result| result.status);
        assert_eq!(recorded, Some(status), "I10: job {job} ended for its client only");
        self.on_end(job, status);
    }

    /// A submitter was answered.
    pub fn on_submitted(&mut self, job: JobId, accepted: bool) {
        if !accepted {
            self.refused.insert(job);
            return;
        }
        self.acknowledged.insert(job);
        let record = self.record.as_ref();
        let known =
            record.is_some_and(|r| r.jobs.contains_key(&job) || r.results.contains_key(&job));
        assert!(known, "job {job} was accepted and is not recorded");
    }

    /// A term begins for a process.
    pub fn on_granted(&mut self, grant: &Grant) {
        assert!(self.granted.insert(grant.epoch), "I3: term {} is granted twice", grant.epoch);
        let newest = self.record.as_ref().expect("it was written");
        assert!(newest.epoch >= grant.epoch, "a term that is not in the record");
        if newest.epoch == grant.epoch && newest.beat == grant.record.beat {
            assert_eq!(*newest, grant.record, "a leader begins with something else");
        }
    }

    /// The files of a job are written, perhaps once more.
    pub fn on_files(&mut self, directory: &str) {
        self.files.insert(directory.to_owned());
        self.never.remove(directory);
    }

    /// A leader was told what became of its change.
    pub fn on_change_end(&mut self, change: &Change, end: &ChangeEnd) {
        match (change, end) {
            (Change::CompleteCheckpoint { job, checkpoint }, ChangeEnd::Written) => {
                let newest = self.completed.entry(*job).or_default();
                *newest = checkpoint.id.max(*newest);
                let record = self.record.as_ref().expect("there is one");
                if let Some(known) = record.jobs.get(job) {
                    let there = known.checkpoints.last().is_some_and(|c| c.id >= *newest);
                    assert!(there, "checkpoint {newest} was reported and is not recorded");
                }
            }
            (Change::AddJob { record, .. }, ChangeEnd::Failed { deposed: false, .. }) => {
                self.never.insert(record.directory.clone());
                let jobs = self.record.iter().flat_map(|newest| newest.jobs.values());
                let there = jobs.into_iter().any(|known| known.directory == record.directory);
                assert!(!there, "a change was made and reported as failed");
            }
            (Change::AddJob { job, .. }, ChangeEnd::Written) => {
                let record = self.record.as_ref().expect("there is one");
                let there = record.jobs.contains_key(job) || record.results.contains_key(job);
                assert!(there, "job {job} was reported and is not recorded");
            }
            _ => (),
        }
    }

    /// A job master is started, by the leader of this term.
    pub fn on_start(&self, job: JobId, epoch: u64) {
        let current = self.record.as_ref().filter(|record| record.epoch == epoch);
        if let Some(result) = current.and_then(|record| record.results.get(&job)) {
            panic!("I10: job {job} is {} and is started again", result.status);
        }
    }

    /// Tasks write files of a checkpoint, in this term.
    pub fn on_checkpoint_begun(&mut self, job: JobId, id: CheckpointId, epoch: u64) {
        let first = *self.checkpoint_ids.entry((job, id)).or_insert(epoch);
        assert_eq!(first, epoch, "two terms write checkpoint {id} of job {job}");
    }

    /// A leader acts. `fair`: all clocks run alike, so it must not even believe to lead any more
    /// when somebody else may.
    pub fn on_act(&self, epoch: u64, fair: bool) {
        let newest = self.record.as_ref().map_or(0, |record| record.epoch);
        assert!(newest >= epoch, "a leader without a term");
        assert!(!fair || newest == epoch, "it acts in term {epoch}, and {newest} has begun");
    }

    /// How a job ended, if it has.
    pub fn end_of(&self, job: JobId) -> Option<JobStatus> {
        self.ends.get(&job).copied()
    }

    /// Jobs whose submitter was told that they run.
    pub fn acknowledged(&self) -> impl Iterator<Item = JobId> {
        self.acknowledged.iter().copied()
    }
}
