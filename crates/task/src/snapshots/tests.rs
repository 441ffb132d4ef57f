//! The thread that writes snapshots: what it acknowledges, what it declines, and what increments
//! build on.

use super::*;
use millstream_checkpoint::handle::{ListMode, StateFile, TableSchema};
use millstream_checkpoint::local::{LocalCopies, Reads};
use millstream_checkpoint::native::{FrozenFile, FrozenFiles};
use millstream_checkpoint::snapshot::{FrozenTable, ListSnapshot, RowSink, TableSnapshot};
use millstream_checkpoint::storage::Storage;
use millstream_checkpoint::testing::MemoryStorage;
use millstream_core::Record;
use millstream_core::checkpoint::{Alignment, Barrier};
use millstream_core::ids::{ExecutionGraphId, JobVertexId};
use millstream_core::key_group::{KeyGroup, MaxParallelism};
use millstream_rpc::protocol::job_master::SnapshotMetrics;
use std::io::Write;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

const OPERATOR: OperatorId = OperatorId(7);

/// A table of one group that has changed a little since whatever snapshot was before.
struct Frozen {
    panics: bool,
}

impl FrozenTable for Frozen {
    fn write(self: Box<Self>, out: &mut dyn RowSink) -> Result<(), SnapshotError> {
        assert!(!self.panics, "a row that cannot be encoded");
        let all = [0_u8; 24 * 100];
        out.rows(KeyGroup::of_hash(0, MaxParallelism::default_for(1)), 100, &all)
    }

    fn write_changes(&mut self, out: &mut dyn RowSink) -> Result<bool, SnapshotError> {
        out.rows(KeyGroup::of_hash(0, MaxParallelism::default_for(1)), 1, &[1; 24])?;
        Ok(true)
    }
}

/// A table in two files of a backend, one of which never changes.
struct InFiles;

impl FrozenTable for InFiles {
    fn write(self: Box<Self>, _out: &mut dyn RowSink) -> Result<(), SnapshotError> {
        Ok(())
    }

    fn files(&mut self) -> Result<Option<FrozenFiles>, SnapshotError> {
        let file = |name: &str, lasting| FrozenFile { name: name.to_owned(), bytes: 500, lasting };
        let files = vec![file("a.sst", true), file("CURRENT", false)];
        Ok(Some(FrozenFiles { backend: "files", files }))
    }

    fn copy_file(&mut self, _name: &str, out: &mut dyn Write) -> Result<(), SnapshotError> {
        out.write_all(&[7; 500]).map_err(|error| SnapshotError::Operator(error.to_string()))
    }
}

fn attempt() -> ExecutionAttemptId {
    let (graph, vertex) = (ExecutionGraphId(1), JobVertexId(2));
    ExecutionAttemptId { graph, vertex, subtask: 0, attempt: 3 }
}

fn snapshot(id: u64, kind: SnapshotKind, panics: bool) -> Box<TaskSnapshot> {
    snapshot_of(Box::new(Frozen { panics }), id, kind)
}

fn snapshot_of(content: Box<dyn FrozenTable>, id: u64, kind: SnapshotKind) -> Box<TaskSnapshot> {
    let (checkpoint, alignment) = (CheckpointId(id), Alignment::Aligned);
    let schema = TableSchema { key: u64::schema(), namespace: u64::schema(), value: u64::schema() };
    let table = TableSnapshot { name: "table".to_owned(), schema, content };
    let (name, mode, schema) = ("list".to_owned(), ListMode::Split, None);
    let list = ListSnapshot { name, mode, schema, items: vec![vec![1, 2, 3]] };
    let operator = OperatorSnapshot { tables: vec![table], lists: vec![list], work: Vec::new() };
    Box::new(TaskSnapshot {
        in_flight: Vec::new(),
        barrier: Barrier { checkpoint, timestamp: 0, kind, alignment },
        operators: vec![(OPERATOR, operator)],
        splits: 5,
        finished: false,
        metrics: SnapshotMetrics { alignment_ms: 9, ..SnapshotMetrics::default() },
        taken_at: Instant::now(),
    })
}

struct Bench {
    snapshots: Snapshots,
    events: Receiver<FromJobProcess>,
    storage: MemoryStorage,
}

/// Copies in memory.
#[derive(Clone, Default)]
struct Copies(MemoryStorage);

impl LocalCopies for Copies {
    fn writing(&self, _remote: std::sync::Arc<dyn Storage>) -> std::sync::Arc<dyn Storage> {
        self.0.below("job")
    }

    fn reading(
        &self,
        remote: std::sync::Arc<dyn Storage>,
        _reads: Reads,
    ) -> std::sync::Arc<dyn Storage> {
        remote
    }

    fn list(&self) -> Vec<String> {
        self.0.below("job").list("").expect("it is in memory")
    }

    fn delete(&self, paths: &[String]) {
        paths.iter().for_each(|path| self.0.below("job").delete(path).expect("it is in memory"));
    }

    fn tell(&self, _line: &str) {}
}

impl Bench {
    fn new() -> Self {
        Self::with(None)
    }

    fn with(local: Option<LocalFiles>) -> Self {
        let storage = MemoryStorage::new();
        let (sender, events) = channel();
        let opened = storage.clone();
        let storages = Storages::new(Arc::new(move |directory| Ok(opened.below(directory))));
        let tell = Arc::new(move |event| sender.send(event).expect("the test listens"));
        let snapshots = Snapshots::new(Arc::new(storages), local, tell);
        let setup = CheckpointSetup { directory: "job".to_owned(), inline_bytes_max: 100 };
        let groups = KeyGroupRange::of_subtask(0, MaxParallelism::default_for(1), 1);
        snapshots.register(attempt(), Some(setup), groups, None);
        Self { snapshots, events, storage }
    }

    fn write(&self, id: u64, kind: SnapshotKind) {
        self.snapshots.write(attempt(), snapshot(id, kind, false));
    }

    fn event(&self) -> FromJobProcess {
        self.events.recv_timeout(PATIENCE).expect("something is said")
    }

    fn acknowledged(&self, id: u64) -> (TaskState, SnapshotMetrics) {
        match self.event() {
            FromJobProcess::AcknowledgeCheckpoint { attempt: of, checkpoint, state, metrics } => {
                assert_eq!((of, checkpoint), (attempt(), CheckpointId(id)));
                (*state, metrics)
            }
            other => panic!("{other:?}"),
        }
    }

    fn declined(&self, id: u64) -> String {
        match self.event() {
            FromJobProcess::DeclineCheckpoint { attempt: of, checkpoint, cause } => {
                assert_eq!((of, checkpoint), (attempt(), CheckpointId(id)));
                cause
            }
            other => panic!("{other:?}"),
        }
    }

    /// How many parts the table of a checkpoint has.
    fn parts(&self, id: u64, kind: SnapshotKind) -> usize {
        self.write(id, kind);
        let (state, _) = self.acknowledged(id);
        state.operators[&OPERATOR].tables[0].chain.len()
    }

    fn completed(&self, id: u64) {
        self.snapshots.completed(attempt(), CheckpointId(id));
    }
}

#[test]
fn what_is_acknowledged_is_in_files_below_the_checkpoint_and_shared() {
    let bench = Bench::new();
    bench.write(4, SnapshotKind::Checkpoint);
    let (state, metrics) = bench.acknowledged(4);
    assert_eq!((state.splits, state.finished), (5, false));
    let name = format!("shared/{}-4-0", attempt());
    let files: Vec<String> = state.files().map(|file| file.path.clone()).collect();
    assert_eq!(files, [name.as_str()]);
    assert!(bench.storage.files().contains_key(&format!("job/{name}")));
    let list = &state.operators[&OPERATOR].lists[0];
    assert!(matches!(list.part.file, StateFile::Inline(_)), "small enough for its handle");
    assert_eq!((metrics.alignment_ms, metrics.state_bytes), (9, state.bytes()));
    assert!(metrics.written_bytes >= metrics.state_bytes);
    bench.write(5, SnapshotKind::Savepoint);
    let (state, _) = bench.acknowledged(5);
    let name = format!("chk-5/{}-0", attempt());
    let files: Vec<String> = state.files().map(|file| file.path.clone()).collect();
    assert_eq!(files, [name]);
}

#[test]
fn an_increment_builds_on_the_snapshot_directly_before_if_that_is_complete() {
    use SnapshotKind::{Checkpoint, FullCheckpoint, Savepoint};
    let bench = Bench::new();
    assert_eq!(bench.parts(1, Checkpoint), 1);
    assert_eq!(bench.parts(2, Checkpoint), 1, "1 may still be given up");
    bench.completed(2);
    assert_eq!(bench.parts(3, Checkpoint), 2);
    bench.completed(3);
    assert_eq!(bench.parts(4, FullCheckpoint), 1);
    bench.completed(4);
    assert_eq!(bench.parts(5, Checkpoint), 2);
    bench.completed(5);
    assert_eq!(bench.parts(6, Savepoint), 1);
    bench.completed(6);
    assert_eq!(bench.parts(7, Checkpoint), 1, "the table knows its changes since the savepoint");
    bench.completed(7);
    bench.snapshots.aborted(attempt(), CheckpointId(8));
    bench.write(8, Checkpoint);
    assert_eq!(bench.parts(9, Checkpoint), 1, "the table knows its changes since 8");
    bench.completed(9);
    bench.snapshots.aborted(attempt(), CheckpointId(10));
    assert_eq!(bench.parts(11, Checkpoint), 2, "10 was given up before it came");
}

#[test]
fn files_of_a_backend_build_on_the_last_complete_checkpoint_whatever_was_in_between() {
    use SnapshotKind::{Checkpoint, FullCheckpoint, Savepoint};
    let bench = Bench::new();
    let written = |id, kind| {
        bench.snapshots.write(attempt(), snapshot_of(Box::new(InFiles), id, kind));
        let (state, _) = bench.acknowledged(id);
        state.files().map(|file| file.path.clone()).collect::<Vec<_>>()
    };
    let shared = |id: u64| format!("shared/{}-{id}-0", attempt());
    let own = |id: u64, file: u32| format!("chk-{id}/{}-{file}", attempt());
    assert_eq!(written(1, Checkpoint), [shared(1), own(1, 1)]);
    assert_eq!(written(2, Checkpoint), [shared(2), own(2, 1)], "1 may still be given up");
    bench.completed(2);
    assert_eq!(written(3, Savepoint), [""; 0], "a savepoint has rows");
    assert_eq!(written(4, Checkpoint), [shared(2), own(4, 0)]);
    bench.snapshots.aborted(attempt(), CheckpointId(4));
    assert_eq!(written(5, Checkpoint), [shared(2), own(5, 0)]);
    assert_eq!(written(6, FullCheckpoint), [""; 0], "a full one has rows");
}

#[test]
fn a_storage_that_says_no_declines_the_checkpoint_and_the_next_one_is_complete() {
    let bench = Bench::new();
    bench.write(1, SnapshotKind::Checkpoint);
    bench.acknowledged(1);
    bench.completed(1);
    bench.storage.refuse("finish", "shared/");
    bench.write(2, SnapshotKind::Checkpoint);
    let cause = bench.declined(2);
    assert!(cause.starts_with("could not finish `memory:/job/shared/"), "{cause}");
    bench.storage.refuse("nothing", "");
    assert_eq!(bench.parts(3, SnapshotKind::Checkpoint), 1);
}

#[test]
fn a_state_that_panics_declines_the_checkpoint_and_the_thread_goes_on() {
    let bench = Bench::new();
    bench.snapshots.write(attempt(), snapshot(1, SnapshotKind::Checkpoint, true));
    let cause = bench.declined(1);
    assert!(cause.contains("panic: a row that cannot be encoded at "), "{cause}");
    assert_eq!(bench.parts(2, SnapshotKind::Checkpoint), 1);
}

#[test]
fn a_task_without_checkpoints_declines_and_one_that_has_ended_says_nothing() {
    let bench = Bench::new();
    let groups = KeyGroupRange::of_subtask(0, MaxParallelism::default_for(1), 1);
    bench.snapshots.register(attempt(), None, groups, None);
    bench.write(1, SnapshotKind::Checkpoint);
    assert_eq!(bench.declined(1), "the task was deployed without checkpoints");
    bench.snapshots.forget(attempt());
    bench.write(2, SnapshotKind::Checkpoint);
    bench.snapshots.close();
    assert!(bench.events.try_recv().is_err());
}

#[test]
fn copies_go_when_a_later_checkpoint_is_complete_or_their_own_is_given_up() {
    use SnapshotKind::{Checkpoint, Savepoint};
    let copies = Copies::default();
    let bench = Bench::with(Some(LocalFiles::new(std::sync::Arc::new(copies.clone()))));
    let shared = |id: u64| format!("shared/{}-{id}-0", attempt());
    assert_eq!(bench.parts(1, Checkpoint), 1);
    assert_eq!(copies.list(), [shared(1)]);
    bench.completed(1);
    assert_eq!(bench.parts(2, Checkpoint), 2);
    bench.completed(2);
    bench.write(3, Savepoint);
    bench.acknowledged(3);
    bench.completed(3);
    assert_eq!(copies.list(), [shared(1), shared(2)], "a savepoint has no copy");
    assert_eq!(bench.parts(4, Checkpoint), 1);
    bench.snapshots.aborted(attempt(), CheckpointId(4));
    assert_eq!(bench.parts(5, Checkpoint), 1);
    assert_eq!(copies.list(), [shared(1), shared(2), shared(5)]);
    bench.completed(5);
    assert_eq!(bench.parts(6, Checkpoint), 2);
    assert_eq!(copies.list(), [shared(5), shared(6)]);
}

#[test]
fn nothing_is_acknowledged_before_what_sinks_wrote_is_durable() {
    let bench = Bench::new();
    let (release, released) = channel::<()>();
    let mut first = snapshot(1, SnapshotKind::Checkpoint, false);
    first.operators[0].1.work.push(Box::new(move || {
        released.recv().map_err(|error| SnapshotError::Operator(error.to_string()))
    }));
    bench.snapshots.write(attempt(), first);
    assert!(bench.events.recv_timeout(Duration::from_millis(50)).is_err());
    release.send(()).expect("it waits");
    bench.acknowledged(1);
    let mut second = snapshot(2, SnapshotKind::Checkpoint, false);
    let failed = || Err(SnapshotError::Operator("could not sync `part-1`".to_owned()));
    second.operators[0].1.work.push(Box::new(failed));
    bench.snapshots.write(attempt(), second);
    assert_eq!(bench.declined(2), "could not sync `part-1`");
}
