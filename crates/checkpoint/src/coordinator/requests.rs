//! What people ask for: savepoints, checkpoints, the job's end with a savepoint.
//!
//! Who asks names the request and asks again for its result: a request that is repeated is the same
//! one.

use millstream_core::checkpoint::{CheckpointId, SnapshotKind};
use millstream_core::ids::TriggerId;
use millstream_core::time::Mono;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// So many results are remembered, and so many requests may wait.
const REQUESTS_MAX: usize = 100;

/// Something that somebody asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotRequest {
    /// What its result is asked for by.
    pub id: TriggerId,
    /// What is wanted.
    pub kind: SnapshotKind,
    /// Where a savepoint goes: below this directory, in one of its own.
    pub directory: Option<String>,
}

/// How far a request is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SnapshotProgress {
    /// It waits, or is being taken.
    InProgress,
    /// It is complete.
    Completed {
        /// Its number.
        checkpoint: CheckpointId,
        /// Its directory: what a job is started from.
        path: String,
    },
    /// It was not taken.
    Failed {
        /// Why.
        cause: String,
    },
}

/// All requests.
#[derive(Clone, Debug, Default)]
pub(super) struct Requests {
    /// Those that wait, in order, and since when.
    waiting: VecDeque<(SnapshotRequest, Mono)>,
    /// How far each is; the oldest first.
    progress: VecDeque<(TriggerId, SnapshotProgress)>,
}

impl Requests {
    /// A request comes in; false: there are too many.
    pub(super) fn add(&mut self, request: SnapshotRequest, now: Mono) -> bool {
        if self.progress(request.id).is_some() {
            return true;
        }
        let busy = self.progress.iter().filter(|(_, p)| *p == SnapshotProgress::InProgress).count();
        if busy >= REQUESTS_MAX {
            return false;
        }
        self.progress.push_back((request.id, SnapshotProgress::InProgress));
        while self.progress.len() > REQUESTS_MAX {
            let done = |(_, p): &(TriggerId, _)| *p != SnapshotProgress::InProgress;
            let oldest = self.progress.iter().position(done).unwrap_or(0);
            self.progress.remove(oldest);
        }
        self.waiting.push_back((request, now));
        true
    }

    /// How far a request is.
    pub(super) fn progress(&self, id: TriggerId) -> Option<&SnapshotProgress> {
        self.progress.iter().find(|(known, _)| *known == id).map(|(_, progress)| progress)
    }

    /// All that are known, and how far each is.
    pub(super) fn all(&self) -> impl Iterator<Item = &(TriggerId, SnapshotProgress)> {
        self.progress.iter()
    }

    /// A request has its result.
    pub(super) fn conclude(&mut self, id: TriggerId, result: SnapshotProgress) {
        if let Some((_, progress)) = self.progress.iter_mut().find(|(known, _)| *known == id) {
            *progress = result;
        }
    }

    /// The next that waits: savepoints before checkpoints.
    pub(super) fn take_next(&mut self) -> Option<SnapshotRequest> {
        let first = self.waiting.iter().position(|(request, _)| request.kind.is_savepoint());
        self.waiting.remove(first.unwrap_or(0)).map(|(request, _)| request)
    }

    /// Takes out those that have waited for so long.
    pub(super) fn take_overdue(&mut self, now: Mono, timeout_ms: u64) -> Vec<TriggerId> {
        let mut overdue = Vec::new();
        self.waiting.retain(|(request, since)| {
            let late = *since + timeout_ms <= now;
            if late {
                overdue.push(request.id);
            }
            !late
        });
        overdue
    }

    /// Takes out all that wait.
    pub(super) fn take_all(&mut self) -> Vec<TriggerId> {
        self.waiting.drain(..).map(|(request, _)| request.id).collect()
    }

    /// When the first one has waited for so long.
    pub(super) fn next_overdue(&self, timeout_ms: u64) -> Option<Mono> {
        self.waiting.iter().map(|(_, since)| *since + timeout_ms).min()
    }
}
