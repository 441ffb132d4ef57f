//! [`LocalJob`]: a job in one thread, in virtual time. The execution graph and the checkpoint coordinator
//! are those of a JobManager, the tasks are those of a slot; this file stands for everything in between,
//! and never loses or delays a message.

use super::options::{Options, Snapshot};
use crate::state_backend;
use millstream_api::JobResult;
use millstream_api::error::{Error, ErrorCode, Result};
use millstream_checkpoint::config::{CheckpointConfig, CheckpointingMode, ClaimMode, Retention};
use millstream_checkpoint::coordinator::{
    Coordinator, Declined, Effect, MetadataWrite, SnapshotProgress, SnapshotRequest, Subtask, View,
    Written,
};
use millstream_checkpoint::metadata::{self, METADATA_FILE};
use millstream_checkpoint::storage::Storage;
use millstream_checkpoint::testing::MemoryStorage;
use millstream_core::checkpoint::SnapshotKind;
use millstream_core::ids::{
    AllocationId, ExecutionAttemptId, ExecutionGraphId, JobId, OperatorId, TriggerId,
};
use millstream_core::job_graph::{ExchangeMode, JobVertex, RuntimeMode};
use millstream_core::key_group::subtask_of_hash;
use millstream_core::metric::MetricValue;
use millstream_core::status::ExecutionState;
use millstream_core::time::{Mono, Timestamp};
use millstream_jobmanager::execution_graph::vertex::Place;
use millstream_jobmanager::execution_graph::{Change, ExecutionGraph, ExecutionVertexId};
use millstream_jobmanager::watermark_alignment::{Allowance, WatermarkAlignment};
use millstream_operator::asynchronous::{AsyncRuntime, LocalRuntime};
use millstream_operator::clock::ManualClock;
use millstream_operator::inspect::{Inspect, PendingTimers};
use millstream_operator::plan::Plan;
use millstream_rpc::protocol::deployment::CheckpointSetup;
use millstream_rpc::protocol::job_link::FromJobProcess;
use millstream_rpc::protocol::job_master::TaskFailure;
use millstream_task::local::{LocalTasks, Surroundings};
use millstream_task::stream_task::Step;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where checkpoints are, and where savepoints.
const CHECKPOINTS: &str = "checkpoints";
const SAVEPOINTS: &str = "savepoints";

/// So often time may pass without a record before the job counts as one that never ends.
const PAUSES_MAX: u32 = 1_000_000;

/// A job in one thread, in virtual time.
pub(super) struct LocalJob {
    options: Options,
    graph: ExecutionGraph,
    coordinator: Coordinator,
    /// How far sources of alignment groups may read.
    alignment: WatermarkAlignment,
    tasks: LocalTasks,
    storage: MemoryStorage,
    calls: LocalRuntime,
    clock: ManualClock,
    /// Virtual time, and what it was at `origin`.
    now: Timestamp,
    began: Timestamp,
    origin: Instant,
    /// Requests for checkpoints and savepoints, and deployments.
    requests: u128,
    deployed: u64,
    /// Records that sources have given, over all attempts; and of each attempt what is counted there.
    records: u64,
    counted: BTreeMap<ExecutionAttemptId, u64>,
    /// What is to happen after so many records.
    next_checkpoint: u64,
    next_crash: Option<u64>,
    /// Failures that the job may still go on after.
    restarts: u32,
    /// Chooses whose turn it is.
    dice: u64,
    failure: Option<Error>,
}

impl LocalJob {
    /// All tasks are built, and have done nothing.
    pub(super) fn start(mut plan: Plan, options: Options) -> Result<Self> {
        // All tasks are there from the beginning to the end.
        plan.graph.edges.iter_mut().for_each(|edge| edge.exchange = ExchangeMode::Pipelined);
        let wrong = |why: String| Error::new(ErrorCode::Configuration, why);
        let (job, plan) = (JobId(1), Arc::new(plan));
        let mut graph = ExecutionGraph::new(job, plan.graph.clone())
            .map_err(|invalid| Error::new(ErrorCode::EmptyPlan, invalid.0))?;
        graph.begin(ExecutionGraphId(1), options.start_time);
        let streaming = plan.graph.mode == RuntimeMode::Streaming;
        let config = checkpoint_config(&options, streaming);
        let mut coordinator = Coordinator::new(config, job, CHECKPOINTS, &plan.graph);
        let former = options.restore.as_ref();
        let storage = former.map_or_else(MemoryStorage::new, |from| from.storage.clone());
        if let Some(from) = &options.restore {
            go_on_from(from, &mut graph, &mut coordinator)?;
        }
        let (calls, clock) = (LocalRuntime::new(), ManualClock::default());
        clock.set(options.start_time);
        let files = storage.clone();
        let backend = state_backend::open(&plan.graph.configuration, &std::env::temp_dir());
        let surroundings = Surroundings {
            open_storage: Arc::new(move |directory| Ok(files.below(directory))),
            state_backend: backend.map_err(|error| wrong(error.to_string()))?,
            clock: clock.clock(),
            async_runtime: AsyncRuntime::new(calls.clone()),
            turn_records: options.turn_records,
        };
        let mut this = Self {
            graph,
            coordinator,
            alignment: WatermarkAlignment::default(),
            tasks: LocalTasks::new(plan, surroundings),
            storage,
            calls,
            clock,
            now: options.start_time,
            began: options.start_time,
            origin: Instant::now(),
            requests: 0,
            deployed: 0,
            records: 0,
            counted: BTreeMap::new(),
            next_checkpoint: options.checkpoint_every.unwrap_or(u64::MAX),
            next_crash: options.crash_after,
            restarts: options.restarts,
            dice: options.seed.unwrap_or_default(),
            failure: None,
            options,
        };
        let ids: Vec<ExecutionVertexId> = this.graph.ids().collect();
        this.deploy(&ids).map_err(|failure| this.failed(&failure))?;
        Ok(this)
    }

    /// The time.
    pub(super) fn now(&self) -> Timestamp {
        self.now
    }

    /// Whether all tasks have finished.
    pub(super) fn has_finished(&self) -> bool {
        self.graph.executions().all(|(_, execution)| execution.state() == ExecutionState::Finished)
    }

    /// Runs until nothing can move at this time; when something can, if it is a matter of time.
    pub(super) fn run(&mut self) -> Result<Option<Timestamp>> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        loop {
            match self.pass() {
                Ok(Pass::Moved) => (),
                Ok(Pass::Still(next)) => return Ok(next),
                Err(failure) => self.recover(&failure)?,
            }
        }
    }

    /// Lets time reach this, with all that happens on the way.
    pub(super) fn run_until(&mut self, time: Timestamp) -> Result<()> {
        while let Some(next) = self.run()?.filter(|next| *next <= time) {
            self.set_time(next);
        }
        self.set_time(time.max(self.now));
        self.run().map(drop)
    }

    /// Runs to the end, and lets time pass as fast as it can.
    pub(super) fn finish(&mut self) -> Result<JobResult> {
        let (mut pauses, mut records) = (0, self.records);
        loop {
            let next = self.run()?;
            if self.has_finished() {
                let millis = self.now.saturating_sub(self.began).max(0) as u64;
                let runtime = Duration::from_millis(millis);
                let accumulators = self.tasks.accumulators();
                return Ok(JobResult { job: self.graph.job(), runtime, accumulators });
            }
            pauses = if self.records == records { pauses + 1 } else { 0 };
            records = self.records;
            match next {
                Some(next) if pauses < PAUSES_MAX => self.set_time(next),
                _ => return Err(self.endless()),
            }
        }
    }

    fn endless(&self) -> Error {
        let waiting = self.graph.executions().filter(|(_, e)| !e.state().is_terminal());
        let waiting = waiting.map(|(id, _)| format!("`{}`", self.graph.task_name(id)));
        let waiting: Vec<String> = waiting.collect();
        Error::new(ErrorCode::JobFailed, "the job waits for something that never comes")
            .attempted(format!("run job `{}` to its end", self.graph.graph().name))
            .why(format!("these tasks have not finished: {}", waiting.join(", ")))
            .next("call `end` on its test inputs; give unbounded sources an end, or use `TestJob::run`")
    }

    fn set_time(&mut self, time: Timestamp) {
        self.now = time;
        self.clock.set(time);
    }

    fn instant(&self) -> Instant {
        let passed = self.now.saturating_sub(self.began).max(0) as u64;
        self.origin + Duration::from_millis(passed)
    }

    fn mono(&self) -> Mono {
        Mono(self.now.saturating_sub(self.began).max(0) as u64)
    }

    /// When a task wants its next turn: a later time than now.
    fn time_of(&self, wanted: Instant) -> Timestamp {
        let passed = wanted.saturating_duration_since(self.origin).as_micros().div_ceil(1_000);
        let time = self.began.saturating_add(i64::try_from(passed).unwrap_or(i64::MAX));
        time.max(self.now.saturating_add(1))
    }

    /// Gives every task a turn.
    fn pass(&mut self) -> Result<Pass, TaskFailure> {
        let now = self.instant();
        let (mut moved, mut next) = (false, None::<Timestamp>);
        for id in self.order() {
            if self.graph.state(id) != ExecutionState::Running {
                continue;
            }
            let attempt = self.graph.attempt_id(id);
            match self.tasks.step(attempt, now)? {
                Step::Progress => moved = true,
                Step::NeedInput(Some(until)) => {
                    let until = self.time_of(until);
                    next = Some(next.map_or(until, |next| next.min(until)));
                }
                Step::NeedInput(None) | Step::NeedOutput | Step::NeedMail => (),
                Step::NeedSplit => moved |= self.give_split(id, attempt)?,
                Step::Finished => {
                    self.graph.change(id, ExecutionState::Finished, self.now);
                    moved = true;
                }
            }
            self.count(attempt, id);
        }
        moved |= self.calls.run();
        moved |= self.coordinate()?;
        moved |= self.intervene()?;
        Ok(if moved { Pass::Moved } else { Pass::Still(next) })
    }

    /// Downstream first, as on a slot; with a seed, as the dice fall.
    fn order(&mut self) -> Vec<ExecutionVertexId> {
        let mut order: Vec<ExecutionVertexId> = self.graph.ids().collect();
        order.reverse();
        if self.options.seed.is_some() {
            for at in (1..order.len()).rev() {
                self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                order.swap(at, (self.dice >> 33) as usize % (at + 1));
            }
        }
        order
    }

    fn give_split(
        &mut self,
        id: ExecutionVertexId,
        attempt: ExecutionAttemptId,
    ) -> Result<bool, TaskFailure> {
        if !self.tasks.take_split_request(attempt) {
            return Ok(false);
        }
        let split = self.graph.next_split(id, None);
        self.tasks.add_split(attempt, split)?;
        Ok(true)
    }

    /// Counts the records that sources have given.
    fn count(&mut self, attempt: ExecutionAttemptId, id: ExecutionVertexId) {
        if self.graph.graph().inputs_of(id.vertex).next().is_some() {
            return;
        }
        let Some(task) = self.tasks.task(attempt) else { return };
        let read = task.counts().0;
        let before = self.counted.insert(attempt, read).unwrap_or_default();
        self.records += read - before;
    }

    /// Takes a checkpoint, or loses all tasks, if it is time for that.
    fn intervene(&mut self) -> Result<bool, TaskFailure> {
        if self.next_crash.is_some_and(|at| self.records >= at) {
            self.next_crash = None;
            self.crash()?;
            return Ok(true);
        }
        if let Some(every) = self.options.checkpoint_every
            && self.records >= self.next_checkpoint
        {
            self.next_checkpoint = self.records + every;
            // One that cannot be taken now is taken the next time.
            let _ = self.request(SnapshotKind::Checkpoint);
            return Ok(true);
        }
        Ok(false)
    }

    fn recover(&mut self, failure: &TaskFailure) -> Result<()> {
        let again = self.restarts > 0;
        self.restarts = self.restarts.saturating_sub(1);
        if again && self.crash().is_ok() {
            return Ok(());
        }
        let error = self.failed(failure);
        self.failure = Some(error.clone());
        Err(error)
    }

    fn failed(&self, failure: &TaskFailure) -> Error {
        Error::new(ErrorCode::JobFailed, "the job ended as FAILED")
            .attempted(format!("run job `{}`", self.graph.graph().name))
            .why(&failure.message)
    }

    /// All tasks are lost; new ones go on from the newest checkpoint.
    pub(super) fn crash(&mut self) -> Result<(), TaskFailure> {
        let ids: Vec<ExecutionVertexId> = self.graph.ids().collect();
        self.tasks.lose_all();
        for id in &ids {
            if !self.graph.state(*id).is_terminal() {
                self.graph.change(*id, ExecutionState::Failed, self.now);
            }
        }
        drop(self.tasks.take_said());
        self.coordinate()?;
        for id in &ids {
            self.graph.reset(*id, self.now);
        }
        self.coordinate()?;
        self.deploy(&ids)
    }

    /// The same, for a test.
    pub(super) fn crash_now(&mut self) -> Result<()> {
        self.crash().map_err(|failure| self.failed(&failure))
    }

    fn deploy(&mut self, ids: &[ExecutionVertexId]) -> Result<(), TaskFailure> {
        let resource = self.tasks.here().clone();
        for id in ids {
            self.deployed += 1;
            let allocation = AllocationId(u128::from(id.subtask));
            let data_address = String::new();
            let place = Place { resource: resource.clone(), allocation, data_address };
            self.graph.deploy(*id, place, self.deployed, self.now);
        }
        for id in ids {
            let descriptor = self.graph.descriptor(*id);
            let mut descriptor = descriptor.expect("it has just got its place");
            let config = self.coordinator.config();
            descriptor.checkpointing = config.enabled.then(|| CheckpointSetup {
                directory: self.coordinator.directory().to_owned(),
                inline_bytes_max: config.inline_bytes_max,
            });
            descriptor.restore = self.coordinator.restore(subtask(*id));
            self.tasks.deploy(descriptor)?;
            self.graph.change(*id, ExecutionState::Initializing, self.now);
            self.graph.change(*id, ExecutionState::Running, self.now);
        }
        self.coordinate().map(drop)
    }

    /// Passes on what tasks have said and what has become of them, and does what the coordinator wants;
    /// whether there was anything.
    fn coordinate(&mut self) -> Result<bool, TaskFailure> {
        let said = self.tasks.take_said();
        let mut moved = !said.is_empty();
        said.into_iter().for_each(|message| self.hear(message));
        for (id, change) in self.graph.take_changes() {
            moved = true;
            self.tell_change(id, change);
        }
        moved |= self.align();
        self.with_coordinator(Coordinator::settle);
        loop {
            let effects = self.coordinator.take_effects();
            if effects.is_empty() {
                return Ok(moved);
            }
            moved = true;
            effects.into_iter().try_for_each(|effect| self.carry_out(effect))?;
        }
    }

    /// Tells sources of alignment groups how far they may go; whether there was anybody to tell.
    fn align(&mut self) -> bool {
        let graph = &self.graph;
        let runs = |attempt| {
            let id = graph.find(attempt);
            id.is_some_and(|id| graph.state(id) == ExecutionState::Running)
        };
        let begins = graph.executions().any(|(_, execution)| {
            matches!(execution.state(), ExecutionState::Deploying | ExecutionState::Initializing)
        });
        if begins {
            return false;
        }
        self.alignment.retain(runs);
        let allowed = self.alignment.allow();
        for Allowance { attempt, group, watermark } in &allowed {
            self.tasks.align(*attempt, group, *watermark);
        }
        !allowed.is_empty()
    }

    fn hear(&mut self, message: FromJobProcess) {
        let (graph, coordinator) = (&self.graph, &mut self.coordinator);
        let of = |attempt| graph.subtask_of(attempt).map(subtask);
        match message {
            FromJobProcess::AcknowledgeCheckpoint { attempt, checkpoint, state, .. } => {
                if let Some(id) = of(attempt) {
                    coordinator.on_acknowledged(id, attempt, checkpoint, state);
                }
            }
            FromJobProcess::DeclineCheckpoint { attempt, checkpoint, cause } => {
                if let Some(id) = of(attempt) {
                    coordinator.on_declined(id, attempt, checkpoint, Declined::Failed(cause));
                }
            }
            FromJobProcess::ReportWatermark(report) => self.alignment.on_report(report),
            FromJobProcess::EndOfData { attempt } => {
                if let Some(id) = of(attempt) {
                    coordinator.on_end_of_data(id, attempt);
                }
            }
            _ => (),
        }
    }

    fn tell_change(&mut self, id: ExecutionVertexId, change: Change) {
        use ExecutionState::{Canceled, Canceling, Deploying, Failed, Finished, Running};
        let (task, coordinator) = (subtask(id), &mut self.coordinator);
        match change {
            Change::Reset => coordinator.on_reset(task, self.graph.graph()),
            Change::Entered(Deploying) => coordinator.on_deployed(task, self.graph.attempt_id(id)),
            Change::Entered(Running) => coordinator.on_running(task),
            Change::Entered(Finished) => coordinator.on_finished(task),
            Change::Entered(Canceling | Canceled | Failed) => coordinator.on_lost(task),
            Change::Entered(_) => (),
        }
    }

    fn with_coordinator(&mut self, decide: impl FnOnce(&mut Coordinator, &View<'_>)) {
        let graph = &self.graph;
        let seen =
            |vertex: usize, counts: &[(ExecutionAttemptId, u32)]| graph.seen_splits(vertex, counts);
        let now = Mono(self.now.saturating_sub(self.began).max(0) as u64);
        let view = View { now, wall: self.now, graph: graph.graph(), seen_splits: &seen };
        decide(&mut self.coordinator, &view);
    }

    fn carry_out(&mut self, effect: Effect) -> Result<(), TaskFailure> {
        match effect {
            Effect::Trigger { attempt, barrier } => {
                let now = self.instant();
                self.tasks.trigger(attempt, barrier, now)?;
            }
            Effect::NotifyCompleted { attempt, checkpoint } => {
                self.tasks.completed(attempt, checkpoint)?;
            }
            Effect::NotifyAborted { attempt, checkpoint } => {
                self.tasks.aborted(attempt, checkpoint)?;
            }
            Effect::Write(write) => self.write(write),
            Effect::Delete(paths) => {
                for path in paths {
                    // What is left behind takes room and does no harm.
                    let _ = self.storage.delete(&path);
                }
            }
            Effect::Completed { splits, .. } => self.graph.keep_splits(&splits),
            Effect::ReadBack { .. } | Effect::Fail(_) => (),
        }
        Ok(())
    }

    /// Writes metadata, and before it copies what a savepoint needs.
    fn write(&mut self, write: MetadataWrite) {
        let MetadataWrite { checkpoint, directory, copies, bytes, .. } = write;
        let files = self.storage.files();
        if let Some(copies) = copies {
            for path in copies.paths {
                if let Some(content) = files.get(&format!("{}/{path}", copies.from)) {
                    self.storage.set(&format!("{directory}/{path}"), content.clone());
                }
            }
        }
        self.storage.set(&format!("{directory}/{METADATA_FILE}"), bytes);
        self.with_coordinator(|coordinator, view| {
            coordinator.on_written(checkpoint, Written::Done, view);
        });
    }

    fn request(&mut self, kind: SnapshotKind) -> Result<TriggerId> {
        self.requests += 1;
        let id = TriggerId(self.requests);
        let directory = kind.is_savepoint().then(|| SAVEPOINTS.to_owned());
        let now = self.mono();
        let asked = self.coordinator.request(SnapshotRequest { id, kind, directory }, now);
        asked.map(|()| id).map_err(no_snapshot)
    }

    /// Takes a checkpoint or savepoint, and runs until it is complete; where it is.
    pub(super) fn snapshot(&mut self, kind: SnapshotKind) -> Result<Snapshot> {
        let id = self.request(kind)?;
        self.run()?;
        match self.coordinator.progress(id) {
            Some(SnapshotProgress::Completed { path, .. }) => {
                Ok(Snapshot { storage: self.storage.clone(), path: path.clone() })
            }
            Some(SnapshotProgress::Failed { cause }) => Err(no_snapshot(cause.clone())),
            _ => Err(no_snapshot("some tasks have not passed its barrier".to_owned())),
        }
    }

    /// An operator, by its name or uid, and the vertex that runs it.
    fn operator(&self, name: &str) -> Result<(usize, OperatorId)> {
        let vertices = self.graph.graph().vertices.iter().enumerate();
        let all = |(vertex, of): (usize, &JobVertex)| {
            of.operators
                .iter()
                .map(|operator| (vertex, operator.id, operator.name.clone()))
                .collect::<Vec<_>>()
        };
        let all: Vec<(usize, OperatorId, String)> = vertices.flat_map(all).collect();
        let mut found = all.iter().filter(|(.., known)| known == name);
        match (found.next(), found.next()) {
            (Some((vertex, id, _)), None) => Ok((*vertex, *id)),
            (found, _) => {
                let names: Vec<String> = all.iter().map(|(.., n)| format!("`{n}`")).collect();
                let several =
                    if found.is_some() { "several operators are" } else { "no operator is" };
                Err(Error::argument(format!("{several} called `{name}`"))
                    .why(format!("the job has {}", names.join(", ")))
                    .next("give the operator a name of its own with `.name(\"...\")`"))
            }
        }
    }

    /// Looks into the subtasks of an operator, into one or into all.
    fn inspect(
        &mut self,
        name: &str,
        subtask: Option<u32>,
        mut look: impl FnMut(&mut dyn Inspect) -> Result<()>,
    ) -> Result<()> {
        let (vertex, operator) = self.operator(name)?;
        let parallelism = self.graph.graph().vertices[vertex].parallelism;
        for subtask in subtask.map_or(0..parallelism, |one| one..one + 1) {
            let attempt = self.graph.attempt_id(ExecutionVertexId { vertex, subtask });
            let task = self.tasks.task(attempt);
            let found = task.and_then(|task| task.operator(operator)?.inspect());
            let Some(found) = found else {
                let summary = format!("operator `{name}` shows neither state nor timers");
                let why = "it has finished, or is no `process` function";
                return Err(Error::argument(summary).why(why));
            };
            look(found)?;
        }
        Ok(())
    }

    /// Looks into the subtask that has the key with this hash.
    pub(super) fn inspect_key(
        &mut self,
        name: &str,
        hash: u64,
        look: impl FnMut(&mut dyn Inspect) -> Result<()>,
    ) -> Result<()> {
        let (vertex, _) = self.operator(name)?;
        let vertex = &self.graph.graph().vertices[vertex];
        let subtask = subtask_of_hash(hash, vertex.max_parallelism, vertex.parallelism);
        self.inspect(name, Some(subtask), look)
    }

    /// What the metrics of all tasks show.
    pub(super) fn metrics(&self) -> BTreeMap<String, MetricValue> {
        self.tasks.metrics()
    }

    /// The timers of all subtasks of an operator.
    pub(super) fn timers(&mut self, name: &str) -> Result<PendingTimers> {
        let mut timers = PendingTimers::default();
        self.inspect(name, None, |found| {
            timers += found.timers();
            Ok(())
        })?;
        Ok(timers)
    }

    /// Looks into one subtask of an operator.
    pub(super) fn inspect_subtask(
        &mut self,
        name: &str,
        subtask: u32,
        look: impl FnMut(&mut dyn Inspect) -> Result<()>,
    ) -> Result<()> {
        self.inspect(name, Some(subtask), look)
    }
}

/// What giving every task a turn has come to.
enum Pass {
    Moved,
    /// Nothing can move; perhaps at this time.
    Still(Option<Timestamp>),
}

fn subtask(id: ExecutionVertexId) -> Subtask {
    Subtask { vertex: id.vertex, subtask: id.subtask }
}

fn no_snapshot(why: String) -> Error {
    Error::new(ErrorCode::Refused, "no checkpoint was taken").why(why)
}

fn go_on_from(
    from: &Snapshot,
    graph: &mut ExecutionGraph,
    coordinator: &mut Coordinator,
) -> Result<()> {
    let refuse = |why: String| {
        Error::new(ErrorCode::CannotResume, "the job cannot go on from this snapshot")
            .attempted(format!("restore job `{}`", graph.graph().name))
            .why(why)
    };
    let file = format!("{}/{METADATA_FILE}", from.path);
    let files = from.storage.files();
    let bytes = files.get(&file).ok_or_else(|| refuse(format!("`{file}` is gone")))?;
    let metadata = metadata::decode(bytes, &file).map_err(|error| refuse(error.to_string()))?;
    let submitted = graph.graph().clone();
    coordinator
        .begin_from(metadata, &from.path, ClaimMode::NoClaim, false, &submitted)
        .map_err(|error| refuse(error.to_string()))?;
    let Some(dealt) = coordinator.reassignment() else { return Ok(()) };
    for (index, vertex) in submitted.vertices.iter().enumerate() {
        graph.go_on_from(index, &dealt.seen_splits(vertex), dealt.max_parallelism(index));
    }
    let ids: Vec<ExecutionVertexId> = graph.ids().collect();
    ids.into_iter().for_each(|id| coordinator.on_reset(subtask(id), &submitted));
    Ok(())
}

fn checkpoint_config(options: &Options, enabled: bool) -> CheckpointConfig {
    CheckpointConfig {
        enabled,
        interval_ms: None,
        timeout_ms: u64::MAX / 4,
        min_pause_ms: 0,
        concurrent_max: 1,
        failures_max: u32::MAX,
        retention: Retention::OnCancellation,
        retained_max: 2,
        directory: Some(CHECKPOINTS.to_owned()),
        savepoint_directory: Some(SAVEPOINTS.to_owned()),
        mode: CheckpointingMode::ExactlyOnce,
        unaligned: options.unaligned,
        aligned_timeout_ms: 0,
        incremental: true,
        inline_bytes_max: 1_024,
    }
}
