//! Carries out what the checkpoint [`Coordinator`] decides, and tells it what happens.
//!
//! Who decides is the coordinator: here its effects become messages and work, and the changes of
//! attempts, the words of tasks and the ends of work become its events. A job that goes on from a
//! savepoint reads it here, before anything is scheduled.

use super::{Context, JobMaster, JobMasterDone, JobMasterOp, moment, tell};
use crate::execution_graph::{Change, ExecutionVertexId};
use crate::scheduler::Failure;
use millstream_checkpoint::config::{CheckpointConfig, ClaimMode, RecoveryConfig};
use millstream_checkpoint::coordinator::{
    Coordinator, Declined, Effect as Decided, Ending, ReadBack, SnapshotRequest, Subtask, View,
    Written,
};
use millstream_checkpoint::handle::{TaskRestore, TaskState};
use millstream_checkpoint::metadata::{self, METADATA_FILE};
use millstream_core::checkpoint::{CheckpointId, SnapshotKind};
use millstream_core::config::Configuration;
use millstream_core::ids::{ExecutionAttemptId, JobId, TriggerId};
use millstream_core::job_graph::{JobGraph, RuntimeMode};
use millstream_core::status::{ExecutionState, JobStatus};
use millstream_core::time::Mono;
use millstream_rpc::machine::{Effect, OpId};
use millstream_rpc::protocol::deployment::CheckpointSetup;
use millstream_rpc::protocol::details::{CheckpointDetails, CompletedDetails};
use millstream_rpc::protocol::job_master::{Drain, JobMasterAnswer, NOT_RUNNING};
use millstream_rpc::protocol::task_executor::ToTaskExecutor;
use millstream_rpc::protocol::{Answer, Message, Refusal};
use std::collections::{BTreeMap, VecDeque};

/// How often work is tried whose repetition does no harm.
const TRIES_MAX: u32 = 3;

/// How often a job tries to read its own newest checkpoint: for some four minutes. A store that is ill
/// now may be well then, and the job has nothing else to go on from.
const OWN_TRIES_MAX: u32 = 30;

/// The pause between two of these, times the number of tries so far, up to ten times.
const RETRY_PAUSE_MS: u64 = 1_000;

/// The checkpoints of the job.
#[derive(Debug, Default)]
pub(super) struct Checkpoints {
    /// Decides; nothing for a job that neither takes checkpoints nor goes on from one.
    coordinator: Option<Coordinator>,
    /// What the job goes on from; taken when that is known.
    recovery: Option<Recovery>,
    /// It could not be read and is tried again then, for that many times.
    again: Option<(Mono, Recovery, u32)>,
    /// The job has had another master.
    is_taken_over: bool,
    /// Checkpoints up to this one are former masters'; nothing once what they left has been looked for.
    floor: Option<CheckpointId>,
    /// Work that is under way.
    works: BTreeMap<OpId, Work>,
    /// Counts works: each gets an id of its own.
    works_made: u64,
}

/// What a work is for.
#[derive(Clone, Debug)]
enum Work {
    Write(CheckpointId),
    ReadBack(CheckpointId),
    /// What is to be deleted, and whether at the job's end; how often that was tried.
    Delete(Vec<String>, bool, u32),
    /// Metadata of an older one that is still there; how often that was tried.
    ReadOlder(Recovery, u32),
    /// The metadata that the job goes on from; how often that was tried.
    Recover(Recovery, u32),
    /// What tasks of former masters have left: for checkpoints up to this one.
    List(CheckpointId),
}

/// What a job goes on from.
#[derive(Clone, Debug)]
struct Recovery {
    config: RecoveryConfig,
    /// A former master of the job completed it; nobody has named it.
    own: bool,
    /// The directories of older ones that it kept, oldest first.
    older: VecDeque<String>,
}

/// What a former master of the job has left: under high availability.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobRecovery {
    /// The directory of the newest completed checkpoint, if there is one.
    pub checkpoint: Option<String>,
    /// Those of older ones that it kept or had not deleted yet, oldest first. They are let go when
    /// their time has come, as if there had been one master all the time.
    pub older: Vec<String>,
    /// Checkpoints are numbered from here.
    pub first: CheckpointId,
}

impl Checkpoints {
    /// Reads what the job and the cluster say of checkpoints; an error in words.
    pub(super) fn new(
        defaults: &Configuration,
        job: JobId,
        graph: &JobGraph,
        left: Option<JobRecovery>,
    ) -> Result<Self, String> {
        let mut configuration = defaults.clone();
        configuration.0.extend(graph.configuration.clone());
        let mut config = CheckpointConfig::read(&configuration).map_err(|e| e.to_string())?;
        // What a job goes on from is its own affair: a cluster's default would start all from one.
        let own = Configuration(graph.configuration.clone());
        let named = RecoveryConfig::read(&own).map_err(|error| error.to_string())?;
        let (first, is_taken_over) = (left.as_ref().map(|left| left.first), left.is_some());
        let newest = left.and_then(|left| Some((left.checkpoint?, left.older)));
        let recovery = match newest {
            Some((path, older)) => Some(Recovery::own(path, older)),
            None => {
                let older = VecDeque::new();
                named.map(|config| Recovery { config, own: false, older })
            }
        };
        if graph.mode == RuntimeMode::Batch && recovery.is_some() {
            return Err("a job in BATCH mode has no checkpoints and cannot go on from one: unset \
                        execution.state-recovery.path, or run it in STREAMING mode"
                .to_owned());
        }
        config.enabled &= graph.mode == RuntimeMode::Streaming && config.directory.is_some();
        let directory = config.directory.clone().unwrap_or_default();
        let wanted = config.enabled || recovery.is_some();
        let mut coordinator = wanted.then(|| Coordinator::new(config, job, &directory, graph));
        if let (Some(coordinator), Some(first)) = (&mut coordinator, first) {
            coordinator.number_from(first);
        }
        Ok(Self { coordinator, recovery, is_taken_over, ..Self::default() })
    }

    pub(super) fn coordinator(&self) -> Option<&Coordinator> {
        self.coordinator.as_ref()
    }

    pub(super) fn next_deadline(&self) -> Option<Mono> {
        let decided = self.coordinator.as_ref().and_then(Coordinator::next_deadline);
        let again = self.again.as_ref().map(|(at, ..)| *at);
        decided.into_iter().chain(again).min()
    }

    /// How tasks take part.
    pub(super) fn setup(&self) -> Option<CheckpointSetup> {
        let coordinator = self.coordinator.as_ref().filter(|c| c.config().enabled)?;
        Some(CheckpointSetup {
            directory: coordinator.directory().to_owned(),
            inline_bytes_max: coordinator.config().inline_bytes_max,
        })
    }

    /// What a task begins with.
    pub(super) fn restore(&self, id: ExecutionVertexId) -> Option<Box<TaskRestore>> {
        self.coordinator.as_ref()?.restore(subtask(id))
    }

    /// What the job goes on from is known; what is triggered from now on is ours.
    pub(super) fn begin_term(&mut self) {
        let newest = self.coordinator.as_ref().map(Coordinator::newest);
        self.floor =
            newest.filter(|newest| self.is_taken_over && *newest > CheckpointId::default());
    }

    fn begin(&mut self, cx: &mut Context<'_>, work: Work, what: JobMasterOp) {
        self.works_made += 1;
        let op = OpId(self.works_made);
        self.works.insert(op, work);
        cx.out.push(Effect::Op { op, what });
    }

    pub(super) fn check(&self) {
        if let Some(coordinator) = &self.coordinator {
            coordinator.check();
            assert!(!coordinator.has_effects(), "the checkpoint coordinator was not obeyed");
        }
    }
}

impl Recovery {
    /// The newest checkpoint of a former master. Its plan is the job's: all state is claimed.
    fn own(path: String, older: Vec<String>) -> Self {
        let config = RecoveryConfig { path, ignore_unclaimed: true, claim: ClaimMode::Claim };
        Self { config, own: true, older: older.into() }
    }
}

impl JobMaster {
    /// Begins to read what the job goes on from, if it goes on from something.
    pub(super) fn begin_recovery(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(recovery) = self.checkpoints.recovery.take() else { return false };
        self.recover(cx, recovery, 1);
        true
    }

    fn recover(&mut self, cx: &mut Context<'_>, mut recovery: Recovery, tries: u32) {
        if let Some(directory) = recovery.older.front().cloned() {
            let what = JobMasterOp::ReadMetadata { directory };
            return self.checkpoints.begin(cx, Work::ReadOlder(recovery, tries), what);
        }
        // People name the directory or the file in it.
        let path = &mut recovery.config.path;
        if let Some(directory) = path.strip_suffix(&format!("/{METADATA_FILE}")) {
            *path = directory.to_owned();
        }
        let directory = path.clone();
        let what = JobMasterOp::ReadMetadata { directory };
        self.checkpoints.begin(cx, Work::Recover(recovery, tries), what);
    }

    /// Reads once more what could not be read, if it is time for that.
    pub(super) fn recover_again(&mut self, cx: &mut Context<'_>) {
        let now = cx.now;
        if let Some((_, recovery, tries)) = self.checkpoints.again.take_if(|(at, ..)| *at <= now)
            && !self.scheduler.is_stopping()
        {
            self.recover(cx, recovery, tries);
        }
    }

    /// An older checkpoint that a former master kept. The job does not go on from it, so one that
    /// cannot be read is no reason to fail: it is let go, and is not on record any more.
    fn on_older_read(
        &mut self,
        cx: &mut Context<'_>,
        mut recovery: Recovery,
        tries: u32,
        result: JobMasterDone,
    ) {
        if self.scheduler.is_stopping() {
            return;
        }
        let is_ill = matches!(result, JobMasterDone::Failed { .. } | JobMasterDone::Unknown { .. });
        if is_ill && tries < TRIES_MAX {
            let at = cx.now + RETRY_PAUSE_MS * u64::from(tries);
            self.checkpoints.again = Some((at, recovery, tries + 1));
            return;
        }
        let Some(directory) = recovery.older.pop_front() else { return };
        let metadata = match &result {
            JobMasterDone::Read { bytes } => metadata::decode(bytes, &directory).ok(),
            _ => None,
        };
        match (metadata, &mut self.checkpoints.coordinator) {
            (Some(metadata), Some(coordinator)) => coordinator.adopt(metadata, &directory),
            _ => {
                let file = format!("{directory}/{METADATA_FILE}");
                self.delete(cx, vec![file, directory], false, 1);
            }
        }
        self.recover(cx, recovery, 1);
    }

    fn on_recovery_read(
        &mut self,
        cx: &mut Context<'_>,
        recovery: Recovery,
        tries: u32,
        result: JobMasterDone,
    ) {
        if self.scheduler.is_stopping() {
            return;
        }
        let file = format!("{}/{METADATA_FILE}", recovery.config.path);
        let begun = match result {
            JobMasterDone::Read { bytes } => self.go_on_from(&recovery, &bytes, &file),
            JobMasterDone::Missing if recovery.own => Err(format!("`{file}` does not exist")),
            JobMasterDone::Missing => Err(format!(
                "`{file}` does not exist: name the directory of a checkpoint (chk-7) or savepoint"
            )),
            JobMasterDone::Failed { .. } | JobMasterDone::Unknown { .. }
                if recovery.own && tries < OWN_TRIES_MAX =>
            {
                let pause_ms = RETRY_PAUSE_MS * u64::from(tries.min(10));
                self.checkpoints.again = Some((cx.now + pause_ms, recovery, tries + 1));
                return;
            }
            JobMasterDone::Unknown { .. } if tries < TRIES_MAX => {
                return self.recover(cx, recovery, tries + 1);
            }
            JobMasterDone::Failed { reason } | JobMasterDone::Unknown { reason } => {
                Err(format!("`{file}` could not be read: {reason}"))
            }
            JobMasterDone::Done | JobMasterDone::Listed { .. } => {
                Err(format!("`{file}` was not read"))
            }
        };
        match begun {
            Ok(()) => self.begin_running(cx),
            Err(problem) => {
                let failure = Failure::of_cluster(problem);
                let mut reason = "what execution.state-recovery.path names cannot be restored";
                if recovery.own {
                    // Never silently: to begin with anything else would do twice what was done.
                    // And whatever is left of it stays.
                    self.checkpoints.coordinator = None;
                    reason = "its newest checkpoint cannot be restored; its files are kept";
                }
                self.scheduler.fail_job(failure, reason, moment(cx));
            }
        }
    }

    /// The job goes on from this metadata; a problem in words.
    fn go_on_from(&mut self, recovery: &Recovery, bytes: &[u8], file: &str) -> Result<(), String> {
        let metadata = metadata::decode(bytes, file).map_err(|error| error.to_string())?;
        let graph = self.scheduler.graph().graph().clone();
        let Some(coordinator) = &mut self.checkpoints.coordinator else {
            return Err("the job takes no checkpoints".to_owned());
        };
        let RecoveryConfig { path, ignore_unclaimed, claim } = &recovery.config;
        let begun = match recovery.own {
            true => coordinator.recover(metadata, path, &graph),
            false => coordinator.begin_from(metadata, path, *claim, *ignore_unclaimed, &graph),
        };
        begun.map_err(|error| error.to_string())?;
        let Some(dealt) = coordinator.reassignment() else { return Ok(()) };
        for (index, vertex) in graph.vertices.iter().enumerate() {
            let (seen, max) = (dealt.seen_splits(vertex), dealt.max_parallelism(index));
            self.scheduler.graph_mut().go_on_from(index, &seen, max);
        }
        for id in self.scheduler.graph().ids() {
            coordinator.on_reset(subtask(id), &graph);
        }
        Ok(())
    }

    /// Whether attempts have changed that the coordinator has not been told of.
    pub(super) fn has_changes(&self) -> bool {
        self.scheduler.graph().has_changes()
    }

    /// Tells the coordinator what has changed, and carries out what it decides.
    pub(super) fn coordinate(&mut self, cx: &mut Context<'_>) {
        let changes = self.scheduler.graph_mut().take_changes();
        let Some(coordinator) = &mut self.checkpoints.coordinator else { return };
        let graph = self.scheduler.graph();
        for (id, change) in changes {
            tell_change(coordinator, graph, id, change);
        }
        if self.scheduler.is_stopping() {
            coordinator.close("the job is ending");
        }
        self.with_coordinator(cx, |coordinator, view| coordinator.settle(view));
    }

    /// Lets the coordinator decide, and carries out what it does.
    fn with_coordinator(
        &mut self,
        cx: &mut Context<'_>,
        decide: impl FnOnce(&mut Coordinator, &View<'_>),
    ) {
        let graph = self.scheduler.graph();
        let seen =
            |vertex: usize, counts: &[(ExecutionAttemptId, u32)]| graph.seen_splits(vertex, counts);
        let view = View { now: cx.now, wall: cx.wall, graph: graph.graph(), seen_splits: &seen };
        let Some(coordinator) = &mut self.checkpoints.coordinator else { return };
        decide(coordinator, &view);
        for effect in coordinator.take_effects() {
            self.carry_out_decision(cx, effect);
        }
    }

    fn carry_out_decision(&mut self, cx: &mut Context<'_>, effect: Decided) {
        let job_master = self.fence.token();
        match effect {
            Decided::Trigger { attempt, barrier } => {
                let message = ToTaskExecutor::TriggerCheckpoint { attempt, barrier, job_master };
                self.tell_task(cx, attempt, message);
            }
            Decided::NotifyCompleted { attempt, checkpoint } => {
                let message =
                    ToTaskExecutor::NotifyCheckpointCompleted { attempt, checkpoint, job_master };
                self.tell_task(cx, attempt, message);
            }
            Decided::NotifyAborted { attempt, checkpoint } => {
                let message =
                    ToTaskExecutor::NotifyCheckpointAborted { attempt, checkpoint, job_master };
                self.tell_task(cx, attempt, message);
            }
            Decided::Write(write) => {
                let work = Work::Write(write.checkpoint);
                let (directory, copies, bytes) = (write.directory, write.copies, write.bytes);
                let recorded = write.recoverable.then_some(write.checkpoint);
                let what = JobMasterOp::WriteMetadata { directory, copies, bytes, recorded };
                self.checkpoints.begin(cx, work, what);
            }
            Decided::ReadBack { checkpoint, directory } => {
                let what = JobMasterOp::ReadMetadata { directory };
                self.checkpoints.begin(cx, Work::ReadBack(checkpoint), what);
            }
            Decided::Delete(paths) => self.delete(cx, paths, false, 1),
            Decided::Completed { splits, .. } => {
                self.scheduler.graph_mut().keep_splits(&splits);
                self.scheduler.on_checkpoint_completed();
                self.look_for_orphans(cx);
            }
            Decided::Fail(cause) => {
                let failure = Failure::of_cluster(cause);
                self.scheduler.fail_all(failure, moment(cx), cx.rng);
            }
        }
    }

    pub(super) fn tell_task(
        &self,
        cx: &mut Context<'_>,
        attempt: ExecutionAttemptId,
        message: ToTaskExecutor,
    ) {
        let graph = self.scheduler.graph();
        let place = graph.find(attempt).and_then(|id| graph.execution(id).place());
        if let Some(worker) = place.and_then(|place| self.workers.get(&place.resource)) {
            tell(cx, &worker.address, None, Message::TaskExecutor(message));
        }
    }

    /// A checkpoint of ours is complete: all tasks are ours by now, and whoever wrote for a former master
    /// has ended. What is left of its checkpoints is looked for, once.
    fn look_for_orphans(&mut self, cx: &mut Context<'_>) {
        let Some(floor) = self.checkpoints.floor.take() else { return };
        let Some(coordinator) = &self.checkpoints.coordinator else { return };
        let what = JobMasterOp::ListFiles { directory: coordinator.directory().to_owned() };
        self.checkpoints.begin(cx, Work::List(floor), what);
    }

    /// What cannot be listed now is deleted at the end of the job.
    fn on_listed(&mut self, cx: &mut Context<'_>, floor: CheckpointId, result: JobMasterDone) {
        let JobMasterDone::Listed { paths } = result else { return };
        let Some(coordinator) = &self.checkpoints.coordinator else { return };
        let orphans = coordinator.orphans(floor, &paths);
        if !orphans.is_empty() && !self.scheduler.is_stopping() {
            self.delete(cx, orphans, false, 1);
        }
    }

    fn delete(&mut self, cx: &mut Context<'_>, paths: Vec<String>, ended: bool, tries: u32) {
        let what = JobMasterOp::Delete { paths: paths.clone(), ended };
        self.checkpoints.begin(cx, Work::Delete(paths, ended, tries), what);
    }

    /// A work is done.
    pub(super) fn on_done(&mut self, cx: &mut Context<'_>, op: OpId, result: JobMasterDone) {
        match self.checkpoints.works.remove(&op) {
            None => self.counters.stale_answers += 1,
            Some(Work::ReadOlder(recovery, tries)) => {
                self.on_older_read(cx, recovery, tries, result);
            }
            Some(Work::Recover(recovery, tries)) => {
                self.on_recovery_read(cx, recovery, tries, result);
            }
            Some(Work::List(floor)) => self.on_listed(cx, floor, result),
            Some(Work::Write(checkpoint)) => {
                let written = match result {
                    JobMasterDone::Done => Written::Done,
                    JobMasterDone::Failed { reason } => Written::Failed { reason },
                    JobMasterDone::Unknown { reason } => Written::Unknown { reason },
                    JobMasterDone::Read { .. }
                    | JobMasterDone::Listed { .. }
                    | JobMasterDone::Missing => {
                        Written::Unknown { reason: "its end was not told".to_owned() }
                    }
                };
                self.with_coordinator(cx, |c, view| c.on_written(checkpoint, written, view));
            }
            Some(Work::ReadBack(checkpoint)) => {
                let found = match result {
                    JobMasterDone::Read { bytes } => ReadBack::Found(bytes),
                    JobMasterDone::Missing => ReadBack::Missing,
                    JobMasterDone::Failed { reason } | JobMasterDone::Unknown { reason } => {
                        ReadBack::Failed { reason }
                    }
                    JobMasterDone::Done | JobMasterDone::Listed { .. } => {
                        ReadBack::Failed { reason: "its end was not told".to_owned() }
                    }
                };
                self.with_coordinator(cx, |c, view| c.on_read_back(checkpoint, found, view));
            }
            Some(Work::Delete(paths, ended, tries)) => {
                // What is left behind takes room and does no harm.
                if result != JobMasterDone::Done && tries < TRIES_MAX {
                    self.delete(cx, paths, ended, tries + 1);
                }
            }
        }
    }

    /// A task's part of a checkpoint is durable.
    pub(super) fn on_acknowledged(
        &mut self,
        attempt: ExecutionAttemptId,
        checkpoint: CheckpointId,
        state: Box<TaskState>,
    ) {
        let id = self.scheduler.graph().subtask_of(attempt);
        match (id, &mut self.checkpoints.coordinator) {
            (Some(id), Some(c)) => c.on_acknowledged(subtask(id), attempt, checkpoint, state),
            _ => self.counters.strangers += 1,
        }
    }

    /// A task takes no part in a checkpoint.
    pub(super) fn on_declined(
        &mut self,
        attempt: ExecutionAttemptId,
        checkpoint: CheckpointId,
        cause: String,
    ) {
        let why = match cause == NOT_RUNNING {
            true => Declined::NotRunning,
            false => Declined::Failed(cause),
        };
        let id = self.scheduler.graph().subtask_of(attempt);
        match (id, &mut self.checkpoints.coordinator) {
            (Some(id), Some(c)) => c.on_declined(subtask(id), attempt, checkpoint, why),
            _ => self.counters.strangers += 1,
        }
    }

    /// A task has processed all its records.
    pub(super) fn on_end_of_data(&mut self, attempt: ExecutionAttemptId) {
        let id = self.scheduler.graph().find(attempt);
        match (id, &mut self.checkpoints.coordinator) {
            (Some(id), Some(c)) => c.on_end_of_data(subtask(id), attempt),
            _ => self.counters.strangers += 1,
        }
    }

    pub(super) fn on_trigger_savepoint(
        &mut self,
        cx: &mut Context<'_>,
        id: TriggerId,
        directory: Option<String>,
        stop: Option<Drain>,
    ) -> Answer {
        let kind = match stop {
            None => SnapshotKind::Savepoint,
            Some(Drain::No) => SnapshotKind::Suspend,
            Some(Drain::Yes) => SnapshotKind::Drain,
        };
        self.request_snapshot(cx, SnapshotRequest { id, kind, directory })
    }

    pub(super) fn on_trigger_checkpoint(
        &mut self,
        cx: &mut Context<'_>,
        id: TriggerId,
        full: bool,
    ) -> Answer {
        let kind = if full { SnapshotKind::FullCheckpoint } else { SnapshotKind::Checkpoint };
        self.request_snapshot(cx, SnapshotRequest { id, kind, directory: None })
    }

    fn request_snapshot(&mut self, cx: &mut Context<'_>, request: SnapshotRequest) -> Answer {
        let Some(coordinator) = &mut self.checkpoints.coordinator else {
            let mode = self.scheduler.graph().graph().mode;
            let why = match mode {
                RuntimeMode::Batch => "the job runs in BATCH mode, which has no checkpoints",
                RuntimeMode::Streaming => {
                    "the job takes no checkpoints: set execution.checkpointing.dir, and neither \
                     set execution.checkpointing.interval to 0 nor \
                     execution.checkpointing.enabled to false"
                }
            };
            return Answer::Refused(Refusal::Invalid(why.to_owned()));
        };
        match coordinator.request(request, cx.now) {
            Ok(()) => Answer::Ack,
            Err(why) => Answer::Refused(Refusal::Invalid(why)),
        }
    }

    pub(super) fn snapshot_progress(&self, trigger: TriggerId) -> Answer {
        let coordinator = self.checkpoints.coordinator.as_ref();
        match coordinator.and_then(|coordinator| coordinator.progress(trigger)) {
            Some(progress) => {
                Answer::JobMaster(JobMasterAnswer::SnapshotProgress(progress.clone()))
            }
            None => Answer::Refused(Refusal::Unknown(format!("trigger {trigger}"))),
        }
    }

    /// The job has ended: checkpoints that nobody wants any more are deleted.
    pub(super) fn end_checkpoints(&mut self, cx: &mut Context<'_>) {
        let ending = match self.life.status() {
            JobStatus::Finished => Ending::Finished,
            JobStatus::Canceled => Ending::Canceled,
            JobStatus::Failed => Ending::Failed,
            _ => Ending::Suspended,
        };
        let Some(coordinator) = &mut self.checkpoints.coordinator else { return };
        coordinator.end(ending);
        for effect in coordinator.take_effects() {
            // No task is left to be told anything.
            if let Decided::Delete(paths) = effect {
                self.delete(cx, paths, true, 1);
            }
        }
    }

    /// What people may see of the checkpoints.
    pub(super) fn checkpoint_details(&self) -> Option<Box<CheckpointDetails>> {
        let coordinator = self.checkpoints.coordinator.as_ref()?;
        let counts = coordinator.counts();
        let retained = coordinator.retained().map(|retained| CompletedDetails {
            checkpoint: retained.metadata.checkpoint,
            kind: retained.metadata.kind,
            triggered: retained.metadata.timestamp,
            bytes: retained.metadata.bytes(),
            path: retained.directory,
        });
        Some(Box::new(CheckpointDetails {
            completed: counts.completed,
            failed: counts.failed,
            pending: coordinator.pending().collect(),
            retained: retained.collect(),
            base: coordinator.base(),
            requests: coordinator.all_progress().cloned().collect(),
        }))
    }
}

fn subtask(id: ExecutionVertexId) -> Subtask {
    Subtask { vertex: id.vertex, subtask: id.subtask }
}

fn tell_change(
    coordinator: &mut Coordinator,
    graph: &crate::execution_graph::ExecutionGraph,
    id: ExecutionVertexId,
    change: Change,
) {
    use ExecutionState::{
        Canceled, Canceling, Created, Deploying, Failed, Finished, Initializing, Running, Scheduled,
    };
    let task = subtask(id);
    match change {
        Change::Reset => coordinator.on_reset(task, graph.graph()),
        Change::Entered(Deploying) => coordinator.on_deployed(task, graph.attempt_id(id)),
        Change::Entered(Running) => coordinator.on_running(task),
        Change::Entered(Finished) => coordinator.on_finished(task),
        Change::Entered(Canceling | Canceled | Failed) => coordinator.on_lost(task),
        Change::Entered(Created | Scheduled | Initializing) => {}
    }
}
