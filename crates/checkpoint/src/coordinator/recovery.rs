//! What tasks begin with: after a failure, and when a job is started from a checkpoint.

use super::{Base, Coordinator, Retained, Stop, Subtask};
use crate::config::ClaimMode;
use crate::handle::{TaskRestore, TaskState};
use crate::metadata::CheckpointMetadata;
use crate::reassign::{CannotRestore, Reassignment};
use crate::registry::FileKey;
use millstream_core::checkpoint::CheckpointId;
use millstream_core::job_graph::JobGraph;
use std::sync::Arc;

impl Coordinator {
    /// The job begins from a checkpoint or savepoint that is in `directory`; numbers go on from
    /// there. What fits where is told by [`Coordinator::reassignment`].
    pub fn begin_from(
        &mut self,
        mut metadata: CheckpointMetadata,
        directory: &str,
        claim: ClaimMode,
        ignore_unclaimed: bool,
        graph: &JobGraph,
    ) -> Result<(), CannotRestore> {
        // A savepoint holds its files, a checkpoint is beside those that it shares.
        let root = match metadata.kind.is_savepoint() {
            true => directory,
            false => directory.rsplit_once('/').map_or(".", |(parent, _)| parent),
        };
        metadata.resolve(root);
        let metadata = Arc::new(metadata);
        let reassignment = Reassignment::new(metadata.clone(), graph, ignore_unclaimed)?;
        // They go on from both: each term of leadership that begins from the same has its own.
        self.last = CheckpointId(self.last.0.saturating_add(metadata.checkpoint.0));
        self.full_next = true;
        if claim == ClaimMode::Claim {
            self.claim(metadata, directory, root);
        }
        self.base = Some(Base {
            reassignment,
            #[cfg(feature = "mutants")]
            former: None,
        });
        Ok(())
    }

    /// The job goes on from the newest that a former master of it has completed. A savepoint that was
    /// to end the job was its last word: what is left is to commit and to end.
    pub fn recover(
        &mut self,
        metadata: CheckpointMetadata,
        directory: &str,
        graph: &JobGraph,
    ) -> Result<(), CannotRestore> {
        let (kind, last) = (metadata.kind, self.last.max(metadata.checkpoint));
        let claim = if kind.is_savepoint() { ClaimMode::NoClaim } else { ClaimMode::Claim };
        self.begin_from(metadata, directory, claim, true, graph)?;
        self.last = last;
        if kind.stops() {
            self.stop = Stop::Complete;
        }
        Ok(())
    }

    /// An older checkpoint that a former master of the job kept, in `directory`. To be called before
    /// [`Coordinator::recover`], oldest first; it is let go like one of our own.
    pub fn adopt(&mut self, mut metadata: CheckpointMetadata, directory: &str) {
        if metadata.kind.is_savepoint()
            || self
                .retained
                .back()
                .is_some_and(|last| last.metadata.checkpoint >= metadata.checkpoint)
        {
            return;
        }
        let root = directory.rsplit_once('/').map_or(".", |(parent, _)| parent);
        metadata.resolve(root);
        self.claim(Arc::new(metadata), directory, root);
    }

    /// Whoever owned it may delete it, and so may we when it is superseded.
    fn claim(&mut self, metadata: Arc<CheckpointMetadata>, directory: &str, root: &str) {
        let files = metadata.files().filter(|file| file.is_shared());
        let files = files.filter(|file| file.root.as_deref() == Some(root)).map(FileKey::of);
        self.registry.retain(metadata.checkpoint, files.collect());
        self.retained.push_back(Retained { metadata, directory: directory.to_owned() });
    }

    /// Checkpoints are numbered from here, or from higher up.
    pub fn number_from(&mut self, first: CheckpointId) {
        self.last = self.last.max(CheckpointId(first.0.saturating_sub(1)));
    }

    /// What the job goes on from, dealt out.
    pub fn reassignment(&self) -> Option<&Reassignment> {
        let base = self.base.as_ref()?;
        #[cfg(feature = "mutants")]
        if let Some(former) = &base.former
            && crate::mutant::on("restore_older_checkpoint")
        {
            return Some(former);
        }
        Some(&base.reassignment)
    }

    /// The checkpoint that tasks begin from.
    pub fn base(&self) -> Option<CheckpointId> {
        Some(self.base.as_ref()?.reassignment.metadata().checkpoint)
    }

    /// What a task begins with; nothing: it begins afresh.
    pub fn restore(&self, id: Subtask) -> Option<Box<TaskRestore>> {
        let mut restore = self.reassignment()?.task(id.vertex, id.subtask);
        // The job's last word has been said: what is left to do is to commit and to end.
        restore.finished |= self.stop == Stop::Complete;
        Some(Box::new(restore))
    }

    /// What is carried on behalf of a subtask that begins as one that has done all its work.
    pub(super) fn finished_before(&self, id: Subtask, graph: &JobGraph) -> Option<Box<TaskState>> {
        let reassignment = self.reassignment()?;
        let finished = reassignment.is_finished(id.vertex, id.subtask);
        if !finished && self.stop != Stop::Complete {
            return None;
        }
        // It is carried when the task has ended again, and then all that was to be committed has been:
        // state that is dealt out among other subtasks than before, or that is somebody else's and may
        // be deleted, is left out.
        let vertex = graph.vertices.get(id.vertex)?;
        let known = reassignment.metadata().vertices.get(&vertex.id);
        let same = known.filter(|known| {
            let operators = vertex.operators.iter().map(|operator| operator.id);
            known.parallelism() == vertex.parallelism
                && operators.eq(known.operators.iter().copied())
        });
        let state = same.and_then(|known| known.subtasks.get(id.subtask as usize)).cloned();
        let state = state.filter(|state| state.files().all(|file| file.root.is_none()));
        // The count was of another attempt; what that was given is known to have been seen.
        Some(Box::new(TaskState { splits: 0, finished: true, ..state.unwrap_or_default() }))
    }
}
