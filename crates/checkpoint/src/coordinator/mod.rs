//! Decides when a job's checkpoints are taken, when one is complete, what a job goes on from, and
//! what is deleted.
//!
//! Events go in, [`Effect`]s come out. The owner tells how tasks stand, passes on what they say, and
//! after each event calls [`Coordinator::settle`], which does whatever the state calls for now.
//!
//! The story of a checkpoint: when every task runs, the heads (tasks none of whose producers still
//! sends) are told to begin, and barriers carry it to the others. A task that comes to its end while a
//! checkpoint is pending sends no barrier; its consumers may become heads by that and are then told
//! themselves. When all have acknowledged, the metadata is *written*; when that is durable, and not
//! before, the checkpoint is complete: tasks are told, older ones are let go. A write of which nobody
//! knows whether it took place is read back.
//!
//! The end of a bounded job: a task that has processed everything waits. When all who have not said
//! all wait, a checkpoint is triggered at once. Who says in it that all is done is *carried*: its state
//! goes into every later checkpoint, and it ends when it hears that this one is complete; that may get
//! lost, so it is told again until it has ended.
//!
//! A task that is lost takes all pending checkpoints with it, even one whose metadata is being
//! written: its tasks begin again from the newest complete one, and what they did since must not
//! become true.
//!
//! A savepoint belongs to whoever asked for it. Nobody is told of its completion and no job goes on
//! from it by itself: otherwise sinks would commit what a later restore does again. One that ends the
//! job is different: it is the last word, and whatever fails after it only commits and ends.
//!
//! In reading order: [`config`](crate::config); `tasks`: how tasks stand; `pending`; [`requests`];
//! `trigger`: when one begins; `answers`: what tasks say; `completion`: from the last
//! acknowledgement to the end; `recovery`: what tasks begin with; `orphans`: what former masters left;
//! `effect`: what is to be done.

mod answers;
mod completion;
mod effect;
mod orphans;
mod pending;
mod recovery;
pub mod requests;
mod tasks;
mod trigger;

#[cfg(test)]
mod tests;

pub use answers::Declined;
pub use completion::Ending;
pub use effect::{Copies, Effect, MetadataWrite, ReadBack, Written};
pub use requests::{SnapshotProgress, SnapshotRequest};
pub use tasks::Subtask;

use crate::config::CheckpointConfig;
use crate::metadata::CheckpointMetadata;
use crate::reassign::Reassignment;
use crate::registry::Registry;
use millstream_core::checkpoint::CheckpointId;
use millstream_core::ids::{ExecutionAttemptId, JobId, TriggerId};
use millstream_core::job_graph::JobGraph;
use millstream_core::time::{Mono, Timestamp};
use pending::Pending;
use requests::Requests;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use tasks::{Status, Tasks};

/// What the owner knows, for one call.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The time.
    pub now: Mono,
    /// The time, for people.
    pub wall: Timestamp,
    /// The job.
    pub graph: &'a JobGraph,
    /// Which splits of a vertex have been given to readers, when of those that each attempt was given
    /// only the first so many count.
    pub seen_splits: &'a SeenSplitsOf<'a>,
}

/// See [`View::seen_splits`].
pub type SeenSplitsOf<'a> = dyn Fn(usize, &[(ExecutionAttemptId, u32)]) -> BTreeSet<u32> + 'a;

/// Decides about the checkpoints of one job.
#[derive(Clone, Debug)]
pub struct Coordinator {
    /// How the job takes checkpoints; set once.
    config: CheckpointConfig,
    /// The job; set once.
    job: JobId,
    /// The directory of the job's checkpoints; set once.
    directory: String,
    /// How the tasks stand. Changed by what the owner tells.
    tasks: Tasks,
    /// The newest checkpoint that was triggered: numbers are never used twice.
    last: CheckpointId,
    /// Checkpoints that are being taken.
    pending: BTreeMap<CheckpointId, Pending>,
    /// Completed ones that are kept, oldest first.
    retained: VecDeque<Retained>,
    /// What tasks go on from after a failure, and how it is dealt out.
    base: Option<Base>,
    /// Which shared files are still needed.
    registry: Registry,
    /// What people have asked for.
    requests: Requests,
    /// When the next periodic one is due; nothing while tasks do not run.
    periodic_at: Option<Mono>,
    /// When the last one ended.
    ended_at: Option<Mono>,
    /// How many have failed in a row.
    failures: u32,
    /// The last one was refused: the one at the end of all data waits for its interval as well.
    hold_last: bool,
    /// The next one must not refer to any file of an earlier one.
    full_next: bool,
    /// When tasks that need only be told to end are told again; nothing while there are none.
    remind_at: Option<Mono>,
    /// Whether the job is being ended by a savepoint.
    stop: Stop,
    /// Nothing is triggered any more.
    closed: bool,
    /// What the owner has still to do.
    effects: Vec<Effect>,
    /// What has happened so far.
    counts: Counts,
}

/// What tasks go on from.
#[derive(Clone, Debug)]
struct Base {
    reassignment: Reassignment,
    /// The one before: only for a planted bug.
    #[cfg(feature = "mutants")]
    former: Option<Reassignment>,
}

/// A completed checkpoint that is kept.
#[derive(Clone, Debug)]
struct Retained {
    metadata: Arc<CheckpointMetadata>,
    /// Where it is.
    directory: String,
}

/// The job's end by a savepoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// Nobody wants it.
    No,
    /// This savepoint will end it.
    Pending(CheckpointId),
    /// The savepoint is complete.
    Complete,
}

/// What has happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Checkpoints and savepoints that were completed.
    pub completed: u64,
    /// Those that were given up.
    pub failed: u64,
    /// Words about checkpoints or attempts that do not count.
    pub late: u64,
}

/// A completed checkpoint, as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompletedCheckpoint {
    /// What it is.
    pub metadata: Arc<CheckpointMetadata>,
    /// Where it is.
    pub directory: String,
}

impl Coordinator {
    /// A job that begins afresh. `directory` is that of all jobs' checkpoints.
    pub fn new(config: CheckpointConfig, job: JobId, directory: &str, graph: &JobGraph) -> Self {
        Self {
            config,
            job,
            directory: format!("{directory}/{job}"),
            tasks: Tasks::new(graph),
            last: CheckpointId::default(),
            pending: BTreeMap::new(),
            retained: VecDeque::new(),
            base: None,
            registry: Registry::default(),
            requests: Requests::default(),
            periodic_at: None,
            ended_at: None,
            failures: 0,
            hold_last: false,
            full_next: false,
            remind_at: None,
            stop: Stop::No,
            closed: false,
            effects: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// The directory of the job's checkpoints.
    pub fn directory(&self) -> &str {
        &self.directory
    }

    /// How the job takes checkpoints.
    pub fn config(&self) -> &CheckpointConfig {
        &self.config
    }

    /// What has happened so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Checkpoints that are being taken.
    pub fn pending(&self) -> impl Iterator<Item = CheckpointId> + '_ {
        self.pending.keys().copied()
    }

    /// The completed checkpoints that are kept, oldest first.
    pub fn retained(&self) -> impl Iterator<Item = CompletedCheckpoint> + '_ {
        self.retained.iter().map(|retained| CompletedCheckpoint {
            metadata: retained.metadata.clone(),
            directory: retained.directory.clone(),
        })
    }

    /// Takes what the owner must do.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Whether the owner has something to do.
    pub fn has_effects(&self) -> bool {
        !self.effects.is_empty()
    }

    /// Somebody asks for a checkpoint or a savepoint; a reason if it cannot be.
    pub fn request(&mut self, request: SnapshotRequest, now: Mono) -> Result<(), String> {
        if self.requests.progress(request.id).is_some() {
            return Ok(());
        }
        if !self.config.enabled {
            return Err("the job takes no checkpoints (execution.checkpointing.interval is 0, or \
                        execution.checkpointing.enabled is false)"
                .to_owned());
        }
        if self.closed {
            return Err("the job is ending".to_owned());
        }
        let stopping = self.stop != Stop::No;
        if stopping {
            return Err("the job is being stopped with a savepoint already".to_owned());
        }
        let nowhere = request.kind.is_savepoint()
            && request.directory.is_none()
            && self.config.savepoint_directory.is_none();
        if nowhere {
            return Err(
                "no directory was named for the savepoint, and there is no default: name one, \
                        or set execution.checkpointing.savepoint-dir"
                    .to_owned(),
            );
        }
        let accepted = self.requests.add(request, now);
        accepted.then_some(()).ok_or_else(|| "too many requests are waiting".to_owned())
    }

    /// How far a request is.
    pub fn progress(&self, id: TriggerId) -> Option<&SnapshotProgress> {
        self.requests.progress(id)
    }

    /// All requests that are known, and how far each is.
    pub fn all_progress(&self) -> impl Iterator<Item = &(TriggerId, SnapshotProgress)> {
        self.requests.all()
    }

    /// An attempt is on its way to a worker.
    pub fn on_deployed(&mut self, id: Subtask, attempt: ExecutionAttemptId) {
        self.tasks.update(id, |task| {
            task.attempt = Some(attempt);
            task.status = Status::Absent;
            task.ended = false;
        });
    }

    /// The attempt runs.
    pub fn on_running(&mut self, id: Subtask) {
        self.tasks.update(id, |task| task.status = Status::Running);
    }

    /// The attempt has done its work and has ended.
    pub fn on_finished(&mut self, id: Subtask) {
        self.tasks.update(id, |task| {
            task.status = Status::Finished;
            if let Some(restored) = task.restored.take() {
                task.carried = Some(restored);
            }
        });
        let carried = self.tasks.get(id).and_then(|task| task.carried.clone());
        let waits = |p: &&mut Pending| p.parts.get(&id).is_some_and(|part| part.state.is_none());
        let mut lost = false;
        for pending in self.pending.values_mut().filter(|p| p.is_collecting()).filter(waits) {
            match &carried {
                Some(state) => {
                    pending.take(id, state.clone());
                }
                None => lost = true,
            }
        }
        if lost {
            self.abort_all(&format!("task {} has ended without saying where it was", name(id)));
        }
    }

    /// The attempt ends or is gone, and not because its work is done.
    pub fn on_lost(&mut self, id: Subtask) {
        let takes_part = |p: &Pending| p.parts.contains_key(&id) || p.carried.contains_key(&id);
        let hit = self.pending.values().any(takes_part);
        self.tasks.update(id, |task| {
            task.status = Status::Absent;
            task.attempt = None;
            task.ended = false;
        });
        if hit && !crate::mutant::on("aborted_checkpoint_completes") {
            self.abort_all(&format!("task {} is gone", name(id)));
        }
    }

    /// The subtask will begin anew, from the newest completed checkpoint.
    pub fn on_reset(&mut self, id: Subtask, graph: &JobGraph) {
        let restored = self.finished_before(id, graph);
        self.tasks.update(id, |task| {
            task.status = Status::Absent;
            task.attempt = None;
            task.ended = false;
            task.carried = None;
            task.restored = restored;
        });
    }

    /// The job is ending: nothing is triggered any more.
    pub fn close(&mut self, cause: &str) {
        if !std::mem::replace(&mut self.closed, true) {
            self.abort_all(cause);
            for id in self.requests.take_all() {
                self.requests.conclude(id, SnapshotProgress::Failed { cause: cause.to_owned() });
            }
        }
    }

    /// Does what the state calls for.
    pub fn settle(&mut self, view: &View<'_>) {
        self.expire(view.now);
        self.trigger_due(view);
        self.trigger_new_heads(view.graph);
        self.write_acknowledged(view);
        self.read_again(view.now);
        self.remind(view.now);
    }

    /// What holds after every step.
    pub fn check(&self) {
        self.tasks.check();
        self.registry.check();
        for (id, pending) in &self.pending {
            assert!(*id <= self.last, "checkpoint {id} was not triggered");
            pending.check();
        }
        let ids: Vec<CheckpointId> = self.retained.iter().map(|r| r.metadata.checkpoint).collect();
        assert!(ids.is_sorted(), "retained checkpoints {ids:?}");
        let registered: Vec<CheckpointId> = self.registry.retained().collect();
        assert_eq!(ids, registered, "retained checkpoints and the registry");
    }
}

/// A subtask for people.
fn name(id: Subtask) -> String {
    format!("{} of vertex {}", id.subtask + 1, id.vertex)
}
