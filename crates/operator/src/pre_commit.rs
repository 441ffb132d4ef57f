//! What has to be done before a checkpoint may be acknowledged and may take its time: files are synced.
//!
//! It is done by whoever writes the snapshot, beside the task, which goes on meanwhile. A snapshot that is
//! given up before it is written leaves its work to the next one: what was prepared for it is in that one
//! too. A failure is final: it is not tried again, fails every later snapshot, and the task, which has
//! to begin again before what it lost.

use millstream_checkpoint::snapshot::{BesideTask, SnapshotError};
use millstream_core::OperatorError;
use millstream_core::checkpoint::CheckpointId;
use millstream_shuffle::sync::{Arc, Mutex, lock};
use std::collections::VecDeque;

/// Makes durable what was prepared for a checkpoint; runs on a thread that may block.
pub type MakeDurable = Box<dyn FnOnce() -> Result<(), OperatorError> + Send>;

/// The work that is left, shared by the task and whoever writes its snapshots. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct PreCommits(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// In the order in which it was prepared. Bounded by the snapshots that may wait to be written.
    left: VecDeque<(CheckpointId, MakeDurable)>,
    failure: Option<OperatorError>,
}

impl PreCommits {
    /// This belongs to a checkpoint.
    pub(crate) fn add(&self, checkpoint: CheckpointId, work: MakeDurable) {
        lock(&self.0).left.push_back((checkpoint, work));
    }

    /// Does what is left for this checkpoint and those before it.
    pub(crate) fn settle(&self, checkpoint: CheckpointId) -> Result<(), OperatorError> {
        while let Some(work) = self.next(checkpoint)? {
            let mut unfinished = Unfinished { of: self, failure: None };
            let done = work();
            unfinished.failure = Some(done.clone().err());
            drop(unfinished);
            done?;
        }
        Ok(())
    }

    fn next(&self, checkpoint: CheckpointId) -> Result<Option<MakeDurable>, OperatorError> {
        let mut state = lock(&self.0);
        if let Some(failure) = &state.failure {
            return Err(failure.clone());
        }
        let next = state.left.pop_front_if(|(of, _)| *of <= checkpoint);
        Ok(next.map(|(_, work)| work))
    }

    /// The task cannot go on once something could not be made durable.
    pub(crate) fn check(&self) -> Result<(), OperatorError> {
        lock(&self.0).failure.clone().map_or(Ok(()), Err)
    }

    /// [`settle`](Self::settle), for a snapshot.
    pub(crate) fn beside_task(&self, checkpoint: CheckpointId) -> BesideTask {
        let this = self.clone();
        Box::new(move || {
            let settled = this.settle(checkpoint);
            settled.map_err(|error| SnapshotError::Operator(error.message))
        })
    }
}

/// Work that has been begun. What becomes of it is remembered, also if it panics.
struct Unfinished<'a> {
    of: &'a PreCommits,
    /// How it ended; nothing if it did not.
    failure: Option<Option<OperatorError>>,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        let panicked = || Some(OperatorError::new("what was written could not be made durable"));
        if let Some(failure) = self.failure.take().unwrap_or_else(panicked) {
            lock(&self.of.0).failure = Some(failure);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says what was done.
    fn work(done: &Arc<Mutex<Vec<u64>>>, number: u64) -> MakeDurable {
        let done = done.clone();
        Box::new(move || {
            lock(&done).push(number);
            Ok(())
        })
    }

    #[test]
    fn what_a_snapshot_left_undone_is_done_with_the_next_one_and_once() {
        let (pre_commits, done) = (PreCommits::default(), Arc::default());
        (1..=3).for_each(|n| pre_commits.add(CheckpointId(n), work(&done, n)));
        drop(pre_commits.beside_task(CheckpointId(1)));
        assert_eq!(pre_commits.beside_task(CheckpointId(2))(), Ok(()));
        assert_eq!(*lock(&done), [1, 2]);
        assert_eq!(pre_commits.settle(CheckpointId(3)), Ok(()));
        assert_eq!(pre_commits.settle(CheckpointId(3)), Ok(()));
        assert_eq!(*lock(&done), [1, 2, 3]);
    }

    #[test]
    fn a_failure_is_final() {
        let (pre_commits, done) = (PreCommits::default(), Arc::default());
        pre_commits.add(CheckpointId(1), Box::new(|| Err(OperatorError::new("no space"))));
        pre_commits.add(CheckpointId(2), work(&done, 2));
        assert_eq!(pre_commits.check(), Ok(()));
        for checkpoint in [1, 2] {
            let error = pre_commits.settle(CheckpointId(checkpoint)).expect_err("it has failed");
            assert_eq!(error.message, "no space");
        }
        assert!(pre_commits.check().is_err() && lock(&done).is_empty());
    }

    #[test]
    fn a_panic_is_a_failure() {
        let pre_commits = PreCommits::default();
        pre_commits.add(CheckpointId(1), Box::new(|| panic!("planted")));
        let inside = std::panic::AssertUnwindSafe(|| pre_commits.settle(CheckpointId(1)));
        assert!(std::panic::catch_unwind(inside).is_err());
        assert!(pre_commits.settle(CheckpointId(2)).is_err());
        assert!(pre_commits.check().is_err());
    }
}
