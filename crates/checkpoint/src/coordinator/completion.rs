//! From the last acknowledgement to the end of a checkpoint, good or bad; and the end of the job.

use super::answers::own_shared;
use super::pending::{Pending, Phase};
use super::{
    Base, Coordinator, Copies, Effect, MetadataWrite, ReadBack, Retained, SnapshotProgress, Stop,
    Subtask, View, Written,
};
use crate::config::Retention;
use crate::handle::TaskState;
use crate::metadata::{self, CheckpointMetadata, METADATA_FILE, SeenSplits, VertexState};
use crate::mutant;
use crate::reassign::Reassignment;
use crate::registry::FileKey;
use millstream_core::checkpoint::CheckpointId;
use millstream_core::ids::ExecutionAttemptId;
use millstream_core::job_graph::JobGraph;
use millstream_core::time::Mono;
use std::collections::BTreeSet;
use std::sync::Arc;

/// How often metadata is read back in vain before the checkpoint is given up.
const READ_TRIES_MAX: u32 = 5;

/// The pause between two tries, times the number of tries so far.
const READ_PAUSE_MS: u64 = 1_000;

/// How a job has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All work is done.
    Finished,
    /// A user ended it.
    Canceled,
    /// It failed for good.
    Failed,
    /// It may go on elsewhere.
    Suspended,
}

impl Coordinator {
    /// Metadata of what all tasks have acknowledged is written.
    pub(super) fn write_acknowledged(&mut self, view: &View<'_>) {
        let allowed = u32::from(mutant::on("complete_without_all_acks"));
        let done = self.pending.iter().filter(|(_, pending)| {
            pending.is_collecting() && pending.missing <= allowed && !pending.parts.is_empty()
        });
        let done: Vec<CheckpointId> = done.map(|(id, _)| *id).collect();
        for id in done {
            self.write(id, view);
        }
    }

    fn write(&mut self, id: CheckpointId, view: &View<'_>) {
        let pending = &self.pending[&id];
        let metadata = Arc::new(self.metadata_of(pending, view));
        if let Some(problem) = metadata.problem() {
            let cause = format!("what was acknowledged cannot be restored: {problem}");
            return self.abort(id, &cause, true);
        }
        let directory = pending.directory.clone();
        let copies = pending.barrier.kind.is_savepoint().then(|| {
            let own = metadata.files().filter(|file| file.root.is_none());
            let paths: BTreeSet<String> = own.map(|file| file.path.clone()).collect();
            Copies { from: self.directory.clone(), paths: paths.into_iter().collect() }
        });
        let bytes = metadata::encode(&metadata);
        let kind = pending.barrier.kind;
        let recoverable = !kind.is_savepoint() || kind.stops();
        let write = MetadataWrite { checkpoint: id, directory, copies, bytes, recoverable };
        self.effects.push(Effect::Write(write));
        if mutant::on("commit_before_complete") {
            for attempt in self.tasks.running() {
                self.effects.push(Effect::NotifyCompleted { attempt, checkpoint: id });
            }
        }
        if let Some(pending) = self.pending.get_mut(&id) {
            pending.phase = Phase::Writing(metadata);
        }
        if mutant::on("complete_before_metadata") {
            self.complete(id, view);
        }
    }

    fn metadata_of(&self, pending: &Pending, view: &View<'_>) -> CheckpointMetadata {
        let vertices = view.graph.vertices.iter().enumerate().map(|(index, vertex)| {
            let mut counts: Vec<(ExecutionAttemptId, u32)> = Vec::new();
            let subtasks = (0..vertex.parallelism).map(|subtask| {
                let id = Subtask { vertex: index, subtask };
                let part = pending.parts.get(&id);
                let state = match part {
                    Some(part) => part.state.as_deref(),
                    None if mutant::on("finished_task_not_carried") => None,
                    None => pending.carried.get(&id).map(|state| &**state),
                };
                let state = state.cloned().unwrap_or_default();
                let attempt = part.map(|part| part.attempt);
                let attempt = attempt.or_else(|| self.tasks.get(id)?.attempt);
                counts.extend(attempt.map(|attempt| (attempt, state.splits)));
                state
            });
            let subtasks: Vec<TaskState> = subtasks.collect();
            let splits: Vec<&[u8]> = vertex.splits.iter().map(|split| &split.0[..]).collect();
            let state = VertexState {
                name: vertex.name.clone(),
                operators: vertex.operators.iter().map(|operator| operator.id).collect(),
                max_parallelism: vertex.max_parallelism,
                subtasks,
                splits: SeenSplits::new(&splits, &(view.seen_splits)(index, &counts)),
            };
            (vertex.id, state)
        });
        CheckpointMetadata {
            job: self.job,
            checkpoint: pending.barrier.checkpoint,
            kind: pending.barrier.kind,
            timestamp: pending.barrier.timestamp,
            vertices: vertices.collect(),
        }
    }

    /// What came of writing the metadata.
    pub fn on_written(&mut self, id: CheckpointId, written: Written, view: &View<'_>) {
        let Some(pending) = self.pending.get_mut(&id) else {
            return; // Given up meanwhile, and deleted after the write.
        };
        let Phase::Writing(metadata) = &pending.phase else {
            self.counts.late += 1;
            return;
        };
        match written {
            Written::Done => self.complete(id, view),
            Written::Failed { reason } => {
                self.ended_at = Some(view.now);
                self.abort(id, &format!("its metadata could not be written: {reason}"), true);
            }
            Written::Unknown { reason } if mutant::on("delete_on_unknown") => {
                let directory = self.pending[&id].directory.clone();
                self.effects.push(Effect::Delete(vec![directory]));
                self.complete(id, view);
                let _ = reason;
            }
            Written::Unknown { .. } => {
                let metadata = metadata.clone();
                pending.phase = Phase::Reading { metadata, tries: 0, again_at: None };
                let directory = pending.directory.clone();
                self.effects.push(Effect::ReadBack { checkpoint: id, directory });
            }
        }
    }

    /// What came of reading the metadata back.
    pub fn on_read_back(&mut self, id: CheckpointId, found: ReadBack, view: &View<'_>) {
        let Some(pending) = self.pending.get_mut(&id) else {
            return;
        };
        let Phase::Reading { metadata, tries, again_at } = &mut pending.phase else {
            self.counts.late += 1;
            return;
        };
        let cause = match found {
            ReadBack::Found(bytes) if bytes == metadata::encode(metadata) => {
                return self.complete(id, view);
            }
            ReadBack::Found(_) => "its metadata is not what was written".to_owned(),
            ReadBack::Missing => "its metadata was not written".to_owned(),
            ReadBack::Failed { reason } => {
                *tries += 1;
                if *tries < READ_TRIES_MAX {
                    *again_at = Some(view.now + READ_PAUSE_MS * u64::from(*tries));
                    return;
                }
                format!("nobody knows whether its metadata was written: {reason}")
            }
        };
        self.ended_at = Some(view.now);
        self.abort(id, &cause, true);
    }

    pub(super) fn read_again(&mut self, now: Mono) {
        for (id, pending) in &mut self.pending {
            if let Phase::Reading { again_at, .. } = &mut pending.phase
                && again_at.is_some_and(|at| at <= now)
            {
                *again_at = None;
                let directory = pending.directory.clone();
                self.effects.push(Effect::ReadBack { checkpoint: *id, directory });
            }
        }
    }

    /// The metadata is durable: the checkpoint is complete.
    fn complete(&mut self, id: CheckpointId, view: &View<'_>) {
        let Some(pending) = self.pending.remove(&id) else { return };
        let (Phase::Writing(metadata) | Phase::Reading { metadata, .. }) = &pending.phase else {
            return;
        };
        let metadata = metadata.clone();
        let kind = pending.barrier.kind;
        self.counts.completed += 1;
        self.ended_at = Some(view.now);
        let path = pending.directory.clone();
        if let Some(request) = pending.request {
            let result = SnapshotProgress::Completed { checkpoint: id, path: path.clone() };
            self.requests.conclude(request, result);
        }
        if kind.is_savepoint() {
            // It has copies of its own.
            self.effects.push(Effect::Delete(vec![self.directory_of(id)]));
        }
        if kind.is_savepoint() && !kind.stops() {
            return;
        }
        self.failures = 0;
        self.hold_last = false;
        let older: Vec<CheckpointId> = self.pending.range(..id).map(|(older, _)| *older).collect();
        for older in older {
            self.abort(older, &format!("checkpoint {id} was completed before it"), false);
        }
        self.carry(&pending);
        let mut resolved = metadata.clone();
        if kind.stops() {
            self.stop = Stop::Complete;
            Arc::make_mut(&mut resolved).resolve(&path);
        } else {
            self.retain(id, metadata, path);
        }
        self.go_on_from(resolved, view.graph);
        let parts = pending.parts.values();
        let splits = parts.filter_map(|part| Some((part.attempt, part.state.as_ref()?.splits)));
        let splits = splits.collect();
        self.effects.push(Effect::Completed { checkpoint: id, splits });
        for attempt in self.tasks.running() {
            self.effects.push(Effect::NotifyCompleted { attempt, checkpoint: id });
        }
    }

    /// Who has said that all is done need not say it again.
    fn carry(&mut self, pending: &Pending) {
        for (id, part) in &pending.parts {
            if let Some(state) = part.state.as_ref().filter(|state| state.finished) {
                self.tasks.update(*id, |task| {
                    if task.attempt == Some(part.attempt) {
                        task.carried = Some(state.clone());
                    }
                });
            }
        }
    }

    /// It is kept, and older ones are let go.
    fn retain(&mut self, id: CheckpointId, metadata: Arc<CheckpointMetadata>, directory: String) {
        self.full_next = false;
        let vertices = metadata.vertices.values();
        let files = vertices.flat_map(|vertex| &vertex.subtasks).flat_map(own_shared).collect();
        self.registry.retain(id, files);
        self.retained.push_back(Retained { metadata, directory });
        let mut paths = Vec::new();
        while self.retained.len() > self.config.retained_max as usize {
            let Some(oldest) = self.retained.pop_front() else { break };
            let released = oldest.metadata.checkpoint;
            if mutant::on("delete_shared_too_early") {
                let vertices = oldest.metadata.vertices.values();
                let files = vertices.flat_map(|vertex| &vertex.subtasks).flat_map(own_shared);
                paths.extend(files.map(|file| self.path_of(&file)));
            }
            self.registry.release(released, self.last);
            paths.push(format!("{}/{METADATA_FILE}", oldest.directory));
            paths.push(oldest.directory);
        }
        let deletable = self.registry.take_deletable(id);
        paths.extend(deletable.iter().map(|file| self.path_of(file)));
        if !paths.is_empty() {
            self.effects.push(Effect::Delete(paths));
        }
    }

    fn path_of(&self, file: &FileKey) -> String {
        let root = file.root.as_deref().unwrap_or(&self.directory);
        format!("{root}/{}", file.path)
    }

    /// Tasks that start over begin from this one.
    fn go_on_from(&mut self, metadata: Arc<CheckpointMetadata>, graph: &JobGraph) {
        // The job that took it is the job that goes on: everything fits.
        let Ok(reassignment) = Reassignment::new(metadata, graph, true) else { return };
        #[cfg(feature = "mutants")]
        let former = self.base.take().map(|base| base.reassignment);
        self.base = Some(Base {
            reassignment,
            #[cfg(feature = "mutants")]
            former,
        });
    }

    /// A checkpoint will never be complete. `counted`: it should have been.
    pub(super) fn abort(&mut self, id: CheckpointId, cause: &str, counted: bool) {
        let Some(pending) = self.pending.remove(&id) else { return };
        self.counts.failed += 1;
        for part in pending.parts.values() {
            self.effects.push(Effect::NotifyAborted { attempt: part.attempt, checkpoint: id });
        }
        self.registry.abandon(pending.states().flat_map(own_shared), self.last);
        // Metadata first: whatever stops us half-way, it never names what is gone.
        let own = self.directory_of(id);
        let mut paths = Vec::new();
        if !pending.is_collecting() {
            paths.push(format!("{}/{METADATA_FILE}", pending.directory));
            paths.push(pending.directory.clone());
        }
        if pending.directory != own || paths.is_empty() {
            paths.push(own);
        }
        self.effects.push(Effect::Delete(paths));
        if let Some(request) = pending.request {
            let cause = cause.to_owned();
            self.requests.conclude(request, SnapshotProgress::Failed { cause });
        }
        if self.stop == Stop::Pending(id) {
            self.stop = Stop::No;
        }
        self.hold_last |= counted;
        if counted && !pending.barrier.kind.is_savepoint() {
            self.count_failure(id, cause);
        }
    }

    fn count_failure(&mut self, id: CheckpointId, cause: &str) {
        self.failures += 1;
        if self.failures > self.config.failures_max {
            let allowed = self.config.failures_max;
            self.failures = 0;
            self.periodic_at = None;
            self.effects.push(Effect::Fail(format!(
                "checkpoint {id} has failed: {cause}; that is one more in a row than the {allowed} \
                 that execution.checkpointing.tolerable-failed-checkpoints allows"
            )));
        }
    }

    pub(super) fn abort_all(&mut self, cause: &str) {
        let all: Vec<CheckpointId> = self.pending.keys().copied().collect();
        for id in all {
            self.abort(id, cause, false);
        }
    }

    /// The job has ended: what need not be kept is deleted.
    pub fn end(&mut self, ending: Ending) {
        self.close("the job has ended");
        let keep = match (ending, self.config.retention) {
            (Ending::Suspended, _) => return,
            (Ending::Finished, _) | (_, Retention::Never) => false,
            (Ending::Canceled, retention) => retention == Retention::OnCancellation,
            (Ending::Failed, _) => true,
        };
        let mut paths = Vec::new();
        if keep {
            paths.extend(self.registry.take_doomed().iter().map(|file| self.path_of(file)));
        } else {
            for retained in &self.retained {
                paths.push(format!("{}/{METADATA_FILE}", retained.directory));
                paths.push(retained.directory.clone());
            }
            let claimed = self.registry.files().filter(|file| file.root.is_some());
            paths.extend(claimed.map(|file| self.path_of(file)));
            paths.push(self.directory.clone());
        }
        if !paths.is_empty() {
            self.effects.push(Effect::Delete(paths));
        }
    }
}
