//! How barriers pass through single tasks: when, and what if they do not.

mod support;

use millstream_checkpoint::snapshot::{OperatorSnapshot, RestoredOperator};
use millstream_core::OperatorError;
use millstream_core::checkpoint::{Barrier, CheckpointId};
use millstream_core::ids::OperatorId;
use millstream_core::job_graph::SourceSplit;
use millstream_operator::operator::{Flow, Operator};
use millstream_operator::source::{AnySource, Poll, ReaderSource, SourceClock, SourceReader};
use millstream_shuffle::batch::{AnyBatch, Batch, BoxBatch, cast};
use millstream_shuffle::registry::PartitionRegistry;
use millstream_task::failure::TaskError;
use millstream_task::stream_task::{
    Chain, Head, Outputs, RestoredTask, Step, StreamTask, TaskReport, TaskSnapshot,
};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};
use support::{Job, Plan, State, TaskId, Vertex, barrier, label};

/// What a task goes on from, without records in flight.
fn restored(checkpoint: u64, operators: BTreeMap<OperatorId, RestoredOperator>) -> RestoredTask {
    let (checkpoint, in_flight) = (CheckpointId(checkpoint), Vec::new());
    RestoredTask { checkpoint, finished: false, operators, in_flight }
}

/// Steps until the task stands still; what it stopped for.
fn settle(task: &mut StreamTask) -> Step {
    let now = Instant::now();
    for _ in 0..10_000 {
        match task.step(now).expect("nothing fails") {
            Step::Progress => (),
            stop => return stop,
        }
    }
    panic!("it never stands still");
}

fn snapshots(task: &mut StreamTask) -> Vec<TaskSnapshot> {
    let reports = task.take_reports().into_iter().map(|report| match report {
        TaskReport::Snapshot(snapshot) => *snapshot,
        TaskReport::Declined { checkpoint, cause } => panic!("{checkpoint}: {cause}"),
        TaskReport::EndOfData | TaskReport::Withdrawn | TaskReport::Aligned(_) => {
            panic!("it has nothing else to say")
        }
    });
    reports.collect()
}

fn declined(task: &mut StreamTask) -> Vec<u64> {
    let reports = task.take_reports().into_iter().map(|report| match report {
        TaskReport::Declined { checkpoint, .. } => checkpoint.0,
        _ => panic!("only refusals are expected"),
    });
    reports.collect()
}

fn job(vertices: Vec<Vertex>) -> Job {
    Job::start(&Plan { vertices, queue_batches: 1 }, None)
}

impl TaskOf for Job {
    fn task(&mut self, id: TaskId) -> &mut StreamTask {
        self.tasks.get_mut(&id).expect("it has not ended")
    }
}

trait TaskOf {
    fn task(&mut self, id: TaskId) -> &mut StreamTask;
}

/// Wants splits and gives nothing.
struct Splits(Rc<RefCell<Vec<String>>>);

impl SourceReader<u64> for Splits {
    fn poll(
        &mut self,
        _out: &mut Vec<u64>,
        _room: usize,
        _clock: SourceClock,
    ) -> Result<Poll, OperatorError> {
        Ok(Poll::NeedSplit)
    }

    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>, OperatorError> {
        self.0.borrow_mut().push("snapshot source".to_owned());
        Ok(vec![vec![42]])
    }

    fn restore(&mut self, items: Vec<Vec<u8>>) -> Result<(), OperatorError> {
        self.0.borrow_mut().push(format!("restore source {items:?}"));
        Ok(())
    }
}

/// Says what it is told, and fails where it is told to.
struct Witness {
    name: &'static str,
    log: Rc<RefCell<Vec<String>>>,
    fails: &'static str,
}

impl Witness {
    fn note(&self, what: &str) -> Result<(), OperatorError> {
        self.log.borrow_mut().push(format!("{what} {}", self.name));
        if self.fails == what { Err(OperatorError::new("no")) } else { Ok(()) }
    }
}

impl Operator for Witness {
    fn output(&self) -> BoxBatch {
        Box::new(Batch::<u64>::new())
    }

    fn process(
        &mut self,
        input: &mut dyn AnyBatch,
        out: &mut dyn AnyBatch,
        _room: usize,
    ) -> Result<Flow, OperatorError> {
        cast::<u64>(out).items.append(&mut cast::<u64>(input).items);
        Ok(Flow::Drained)
    }

    fn flush(&mut self, _out: &mut dyn AnyBatch, _room: usize) -> Result<Flow, OperatorError> {
        self.note("flush").map(|()| Flow::Drained)
    }

    fn snapshot(
        &mut self,
        _barrier: &Barrier,
        _state: &mut OperatorSnapshot,
    ) -> Result<(), OperatorError> {
        self.note("snapshot")
    }

    fn restore(&mut self, _state: RestoredOperator) -> Result<(), OperatorError> {
        self.note("restore")
    }

    fn checkpoint_completed(&mut self, checkpoint: CheckpointId) -> Result<(), OperatorError> {
        self.note(if checkpoint.0 == 0 { "none" } else { "completed" })
    }

    fn checkpoint_aborted(&mut self, _checkpoint: CheckpointId) -> Result<(), OperatorError> {
        self.note("aborted")
    }
}

type Words = Rc<RefCell<Vec<String>>>;

/// A source and two operators that tell what happens to them.
fn witnesses(fails: &'static str) -> (StreamTask, Words) {
    let log = Words::default();
    let source = ReaderSource(Box::new(Splits(log.clone())));
    let mut chain = Chain::new(source.output());
    for (id, name) in [(2, "first"), (3, "second")] {
        let fails = if name == "first" { fails } else { "" };
        let witness = Witness { name, log: log.clone(), fails };
        chain.push(OperatorId(id), label(name), Box::new(witness));
    }
    let head = Head::source(OperatorId(1), label("splits"), Box::new(source));
    let outputs = Outputs::new(Vec::new(), PartitionRegistry::new());
    (StreamTask::new(head, chain, outputs).with_checkpoints(), log)
}

#[test]
fn a_source_that_waits_for_a_split_passes_the_barrier_with_the_splits_that_it_was_given() {
    let (mut task, log) = witnesses("");
    assert_eq!(settle(&mut task), Step::NeedSplit);
    assert!(task.take_split_request());
    task.add_split(Some(SourceSplit(vec![1]))).expect("it was asked for");
    assert_eq!(settle(&mut task), Step::NeedSplit);
    assert!(task.take_split_request());
    log.borrow_mut().clear();
    task.trigger(barrier(1), Instant::now());
    assert_eq!(settle(&mut task), Step::NeedSplit);
    let order = "flush first, flush second, snapshot second, snapshot first, snapshot source";
    assert_eq!(log.borrow().join(", "), order);
    let [snapshot] = snapshots(&mut task).try_into().ok().expect("one snapshot");
    assert_eq!((snapshot.splits, snapshot.finished), (1, false));
    let (id, source) = &snapshot.operators[0];
    assert_eq!((*id, source.lists[0].name.as_str()), (OperatorId(1), "splits"));
    assert_eq!(source.lists[0].items, [[42]]);
    task.add_split(Some(SourceSplit(vec![2]))).expect("it was asked for before the barrier");
    task.trigger(barrier(2), Instant::now());
    settle(&mut task);
    assert_eq!(snapshots(&mut task)[0].splits, 2);
}

#[test]
fn a_task_is_restored_tail_to_head_and_hears_that_its_checkpoint_is_complete() {
    let (mut task, log) = witnesses("");
    let list = millstream_checkpoint::snapshot::RestoredList {
        name: "splits".to_owned(),
        schema: None,
        items: vec![vec![42]],
    };
    let source = RestoredOperator { tables: Vec::new(), lists: vec![list] };
    let operators = BTreeMap::from([(OperatorId(1), source)]);
    let from = restored(9, operators);
    task.restore(from).expect("nothing fails");
    let order = "restore second, restore first, restore source [[42]], completed second, \
                 completed first";
    assert_eq!(log.borrow().join(", "), order);
}

#[test]
fn a_source_that_the_checkpoint_did_not_know_begins_afresh() {
    let (mut task, log) = witnesses("");
    let operators = BTreeMap::new();
    let from = restored(9, operators);
    task.restore(from).expect("nothing fails");
    assert!(!log.borrow().join(", ").contains("restore source"), "{:?}", log.borrow());
}

#[test]
fn state_that_nobody_takes_over_fails_the_task() {
    let (mut task, _) = witnesses("");
    let operators = BTreeMap::from([(OperatorId(77), RestoredOperator::default())]);
    let from = restored(9, operators);
    let failure = task.restore(from).expect_err("it would be lost").into_failure("t (1/1)");
    assert!(failure.message.contains("checkpoint 9 has state of an operator"), "{failure:?}");
}

#[test]
fn a_failure_of_an_operator_in_a_checkpoint_carries_its_label() {
    let message = |error: TaskError| error.into_failure("t (1/1)").message;
    let expected = "operator `first` declared at src/main.rs:7 failed in task `t (1/1)`: no";
    let (mut task, _) = witnesses("snapshot");
    task.trigger(barrier(1), Instant::now());
    let error = loop {
        match task.step(Instant::now()) {
            Ok(_) => (),
            Err(error) => break error,
        }
    };
    assert_eq!(message(error), expected);
    let (mut task, log) = witnesses("completed");
    assert_eq!(message(task.checkpoint_completed(CheckpointId(1)).unwrap_err()), expected);
    assert_eq!(log.borrow().join(", "), "completed second, completed first");
    let (mut task, _) = witnesses("aborted");
    assert_eq!(message(task.checkpoint_aborted(CheckpointId(1)).unwrap_err()), expected);
    let (mut task, _) = witnesses("restore");
    let operators = BTreeMap::new();
    let from = restored(1, operators);
    assert_eq!(message(task.restore(from).unwrap_err()), expected);
}

#[test]
fn a_barrier_behind_back_pressure_waits_for_room_without_keeping_the_thread_awake() {
    let mut job = job(vec![Vertex::source(1, 1_000_000), Vertex::reading(1, &[0])]);
    assert_eq!(settle(job.task((0, 0))), Step::NeedOutput);
    job.task((0, 0)).trigger(barrier(1), Instant::now());
    assert_eq!(settle(job.task((0, 0))), Step::NeedOutput);
    assert!(job.task((0, 0)).is_idle());
    assert!(snapshots(job.task((0, 0))).is_empty());
    let mut source = None;
    while source.is_none() {
        settle(job.task((1, 0)));
        settle(job.task((0, 0)));
        source = snapshots(job.task((0, 0))).pop();
    }
    let sent = State::of(source.expect("it came")).sent.remove(&(1, 0, 0)).expect("records");
    let mut consumer = None;
    while consumer.is_none() {
        settle(job.task((1, 0)));
        consumer = snapshots(job.task((1, 0))).pop();
    }
    assert_eq!(State::of(consumer.expect("it came")).processed, sent);
}

#[test]
fn a_checkpoint_that_is_given_up_behind_back_pressure_is_never_taken_part_in() {
    let mut job = job(vec![Vertex::source(1, 1_000_000), Vertex::reading(1, &[0])]);
    settle(job.task((0, 0)));
    job.task((0, 0)).trigger(barrier(1), Instant::now());
    settle(job.task((0, 0)));
    job.task((0, 0)).checkpoint_aborted(CheckpointId(1)).expect("nothing fails");
    for _ in 0..10 {
        settle(job.task((1, 0)));
        settle(job.task((0, 0)));
    }
    assert!(job.task((0, 0)).take_reports().is_empty());
    assert_eq!(declined(job.task((1, 0))), [1], "the cancellation has been passed on");
}

/// Two sources and a task that has the barrier of the first.
fn aligning() -> Job {
    let vertices =
        vec![Vertex::source(1, 10_000), Vertex::source(1, 10_000), Vertex::reading(1, &[0, 1])];
    let mut job = job(vertices);
    job.task((0, 0)).trigger(barrier(1), Instant::now());
    settle(job.task((0, 0)));
    settle(job.task((2, 0)));
    assert_eq!(snapshots(job.task((0, 0))).len(), 1);
    assert!(snapshots(job.task((2, 0))).is_empty());
    settle(job.task((0, 0)));
    assert!(job.task((2, 0)).is_idle(), "what waits behind the barrier is not to be read");
    job
}

#[test]
fn a_cancellation_ends_the_alignment_and_is_declined_and_passed_on() {
    let mut job = aligning();
    job.task((1, 0)).checkpoint_aborted(CheckpointId(1)).expect("nothing fails");
    settle(job.task((2, 0)));
    assert_eq!(declined(job.task((2, 0))), [1]);
    settle(job.task((0, 0)));
    assert!(!job.task((2, 0)).is_idle(), "the channel is read again");
}

#[test]
fn word_of_the_master_ends_the_alignment_without_an_answer() {
    let mut job = aligning();
    job.task((2, 0)).checkpoint_aborted(CheckpointId(1)).expect("nothing fails");
    assert!(!job.task((2, 0)).is_idle(), "the channel is read again");
    assert!(job.task((2, 0)).take_reports().is_empty());
    job.task((1, 0)).trigger(barrier(1), Instant::now());
    settle(job.task((1, 0)));
    settle(job.task((2, 0)));
    assert!(job.task((2, 0)).take_reports().is_empty(), "a barrier that comes late is ignored");
}

#[test]
fn a_later_barrier_ends_the_alignment_and_is_aligned_itself() {
    let mut job = aligning();
    job.task((1, 0)).trigger(barrier(2), Instant::now());
    settle(job.task((1, 0)));
    settle(job.task((2, 0)));
    assert_eq!(declined(job.task((2, 0))), [1]);
    job.task((0, 0)).trigger(barrier(2), Instant::now());
    for _ in 0..20 {
        settle(job.task((0, 0)));
        settle(job.task((2, 0)));
    }
    assert_eq!(snapshots(job.task((2, 0)))[0].barrier, barrier(2));
}

#[test]
fn a_task_at_its_end_waits_for_a_checkpoint_that_says_so() {
    let mut job = job(vec![Vertex::source(1, 5)]);
    let task = job.task((0, 0));
    let mut now = Instant::now();
    task.trigger(barrier(1), now);
    let mut step = Step::Progress;
    while step != Step::NeedMail {
        now += Duration::from_millis(10);
        step = task.step(now).expect("nothing fails");
    }
    assert!(task.is_idle());
    let reports = task.take_reports();
    assert!(matches!(&reports[0], TaskReport::Snapshot(snapshot) if !snapshot.finished));
    assert!(matches!(reports[1], TaskReport::EndOfData) && reports.len() == 2);
    task.checkpoint_completed(CheckpointId(1)).expect("nothing fails");
    assert_eq!(settle(task), Step::NeedMail, "that one was taken before its end");
    task.trigger(barrier(2), now);
    assert_eq!(settle(task), Step::NeedMail);
    assert!(snapshots(task).pop().expect("it takes part").finished);
    task.trigger(barrier(3), now);
    assert_eq!(settle(task), Step::NeedMail);
    assert!(snapshots(task).pop().expect("it takes part").finished);
    task.checkpoint_aborted(CheckpointId(2)).expect("nothing fails");
    task.checkpoint_completed(CheckpointId(3)).expect("nothing fails");
    task.trigger(barrier(4), now);
    assert_eq!(settle(task), Step::Finished);
}

#[test]
fn a_task_that_was_finished_says_so_again_and_does_nothing_else() {
    let vertices = vec![Vertex::source(2, 100), Vertex::reading(1, &[0])];
    let plan = Plan { vertices, queue_batches: 1 };
    let finished = State { finished: true, ..State::default() };
    let states = plan.tasks().into_iter().map(|id| (id, finished.clone())).collect();
    let mut job = Job::start(&plan, Some((7, &states)));
    let mut left = plan.tasks();
    for _ in 0..100 {
        left.retain(|id| {
            let step = job.task(*id).step(Instant::now()).expect("nothing fails");
            step != Step::Finished
        });
    }
    assert!(left.is_empty(), "{left:?}");
    for id in plan.tasks() {
        assert!(job.task(id).take_reports().is_empty());
        assert!(job.sent(id).is_empty());
    }
}
