//! What the files sink promises: whole parts, each record once, nothing of others touched.

use super::*;
use crate::harness::{self, context, write_all};
use crate::scratch::Scratch;
use millstream_core::checkpoint::{Alignment, Barrier, CheckpointId, SnapshotKind};
use millstream_core::ids::JobId;
use millstream_core::time::Timestamp;
use millstream_operator::operator::{Flow, Operator};
use millstream_operator::sink::{ListSnapshot, OperatorSnapshot, RestoredList, RestoredOperator};
use millstream_operator::sink_operator::SinkOperator;
use millstream_shuffle::batch::Batch;
use std::fs;
use std::path::Path;

fn content(scratch: &Scratch, name: &str) -> String {
    fs::read_to_string(scratch.path().join(name)).expect("the part is there")
}

fn names() -> Names {
    Names { job: JobId::default(), suffix: String::new() }
}

fn in_progress(subtask: u32, execution: &str, number: u64) -> String {
    names().in_progress(subtask, execution, number)
}

#[test]
fn each_format_has_its_part_and_they_share_a_directory() {
    let scratch = Scratch::new();
    let records = || [("to", 2), ("b,e", 1)];
    write_all(&text_files(scratch.path()), ["to", "be"]).expect("it can be written");
    write_all(&csv(scratch.path()).header(["word", "count"]), records()).expect("it can");
    write_all(&json_lines(scratch.path()), records()).expect("it can");
    assert_eq!(scratch.names(), ["part-0", "part-0.csv", "part-0.jsonl"]);
    assert_eq!(content(&scratch, "part-0"), "to\nbe\n");
    assert_eq!(content(&scratch, "part-0.csv"), "word,count\nto,2\n\"b,e\",1\n");
    assert_eq!(content(&scratch, "part-0.jsonl"), "[\"to\",2]\n[\"b,e\",1]\n");
}

#[test]
#[should_panic(expected = "`-1` cannot end the name of a part")]
fn a_suffix_that_could_be_a_number_is_refused() {
    let _ = text_files("out").suffix("-1");
}

#[test]
fn subtasks_write_parts_of_their_own_and_the_directory_is_made() {
    let scratch = Scratch::new();
    let sink = text_files(scratch.path().join("a/b")).suffix(".txt");
    for subtask in [2, 0, 1] {
        let mut writer = sink.writer(&context(subtask, 3)).expect("it can be written");
        writer.write(&mut vec![subtask]).expect("it can be written");
        harness::finish(&mut *writer).expect("it can be written");
        writer.close(true).expect("it can be closed");
    }
    for subtask in 0..3 {
        let text = content(&scratch, &format!("a/b/part-{subtask}.txt"));
        assert_eq!(text, format!("{subtask}\n"));
    }
}

#[test]
fn no_part_has_its_name_before_it_is_whole() {
    let scratch = Scratch::new();
    let sink = text_files(scratch.path());
    let mut writer = sink.writer(&context(0, 1)).expect("it can be written");
    for _ in 0..3 {
        writer.write(&mut (0..100_000).collect()).expect("it can be written");
        writer.flush().expect("it can be written");
        assert_eq!(scratch.names(), [in_progress(0, "test_0", 0)]);
    }
    harness::finish(&mut *writer).expect("it can be written");
    assert_eq!(scratch.names(), ["part-0"]);
    assert_eq!(content(&scratch, "part-0").lines().count(), 300_000);
}

#[test]
fn nothing_is_left_of_a_part_that_was_closed_early_or_dropped() {
    let scratch = Scratch::new();
    let sink = text_files(scratch.path());
    for is_closed in [true, false] {
        let mut writer = sink.writer(&context(0, 1)).expect("it can be written");
        writer.write(&mut vec!["half"]).expect("it can be written");
        if is_closed {
            writer.close(false).expect("it can be closed");
        } else {
            drop(writer);
        }
        assert!(scratch.names().is_empty(), "{:?}", scratch.names());
    }
}

#[test]
fn what_killed_attempts_left_is_removed_by_the_next_one_if_it_is_certainly_theirs() {
    let scratch = Scratch::new();
    let foreign = Names { job: JobId(9), ..names() };
    let kept = [
        foreign.in_progress(0, "earlier", 0),
        foreign.pending(0, CheckpointId(1), 0),
        in_progress(1, "running", 0),
        names().pending(1, CheckpointId(1), 0),
        ".part-0-readme".to_owned(),
    ];
    let removed = [
        in_progress(0, "earlier", 0),
        names().pending(0, CheckpointId(1), 0),
        // Of subtasks that there were when the parallelism was higher.
        in_progress(7, "earlier", 3),
    ];
    for name in kept.iter().chain(&removed) {
        scratch.write(name, "half");
    }
    let _writer: Box<dyn SinkWriter<u64>> =
        text_files(scratch.path()).writer(&context(0, 2)).expect("it can be written");
    let mut expected = kept.to_vec();
    expected.push(in_progress(0, "test_0", 0));
    expected.sort();
    assert_eq!(scratch.names(), expected);
}

#[test]
fn an_attempt_that_was_replaced_cannot_commit() {
    let scratch = Scratch::new();
    let sink = text_files(scratch.path());
    let mut old = sink.writer(&context(0, 1)).expect("it can be written");
    old.write(&mut vec!["old"]).expect("it can be written");
    let place = TaskContext { execution: "next".into(), ..context(0, 1) };
    let mut new = sink.writer(&place).expect("it can be written");
    let error = harness::finish(&mut *old).expect_err("it was replaced");
    assert!(error.message.contains("another attempt has replaced this one"), "{error}");
    new.write(&mut vec!["new"]).expect("it can be written");
    harness::finish(&mut *new).expect("it can be written");
    assert_eq!(content(&scratch, "part-0"), "new\n");
}

#[test]
fn an_attempt_after_the_commit_replaces_the_part() {
    let scratch = Scratch::new();
    let sink = text_files(scratch.path());
    for record in ["first", "second"] {
        write_all(&sink, [record]).expect("the part is this job's");
    }
    assert_eq!(content(&scratch, "part-0"), "second\n");
}

#[test]
fn parts_of_an_earlier_job_are_neither_replaced_nor_mixed() {
    for there in ["part-0", "part-1", "part-77"] {
        let scratch = Scratch::new();
        scratch.write(there, "earlier\n");
        let error = write_all(&text_files(scratch.path()), ["new"]).expect_err("refused");
        assert!(error.message.contains(&format!("`{there}` is there already")), "{error}");
        assert!(error.message.contains("`.overwrite()`"), "{error}");
        assert_eq!(scratch.names(), [there]);
    }
}

#[test]
fn overwriting_replaces_all_parts_and_nothing_else() {
    let scratch = Scratch::new();
    let others = ["part-0.csv", "part-x", "part-", "readme"];
    for name in others.iter().chain(&["part-0", "part-1", "part-12"]) {
        scratch.write(name, "earlier\n");
    }
    let sink = text_files(scratch.path()).overwrite();
    write_all(&sink, ["new"]).expect("it can be written");
    assert_eq!(scratch.names(), ["part-", "part-0", "part-0.csv", "part-x", "readme"]);
    assert_eq!(content(&scratch, "part-0"), "new\n");
}

#[test]
fn overwriting_keeps_the_earlier_parts_until_the_new_ones_are_whole() {
    let scratch = Scratch::new();
    scratch.write("part-0", "earlier\n");
    let sink = text_files(scratch.path()).overwrite();
    let mut writer = sink.writer(&context(0, 1)).expect("it can be written");
    writer.write(&mut vec!["half"]).expect("it can be written");
    writer.close(false).expect("it can be closed");
    assert_eq!(content(&scratch, "part-0"), "earlier\n");
}

#[track_caller]
fn check_refused(directory: &Path, expected: &[&str]) {
    let error = write_all(&text_files(directory), [1]).expect_err("it cannot be written");
    for part in expected {
        assert!(error.message.contains(part), "{error}");
    }
}

#[test]
fn what_cannot_be_written_is_told_with_path_reason_and_advice() {
    let scratch = Scratch::new();
    let file = scratch.write("file", "");
    check_refused(&file, &["file`: it is a file, not a directory", "name a directory"]);
    check_refused(&file.join("below"), &["file/below`", "Not a directory"]);
    check_refused(Path::new("/proc/self/no"), &["create directory `/proc/self/no`"]);
}

/// A sink's subtask in a job with checkpoints, as its task drives it.
struct Task(SinkOperator<u64>);

type State = Vec<RestoredList>;

/// A place in a job with checkpoints, in its so many-th attempt.
fn place(subtask: u32, parallelism: u32, attempt: u32) -> TaskContext {
    let execution = format!("g-{attempt}").into();
    let context = context(subtask, parallelism);
    TaskContext { checkpointing: true, attempt, execution, ..context }
}

impl Task {
    fn start(sink: &Files<DisplayLines>, context: TaskContext) -> Self {
        let writer = sink.writer(&context).expect("it can be written");
        Self(SinkOperator::new(writer, &context).expect("the defaults are valid"))
    }

    /// A task that goes on from a checkpoint with the state of these subtasks.
    fn restore(
        sink: &Files<DisplayLines>,
        context: TaskContext,
        checkpoint: u64,
        lists: State,
    ) -> Self {
        let restored = Some(CheckpointId(checkpoint));
        let mut task = Self::start(sink, TaskContext { restored, ..context });
        task.0.restore(RestoredOperator { tables: Vec::new(), lists }).expect("it can be restored");
        task
    }

    fn write(&mut self, records: impl IntoIterator<Item = u64>) {
        let mut batch = Batch::<u64>::new();
        batch.items.extend(records);
        let flow = self.0.process(&mut batch, &mut Batch::<()>::new(), 1);
        assert_eq!(flow, Ok(Flow::Drained));
    }

    fn snapshot(&mut self, checkpoint: u64) -> State {
        let barrier = Barrier {
            checkpoint: CheckpointId(checkpoint),
            timestamp: Timestamp::default(),
            kind: SnapshotKind::Checkpoint,
            alignment: Alignment::Aligned,
        };
        let mut state = OperatorSnapshot::default();
        self.0.snapshot(&barrier, &mut state).expect("it can be prepared");
        state.work.drain(..).for_each(|work| work().expect("it can be made durable"));
        let list = |list: ListSnapshot| RestoredList {
            name: list.name,
            schema: list.schema,
            items: list.items,
        };
        state.lists.into_iter().map(list).collect()
    }

    fn completed(&mut self, checkpoint: u64) {
        self.0.checkpoint_completed(CheckpointId(checkpoint)).expect("it can be committed");
    }
}

fn visible(scratch: &Scratch) -> Vec<String> {
    scratch.names().into_iter().filter(|name| !name.starts_with('.')).collect()
}

#[test]
fn each_checkpoint_gives_a_part_when_it_is_complete_and_not_before() {
    let scratch = Scratch::new();
    let mut task = Task::start(&text_files(scratch.path()), place(3, 4, 0));
    task.write([1, 2]);
    task.snapshot(5);
    task.write([3]);
    task.snapshot(6);
    task.snapshot(7);
    task.write([4]);
    assert!(visible(&scratch).is_empty());
    task.completed(5);
    assert_eq!(visible(&scratch), ["part-3-5"]);
    task.completed(7);
    assert_eq!(visible(&scratch), ["part-3-5", "part-3-6"], "no part without records");
    assert_eq!(content(&scratch, "part-3-5"), "1\n2\n");
    assert_eq!(content(&scratch, "part-3-6"), "3\n");
    task.0.close(false).expect("it can be closed");
    assert_eq!(scratch.names(), ["part-3-5", "part-3-6"]);
}

#[test]
fn a_part_that_is_long_enough_is_followed_by_another() {
    let scratch = Scratch::new();
    let sink = text_files(scratch.path()).part_bytes(5);
    let mut task = Task::start(&sink, place(0, 1, 0));
    for record in 100..104 {
        task.write([record]);
    }
    assert!(visible(&scratch).is_empty());
    task.snapshot(2);
    task.completed(2);
    assert_eq!(visible(&scratch), ["part-0-2", "part-0-2-1"]);
    assert_eq!(content(&scratch, "part-0-2"), "100\n101\n");
    let scratch = Scratch::new();
    let sink = text_files(scratch.path()).part_bytes(1);
    write_all(&sink, [1]).expect("it can be written");
    assert_eq!(scratch.names(), ["part-0"]);
}

#[test]
fn what_was_sealed_survives_the_task_and_is_committed_by_the_next() {
    let scratch = Scratch::new();
    let sink = text_files(scratch.path());
    let mut task = Task::start(&sink, place(0, 1, 0));
    task.write([1]);
    task.snapshot(1);
    task.completed(1);
    task.write([2]);
    let state = task.snapshot(2);
    task.write([3]);
    task.snapshot(3);
    task.write([4]);
    drop(task);
    for attempt in 1..3 {
        // The second time as if the first had failed at once.
        let mut task = Task::restore(&sink, place(0, 1, attempt), 2, state.clone());
        assert_eq!(visible(&scratch), ["part-0-1", "part-0-2"]);
        assert_eq!(scratch.names().len(), 3, "only the new part is in progress");
        task.write([3]);
    }
    assert_eq!(content(&scratch, "part-0-2"), "2\n");
}

#[test]
fn a_checkpoint_that_was_never_complete_leaves_nothing() {
    let scratch = Scratch::new();
    let sink = text_files(scratch.path());
    let mut task = Task::start(&sink, place(0, 1, 0));
    task.write([1]);
    task.snapshot(1);
    drop(task);
    let mut task = Task::start(&sink, place(0, 1, 1));
    task.write([1]);
    task.snapshot(2);
    task.completed(2);
    drop(task);
    assert_eq!(scratch.names(), ["part-0-2"]);
}

#[test]
fn with_another_parallelism_each_part_is_still_committed_once() {
    let scratch = Scratch::new();
    let sink = text_files(scratch.path());
    let mut state = State::new();
    for subtask in 0..3 {
        let mut task = Task::start(&sink, place(subtask, 3, 0));
        task.write([u64::from(subtask)]);
        state.extend(task.snapshot(4));
        task.write([77]);
    }
    let (own, prepared): (State, State) =
        state.into_iter().partition(|list| list.name == "directory");
    // All of what was prepared goes to subtask 1; both know the directory.
    let own = own.into_iter().take(1);
    let mut first = Task::restore(&sink, place(0, 2, 1), 4, own.clone().collect());
    let second = Task::restore(&sink, place(1, 2, 1), 4, own.chain(prepared).collect());
    assert_eq!(visible(&scratch), ["part-0-4", "part-1-4", "part-2-4"]);
    first.write([9]);
    first.snapshot(5);
    first.completed(5);
    drop((first, second));
    assert_eq!(scratch.names(), ["part-0-4", "part-0-5", "part-1-4", "part-2-4"]);
}

#[test]
fn a_restored_job_that_has_no_state_of_the_directory_does_not_mix_with_it() {
    let scratch = Scratch::new();
    let (old, new) = (scratch.path().join("old"), scratch.path().join("new"));
    let mut task = Task::start(&text_files(&old), place(0, 1, 0));
    task.write([1]);
    let state = task.snapshot(1);
    scratch.write("new/part-0-1", "foreign\n");
    let context = TaskContext { restored: Some(CheckpointId(1)), ..place(0, 1, 1) };
    let mut writer: Box<dyn SinkWriter<u64>> =
        text_files(&new).writer(&context).expect("the state has not come yet");
    let state = RestoredOperator { tables: Vec::new(), lists: state };
    let error = writer.restore(&state).expect_err("it is another directory");
    assert!(error.message.contains("`part-0-1` is there already"), "{error}");
    let error = writer.write(&mut vec![1]).expect_err("also without any state");
    assert!(error.message.contains("`part-0-1` is there already"), "{error}");
}

#[test]
fn overwriting_with_checkpoints_replaces_at_the_first_commit_and_only_once() {
    let scratch = Scratch::new();
    for name in ["part-0", "part-0-1", "part-0-9", "part-1", "part-5", "readme"] {
        scratch.write(name, "earlier\n");
    }
    let sink = text_files(scratch.path()).overwrite();
    let mut task = Task::start(&sink, place(0, 2, 0));
    task.write([1]);
    let state = task.snapshot(1);
    assert_eq!(content(&scratch, "part-0-1"), "earlier\n");
    task.completed(1);
    assert_eq!(visible(&scratch), ["part-0-1", "part-1", "readme"]);
    assert_eq!(content(&scratch, "part-0-1"), "1\n");
    drop(task);
    let mut task = Task::restore(&sink, place(0, 2, 1), 1, state);
    assert_eq!(visible(&scratch), ["part-0-1", "part-1", "readme"]);
    task.write([2]);
    task.snapshot(2);
    task.completed(2);
    assert_eq!(visible(&scratch), ["part-0-1", "part-0-2", "part-1", "readme"]);
    assert_eq!(content(&scratch, "part-0-1"), "1\n");
}

#[test]
fn each_part_begins_as_its_format_says() {
    let scratch = Scratch::new();
    let sink = csv(scratch.path()).header(["a", "b"]);
    let mut writer = sink.writer(&place(0, 1, 0)).expect("it can be written");
    for checkpoint in 1..3 {
        writer.write(&mut vec![(checkpoint, 2)]).expect("it can be written");
        let mut prepared =
            writer.prepare_commit(CheckpointId(checkpoint)).expect("it can be sealed");
        let make_durable = prepared.durable.take().expect("there is a part");
        make_durable().expect("it can be made durable");
        writer.commit(&mut prepared.committables).expect("it can be committed");
    }
    assert_eq!(content(&scratch, "part-0-1.csv"), "a,b\n1,2\n");
    assert_eq!(content(&scratch, "part-0-2.csv"), "a,b\n2,2\n");
}

#[test]
fn two_sinks_cannot_write_the_same_parts() {
    let scratch = Scratch::new();
    let _first: Box<dyn SinkWriter<u64>> =
        text_files(scratch.path()).writer(&place(0, 1, 0)).expect("it is the only one");
    let second = text_files(scratch.path()).writer(&place(0, 1, 0));
    let second: Result<Box<dyn SinkWriter<u64>>, _> = second;
    let error = second.err().expect("the names are taken");
    assert!(error.message.contains("another sink of this job"), "{error}");
}

#[test]
fn a_directory_that_vanishes_fails_the_commit_and_loses_nothing_silently() {
    let scratch = Scratch::new();
    let directory = scratch.path().join("out");
    let mut task = Task::start(&text_files(&directory), place(0, 1, 0));
    task.write([1]);
    task.snapshot(1);
    fs::remove_dir_all(&directory).expect("it is there");
    let error = task.0.checkpoint_completed(CheckpointId(1)).expect_err("the part is gone");
    assert!(error.message.contains("neither of them is there"), "{error}");
}

#[test]
fn a_part_is_made_durable_beside_the_task_and_the_next_one_is_written_meanwhile() {
    let scratch = Scratch::new();
    let mut writer = text_files(scratch.path()).writer(&place(0, 1, 0)).expect("it can be");
    writer.write(&mut vec![1]).expect("it can be written");
    let mut prepared = writer.prepare_commit(CheckpointId(1)).expect("it can be prepared");
    writer.write(&mut vec![2]).expect("it can be written");
    let [first, second] = [0, 1].map(|number| in_progress(0, "g_0", number));
    assert_eq!(scratch.names(), [first, second.clone()], "nothing was synced and renamed yet");
    let make_durable = prepared.durable.take().expect("there is a part");
    std::thread::spawn(make_durable).join().expect("no panic").expect("it can be made durable");
    assert_eq!(scratch.names(), [names().pending(0, CheckpointId(1), 0), second]);
    writer.commit(&mut prepared.committables).expect("it can be committed");
    assert_eq!(content(&scratch, "part-0-1"), "1\n");
}

#[test]
fn a_part_that_cannot_be_made_durable_is_named_and_given_up() {
    let scratch = Scratch::new();
    let directory = scratch.path().join("out");
    let mut writer = text_files(&directory).writer(&place(0, 1, 0)).expect("it can be");
    writer.write(&mut vec![1]).expect("it can be written");
    let prepared = writer.prepare_commit(CheckpointId(1)).expect("it can be prepared");
    fs::remove_dir_all(&directory).expect("it is there");
    let error = prepared.durable.expect("there is a part")().expect_err("its directory is gone");
    let name = in_progress(0, "g_0", 0);
    assert!(error.message.contains(&name), "{error}");
}
