//! One life of a JobManager and the tasks of its job, from taking over to being killed: each step at
//! once, what the disk says decides.

use super::Script;
use super::task::{Content, GROUPS, OPERATOR, Task};
use crate::trace::Trace;
use millstream_checkpoint::config::{CheckpointConfig, ClaimMode};
use millstream_checkpoint::coordinator::{
    Coordinator, Declined, Effect, Ending, ReadBack, SnapshotProgress, SnapshotRequest, Subtask,
    View, Written,
};
use millstream_checkpoint::files;
use millstream_checkpoint::handle::TaskState;
use millstream_checkpoint::metadata::{CheckpointMetadata, decode};
use millstream_checkpoint::pointer::{ConditionalStore, Put, Version};
use millstream_checkpoint::reassign::Reassignment;
use millstream_checkpoint::storage::{Storage, StorageError};
use millstream_core::checkpoint::{Barrier, CheckpointId, SnapshotKind};
use millstream_core::config::Configuration;
use millstream_core::error::Location;
use millstream_core::ids::{ExecutionAttemptId, ExecutionGraphId, JobId, JobVertexId, TriggerId};
use millstream_core::job_graph::{
    JobGraph, JobVertex, OperatorInfo, PlanSignature, RuntimeMode, SourceSplit,
};
use millstream_core::key_group::{KeyGroupRange, MaxParallelism};
use millstream_core::time::Mono;
use millstream_host::disk::simulated::SimulatedDisk;
use millstream_host::pointer::DirectoryStore;
use millstream_host::storage::local;
use millstream_jobmanager::ha::record::CHECKPOINT_IDS;
use millstream_jobmanager::ha::{
    Change, ChangeEnd, CheckpointRecord, CheckpointRecorder, HaRecord, JobRecord, RecorderStep,
};
use millstream_jobmanager::job_master::{JobMasterDone, JobMasterOp};
use millstream_rpc::machine::Rng;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::Arc;

const RECORD: &str = "leader";
const CHECKPOINTS: &str = "/state/c";
const SAVEPOINTS: &str = "/state/s";

/// Splits of each job.
const SPLITS: u8 = 12;

/// How often a deletion is tried.
const TRIES_MAX: u32 = 3;

/// What was told to somebody outside, and what the tasks held: the disk's lies do not reach it.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// What all tasks held at the barrier.
    contents: BTreeMap<(JobId, CheckpointId), Taken>,
    /// The newest checkpoint of whose completion tasks were told.
    announced: BTreeMap<JobId, CheckpointId>,
    /// Savepoints whose owners were told that they are complete.
    savepoints: BTreeMap<String, (JobId, CheckpointId)>,
    /// The same, and those that jobs have claimed.
    origins: BTreeMap<String, (JobId, CheckpointId)>,
}

/// What was in a checkpoint.
#[derive(Clone, Debug, Default)]
struct Taken {
    /// Of each subtask.
    tasks: Vec<Content>,
    /// Splits that nobody had been given.
    open: BTreeSet<u32>,
}

/// Which job is begun, and from what if nothing of it is on record.
#[derive(Clone, Debug)]
pub(super) struct Begin {
    pub(super) job: JobId,
    pub(super) savepoint: Option<String>,
    /// The job owns that from now on.
    pub(super) claim: bool,
}

impl Ledger {
    /// Any savepoint that somebody owns.
    pub(super) fn savepoint(&self) -> Option<String> {
        self.savepoints.keys().next_back().cloned()
    }
}

/// A life has ended early; why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stopped(pub(super) String);

pub(super) struct Life<'a> {
    disk: &'a SimulatedDisk,
    ledger: &'a mut Ledger,
    trace: &'a mut Trace,
    rng: Rng,
    now: Mono,
    inline_bytes_max: u32,
    store: DirectoryStore,
    version: Version,
    record: HaRecord,
    over: Option<String>,
    recorder: CheckpointRecorder,
    graph: JobGraph,
    coordinator: Coordinator,
    tasks: Vec<Task>,
    job: JobId,
    /// Splits that were given before this life, and in it.
    seen_before: BTreeSet<u32>,
    seen: BTreeSet<u32>,
    requests: u64,
}

fn stopped(error: impl ToString) -> Stopped {
    Stopped(error.to_string())
}

fn open(path: &str) -> Result<Arc<dyn Storage>, StorageError> {
    local(Path::new(path))
}

impl<'a> Life<'a> {
    /// A process takes over: it begins a term, and reads what the job goes on from.
    pub(super) fn begin(
        script: &Script,
        disk: &'a SimulatedDisk,
        ledger: &'a mut Ledger,
        seed: u64,
        trace: &'a mut Trace,
        begin: &Begin,
    ) -> Result<Self, Stopped> {
        let mut rng = Rng::new(seed);
        let job = begin.job;
        let store = DirectoryStore::create(Path::new("/state/ha/default")).map_err(stopped)?;
        let (version, record) = take_over(&store, job)?;
        let graph = graph(1 + rng.below(4) as u32);
        let mut config = CheckpointConfig::read(&Configuration::default()).map_err(stopped)?;
        config.retained_max = script.retained_max;
        config.incremental = script.incremental;
        config.inline_bytes_max = script.inline_bytes_max;
        config.directory = Some(CHECKPOINTS.to_owned());
        config.savepoint_directory = Some(SAVEPOINTS.to_owned());
        (config.interval_ms, config.failures_max) = (None, u32::MAX);
        let coordinator = Coordinator::new(config, job, CHECKPOINTS, &graph);
        let groups = |subtask| {
            let vertex = &graph.vertices[0];
            KeyGroupRange::of_subtask(subtask, vertex.max_parallelism, vertex.parallelism)
        };
        let tasks = (0..graph.vertices[0].parallelism).map(|it| Task::new(groups(it))).collect();
        let mut life = Self {
            disk,
            ledger,
            trace,
            rng,
            now: Mono(0),
            inline_bytes_max: script.inline_bytes_max,
            store,
            version,
            record,
            over: None,
            recorder: CheckpointRecorder::default(),
            graph,
            coordinator,
            tasks,
            job,
            seen_before: BTreeSet::new(),
            seen: BTreeSet::new(),
            requests: 0,
        };
        life.power()?;
        life.recover(begin)?;
        life.start();
        Ok(life)
    }

    /// As the job master does: older checkpoints are adopted, the newest is gone on from; if there is
    /// none, what somebody has named.
    fn recover(&mut self, begin: &Begin) -> Result<(), Stopped> {
        let known = self.record.jobs[&self.job].clone();
        let named = known.checkpoints.last().map(|it| it.id);
        let announced = self.ledger.announced.get(&self.job).copied();
        assert!(named >= announced, "{named:?} is recorded, and {announced:?} was announced");
        self.coordinator.number_from(known.first_checkpoint);
        self.check_savepoints();
        let Some((newest, older)) = known.checkpoints.split_last() else {
            return self.begin_from(begin);
        };
        for checkpoint in older {
            match files::read(&open, &checkpoint.path).map_err(stopped)? {
                Some(bytes) => {
                    let metadata = decode(&bytes, &checkpoint.path).map_err(stopped)?;
                    self.coordinator.adopt(metadata, &checkpoint.path);
                }
                None => self.delete(vec![checkpoint.path.clone()])?,
            }
        }
        let metadata = metadata_in(&newest.path)?;
        assert_eq!(metadata.checkpoint, newest.id);
        self.coordinator.recover(metadata, &newest.path, &self.graph).map_err(stopped)?;
        self.restore(&newest.path, &self.ledger.contents[&(self.job, newest.id)].clone());
        Ok(())
    }

    /// The job begins from a savepoint of another one.
    fn begin_from(&mut self, begin: &Begin) -> Result<(), Stopped> {
        let Some(path) = &begin.savepoint else { return Ok(()) };
        let metadata = metadata_in(path)?;
        let claim = if begin.claim { ClaimMode::Claim } else { ClaimMode::NoClaim };
        let dealt = self.coordinator.begin_from(metadata, path, claim, false, &self.graph);
        dealt.map_err(stopped)?;
        let taken = self.ledger.contents[&self.ledger.origins[path]].clone();
        if begin.claim {
            self.ledger.savepoints.remove(path);
        }
        self.restore(path, &taken);
        Ok(())
    }

    /// Tasks take over what they are dealt, and that is what was taken: I6, I9.
    fn restore(&mut self, path: &str, taken: &Taken) {
        let own = self.coordinator.directory().to_owned();
        let dealt = self.coordinator.reassignment().expect("it goes on from one");
        for (subtask, task) in self.tasks.iter_mut().enumerate() {
            let restore = dealt.task(0, subtask as u32);
            task.restore(&restore, &own).unwrap_or_else(|error| panic!("{path}: {error}"));
        }
        self.seen_before = dealt.seen_splits(&self.graph.vertices[0]);
        self.seen.clone_from(&self.seen_before);
        let contents: Vec<Content> = self.tasks.iter().map(|task| task.content.clone()).collect();
        taken.check(path, &contents);
        assert_eq!(self.open_splits(), taken.open, "I9: splits of {path} that nobody was given");
    }

    fn open_splits(&self) -> BTreeSet<u32> {
        (0..u32::from(SPLITS)).filter(|split| !self.seen.contains(split)).collect()
    }

    /// I7: a savepoint belongs to whoever was told of it, and is whole.
    fn check_savepoints(&self) {
        for (path, id) in &self.ledger.savepoints {
            let mut metadata = metadata_in(path).unwrap_or_else(|error| panic!("{error:?}"));
            metadata.resolve(path);
            let dealt = Reassignment::new(Arc::new(metadata), &graph(1), true);
            let dealt = dealt.unwrap_or_else(|error| panic!("{path}: {error}"));
            let mut task = Task::new(KeyGroupRange(0..GROUPS));
            task.restore(&dealt.task(0, 0), path).unwrap_or_else(|e| panic!("{path}: {e}"));
            self.ledger.contents[id].check(path, &[task.content]);
        }
    }

    fn start(&mut self) {
        for subtask in 0..self.tasks.len() as u32 {
            let id = Subtask { vertex: 0, subtask };
            self.coordinator.on_reset(id, &self.graph);
            self.coordinator.on_deployed(id, self.attempt(subtask));
            self.coordinator.on_running(id);
        }
    }

    fn attempt(&self, subtask: u32) -> ExecutionAttemptId {
        let attempt = self.record.epoch as u32;
        let vertex = self.graph.vertices[0].id;
        ExecutionAttemptId { graph: ExecutionGraphId(1), vertex, subtask, attempt }
    }

    /// Takes snapshots, one after the other; true: a savepoint.
    pub(super) fn take(&mut self, snapshots: &[bool]) -> Result<(), Stopped> {
        for savepoint in snapshots {
            self.work_on();
            self.requests += 1;
            let id = TriggerId(u128::from(self.requests) << 96 | u128::from(self.record.epoch));
            let kind = match savepoint {
                true => SnapshotKind::Savepoint,
                false => SnapshotKind::Checkpoint,
            };
            let request = SnapshotRequest { id, kind, directory: None };
            self.coordinator.request(request, self.now).map_err(stopped)?;
            self.settle()?;
            if let Some(SnapshotProgress::Completed { checkpoint, path }) =
                self.coordinator.progress(id)
                && *savepoint
            {
                let origin = (self.job, *checkpoint);
                self.ledger.savepoints.insert(path.clone(), origin);
                self.ledger.origins.insert(path.clone(), origin);
            }
        }
        Ok(())
    }

    /// Tasks do something, and ask for splits.
    fn work_on(&mut self) {
        let alike: Vec<u8> = (0..self.rng.below(3)).map(|_| self.rng.below(256) as u8).collect();
        for task in &mut self.tasks {
            task.work(&mut self.rng);
            task.content.broadcast.clone_from(&alike);
        }
        for _ in 0..self.rng.below(3) {
            let asks = self.rng.below(self.tasks.len() as u64) as usize;
            if let Some(split) = self.open_splits().first().copied() {
                self.seen.insert(split);
                self.tasks[asks].given.push(split);
                self.tasks[asks].content.readers.push((split as u8, 0));
            }
        }
    }

    /// The job finishes: nothing of it is left but what belongs to others.
    pub(super) fn end(mut self) -> Result<(), Stopped> {
        self.coordinator.end(Ending::Finished);
        self.carry_out()?;
        self.power()?;
        let left =
            open(self.coordinator.directory()).and_then(|it| it.list("")).map_err(stopped)?;
        assert_eq!(left, Vec::<String>::new(), "I15: files are left");
        self.check_savepoints();
        Ok(())
    }

    /// Lets the coordinator do what is due until it waits for nothing.
    fn settle(&mut self) -> Result<(), Stopped> {
        for _ in 0..30 {
            self.with_view(|coordinator, view| coordinator.settle(view));
            self.carry_out()?;
            if self.coordinator.pending().next().is_none() {
                return Ok(());
            }
            // Metadata is read back after a while.
            self.now = self.now + 5_000;
        }
        panic!("I14: a checkpoint does not end");
    }

    fn with_view(&mut self, act: impl FnOnce(&mut Coordinator, &View<'_>)) {
        let (before, tasks) = (&self.seen_before, &self.tasks);
        let seen = |_: usize, counts: &[(ExecutionAttemptId, u32)]| {
            let of = |(attempt, count): &(ExecutionAttemptId, u32)| {
                tasks[attempt.subtask as usize].given[..*count as usize].to_vec()
            };
            before.iter().copied().chain(counts.iter().flat_map(of)).collect()
        };
        let view = View { now: self.now, wall: 0, graph: &self.graph, seen_splits: &seen };
        act(&mut self.coordinator, &view);
        self.coordinator.check();
    }

    fn carry_out(&mut self) -> Result<(), Stopped> {
        loop {
            let effects: VecDeque<Effect> = self.coordinator.take_effects().into();
            if effects.is_empty() {
                return Ok(());
            }
            for effect in effects {
                self.carry_out_one(effect)?;
                self.with_view(|coordinator, view| coordinator.settle(view));
            }
        }
    }

    fn carry_out_one(&mut self, effect: Effect) -> Result<(), Stopped> {
        self.trace.remark(self.now.0 * 1_000, || format!("{effect:?}"));
        match effect {
            Effect::Trigger { attempt, barrier } => self.snapshot(attempt, &barrier)?,
            Effect::NotifyCompleted { attempt, checkpoint } => {
                let announced = self.ledger.announced.entry(self.job).or_default();
                *announced = checkpoint.max(*announced);
                self.tasks[attempt.subtask as usize].completed(checkpoint);
            }
            Effect::NotifyAborted { attempt, checkpoint } => {
                self.tasks[attempt.subtask as usize].aborted(checkpoint);
            }
            Effect::Write(write) => {
                let id = write.checkpoint;
                let what = JobMasterOp::WriteMetadata {
                    directory: write.directory,
                    copies: write.copies,
                    bytes: write.bytes,
                    recorded: write.recoverable.then_some(id),
                };
                let written = match self.work(what)? {
                    JobMasterDone::Done => Written::Done,
                    JobMasterDone::Failed { reason } => Written::Failed { reason },
                    other => Written::Unknown { reason: format!("{other:?}") },
                };
                self.with_view(|coordinator, view| coordinator.on_written(id, written, view));
            }
            Effect::ReadBack { checkpoint, directory } => {
                let found = match self.work(JobMasterOp::ReadMetadata { directory })? {
                    JobMasterDone::Read { bytes } => ReadBack::Found(bytes),
                    JobMasterDone::Missing => ReadBack::Missing,
                    other => ReadBack::Failed { reason: format!("{other:?}") },
                };
                self.with_view(|c, view| c.on_read_back(checkpoint, found, view));
            }
            Effect::Delete(paths) => self.delete(paths)?,
            Effect::Completed { .. } | Effect::Fail(_) => {}
        }
        Ok(())
    }

    /// A barrier passes a task.
    fn snapshot(&mut self, attempt: ExecutionAttemptId, barrier: &Barrier) -> Result<(), Stopped> {
        let subtask = attempt.subtask;
        let name = format!("{}-{subtask}", attempt.attempt);
        let storage = open(self.coordinator.directory()).map_err(stopped)?;
        let open = self.open_splits();
        let task = &mut self.tasks[subtask as usize];
        let taken = self.ledger.contents.entry((self.job, barrier.checkpoint)).or_default();
        taken.tasks.push(task.content.clone());
        taken.open = open;
        let splits = task.given.len() as u32;
        let id = Subtask { vertex: 0, subtask };
        match task.snapshot(storage, barrier, &name, self.inline_bytes_max) {
            Ok(state) => {
                let operators = [(OPERATOR, state)].into();
                let state = Box::new(TaskState { operators, splits, ..TaskState::default() });
                self.coordinator.on_acknowledged(id, attempt, barrier.checkpoint, state);
            }
            Err(error) => {
                self.power()?;
                let why = Declined::Failed(error.to_string());
                self.coordinator.on_declined(id, attempt, barrier.checkpoint, why);
            }
        }
        Ok(())
    }

    /// Whoever has no power does nothing any more.
    fn power(&self) -> Result<(), Stopped> {
        if self.disk.is_off() { Err(Stopped("the power is off".to_owned())) } else { Ok(()) }
    }

    fn delete(&mut self, paths: Vec<String>) -> Result<(), Stopped> {
        for _ in 0..TRIES_MAX {
            let what = JobMasterOp::Delete { paths: paths.clone(), ended: false };
            if self.work(what)? == JobMasterDone::Done {
                break;
            }
        }
        Ok(())
    }

    /// Does a work, as the shell of a job master does.
    fn work(&mut self, what: JobMasterOp) -> Result<JobMasterDone, Stopped> {
        let mut next = self.recorder.begin(what, self.over.clone());
        loop {
            self.power()?;
            next = match next {
                RecorderStep::Forget(paths) => {
                    let end = self.forget(&paths);
                    self.recorder.on_changed(end)
                }
                RecorderStep::Act(what) => {
                    let done = act(what);
                    self.power()?;
                    self.recorder.on_acted(done)
                }
                RecorderStep::Record(id, path) => {
                    let checkpoint = CheckpointRecord { id, path };
                    let end =
                        self.change(&Change::CompleteCheckpoint { job: self.job, checkpoint });
                    self.power()?;
                    self.recorder.on_changed(end)
                }
                RecorderStep::End(done) => return Ok(done),
            };
        }
    }

    fn forget(&mut self, paths: &[String]) -> ChangeEnd {
        let known = &self.record.jobs[&self.job].checkpoints;
        let doomed = known.iter().filter(|it| paths.contains(&it.path)).map(|it| it.id);
        let checkpoints: Vec<CheckpointId> = doomed.collect();
        match checkpoints.is_empty() {
            true => ChangeEnd::Written,
            false => self.change(&Change::DropCheckpoints { job: self.job, checkpoints }),
        }
    }

    /// Changes the record; a write of which nobody knows is read back.
    fn change(&mut self, change: &Change) -> ChangeEnd {
        let mut record = self.record.clone();
        if let Err(reason) = change.apply(&mut record) {
            return ChangeEnd::Failed { reason, deposed: false };
        }
        record.beat += 1;
        let bytes = record.encode();
        for _ in 0..TRIES_MAX {
            match self.store.put_if(RECORD, &bytes, Some(&self.version)) {
                Put::Written(version) => {
                    (self.version, self.record) = (version, record);
                    return ChangeEnd::Written;
                }
                Put::Failed(error) => {
                    return ChangeEnd::Failed { reason: error.to_string(), deposed: false };
                }
                Put::Conflict | Put::Unknown(_) => {}
            }
            match self.store.read(RECORD) {
                Ok(Some((version, found))) if found == bytes => {
                    (self.version, self.record) = (version, record);
                    return ChangeEnd::Written;
                }
                _ => {}
            }
        }
        let reason = "nobody knows what is in the record".to_owned();
        self.over = Some(reason.clone());
        ChangeEnd::Unknown { reason }
    }
}

impl Taken {
    /// These tasks hold what was taken of perhaps another number of tasks.
    fn check(&self, path: &str, now: &[Content]) {
        let all = |tasks: &[Content], of: fn(&Content) -> Vec<(u8, u8)>| {
            let mut all: Vec<(u8, u8)> = tasks.iter().flat_map(of).collect();
            all.sort_unstable();
            all
        };
        let rows = |content: &Content| content.rows.clone().into_iter().collect();
        assert_eq!(all(now, rows), all(&self.tasks, rows), "I9: rows of {path}");
        let items = |content: &Content| content.items.iter().map(|item| (*item, 0)).collect();
        assert_eq!(all(now, items), all(&self.tasks, items), "items of {path}");
        let readers = |content: &Content| content.readers.clone();
        assert_eq!(all(now, readers), all(&self.tasks, readers), "I9: splits of {path}");
        let union: Vec<u8> = self.tasks.iter().flat_map(|task| task.union.clone()).collect();
        for task in now {
            assert_eq!(task.union, union, "items of {path} that every subtask gets");
            let alike = &self.tasks[0].broadcast;
            assert_eq!(&task.broadcast, alike, "items of {path} that are alike");
        }
    }
}

/// The metadata that is known to be in a directory.
fn metadata_in(path: &str) -> Result<CheckpointMetadata, Stopped> {
    let bytes = files::read(&open, path).map_err(stopped)?;
    let bytes = bytes.unwrap_or_else(|| panic!("{path} is known to be complete and is gone"));
    Ok(decode(&bytes, path).unwrap_or_else(|error| panic!("{error}")))
}

/// The files of a work.
fn act(what: JobMasterOp) -> JobMasterDone {
    let result = match what {
        JobMasterOp::WriteMetadata { directory, copies, bytes, .. } => {
            files::write(&open, &directory, copies.as_ref(), &bytes).map(|()| JobMasterDone::Done)
        }
        JobMasterOp::ReadMetadata { directory } => files::read(&open, &directory).map(|found| {
            found.map_or(JobMasterDone::Missing, |bytes| JobMasterDone::Read { bytes })
        }),
        JobMasterOp::ListFiles { directory } => open(&directory)
            .and_then(|storage| storage.list(""))
            .map(|paths| JobMasterDone::Listed { paths }),
        JobMasterOp::Delete { paths, .. } => {
            let mut each = paths.iter();
            each.try_for_each(|path| delete(path)).map(|()| JobMasterDone::Done)
        }
    };
    result.unwrap_or_else(|error| match error.unknown {
        true => JobMasterDone::Unknown { reason: error.to_string() },
        false => JobMasterDone::Failed { reason: error.to_string() },
    })
}

fn delete(path: &str) -> Result<(), StorageError> {
    let (directory, name) = path.rsplit_once('/').expect("an absolute path");
    open(directory)?.delete(name)
}

/// Begins a term: raises the epoch in the record.
fn take_over(store: &DirectoryStore, job: JobId) -> Result<(Version, HaRecord), Stopped> {
    let found = store.read(RECORD).map_err(stopped)?;
    let version = found.as_ref().map(|(version, _)| version.clone());
    let mut record = match found {
        Some((_, bytes)) => HaRecord::decode(&bytes).unwrap_or_else(|error| panic!("{error}")),
        None => HaRecord::default(),
    };
    (record.epoch, record.beat) = (record.epoch + 1, record.beat + 1);
    for job in record.jobs.values_mut() {
        job.first_checkpoint = job.next_checkpoint;
        job.next_checkpoint = CheckpointId(job.first_checkpoint.0 + CHECKPOINT_IDS);
    }
    record.jobs.entry(job).or_insert_with(|| JobRecord::new(format!("jobs/{job}"), 0));
    match store.put_if(RECORD, &record.encode(), version.as_ref()) {
        Put::Written(version) => Ok((version, record)),
        other => Err(Stopped(format!("it does not lead: {other:?}"))),
    }
}

/// A source without splits that is its own sink.
fn graph(parallelism: u32) -> JobGraph {
    let vertex = JobVertex {
        id: JobVertexId(100),
        name: "vertex".to_owned(),
        parallelism,
        max_parallelism: MaxParallelism::new(GROUPS).expect("within bounds"),
        slot_sharing_group: "default".to_owned(),
        operators: vec![OperatorInfo {
            id: OPERATOR,
            name: "operator".to_owned(),
            declared_at: Location::default(),
            states: None,
        }],
        splits: (0..SPLITS).map(|split| SourceSplit(vec![split])).collect(),
    };
    JobGraph {
        name: "a job".to_owned(),
        vertices: vec![vertex],
        edges: Vec::new(),
        mode: RuntimeMode::Streaming,
        configuration: BTreeMap::new(),
        signature: PlanSignature::default(),
        program: None,
    }
}
