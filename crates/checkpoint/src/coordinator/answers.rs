//! What tasks say of a checkpoint: acknowledgements, refusals, and that they have come to their end.

use super::{Coordinator, Effect, Subtask};
use crate::handle::{FileName, TaskState};
use crate::mutant;
use crate::registry::FileKey;
use millstream_core::checkpoint::CheckpointId;
use millstream_core::ids::ExecutionAttemptId;
use std::collections::BTreeSet;

/// Why a task takes no part in a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Declined {
    /// It does not run: what became of it is told elsewhere.
    NotRunning,
    /// Something went wrong.
    Failed(String),
}

impl Coordinator {
    /// A task's part of a checkpoint is durable. `id`: the subtask that the attempt is or was of.
    pub fn on_acknowledged(
        &mut self,
        id: Subtask,
        attempt: ExecutionAttemptId,
        checkpoint: CheckpointId,
        state: Box<TaskState>,
    ) {
        let Some(pending) = self.pending.get_mut(&checkpoint) else {
            return self.on_late(id, attempt, checkpoint, &state);
        };
        let part = pending.parts.get(&id);
        let counts = part
            .is_some_and(|part| part.attempt == attempt || mutant::on("ack_of_old_attempt_counts"));
        if !counts || !pending.is_collecting() {
            self.counts.late += 1;
            return;
        }
        let files: Vec<FileKey> = own_shared(&state).collect();
        if let Some(missing) = self.registry.missing(&files) {
            let file = &missing.path;
            self.full_next = true;
            let cause = format!("a task built on `{file}`, which had been deleted");
            return self.abort(checkpoint, &cause, true);
        }
        let finished = state.finished;
        pending.take(id, state);
        if finished {
            // It has said so itself, but that may have got lost.
            self.tasks.update(id, |task| task.ended = true);
        }
    }

    /// A task takes no part in a checkpoint.
    pub fn on_declined(
        &mut self,
        id: Subtask,
        attempt: ExecutionAttemptId,
        checkpoint: CheckpointId,
        why: Declined,
    ) {
        let pending = self.pending.get(&checkpoint);
        let part = pending.and_then(|pending| pending.parts.get(&id));
        if part.is_none_or(|part| part.attempt != attempt || part.state.is_some()) {
            self.counts.late += 1;
            return;
        }
        // It ended with an earlier checkpoint: what it said there is all.
        if let Some(carried) = self.tasks.get(id).and_then(|task| task.carried.clone()) {
            if let Some(pending) = self.pending.get_mut(&checkpoint) {
                pending.take(id, carried);
            }
            return;
        }
        let task = super::name(id);
        self.hold_last = true;
        match why {
            Declined::NotRunning => {
                self.abort(checkpoint, &format!("task {task} does not run"), false);
            }
            Declined::Failed(cause) => {
                self.abort(checkpoint, &format!("task {task} declined: {cause}"), true);
            }
        }
    }

    /// A task has processed all its records and waits. `id`: the subtask whose attempt that is.
    pub fn on_end_of_data(&mut self, id: Subtask, attempt: ExecutionAttemptId) {
        let current = self.tasks.get(id).is_some_and(|task| task.attempt == Some(attempt));
        if current {
            self.tasks.update(id, |task| task.ended = true);
        } else {
            self.counts.late += 1;
        }
    }

    /// The checkpoint is not pending any more: what belongs to nobody is deleted.
    fn on_late(
        &mut self,
        id: Subtask,
        attempt: ExecutionAttemptId,
        checkpoint: CheckpointId,
        state: &TaskState,
    ) {
        self.counts.late += 1;
        let task = self.tasks.get(id);
        let ours = task.and_then(|task| task.attempt).is_some_and(|own| own.graph == attempt.graph);
        let kept = self.retained.iter().any(|retained| retained.metadata.checkpoint == checkpoint);
        if !ours || kept || checkpoint > self.last {
            return;
        }
        self.registry.abandon(own_shared(state), self.last);
        let exclusive = state.files().filter(|file| file.root.is_none() && !file.is_shared());
        let paths: BTreeSet<String> =
            exclusive.map(|file| format!("{}/{}", self.directory, file.path)).collect();
        if !paths.is_empty() {
            self.effects.push(Effect::Delete(paths.into_iter().collect()));
        }
    }
}

/// The files of the job's own that other checkpoints may refer to as well.
pub(super) fn own_shared(state: &TaskState) -> impl Iterator<Item = FileKey> + '_ {
    let own = |file: &&FileName| file.root.is_none() && file.is_shared();
    state.files().filter(own).map(FileKey::of)
}
