//! Timers in processing time, fired by a task that is stepped by hand.

use millstream_core::OperatorError;
use millstream_core::checkpoint::{Alignment, Barrier, CheckpointId, SnapshotKind};
use millstream_core::error::Location;
use millstream_core::ids::OperatorId;
use millstream_core::time::Timestamp;
use millstream_operator::clock::ManualClock;
use millstream_operator::context::OperatorLabel;
use millstream_operator::operator::{Flow, Operator};
use millstream_operator::source::{AnySource, Poll, ReaderSource, SourceClock, SourceReader};
use millstream_shuffle::batch::{AnyBatch, Batch, BoxBatch, cast};
use millstream_shuffle::registry::PartitionRegistry;
use millstream_task::stream_task::{Chain, Head, Outputs, Step, StreamTask, TaskReport};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// What the test and the task share.
#[derive(Default)]
struct Shared {
    /// Records that the source gives when it is polled.
    input: Vec<i64>,
    timers: BTreeSet<Timestamp>,
    /// What came out, timers by their times and records by their values.
    seen: Vec<i64>,
}

type Handle = Rc<RefCell<Shared>>;

/// Gives what there is, one record at a time, and never ends.
struct Input(Handle);

impl SourceReader<i64> for Input {
    fn poll(
        &mut self,
        out: &mut Vec<i64>,
        _room: usize,
        _clock: SourceClock,
    ) -> Result<Poll, OperatorError> {
        match self.0.borrow_mut().input.pop() {
            Some(record) => out.push(record),
            None => return Ok(Poll::Idle),
        }
        Ok(Poll::More)
    }

    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>, OperatorError> {
        Ok(Vec::new())
    }

    fn restore(&mut self, _items: Vec<Vec<u8>>) -> Result<(), OperatorError> {
        Ok(())
    }
}

/// Passes records on, and timers as their times: two per call.
struct Alarm(Handle);

impl Operator for Alarm {
    fn output(&self) -> BoxBatch {
        Box::new(Batch::<i64>::new())
    }

    fn process(
        &mut self,
        input: &mut dyn AnyBatch,
        out: &mut dyn AnyBatch,
        _room: usize,
    ) -> Result<Flow, OperatorError> {
        input.append_to(out);
        Ok(Flow::Drained)
    }

    fn next_timer(&self) -> Option<Timestamp> {
        self.0.borrow().timers.first().copied()
    }

    fn advance_time(
        &mut self,
        now: Timestamp,
        out: &mut dyn AnyBatch,
        _room: usize,
    ) -> Result<Flow, OperatorError> {
        for _ in 0..2 {
            if self.next_timer().is_none_or(|time| time > now) {
                return Ok(Flow::Drained);
            }
            cast::<i64>(out).items.extend(self.0.borrow_mut().timers.pop_first());
        }
        Ok(Flow::More)
    }
}

/// Remembers what comes.
struct Memory(Handle);

impl Operator for Memory {
    fn output(&self) -> BoxBatch {
        Box::new(Batch::<()>::new())
    }

    fn process(
        &mut self,
        input: &mut dyn AnyBatch,
        _out: &mut dyn AnyBatch,
        _room: usize,
    ) -> Result<Flow, OperatorError> {
        self.0.borrow_mut().seen.append(&mut cast::<i64>(input).items);
        Ok(Flow::Drained)
    }
}

struct Bench {
    task: StreamTask,
    shared: Handle,
    clock: ManualClock,
    now: Instant,
}

impl Bench {
    fn new(timers: impl IntoIterator<Item = Timestamp>) -> Self {
        let shared = Handle::default();
        shared.borrow_mut().timers.extend(timers);
        let label = || OperatorLabel { name: "operator".into(), declared_at: Location::default() };
        let source = ReaderSource(Box::new(Input(shared.clone())));
        let mut chain = Chain::new(source.output());
        chain.push(OperatorId(2), label(), Box::new(Alarm(shared.clone())));
        chain.push(OperatorId(3), label(), Box::new(Memory(shared.clone())));
        let outputs = Outputs::new(Vec::new(), PartitionRegistry::new());
        let head = Head::source(OperatorId(1), label(), Box::new(source));
        let clock = ManualClock::default();
        let task = StreamTask::new(head, chain, outputs).with_clock(clock.clock());
        Self { task, shared, clock, now: Instant::now() }
    }

    /// Steps until the task says that it needs input; until when.
    fn rest(&mut self) -> Option<Duration> {
        loop {
            match self.task.step(self.now).expect("nothing fails") {
                Step::Progress => (),
                Step::NeedInput(until) => return until.map(|until| until - self.now),
                other => panic!("{other:?}"),
            }
        }
    }

    fn seen(&self) -> Vec<i64> {
        std::mem::take(&mut self.shared.borrow_mut().seen)
    }
}

#[test]
fn an_idle_task_wants_to_be_woken_for_its_first_timer_and_fires_what_is_due() {
    let mut bench = Bench::new([300, 100, 101, 102, 103, 104]);
    assert_eq!(bench.rest(), Some(Duration::from_millis(100)));
    assert!(bench.seen().is_empty());
    bench.clock.set(103);
    assert_eq!(bench.rest(), Some(Duration::from_millis(1)));
    assert_eq!(bench.seen(), [100, 101, 102, 103]);
    bench.clock.set(1_000);
    assert_eq!(bench.rest(), None);
    assert_eq!(bench.seen(), [104, 300]);
}

#[test]
fn a_distant_timer_does_not_let_the_task_sleep_through_a_changed_clock() {
    let mut bench = Bench::new([i64::MAX]);
    assert_eq!(bench.rest(), Some(Duration::from_secs(60)));
}

#[test]
fn timers_that_are_due_and_records_take_turns() {
    let mut bench = Bench::new(0..100);
    bench.shared.borrow_mut().input.extend([-1; 10]);
    bench.clock.set(1_000);
    bench.rest();
    let seen = bench.seen();
    assert_eq!(seen.len(), 110);
    let last = seen.iter().rposition(|record| *record == -1).expect("records came");
    assert!(last < 40, "the last record came at {last}: {seen:?}");
    let timers: Vec<i64> = seen.into_iter().filter(|record| *record >= 0).collect();
    assert_eq!(timers, (0..100).collect::<Vec<_>>());
}

#[test]
fn a_barrier_passes_while_timers_are_due() {
    let mut bench = Bench::new(0..10_000);
    bench.clock.set(10_000);
    bench.task.step(bench.now).expect("nothing fails");
    let barrier = Barrier {
        checkpoint: CheckpointId(1),
        timestamp: 0,
        kind: SnapshotKind::Checkpoint,
        alignment: Alignment::Aligned,
    };
    bench.task.trigger(barrier, bench.now);
    let left = loop {
        bench.task.step(bench.now).expect("nothing fails");
        let mut reports = bench.task.take_reports().into_iter();
        if reports.any(|report| matches!(report, TaskReport::Snapshot(_))) {
            break bench.shared.borrow().timers.len();
        }
    };
    assert!(left > 9_900, "{left} timers are left");
    assert_eq!(bench.seen().len() + left, 10_000);
    bench.rest();
    assert_eq!(bench.shared.borrow().timers.len(), 0);
}
