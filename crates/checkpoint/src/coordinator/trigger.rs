//! When a checkpoint begins, and who is told.

use super::pending::{Part, Pending, Phase};
use super::{Coordinator, Effect, SnapshotProgress, SnapshotRequest, Stop, View};
use crate::coordinator::tasks::Subtask;
use crate::mutant;
use millstream_core::checkpoint::{Barrier, CheckpointId, SnapshotKind};
use millstream_core::ids::{ExecutionAttemptId, TriggerId};
use millstream_core::job_graph::JobGraph;
use millstream_core::time::Mono;

/// A task that was told to end has so long to do it before it is told again.
const REMIND_MS: u64 = 5_000;

impl Coordinator {
    /// When something is due, if it is a matter of time.
    pub fn next_deadline(&self) -> Option<Mono> {
        let pending = self.pending.values().filter_map(|pending| match pending.phase {
            Phase::Collecting => Some(pending.triggered_at + self.config.timeout_ms),
            Phase::Writing(_) => None,
            Phase::Reading { again_at, .. } => again_at,
        });
        let periodic = self.periodic_due().filter(|_| self.has_room());
        let requests = self.requests.next_overdue(self.config.timeout_ms);
        pending.chain(periodic).chain(requests).chain(self.remind_at).min()
    }

    /// When the next periodic one may be taken.
    fn periodic_due(&self) -> Option<Mono> {
        let at = self.periodic_at.filter(|_| self.stop == Stop::No && !self.closed)?;
        let paused = self.ended_at.map(|ended_at| ended_at + self.config.min_pause_ms);
        Some(paused.map_or(at, |paused| paused.max(at)))
    }

    fn has_room(&self) -> bool {
        self.pending.len() < self.config.concurrent_max as usize
    }

    pub(super) fn trigger_due(&mut self, view: &View<'_>) {
        if !self.config.enabled || !self.tasks.are_ready() {
            self.periodic_at = None;
            return;
        }
        if self.periodic_at.is_none() {
            self.periodic_at = self.config.interval_ms.map(|interval_ms| view.now + interval_ms);
        }
        while self.has_room() && !self.closed && self.stop == Stop::No {
            if let Some(request) = self.requests.take_next() {
                self.trigger_requested(request, view);
            } else if self.periodic_due().is_some_and(|at| at <= view.now) || self.is_last_due() {
                let kind = self.checkpoint_kind();
                let (directory, _) = self.own_directory();
                self.trigger(kind, None, directory, view);
                self.periodic_at = self.config.interval_ms.map(|interval| view.now + interval);
            } else {
                break;
            }
        }
    }

    /// Everybody waits at the end, and nothing that is pending can tell them to end.
    fn is_last_due(&self) -> bool {
        self.tasks.are_at_end()
            && self.pending.is_empty()
            && !self.hold_last
            && !mutant::on("end_without_final_checkpoint")
    }

    fn checkpoint_kind(&self) -> SnapshotKind {
        if self.config.incremental && !self.full_next {
            SnapshotKind::Checkpoint
        } else {
            SnapshotKind::FullCheckpoint
        }
    }

    fn own_directory(&self) -> (String, CheckpointId) {
        let id = CheckpointId(self.last.0 + 1);
        (self.directory_of(id), id)
    }

    /// Where the files of a checkpoint go that belong to it alone.
    pub(super) fn directory_of(&self, id: CheckpointId) -> String {
        format!("{}/chk-{id}", self.directory)
    }

    fn trigger_requested(&mut self, request: SnapshotRequest, view: &View<'_>) {
        let (own, id) = self.own_directory();
        let kind = match request.kind {
            SnapshotKind::Checkpoint => self.checkpoint_kind(),
            kind => kind,
        };
        let directory = match kind.is_savepoint() {
            false => own,
            true => {
                let below = request.directory.or_else(|| self.config.savepoint_directory.clone());
                let below = below.unwrap_or_else(|| self.directory.clone());
                // Two jobs, or two lives of one, may have a savepoint of this number.
                let job = (self.job.0 >> 104) as u32;
                let unique = (request.id.0 >> 96) as u32;
                format!("{}/savepoint-{job:06x}-{id}-{unique:08x}", below.trim_end_matches('/'))
            }
        };
        if kind.stops() {
            self.stop = Stop::Pending(id);
        }
        self.trigger(kind, Some(request.id), directory, view);
    }

    fn trigger(
        &mut self,
        kind: SnapshotKind,
        request: Option<TriggerId>,
        directory: String,
        view: &View<'_>,
    ) {
        self.last.0 += 1;
        let alignment = self.config.alignment(kind);
        let barrier = Barrier { checkpoint: self.last, timestamp: view.wall, kind, alignment };
        let participants = self.tasks.participants();
        let parts = participants.map(|(id, attempt)| {
            let triggered = self.tasks.is_head(view.graph, id);
            (id, Part { attempt, triggered, state: None })
        });
        let parts: std::collections::BTreeMap<Subtask, Part> = parts.collect();
        let carried = self.tasks.iter().filter_map(|(id, task)| Some((id, task.carried.clone()?)));
        for part in parts.values().filter(|part| part.triggered) {
            self.effects.push(Effect::Trigger { attempt: part.attempt, barrier });
        }
        let pending = Pending {
            barrier,
            request,
            directory,
            triggered_at: view.now,
            missing: parts.len() as u32,
            parts,
            carried: carried.collect(),
            phase: Phase::Collecting,
        };
        self.pending.insert(self.last, pending);
    }

    /// A task whose last producer has come to its end meanwhile gets no barrier from anybody. Should
    /// it have got one after all, it ignores the second word.
    pub(super) fn trigger_new_heads(&mut self, graph: &JobGraph) {
        for pending in self.pending.values_mut().filter(|pending| pending.is_collecting()) {
            let barrier = pending.barrier;
            for (id, part) in &mut pending.parts {
                let waits = part.state.is_none() && !part.triggered;
                if waits && self.tasks.is_head(graph, *id) {
                    part.triggered = true;
                    self.effects.push(Effect::Trigger { attempt: part.attempt, barrier });
                }
            }
        }
    }

    /// Tells tasks again that they may end.
    pub(super) fn remind(&mut self, now: Mono) {
        let Some(checkpoint) = self.base() else { return };
        let all: Vec<ExecutionAttemptId> = match self.stop {
            Stop::Complete => self.tasks.running().collect(),
            _ => self.tasks.carried().collect(),
        };
        if all.is_empty() || self.closed {
            self.remind_at = None;
            return;
        }
        let due = *self.remind_at.get_or_insert(now + REMIND_MS);
        if due <= now {
            self.remind_at = Some(now + REMIND_MS);
            for attempt in all {
                self.effects.push(Effect::NotifyCompleted { attempt, checkpoint });
            }
        }
    }

    /// Gives up what has taken too long: for as long as tasks are waited for. Once all have acknowledged, a
    /// checkpoint is what its metadata is, and giving it up would only make more work for a slow store: the
    /// next one would be as late, and so for ever.
    pub(super) fn expire(&mut self, now: Mono) {
        let timeout_ms = self.config.timeout_ms;
        let late = |pending: &Pending| {
            matches!(pending.phase, Phase::Collecting) && pending.triggered_at + timeout_ms <= now
        };
        let expired = self.pending.iter().filter(|(_, pending)| late(pending));
        let expired: Vec<CheckpointId> = expired.map(|(id, _)| *id).collect();
        for id in expired {
            let cause = format!(
                "{} tasks did not acknowledge it within {timeout_ms} ms \
                 (execution.checkpointing.timeout)",
                self.pending[&id].missing
            );
            self.ended_at = Some(now);
            self.abort(id, &cause, true);
        }
        for id in self.requests.take_overdue(now, timeout_ms) {
            let cause = format!("not all tasks were running for {timeout_ms} ms");
            self.requests.conclude(id, SnapshotProgress::Failed { cause });
        }
    }
}
