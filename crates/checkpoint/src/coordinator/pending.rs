//! A checkpoint that is being taken.

use super::tasks::Subtask;
use crate::handle::TaskState;
use crate::metadata::CheckpointMetadata;
use millstream_core::checkpoint::Barrier;
use millstream_core::ids::{ExecutionAttemptId, TriggerId};
use millstream_core::time::Mono;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A checkpoint that is being taken.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    /// What the tasks are told.
    pub(super) barrier: Barrier,
    /// Who asked for it, if somebody did.
    pub(super) request: Option<TriggerId>,
    /// Where its metadata goes.
    pub(super) directory: String,
    pub(super) triggered_at: Mono,
    /// Who takes part, and what they have said.
    pub(super) parts: BTreeMap<Subtask, Part>,
    /// How many have said nothing yet.
    pub(super) missing: u32,
    /// What those said who had finished before.
    pub(super) carried: BTreeMap<Subtask, Box<TaskState>>,
    pub(super) phase: Phase,
}

/// One task's part.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// The attempt that takes part; no other one counts.
    pub(super) attempt: ExecutionAttemptId,
    /// It was told to begin by us: no barrier will reach it.
    pub(super) triggered: bool,
    pub(super) state: Option<Box<TaskState>>,
}

/// How far it is.
#[derive(Clone, Debug)]
pub(super) enum Phase {
    /// Tasks take their snapshots.
    Collecting,
    /// All have; the metadata is being written.
    Writing(Arc<CheckpointMetadata>),
    /// Nobody knows whether it was written: it is read back.
    Reading {
        metadata: Arc<CheckpointMetadata>,
        /// How often that was tried in vain.
        tries: u32,
        /// When it is tried again; nothing: it is being read.
        again_at: Option<Mono>,
    },
}

impl Pending {
    /// Takes a task's state; whether that was new.
    pub(super) fn take(&mut self, id: Subtask, state: Box<TaskState>) -> bool {
        let Some(part) = self.parts.get_mut(&id).filter(|part| part.state.is_none()) else {
            return false;
        };
        part.state = Some(state);
        self.missing -= 1;
        true
    }

    pub(super) fn is_collecting(&self) -> bool {
        matches!(self.phase, Phase::Collecting)
    }

    /// What was acknowledged so far.
    pub(super) fn states(&self) -> impl Iterator<Item = &TaskState> {
        self.parts.values().filter_map(|part| part.state.as_deref())
    }

    /// All that is known is whole.
    pub(super) fn check(&self) {
        let missing = self.parts.values().filter(|part| part.state.is_none()).count();
        assert_eq!(missing, self.missing as usize, "checkpoint {}", self.barrier.checkpoint);
        assert!(self.is_collecting() || missing == 0 || cfg!(feature = "mutants"));
    }
}
