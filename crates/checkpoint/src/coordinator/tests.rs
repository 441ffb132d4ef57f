//! Tests of the coordinator: events go in as calls, effects come out as text.

use super::*;
use crate::config::ClaimMode;
use crate::handle::{ListMode, OperatorState, TaskState};
use crate::metadata::testing::{graph, list, table};
use crate::metadata::{decode, encode};
use millstream_core::checkpoint::SnapshotKind;
use millstream_core::config::Configuration;
use millstream_core::ids::{DataSetId, ExecutionGraphId, JobVertexId, OperatorId};
use millstream_core::job_graph::{ExchangeMode, JobEdge, ShipStrategy, SourceSplit};

/// A source `s` of two subtasks, and `k` of two behind a keyed exchange.
fn job() -> JobGraph {
    let mut graph = graph("s:2:1 k:2:2");
    graph.edges.push(JobEdge {
        data_set: DataSetId(1),
        source: 0,
        target: 1,
        ship: ShipStrategy::Hash,
        exchange: ExchangeMode::Pipelined,
    });
    graph.vertices[0].splits = (0..6).map(|split| SourceSplit(vec![split])).collect();
    graph
}

struct Driver {
    coordinator: Coordinator,
    graph: JobGraph,
    now: Mono,
    /// How often each subtask was started.
    attempts: BTreeMap<Subtask, u32>,
    writes: Vec<MetadataWrite>,
}

const fn subtask(vertex: usize, subtask: u32) -> Subtask {
    Subtask { vertex, subtask }
}

const fn id(id: u64) -> CheckpointId {
    CheckpointId(id)
}

const ALL: [Subtask; 4] = [subtask(0, 0), subtask(0, 1), subtask(1, 0), subtask(1, 1)];

impl Driver {
    fn new(entries: &[(&str, &str)]) -> Self {
        let entries = entries.iter().map(|(k, v)| (format!("execution.checkpointing.{k}"), *v));
        let configuration = Configuration(entries.map(|(k, v)| (k, v.to_owned())).collect());
        let config = CheckpointConfig::read(&configuration).expect("can be read");
        let graph = job();
        let coordinator = Coordinator::new(config, JobId(0xAB), "/c", &graph);
        let now = Mono(0);
        Self { coordinator, graph, now, attempts: BTreeMap::new(), writes: Vec::new() }
    }

    /// All tasks run.
    fn running(entries: &[(&str, &str)]) -> Self {
        let mut driver = Self::new(entries);
        for task in ALL {
            driver.start(task);
        }
        assert_eq!(driver.settle(), "");
        driver
    }

    fn start(&mut self, task: Subtask) {
        let attempt = self.attempt(task);
        self.coordinator.on_deployed(task, attempt);
        self.coordinator.on_running(task);
    }

    fn attempt(&self, task: Subtask) -> ExecutionAttemptId {
        ExecutionAttemptId {
            graph: ExecutionGraphId(1),
            vertex: self.graph.vertices[task.vertex].id,
            subtask: task.subtask,
            attempt: self.attempts.get(&task).copied().unwrap_or(0),
        }
    }

    /// Stops the task and begins it anew.
    fn restart(&mut self, task: Subtask) {
        self.coordinator.on_lost(task);
        self.coordinator.on_reset(task, &self.graph);
        *self.attempts.entry(task).or_default() += 1;
        self.start(task);
    }

    fn with_view<T>(&mut self, act: impl FnOnce(&mut Coordinator, &View<'_>) -> T) -> T {
        // Each subtask of the source was handed every second split.
        let seen = |vertex: usize, counts: &[(ExecutionAttemptId, u32)]| {
            let of = |(attempt, count): &(ExecutionAttemptId, u32)| {
                let first = attempt.subtask;
                (0..*count).map(move |n| 2 * n + first)
            };
            if vertex == 0 { counts.iter().flat_map(of).collect() } else { BTreeSet::new() }
        };
        let view =
            View { now: self.now, wall: self.now.0 as i64, graph: &self.graph, seen_splits: &seen };
        act(&mut self.coordinator, &view)
    }

    /// Does what is due, and tells what came of it.
    fn settle(&mut self) -> String {
        self.with_view(|coordinator, view| coordinator.settle(view));
        self.coordinator.check();
        let effects = self.coordinator.take_effects();
        let told = effects.into_iter().map(|effect| self.tell(effect));
        told.collect::<Vec<_>>().join(" ")
    }

    fn tell(&mut self, effect: Effect) -> String {
        let name = |attempt: &ExecutionAttemptId| {
            let vertex = if attempt.vertex == JobVertexId(1) { "s" } else { "k" };
            format!("{vertex}{}", attempt.subtask)
        };
        match effect {
            Effect::Trigger { attempt, barrier } => {
                format!("trigger({},{})", name(&attempt), barrier.checkpoint)
            }
            Effect::NotifyCompleted { attempt, checkpoint } => {
                format!("+{}:{checkpoint}", name(&attempt))
            }
            Effect::NotifyAborted { attempt, checkpoint } => {
                format!("-{}:{checkpoint}", name(&attempt))
            }
            Effect::Write(write) => {
                let text = format!("write({})", write.checkpoint);
                self.writes.push(write);
                text
            }
            Effect::ReadBack { checkpoint, .. } => format!("read({checkpoint})"),
            Effect::Delete(paths) => {
                let job = JobId(0xAB).to_string();
                let paths: Vec<String> =
                    paths.iter().map(|path| path.replace(&format!("/c/{job}"), "~")).collect();
                format!("delete({})", paths.join(","))
            }
            Effect::Completed { checkpoint, .. } => format!("completed({checkpoint})"),
            Effect::Fail(_) => "fail".to_owned(),
        }
    }

    fn at(&mut self, now_ms: u64) -> String {
        self.now = Mono(now_ms);
        self.settle()
    }

    fn state(&self, files: &str, splits: u32, finished: bool) -> Box<TaskState> {
        let tables = files.split_whitespace().map(|file| table("t", 0..64, file)).collect();
        let lists = vec![list("l", ListMode::Split, 2)];
        let state = OperatorState { tables, lists };
        let operators = [(OperatorId(2), state)].into();
        Box::new(TaskState { operators, splits, finished, ..TaskState::default() })
    }

    fn acknowledge(&mut self, task: Subtask, checkpoint: u64, mut state: Box<TaskState>) {
        let attempt = self.attempt(task);
        let operators = std::mem::take(&mut state.operators).into_values();
        let operator = OperatorId(task.vertex as u128 + 1);
        state.operators = operators.map(|state| (operator, state)).collect();
        self.coordinator.on_acknowledged(task, attempt, id(checkpoint), state);
    }

    /// All tasks acknowledge; the keyed ones refer to these files.
    fn all_acknowledge(&mut self, checkpoint: u64, files: &str) -> String {
        for task in ALL {
            let state = match task.vertex {
                0 => Box::new(TaskState { splits: 1, ..TaskState::default() }),
                _ => self.state(files, 0, false),
            };
            self.acknowledge(task, checkpoint, state);
        }
        self.settle()
    }

    fn written(&mut self, checkpoint: u64, written: Written) -> String {
        self.with_view(|coordinator, view| coordinator.on_written(id(checkpoint), written, view));
        self.settle()
    }

    fn read_back(&mut self, checkpoint: u64, found: ReadBack) -> String {
        self.with_view(|coordinator, view| coordinator.on_read_back(id(checkpoint), found, view));
        self.settle()
    }

    fn decline(&mut self, task: Subtask, checkpoint: u64, why: Declined) -> String {
        let attempt = self.attempt(task);
        self.coordinator.on_declined(task, attempt, id(checkpoint), why);
        self.settle()
    }

    fn end_of_data(&mut self, task: Subtask) -> String {
        let attempt = self.attempt(task);
        self.coordinator.on_end_of_data(task, attempt);
        self.settle()
    }

    fn request(&mut self, number: u128, kind: SnapshotKind) -> Result<(), String> {
        let directory = Some("/s".to_owned());
        let request = SnapshotRequest { id: TriggerId(number << 96), kind, directory };
        let now = self.now;
        self.coordinator.request(request, now)
    }

    fn progress(&self, number: u128) -> SnapshotProgress {
        self.coordinator.progress(TriggerId(number << 96)).expect("is known").clone()
    }

    /// Takes a whole checkpoint.
    fn complete(&mut self, at_ms: u64, checkpoint: u64, files: &str) -> String {
        let triggered = self.at(at_ms);
        assert_eq!(triggered, format!("trigger(s0,{checkpoint}) trigger(s1,{checkpoint})"));
        assert_eq!(self.all_acknowledge(checkpoint, files), format!("write({checkpoint})"));
        self.written(checkpoint, Written::Done)
    }
}

const COMPLETED_1: &str = "completed(1) +s0:1 +s1:1 +k0:1 +k1:1";
const ABORTED_1: &str = "-s0:1 -s1:1 -k0:1 -k1:1 delete(~/chk-1)";
const ABORTED_WRITE_1: &str = "-s0:1 -s1:1 -k0:1 -k1:1 delete(~/chk-1/_metadata,~/chk-1)";

#[test]
fn a_checkpoint_is_complete_when_all_have_acknowledged_and_its_metadata_is_written() {
    let mut driver = Driver::running(&[]);
    assert_eq!(driver.coordinator.next_deadline(), Some(Mono(10_000)));
    assert_eq!(driver.at(9_999), "");
    assert_eq!(driver.at(10_000), "trigger(s0,1) trigger(s1,1)");
    assert_eq!(driver.coordinator.next_deadline(), Some(Mono(610_000)));
    for task in &ALL[..3] {
        driver.acknowledge(*task, 1, driver.state("", 1, false));
        driver.acknowledge(*task, 1, driver.state("", 2, false));
        assert_eq!(driver.settle(), "");
    }
    driver.acknowledge(ALL[3], 1, driver.state("", 0, false));
    assert_eq!(driver.settle(), "write(1)");
    assert_eq!(driver.written(1, Written::Done), COMPLETED_1);
    let write = &driver.writes[0];
    assert_eq!(write.directory, format!("/c/{}/chk-1", JobId(0xAB)));
    let metadata = decode(&write.bytes, "f").expect("can be read");
    assert_eq!(metadata.vertices[&JobVertexId(1)].splits.numbers(), [0, 1].into());
    assert_eq!(driver.coordinator.base(), Some(id(1)));
}

#[test]
fn nothing_is_triggered_while_a_task_does_not_run() {
    let mut driver = Driver::running(&[]);
    driver.coordinator.on_lost(ALL[2]);
    assert_eq!(driver.at(10_000), "");
    assert_eq!(driver.coordinator.next_deadline(), None);
    driver.restart(ALL[2]);
    assert_eq!(driver.at(10_001), "");
    assert_eq!(driver.at(20_001), "trigger(s0,1) trigger(s1,1)");
}

#[test]
fn a_pause_is_kept_and_no_more_than_allowed_are_pending() {
    let mut driver = Driver::running(&[("interval", "1 s"), ("min-pause", "5 s")]);
    assert_eq!(driver.complete(1_000, 1, ""), COMPLETED_1);
    assert_eq!(driver.at(5_999), "");
    assert_eq!(driver.at(6_000), "trigger(s0,2) trigger(s1,2)");
    let mut driver = Driver::running(&[("interval", "1 s"), ("max-concurrent-checkpoints", "2")]);
    assert_eq!(driver.at(1_000), "trigger(s0,1) trigger(s1,1)");
    assert_eq!(driver.at(2_000), "trigger(s0,2) trigger(s1,2)");
    assert_eq!(driver.at(9_000), "");
    // The newer one comes first: the older is of no use any more.
    assert_eq!(driver.all_acknowledge(2, ""), "write(2)");
    let told = driver.written(2, Written::Done);
    assert!(told.starts_with(ABORTED_1), "{told}");
}

#[test]
fn an_acknowledgement_of_another_attempt_does_not_count() {
    let mut driver = Driver::running(&[]);
    driver.restart(ALL[3]);
    driver.settle();
    driver.at(20_000);
    let former = ExecutionAttemptId { attempt: 0, ..driver.attempt(ALL[3]) };
    for task in &ALL[..3] {
        driver.acknowledge(*task, 1, driver.state("", 0, false));
    }
    let state = driver.state("", 0, false);
    driver.coordinator.on_acknowledged(ALL[3], former, id(1), state);
    assert_eq!(driver.settle(), "");
    assert_eq!(driver.coordinator.counts().late, 1);
}

#[test]
fn a_lost_task_takes_pending_checkpoints_with_it_even_one_that_is_being_written() {
    let mut driver = Driver::running(&[]);
    driver.at(10_000);
    driver.coordinator.on_lost(ALL[0]);
    assert_eq!(driver.settle(), ABORTED_1);

    let mut driver = Driver::running(&[]);
    driver.at(10_000);
    driver.all_acknowledge(1, "");
    driver.coordinator.on_lost(ALL[0]);
    assert_eq!(driver.settle(), ABORTED_WRITE_1);
    assert_eq!(driver.written(1, Written::Done), "");
    assert_eq!(driver.coordinator.base(), None);
}

#[test]
fn a_write_of_unknown_outcome_is_read_back() {
    let mut driver = Driver::running(&[]);
    driver.at(10_000);
    driver.all_acknowledge(1, "");
    let unknown = Written::Unknown { reason: "timeout".to_owned() };
    assert_eq!(driver.written(1, unknown.clone()), "read(1)");
    let failed = ReadBack::Failed { reason: "timeout".to_owned() };
    assert_eq!(driver.read_back(1, failed.clone()), "");
    assert_eq!(driver.coordinator.next_deadline(), Some(Mono(11_000)));
    assert_eq!(driver.at(11_000), "read(1)");
    let bytes = driver.writes[0].bytes.clone();
    assert_eq!(driver.read_back(1, ReadBack::Found(bytes)), COMPLETED_1);

    let mut driver = Driver::running(&[]);
    driver.at(10_000);
    driver.all_acknowledge(1, "");
    driver.written(1, unknown.clone());
    assert_eq!(driver.read_back(1, ReadBack::Missing), format!("{ABORTED_WRITE_1} fail"));
}

#[test]
fn a_checkpoint_that_all_have_acknowledged_does_not_expire_while_its_metadata_is_written() {
    let mut driver = Driver::running(&[("timeout", "1 s")]);
    driver.at(10_000);
    driver.all_acknowledge(1, "");
    driver.at(15_000);
    assert_eq!(driver.written(1, Written::Done), COMPLETED_1);
}

#[test]
fn failures_in_a_row_beyond_what_is_tolerated_start_the_job_over() {
    let mut driver = Driver::running(&[("tolerable-failed-checkpoints", "1")]);
    let failed = Declined::Failed("disk full".to_owned());
    driver.at(10_000);
    assert_eq!(driver.decline(ALL[2], 1, failed.clone()), ABORTED_1);
    assert_eq!(driver.decline(ALL[3], 1, failed.clone()), "");
    driver.complete(20_000, 2, "");
    driver.at(30_000);
    assert!(!driver.at(630_000).contains("fail"), "an expired one counts once");
    driver.at(640_000);
    let told = driver.decline(ALL[2], 4, failed);
    assert!(told.ends_with("fail"), "{told}");
}

#[test]
fn what_could_not_be_restored_is_not_written() {
    let mut driver = Driver::running(&[]);
    driver.at(10_000);
    for task in ALL {
        let attempt = driver.attempt(task);
        let state = driver.state("", 0, false);
        driver.coordinator.on_acknowledged(task, attempt, id(1), state);
    }
    assert_eq!(driver.settle(), format!("{ABORTED_1} fail"));
}

#[test]
fn a_task_that_is_not_there_is_no_failure_of_the_checkpoint() {
    let mut driver = Driver::running(&[]);
    driver.at(10_000);
    assert_eq!(driver.decline(ALL[2], 1, Declined::NotRunning), ABORTED_1);
}

#[test]
fn only_so_many_are_kept_and_shared_files_go_when_nobody_can_need_them() {
    let mut driver = Driver::running(&[("incremental", "true")]);
    driver.complete(10_000, 1, "shared/a shared/b");
    let told = driver.complete(20_000, 2, "shared/b shared/c");
    assert!(told.starts_with("delete(~/chk-1/_metadata,~/chk-1) completed(2)"), "{told}");
    let told = driver.complete(30_000, 3, "shared/c");
    let expected = "delete(~/chk-2/_metadata,~/chk-2,~/shared/a) completed(3)";
    assert!(told.starts_with(expected), "{told}");
    // A task that has heard of nothing builds on what is gone: the next one is full.
    driver.at(40_000);
    driver.acknowledge(ALL[2], 4, driver.state("shared/a", 0, false));
    assert_eq!(
        driver.settle(),
        "-s0:4 -s1:4 -k0:4 -k1:4 delete(~/chk-4) fail",
        "nothing may refer to a deleted file"
    );
    driver.complete(50_000, 5, "");
    let metadata =
        decode(&driver.writes.last().expect("it was written").bytes, "f").expect("can be read");
    assert_eq!(metadata.kind, SnapshotKind::FullCheckpoint);
}

#[test]
fn files_of_a_late_acknowledgement_are_deleted() {
    let mut driver = Driver::running(&[("incremental", "true")]);
    driver.complete(10_000, 1, "shared/a");
    driver.at(20_000);
    driver.decline(ALL[0], 2, Declined::NotRunning);
    driver.acknowledge(ALL[2], 2, driver.state("shared/a shared/x chk-2/y", 0, false));
    assert_eq!(driver.settle(), "delete(~/chk-2/y)");
    // A second word about a checkpoint that is kept means nothing.
    driver.acknowledge(ALL[2], 1, driver.state("shared/a chk-1/y", 0, false));
    assert_eq!(driver.settle(), "");
    let told = driver.complete(30_000, 3, "shared/a");
    assert!(told.contains(",~/shared/x)"), "{told}");
}

#[test]
fn the_end_of_all_data_triggers_the_last_checkpoint_at_once() {
    let mut driver = Driver::running(&[]);
    for task in &ALL[..3] {
        assert_eq!(driver.end_of_data(*task), "");
    }
    assert_eq!(
        driver.end_of_data(ALL[3]),
        "trigger(s0,1) trigger(s1,1) trigger(k0,1) trigger(k1,1)"
    );
    for task in ALL {
        driver.acknowledge(task, 1, driver.state("", 1, true));
    }
    assert_eq!(driver.settle(), "write(1)");
    assert_eq!(driver.written(1, Written::Done), COMPLETED_1);
    // They have been told, and end one after the other: no further one is needed.
    for task in ALL {
        driver.coordinator.on_finished(task);
        assert_eq!(driver.settle(), "");
    }
    assert_eq!(driver.at(100_000), "");
}

#[test]
fn a_task_that_has_not_heard_that_it_may_end_is_told_again() {
    let mut driver = Driver::running(&[]);
    for task in ALL {
        driver.end_of_data(task);
    }
    for task in ALL {
        driver.acknowledge(task, 1, driver.state("", 1, true));
    }
    driver.settle();
    driver.written(1, Written::Done);
    for task in &ALL[1..] {
        driver.coordinator.on_finished(*task);
    }
    driver.settle();
    assert_eq!(driver.coordinator.next_deadline(), Some(Mono(5_000)));
    assert_eq!(driver.at(5_000), "+s0:1");
    driver.coordinator.on_finished(ALL[0]);
    assert_eq!(driver.at(10_000), "");
    assert_eq!(driver.coordinator.next_deadline(), None);
}

#[test]
fn consumers_of_tasks_that_end_while_a_checkpoint_is_pending_are_told_directly() {
    let mut driver = Driver::running(&[]);
    assert_eq!(driver.at(10_000), "trigger(s0,1) trigger(s1,1)");
    assert_eq!(driver.end_of_data(ALL[0]), "");
    assert_eq!(driver.end_of_data(ALL[1]), "trigger(k0,1) trigger(k1,1)");
    // What a task says of its end may get lost; its acknowledgement says it as well.
    let mut driver = Driver::running(&[]);
    driver.at(10_000);
    driver.acknowledge(ALL[0], 1, driver.state("", 0, true));
    assert_eq!(driver.settle(), "");
    driver.acknowledge(ALL[1], 1, driver.state("", 0, true));
    assert_eq!(driver.settle(), "trigger(k0,1) trigger(k1,1)");
}

#[test]
fn what_finished_tasks_said_goes_into_every_later_checkpoint() {
    let mut driver = Driver::running(&[]);
    driver.at(10_000);
    for task in ALL {
        driver.acknowledge(task, 1, driver.state("", 3, task == ALL[0]));
    }
    driver.settle();
    driver.written(1, Written::Done);
    // It has not ended yet, but takes no part any more.
    assert_eq!(driver.at(20_000), "trigger(s1,2) +s0:1");
    driver.coordinator.on_finished(ALL[0]);
    for task in &ALL[1..] {
        driver.acknowledge(*task, 2, driver.state("", 1, false));
    }
    assert_eq!(driver.settle(), "write(2)");
    let metadata = decode(&driver.writes[1].bytes, "f").expect("can be read");
    let source = &metadata.vertices[&JobVertexId(1)];
    assert!(source.subtasks[0].finished && source.subtasks[0].splits == 3);
    assert_eq!(source.subtasks[0].operators.len(), 1);
    assert_eq!(source.splits.numbers(), [0, 1, 2, 4].into());
}

#[test]
fn a_task_that_had_finished_is_restored_as_such_and_carried_when_it_has_said_so_again() {
    let mut driver = Driver::running(&[]);
    driver.at(10_000);
    for task in ALL {
        driver.acknowledge(task, 1, driver.state("", 3, task == ALL[0]));
    }
    driver.settle();
    driver.written(1, Written::Done);
    driver.coordinator.on_finished(ALL[0]);
    for task in ALL {
        driver.restart(task);
    }
    let restore = driver.coordinator.restore(ALL[0]).expect("there is a checkpoint");
    assert!(restore.finished && restore.checkpoint == id(1));
    driver.at(10_000);
    assert_eq!(driver.at(30_000), "", "it has not said so again");
    driver.coordinator.on_finished(ALL[0]);
    driver.settle();
    assert_eq!(driver.at(40_000), "trigger(s1,2)");
}

#[test]
fn a_savepoint_is_self_contained_and_nobody_hears_of_its_completion() {
    let mut driver = Driver::running(&[]);
    assert_eq!(driver.request(7, SnapshotKind::Savepoint), Ok(()));
    assert_eq!(driver.request(7, SnapshotKind::Savepoint), Ok(()));
    assert_eq!(driver.progress(7), SnapshotProgress::InProgress);
    assert_eq!(driver.settle(), "trigger(s0,1) trigger(s1,1)");
    assert_eq!(driver.all_acknowledge(1, "chk-1/f"), "write(1)");
    let copies = driver.writes[0].copies.clone().expect("files are copied");
    assert_eq!(copies.paths, ["chk-1/f"]);
    assert_eq!(driver.written(1, Written::Done), "delete(~/chk-1)");
    let path = "/s/savepoint-000000-1-00000007".to_owned();
    let completed = SnapshotProgress::Completed { checkpoint: id(1), path };
    assert_eq!(driver.progress(7), completed);
    assert_eq!(driver.coordinator.base(), None);
}

#[test]
fn a_stop_is_the_last_checkpoint_and_what_fails_after_it_only_commits() {
    let mut driver = Driver::running(&[]);
    driver.request(7, SnapshotKind::Suspend).expect("is accepted");
    driver.settle();
    assert_eq!(driver.at(50_000), "", "nothing else is triggered meanwhile");
    driver.all_acknowledge(1, "chk-1/f");
    let told = driver.written(1, Written::Done);
    assert_eq!(told, format!("delete(~/chk-1) {COMPLETED_1}"));
    assert!(driver.request(8, SnapshotKind::Savepoint).is_err());
    driver.restart(ALL[1]);
    let restore = driver.coordinator.restore(ALL[2]).expect("there is a savepoint");
    assert!(restore.finished);
    let file = &restore.operators[&OperatorId(2)].tables[0].chain[0].file;
    let root = format!("{file:?}");
    assert!(root.contains("/s/savepoint-000000-1-00000007"), "{root}");
    assert_eq!(driver.at(90_000), "+s0:1 +s1:1 +k0:1 +k1:1", "they are told to end, and no more");
}

#[test]
fn a_stop_that_fails_leaves_the_job_running_with_checkpoints() {
    let mut driver = Driver::running(&[]);
    driver.request(7, SnapshotKind::Drain).expect("is accepted");
    driver.settle();
    let told = driver.decline(ALL[0], 1, Declined::Failed("no".to_owned()));
    assert!(!told.contains("fail"), "a savepoint that fails is no failure of the job: {told}");
    assert!(matches!(driver.progress(7), SnapshotProgress::Failed { .. }));
    assert_eq!(driver.at(10_000), "trigger(s0,2) trigger(s1,2)");
}

#[test]
fn a_request_that_can_never_be_met_ends() {
    let mut driver = Driver::new(&[("timeout", "1 s")]);
    driver.request(7, SnapshotKind::Savepoint).expect("is accepted");
    assert_eq!(driver.coordinator.next_deadline(), Some(Mono(1_000)));
    driver.at(1_000);
    assert!(matches!(driver.progress(7), SnapshotProgress::Failed { .. }));
    driver.request(8, SnapshotKind::Savepoint).expect("is accepted");
    driver.coordinator.close("the job was cancelled");
    assert!(matches!(driver.progress(8), SnapshotProgress::Failed { .. }));
    assert!(driver.request(9, SnapshotKind::Savepoint).is_err());
}

#[test]
fn a_job_that_begins_from_a_checkpoint_goes_on_counting_and_owns_it_if_claimed() {
    for (claim, expected) in [
        (ClaimMode::NoClaim, "completed(8) +s0:8 +s1:8 +k0:8 +k1:8"),
        (
            ClaimMode::Claim,
            "delete(/old/chk-7/_metadata,/old/chk-7) completed(8) +s0:8 +s1:8 +k0:8 +k1:8",
        ),
    ] {
        let mut driver = Driver::new(&[("incremental", "true")]);
        let metadata = crate::metadata::testing::sample();
        let metadata = decode(&encode(&metadata), "f").expect("can be read");
        let graph = driver.graph.clone();
        let begun = driver.coordinator.begin_from(metadata, "/old/chk-7", claim, false, &graph);
        assert_eq!(begun, Ok(()));
        let restore = driver.coordinator.restore(ALL[2]).expect("there is one");
        let root = format!("{:?}", restore.operators[&OperatorId(2)].tables[0].chain[0].file);
        assert!(root.contains(r#"root: Some("/old")"#), "{root}");
        for task in ALL {
            driver.start(task);
        }
        driver.settle();
        assert_eq!(driver.complete(10_000, 8, ""), expected);
        let metadata = decode(&driver.writes[0].bytes, "f").expect("can be read");
        assert_eq!(metadata.kind, SnapshotKind::FullCheckpoint);
        let told = driver.complete(20_000, 9, "");
        let deletes = told.contains("/old/shared/0,/old/shared/64)");
        assert_eq!(deletes, claim == ClaimMode::Claim, "{told}");
    }
}

#[test]
fn what_is_carried_from_another_job_refers_to_nothing_of_it() {
    let mut driver = Driver::new(&[]);
    let mut metadata = crate::metadata::testing::sample();
    for vertex in metadata.vertices.values_mut() {
        vertex.subtasks[0].finished = true;
    }
    let graph = driver.graph.clone();
    let claim = ClaimMode::Claim;
    let begun = driver.coordinator.begin_from(metadata, "/old/chk-7", claim, false, &graph);
    assert_eq!(begun, Ok(()));
    for task in ALL {
        driver.coordinator.on_reset(task, &graph);
        driver.start(task);
    }
    for task in [ALL[0], ALL[2]] {
        driver.coordinator.on_finished(task);
    }
    driver.settle();
    assert_eq!(driver.at(10_000), "trigger(s1,8)");
    for task in [ALL[1], ALL[3]] {
        driver.acknowledge(task, 8, driver.state("", 0, false));
    }
    driver.settle();
    let metadata = decode(&driver.writes[0].bytes, "f").expect("can be read");
    assert!(metadata.files().all(|file| file.root.is_none()));
    assert!(metadata.vertices[&JobVertexId(2)].subtasks[0].finished);
}

#[test]
fn terms_of_leadership_that_begin_from_the_same_savepoint_have_numbers_of_their_own() {
    for (first, last) in [(1, 1002), (1001, 2002), (2001, 3002)] {
        let mut driver = Driver::new(&[]);
        let metadata =
            CheckpointMetadata { checkpoint: id(1002), ..crate::metadata::testing::sample() };
        let graph = driver.graph.clone();
        driver.coordinator.number_from(id(first));
        let claim = ClaimMode::NoClaim;
        let begun = driver.coordinator.begin_from(metadata, "/old/chk-1002", claim, false, &graph);
        assert_eq!((begun, driver.coordinator.last), (Ok(()), id(last)));
    }
}

#[test]
fn what_a_former_master_left_unfinished_goes_and_nothing_that_is_or_may_be_needed() {
    // A former master has completed 2, which refers to a file of 1, and has begun 3.
    let mut former = Driver::running(&[]);
    former.complete(10_000, 1, "f-1-0");
    former.complete(20_000, 2, "f-1-0 f-2-0");
    let bytes = former.writes.last().expect("2 was written").bytes.clone();
    let directory = former.coordinator.directory().to_owned();
    let mut driver = Driver::new(&[]);
    let graph = driver.graph.clone();
    driver.coordinator.number_from(id(1001));
    let metadata = decode(&bytes, "f").expect("can be read");
    let begun = driver.coordinator.recover(metadata, &format!("{directory}/chk-2"), &graph);
    assert_eq!(begun, Ok(()));
    let floor = driver.coordinator.newest();
    assert_eq!(floor, id(1000));
    for task in ALL {
        driver.coordinator.on_reset(task, &graph);
        driver.start(task);
    }
    driver.settle();
    assert_eq!(driver.at(10_000), "trigger(s0,1001) trigger(s1,1001)");
    let needed: Vec<String> =
        decode(&bytes, "f").expect("can be read").files().map(|file| file.path.clone()).collect();
    let others = [
        "chk-2/_metadata",
        "chk-2/x-0",
        "chk-3/x-0",
        "chk-3/y-0",
        "chk-1001/x-0",
        "shared/x-3-0",
        "shared/x-1001-0",
        "savepoint-3/_metadata",
        "notes.txt",
        "shared/notes",
    ];
    let mut paths: Vec<String> = others.iter().map(|path| (*path).to_owned()).collect();
    paths.extend(needed.iter().cloned());
    let orphans = driver.coordinator.orphans(floor, &paths);
    assert_eq!(orphans, [format!("{directory}/chk-3"), format!("{directory}/shared/x-3-0")]);
    // Also under another name of the directory.
    let metadata = decode(&bytes, "f").expect("can be read");
    let mut renamed = Driver::new(&[]);
    renamed.coordinator.number_from(id(1001));
    renamed.coordinator.recover(metadata, "/mnt/same/chk-2", &graph).expect("it fits");
    assert_eq!(renamed.coordinator.orphans(floor, &paths), orphans);
}

#[test]
fn at_the_end_checkpoints_go_unless_they_are_to_be_kept() {
    for (retention, ending, kept) in [
        ("NO_EXTERNALIZED_CHECKPOINTS", Ending::Failed, false),
        ("DELETE_ON_CANCELLATION", Ending::Failed, true),
        ("DELETE_ON_CANCELLATION", Ending::Canceled, false),
        ("RETAIN_ON_CANCELLATION", Ending::Canceled, true),
        ("RETAIN_ON_CANCELLATION", Ending::Finished, false),
        ("NO_EXTERNALIZED_CHECKPOINTS", Ending::Suspended, true),
    ] {
        let mut driver = Driver::running(&[("externalized-checkpoint-retention", retention)]);
        driver.complete(10_000, 1, "");
        driver.coordinator.end(ending);
        let expected = if kept { "" } else { "delete(~/chk-1/_metadata,~/chk-1,~)" };
        assert_eq!(driver.settle(), expected, "{retention} {ending:?}");
    }
}
