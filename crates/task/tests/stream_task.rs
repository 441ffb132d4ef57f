//! One task alone, stepped by hand.

use millstream_core::OperatorError;
use millstream_core::checkpoint::{Alignment, Barrier, CheckpointId, SnapshotKind};
use millstream_core::error::Location;
use millstream_core::ids::OperatorId;
use millstream_core::job_graph::SourceSplit;
use millstream_operator::context::{OperatorLabel, TaskContext};
use millstream_operator::map::Map;
use millstream_operator::sink::SinkWriter;
use millstream_operator::sink_operator::SinkOperator;
use millstream_operator::source::{AnySource, Poll, ReaderSource, SourceClock, SourceReader};
use millstream_shuffle::registry::PartitionRegistry;
use millstream_task::failure::TaskError;
use millstream_task::stream_task::{
    Chain, FLUSH_AFTER, Head, Outputs, Step, StreamTask, TaskReport,
};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Gives the bytes of each split as records; then it wants the next.
#[derive(Default)]
struct Splits {
    left: Vec<u8>,
    over: bool,
}

impl SourceReader<u64> for Splits {
    fn poll(
        &mut self,
        out: &mut Vec<u64>,
        room: usize,
        _clock: SourceClock,
    ) -> Result<Poll, OperatorError> {
        let n = self.left.len().min(room);
        out.extend(self.left.drain(..n).map(u64::from));
        Ok(match (self.left.is_empty(), self.over) {
            (false, _) => Poll::More,
            (true, false) => Poll::NeedSplit,
            (true, true) => Poll::End,
        })
    }

    fn add_split(&mut self, split: Option<SourceSplit>) -> Result<(), OperatorError> {
        assert!(self.left.is_empty(), "a split came before the last one was read");
        match split {
            Some(split) => self.left = split.0,
            None => self.over = true,
        }
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>, OperatorError> {
        Ok(vec![self.left.clone()])
    }

    fn restore(&mut self, items: Vec<Vec<u8>>) -> Result<(), OperatorError> {
        self.left = items.concat();
        Ok(())
    }
}

/// Keeps what it gets.
struct Collect(Rc<RefCell<Vec<u64>>>);

impl SinkWriter<u64> for Collect {
    fn write(&mut self, records: &mut Vec<u64>) -> Result<(), OperatorError> {
        self.0.borrow_mut().append(records);
        Ok(())
    }
}

fn label(name: &str) -> OperatorLabel {
    let declared_at = Location { file: "src/main.rs".to_owned(), line: 7 };
    OperatorLabel { name: name.into(), declared_at }
}

fn task(function: impl Fn(u64) -> u64 + 'static) -> (StreamTask, Rc<RefCell<Vec<u64>>>) {
    let collected = Rc::<RefCell<Vec<u64>>>::default();
    let source = ReaderSource(Box::<Splits>::default());
    let batch = source.output();
    let mut chain = Chain::new(batch);
    chain.push(OperatorId(2), label("double"), Box::new(Map::new(function)));
    let writer = Box::new(Collect(collected.clone()));
    let collect = SinkOperator::new(writer, &TaskContext::alone()).expect("the defaults are valid");
    chain.push(OperatorId(3), label("collect"), Box::new(collect));
    let outputs = Outputs::new(Vec::new(), PartitionRegistry::new());
    let head = Head::source(OperatorId(1), label("splits"), Box::new(source));
    (StreamTask::new(head, chain, outputs), collected)
}

#[test]
fn each_split_is_asked_for_once_however_long_the_answer_takes() {
    let (mut task, collected) = task(|n| n * 2);
    let mut splits = vec![vec![1, 2], vec![3], vec![]].into_iter();
    let mut now = Instant::now();
    let (mut asked, mut steps_since) = (0, 0);
    loop {
        now += FLUSH_AFTER + Duration::from_millis(60);
        match task.step(now).expect("nothing fails") {
            Step::Finished => break,
            Step::NeedSplit if task.take_split_request() => (asked, steps_since) = (asked + 1, 0),
            // The answer comes after flushes have had their turn.
            _ if steps_since == 5 => {
                task.add_split(splits.next().map(SourceSplit)).expect("it was asked for");
            }
            _ => (),
        }
        steps_since += 1;
    }
    assert_eq!(asked, 4);
    assert_eq!(*collected.borrow(), [2, 4, 6]);
}

#[test]
fn a_split_that_nobody_asked_for_fails_the_task() {
    let (mut task, _) = task(|n| n);
    let error = task.add_split(None).expect_err("it was not asked for");
    let failure = error.into_failure("splits (1/1)");
    assert_eq!(failure.message, "task `splits (1/1)` failed: a split came that was not asked for");
}

#[test]
fn a_panic_names_the_operator_and_its_line() {
    let (mut task, _) = task(|n| if n == 3 { panic!("three") } else { n });
    let mut now = Instant::now();
    let error = loop {
        now += Duration::from_millis(1);
        match task.step(now) {
            Ok(Step::NeedSplit) if task.take_split_request() => {
                task.add_split(Some(SourceSplit(vec![1, 2, 3]))).expect("it was asked for");
            }
            Ok(_) => (),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, TaskError::Operator { label: Some(_), .. }));
    let message = error.into_failure("splits -> double (1/1)").message;
    assert!(message.starts_with("operator `double` declared at src/main.rs:7 failed"), "{message}");
    assert!(message.contains("panic: three at "), "{message}");
}

/// A task that has read one split and waits for the next.
fn task_between_splits() -> (StreamTask, Rc<RefCell<Vec<u64>>>) {
    let (task, collected) = task(|n| n * 2);
    let mut task = task.with_checkpoints();
    assert_eq!(rest(&mut task), Step::NeedSplit);
    assert!(task.take_split_request());
    task.add_split(Some(SourceSplit(vec![1, 2]))).expect("it was asked for");
    assert_eq!(rest(&mut task), Step::NeedSplit);
    assert!(task.take_split_request());
    (task, collected)
}

/// Steps until nothing moves.
fn rest(task: &mut StreamTask) -> Step {
    loop {
        match task.step(Instant::now()).expect("nothing fails") {
            Step::Progress => (),
            stop => return stop,
        }
    }
}

fn barrier(kind: SnapshotKind) -> Barrier {
    let alignment = Alignment::Aligned;
    Barrier { checkpoint: CheckpointId(7), timestamp: 0, kind, alignment }
}

/// What the task reported: whether each snapshot said that all work was done, or the end of data.
fn reported(task: &mut StreamTask) -> Vec<&'static str> {
    let words = task.take_reports().into_iter().map(|report| match report {
        TaskReport::Snapshot(snapshot) if snapshot.finished => "finished",
        TaskReport::Snapshot(_) => "running",
        TaskReport::Declined { .. } => "declined",
        TaskReport::EndOfData => "end of data",
        TaskReport::Withdrawn => "withdrawn",
        TaskReport::Aligned(_) => "how far it is",
    });
    words.collect()
}

#[test]
fn a_suspended_task_reads_nothing_until_its_savepoint_is_complete_and_then_ends() {
    let (mut task, collected) = task_between_splits();
    task.trigger(barrier(SnapshotKind::Suspend), Instant::now());
    assert_eq!(rest(&mut task), Step::NeedMail);
    assert_eq!(reported(&mut task), ["running"]);
    task.add_split(Some(SourceSplit(vec![3]))).expect("it was asked for");
    assert_eq!(rest(&mut task), Step::NeedMail);
    assert!(task.is_idle());
    assert_eq!(*collected.borrow(), [2, 4]);
    task.checkpoint_completed(CheckpointId(7)).expect("nothing fails");
    assert_eq!(rest(&mut task), Step::Finished);
    assert_eq!(*collected.borrow(), [2, 4]);
}

#[test]
fn a_suspended_task_goes_on_when_its_savepoint_fails() {
    let (mut task, collected) = task_between_splits();
    task.trigger(barrier(SnapshotKind::Suspend), Instant::now());
    assert_eq!(rest(&mut task), Step::NeedMail);
    task.add_split(Some(SourceSplit(vec![3]))).expect("it was asked for");
    task.checkpoint_aborted(CheckpointId(7)).expect("nothing fails");
    assert_eq!(rest(&mut task), Step::NeedSplit);
    assert_eq!(*collected.borrow(), [2, 4, 6]);
}

#[test]
fn a_drained_task_does_all_its_work_before_the_savepoint_is_taken() {
    let (mut task, collected) = task_between_splits();
    task.trigger(barrier(SnapshotKind::Drain), Instant::now());
    assert_eq!(rest(&mut task), Step::NeedMail);
    assert_eq!(reported(&mut task), ["end of data", "finished"]);
    task.checkpoint_completed(CheckpointId(7)).expect("nothing fails");
    assert_eq!(rest(&mut task), Step::Finished);
    assert_eq!(*collected.borrow(), [2, 4]);
}
