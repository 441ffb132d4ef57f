//! Keeps the record in step with the files of one job's checkpoints: what is recorded is there before,
//! what is deleted is forgotten before, and whoever does not lead any more does nothing.
//!
//! The works of a job master go through here one after the other. The recorder says what is to be done
//! next, and is told what came of it; it does nothing itself.

use super::change::ChangeEnd;
use crate::job_master::{JobMasterDone, JobMasterOp};
use crate::mutant;
use millstream_core::checkpoint::CheckpointId;
use std::collections::{BTreeMap, BTreeSet};

/// So many paths that could not be forgotten are remembered.
const UNFORGOTTEN_MAX: usize = 65_536;

/// What is to be done next for a work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecorderStep {
    /// None of these directories may be a checkpoint of the record any more; tell
    /// [`CheckpointRecorder::on_changed`].
    Forget(Vec<String>),
    /// The work itself; tell [`CheckpointRecorder::on_acted`].
    Act(JobMasterOp),
    /// The checkpoint in this directory is what the job goes on from; tell
    /// [`CheckpointRecorder::on_changed`].
    Record(CheckpointId, String),
    /// Nothing: the work has ended like this.
    End(JobMasterDone),
}

/// Between the works of one job master and the record.
#[derive(Debug, Default)]
pub struct CheckpointRecorder {
    /// Metadata of which nobody knows yet whether it was written, and which is not recorded: it is
    /// when it is found. As many as a coordinator reads back at a time.
    doubtful: BTreeMap<String, CheckpointId>,
    /// What was to be deleted and could not be forgotten. What it refers to may be on the list of a
    /// later deletion, so it is forgotten before that. As much as was given up while the store was ill.
    unforgotten: BTreeSet<String>,
    /// The work that is under way.
    at: At,
}

/// How far a work is.
#[derive(Debug, Default)]
enum At {
    #[default]
    Idle,
    /// What is to be deleted is being forgotten, with what was to be before.
    Forgetting(JobMasterOp, Vec<String>),
    /// It is being done; what is to be recorded if it succeeds.
    Acting(Option<(CheckpointId, String)>),
    /// What it made is being recorded; how it will have ended.
    Recording(String, JobMasterDone),
}

impl CheckpointRecorder {
    /// A work begins. `over`: why the term is over, if it is, or may be.
    pub fn begin(&mut self, what: JobMasterOp, over: Option<String>) -> RecorderStep {
        if let Some(reason) = over.filter(|_| !mutant::on("deposed_works_on")) {
            return RecorderStep::End(JobMasterDone::Unknown { reason });
        }
        match &what {
            JobMasterOp::Delete { paths, .. } if !mutant::on("deleted_before_forgotten") => {
                self.doubtful.retain(|directory, _| !paths.contains(directory));
                let mut paths = paths.clone();
                paths.extend(self.unforgotten.iter().cloned());
                self.at = At::Forgetting(what, paths.clone());
                RecorderStep::Forget(paths)
            }
            _ => self.act(what),
        }
    }

    fn act(&mut self, what: JobMasterOp) -> RecorderStep {
        let to_record = match &what {
            JobMasterOp::WriteMetadata { directory, recorded, .. } => {
                recorded.map(|id| (id, directory.clone()))
            }
            JobMasterOp::ReadMetadata { directory } => {
                self.doubtful.get(directory).map(|id| (*id, directory.clone()))
            }
            JobMasterOp::ListFiles { .. } | JobMasterOp::Delete { .. } => None,
        };
        self.at = At::Acting(to_record.filter(|_| !mutant::on("completed_before_recorded")));
        RecorderStep::Act(what)
    }

    /// What became of a change of the record.
    pub fn on_changed(&mut self, end: ChangeEnd) -> RecorderStep {
        let done = match end {
            ChangeEnd::Written => None,
            ChangeEnd::Failed { reason, deposed: false } => Some(JobMasterDone::Failed { reason }),
            ChangeEnd::Failed { reason, .. } | ChangeEnd::Unknown { reason } => {
                Some(JobMasterDone::Unknown { reason })
            }
        };
        match (std::mem::take(&mut self.at), done) {
            (At::Forgetting(what, _), None) => {
                self.unforgotten.clear();
                self.act(what)
            }
            (At::Recording(directory, done), None) => {
                self.doubtful.remove(&directory);
                RecorderStep::End(done)
            }
            (At::Forgetting(_, paths), Some(done)) => {
                if self.unforgotten.len() < UNFORGOTTEN_MAX
                    && !mutant::on("failed_forget_is_dropped")
                {
                    self.unforgotten.extend(paths);
                }
                RecorderStep::End(done)
            }
            (At::Recording(..), Some(done)) => RecorderStep::End(done),
            (At::Idle | At::Acting(_), _) => stray(),
        }
    }

    /// What came of the work itself.
    pub fn on_acted(&mut self, done: JobMasterDone) -> RecorderStep {
        let At::Acting(to_record) = std::mem::take(&mut self.at) else { return stray() };
        let Some((id, directory)) = to_record else { return RecorderStep::End(done) };
        match done {
            JobMasterDone::Done | JobMasterDone::Read { .. } | JobMasterDone::Listed { .. } => {
                self.at = At::Recording(directory.clone(), done);
                RecorderStep::Record(id, directory)
            }
            JobMasterDone::Unknown { .. } => {
                if !mutant::on("doubtful_is_not_recorded") {
                    self.doubtful.insert(directory, id);
                }
                RecorderStep::End(done)
            }
            JobMasterDone::Missing => {
                self.doubtful.remove(&directory);
                RecorderStep::End(done)
            }
            JobMasterDone::Failed { .. } => RecorderStep::End(done),
        }
    }
}

/// An end of something that was not begun: nothing is known.
fn stray() -> RecorderStep {
    let reason = "its end was told, and not its begin".to_owned();
    RecorderStep::End(JobMasterDone::Unknown { reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write() -> JobMasterOp {
        JobMasterOp::WriteMetadata {
            directory: "/c/chk-3".to_owned(),
            copies: None,
            bytes: vec![1],
            recorded: Some(CheckpointId(3)),
        }
    }

    fn read() -> JobMasterOp {
        JobMasterOp::ReadMetadata { directory: "/c/chk-3".to_owned() }
    }

    fn delete() -> JobMasterOp {
        JobMasterOp::Delete { paths: vec!["/c/chk-3".to_owned()], ended: false }
    }

    fn unknown() -> JobMasterDone {
        JobMasterDone::Unknown { reason: "nobody knows".to_owned() }
    }

    fn found() -> JobMasterDone {
        JobMasterDone::Read { bytes: vec![1] }
    }

    fn record() -> RecorderStep {
        RecorderStep::Record(CheckpointId(3), "/c/chk-3".to_owned())
    }

    #[test]
    fn a_checkpoint_is_recorded_when_it_is_written_and_before_it_is_complete() {
        let mut recorder = CheckpointRecorder::default();
        assert_eq!(recorder.begin(write(), None), RecorderStep::Act(write()));
        assert_eq!(recorder.on_acted(JobMasterDone::Done), record());
        let end = RecorderStep::End(JobMasterDone::Done);
        assert_eq!(recorder.on_changed(ChangeEnd::Written), end);
    }

    #[test]
    fn a_write_that_nobody_knew_of_is_recorded_whenever_it_is_found() {
        let mut recorder = CheckpointRecorder::default();
        recorder.begin(write(), None);
        assert_eq!(recorder.on_acted(unknown()), RecorderStep::End(unknown()));
        // The store is ill once more, then the record is.
        recorder.begin(read(), None);
        assert_eq!(recorder.on_acted(unknown()), RecorderStep::End(unknown()));
        recorder.begin(read(), None);
        assert_eq!(recorder.on_acted(found()), record());
        let refused = ChangeEnd::Failed { reason: "full".to_owned(), deposed: false };
        let failed = RecorderStep::End(JobMasterDone::Failed { reason: "full".to_owned() });
        assert_eq!(recorder.on_changed(refused), failed);
        recorder.begin(read(), None);
        assert_eq!(recorder.on_acted(found()), record());
        assert_eq!(recorder.on_changed(ChangeEnd::Written), RecorderStep::End(found()));
        // Now it is known, and read like any other.
        recorder.begin(read(), None);
        assert_eq!(recorder.on_acted(found()), RecorderStep::End(found()));
    }

    #[test]
    fn what_is_deleted_is_forgotten_before_and_not_recorded_after() {
        let mut recorder = CheckpointRecorder::default();
        recorder.begin(write(), None);
        recorder.on_acted(unknown());
        let forget = RecorderStep::Forget(vec!["/c/chk-3".to_owned()]);
        assert_eq!(recorder.begin(delete(), None), forget);
        assert_eq!(recorder.on_changed(ChangeEnd::Written), RecorderStep::Act(delete()));
        let end = RecorderStep::End(JobMasterDone::Done);
        assert_eq!(recorder.on_acted(JobMasterDone::Done), end);
        recorder.begin(read(), None);
        assert_eq!(recorder.on_acted(found()), RecorderStep::End(found()));
    }

    #[test]
    fn what_could_not_be_forgotten_is_before_anything_else_is_deleted() {
        let mut recorder = CheckpointRecorder::default();
        recorder.begin(delete(), None);
        let ill = || ChangeEnd::Failed { reason: "ill".to_owned(), deposed: false };
        recorder.on_changed(ill());
        let other = JobMasterOp::Delete { paths: vec!["/c/shared/f".to_owned()], ended: false };
        let both = vec!["/c/shared/f".to_owned(), "/c/chk-3".to_owned()];
        assert_eq!(recorder.begin(other.clone(), None), RecorderStep::Forget(both));
        assert_eq!(recorder.on_changed(ChangeEnd::Written), RecorderStep::Act(other.clone()));
        recorder.on_acted(JobMasterDone::Done);
        let alone = vec!["/c/shared/f".to_owned()];
        assert_eq!(recorder.begin(other, None), RecorderStep::Forget(alone));
    }

    #[test]
    fn who_may_not_lead_any_more_changes_nothing() {
        let mut recorder = CheckpointRecorder::default();
        for what in [write(), read(), delete()] {
            let step = recorder.begin(what, Some("term 4 is over".to_owned()));
            assert!(matches!(step, RecorderStep::End(JobMasterDone::Unknown { .. })), "{step:?}");
        }
        recorder.begin(delete(), None);
        let end = ChangeEnd::Unknown { reason: "nobody knows".to_owned() };
        assert_eq!(recorder.on_changed(end), RecorderStep::End(unknown()), "nothing is deleted");
    }
}
