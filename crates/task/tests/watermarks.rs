//! Watermarks through tasks that are stepped by hand: their order among records, their least over
//! channels, and barriers that come while timers fire.

use millstream_core::OperatorError;
use millstream_core::checkpoint::{Alignment, Barrier, CheckpointId, SnapshotKind};
use millstream_core::error::Location;
use millstream_core::ids::{
    DataSetId, ExecutionAttemptId, ExecutionGraphId, JobVertexId, OperatorId, PartitionId,
    ResourceId,
};
use millstream_core::time::Timestamp;
use millstream_operator::clock::ManualClock;
use millstream_operator::context::{OperatorLabel, TaskContext};
use millstream_operator::flat_map::FlatMap;
use millstream_operator::operator::{Flow, Operator};
use millstream_operator::source::{
    AnySource, Poll, ReaderSource, SourceClock, SourceReader, SplitChange, SplitNumber,
};
use millstream_operator::watermark::{
    AssignTimestampsAndWatermarks, WatermarkGenerator, WatermarkOutput, WatermarkStrategy,
};
use millstream_rpc::protocol::deployment::{InputChannelDescriptor, PartitionLocation};
use millstream_shuffle::batch::{AnyBatch, Batch, BoxBatch, cast};
use millstream_shuffle::element::{Control, Element, Watermark};
use millstream_shuffle::gate::InputGate;
use millstream_shuffle::partition::{
    BatchPrototype, PartitionWriter, ResultPartition, RoundRobinRouter,
};
use millstream_shuffle::registry::PartitionRegistry;
use millstream_shuffle::subpartition::Subpartition;
use millstream_shuffle::wake::Wake;
use millstream_shuffle::wire::Network;
use millstream_task::stream_task::{Chain, Head, Outputs, Step, StreamTask, TaskReport};
use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

/// Gives bursts of records, and ends after the last, if it is to end.
struct Bursts {
    bursts: Vec<Vec<i64>>,
    ends: bool,
}

impl SourceReader<i64> for Bursts {
    fn poll(
        &mut self,
        out: &mut Vec<i64>,
        _room: usize,
        _clock: SourceClock,
    ) -> Result<Poll, OperatorError> {
        if self.bursts.is_empty() {
            return Ok(if self.ends { Poll::End } else { Poll::Idle });
        }
        out.extend(self.bursts.remove(0));
        Ok(Poll::More)
    }

    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>, OperatorError> {
        Ok(Vec::new())
    }

    fn restore(&mut self, _items: Vec<Vec<u8>>) -> Result<(), OperatorError> {
        Ok(())
    }
}

/// Time is that of the newest record.
#[derive(Clone)]
struct Newest;

impl WatermarkGenerator<i64> for Newest {
    fn on_event(&mut self, _event: &i64, time: Timestamp, output: &mut WatermarkOutput) {
        output.emit_watermark(time);
    }
}

/// Fires its timers one by one, as records.
struct Alarm(Rc<RefCell<BTreeSet<i64>>>);

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

    fn advance_watermark(
        &mut self,
        watermark: Timestamp,
        out: &mut dyn AnyBatch,
        _room: usize,
    ) -> Result<Flow, OperatorError> {
        let mut timers = self.0.borrow_mut();
        if timers.first().is_none_or(|time| *time > watermark) {
            return Ok(Flow::Drained);
        }
        cast::<i64>(out).items.extend(timers.pop_first());
        Ok(Flow::More)
    }
}

fn label() -> OperatorLabel {
    OperatorLabel { name: "operator".into(), declared_at: Location::default() }
}

fn partition_id(number: u128) -> PartitionId {
    let (graph, vertex) = (ExecutionGraphId(1), JobVertexId(number));
    let producer = ExecutionAttemptId { graph, vertex, subtask: 0, attempt: 0 };
    PartitionId { data_set: DataSetId(number), producer }
}

fn partition(number: u128, queues: usize, batches_max: usize) -> Arc<ResultPartition> {
    let queue = |_| Arc::new(Subpartition::with_bound(Wake::new(), batches_max));
    Arc::new(ResultPartition {
        id: partition_id(number),
        subpartitions: (0..queues).map(queue).collect(),
        prototype: BatchPrototype::of::<i64>(),
    })
}

fn writer(partition: &Arc<ResultPartition>) -> PartitionWriter {
    PartitionWriter::new(partition.clone(), Box::new(RoundRobinRouter::new(0)))
}

fn assigner() -> Box<dyn Operator> {
    let strategy = WatermarkStrategy::for_generator(Newest).with_timestamp_assigner(|t: &i64| *t);
    let context = TaskContext { clock: ManualClock::default().clock(), ..TaskContext::alone() };
    Box::new(AssignTimestampsAndWatermarks::new(strategy, &context).expect("valid"))
}

fn source_task(
    source: impl SourceReader<i64> + 'static,
    operators: Vec<Box<dyn Operator>>,
    outputs: Outputs,
) -> StreamTask {
    let source = ReaderSource(Box::new(source));
    let mut chain = Chain::new(source.output());
    for (id, operator) in (2..).zip(operators) {
        chain.push(OperatorId(id), label(), operator);
    }
    let head = Head::source(OperatorId(1), label(), Box::new(source));
    StreamTask::new(head, chain, outputs).with_clock(ManualClock::default().clock())
}

#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Record(i64),
    Time(i64),
}

/// Takes what waits in a queue.
fn drain(queue: &Subpartition, seen: &mut Vec<Seen>) {
    while let Some(element) = queue.pop() {
        match element {
            Element::Batch(mut batch) => {
                let batch = cast::<i64>(batch.as_mut());
                seen.extend(batch.items.drain(..).map(Seen::Record));
            }
            Element::Control(Control::Watermark(mark)) => seen.push(Seen::Time(mark.time)),
            Element::Control(_) => (),
        }
    }
}

#[test]
fn no_record_comes_behind_a_watermark_that_it_was_before() {
    let partition = partition(1, 2, 1);
    let outputs = Outputs::new(vec![(None, writer(&partition))], PartitionRegistry::new());
    let bursts = vec![vec![10, 20], vec![30], vec![], vec![40, 50, 60], vec![70]];
    // Each record becomes many: they are given in pieces.
    let many = FlatMap::new(|time: i64| (0..3_000).map(move |_| time));
    let mut task =
        source_task(Bursts { bursts, ends: true }, vec![assigner(), Box::new(many)], outputs);
    partition.subpartitions.iter().for_each(|queue| queue.attach(Wake::new()));
    let mut seen = [Vec::new(), Vec::new()];
    loop {
        let step = task.step(Instant::now()).expect("nothing fails");
        for (queue, seen) in partition.subpartitions.iter().zip(&mut seen) {
            drain(queue, seen);
        }
        if step == Step::Finished {
            break;
        }
    }
    for seen in seen {
        let records = seen.iter().filter(|seen| matches!(seen, Seen::Record(_))).count();
        assert_eq!(records, 7 * 3_000 / 2);
        let mut time = i64::MIN;
        for seen in seen {
            match seen {
                Seen::Record(record) => assert!(record > time, "{record} behind {time}"),
                Seen::Time(next) => time = next,
            }
        }
        assert_eq!(time, 70);
    }
}

#[test]
fn a_queue_that_nobody_reads_holds_one_watermark() {
    let partition = partition(1, 1, 8);
    let mut writer = writer(&partition);
    for time in 0..1_000 {
        writer.push_watermark(Watermark::active(time));
    }
    let mut seen = Vec::new();
    drain(&partition.subpartitions[0], &mut seen);
    assert_eq!(seen, [Seen::Time(999)]);
}

/// Gives what it is told, of splits: what is said of them with each poll, and the records.
struct Interleaved {
    polls: VecDeque<(Vec<SplitChange>, Vec<i64>)>,
    changes: VecDeque<SplitChange>,
}

impl SourceReader<i64> for Interleaved {
    fn poll(
        &mut self,
        out: &mut Vec<i64>,
        _room: usize,
        _clock: SourceClock,
    ) -> Result<Poll, OperatorError> {
        let Some((changes, records)) = self.polls.pop_front() else { return Ok(Poll::End) };
        self.changes.extend(changes);
        out.extend(records);
        Ok(Poll::More)
    }

    fn take_split_change(&mut self) -> Option<SplitChange> {
        self.changes.pop_front()
    }

    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>, OperatorError> {
        Ok(Vec::new())
    }

    fn restore(&mut self, _items: Vec<Vec<u8>>) -> Result<(), OperatorError> {
        Ok(())
    }
}

#[test]
fn the_splits_of_a_source_have_a_time_each_behind_other_operators_too() {
    use Seen::{Record, Time};
    use SplitChange::{Ended, Opened, Reading};
    let (first, second) = (SplitNumber(7), SplitNumber(8));
    let polls = VecDeque::from([
        (vec![Reading(first), Opened(second)], vec![10, 20]),
        (vec![Reading(second)], vec![5]),
        // Its last record, and its end.
        (vec![Ended(second)], vec![15]),
        (vec![Reading(first)], vec![30]),
        (vec![Ended(first)], vec![]),
    ]);
    let partition = partition(1, 1, 8);
    let outputs = Outputs::new(vec![(None, writer(&partition))], PartitionRegistry::new());
    let twice = FlatMap::new(|time: i64| [time, time]);
    let source = Interleaved { polls, changes: VecDeque::new() };
    let mut task = source_task(source, vec![Box::new(twice), assigner()], outputs);
    partition.subpartitions[0].attach(Wake::new());
    let mut seen = Vec::new();
    while task.step(Instant::now()).expect("nothing fails") != Step::Finished {
        drain(&partition.subpartitions[0], &mut seen);
    }
    drain(&partition.subpartitions[0], &mut seen);
    let times: Vec<&Seen> = seen.iter().filter(|seen| matches!(seen, Time(_))).collect();
    // What its last record says comes with what its end says.
    assert_eq!(times, [&Time(5), &Time(20), &Time(30)], "{seen:?}");
    let records = seen.iter().filter(|seen| matches!(seen, Record(_))).count();
    assert_eq!(records, 10);
    // The end of a split is told behind its last records.
    let at = |wanted: Seen| seen.iter().rposition(|seen| *seen == wanted);
    assert!(at(Record(15)) < at(Time(20)) && at(Time(20)) < at(Record(30)), "{seen:?}");
}

/// A task that reads two partitions and has timers.
struct Consumer {
    task: StreamTask,
    writers: Vec<PartitionWriter>,
    seen: Arc<ResultPartition>,
}

impl Consumer {
    fn new(timers: impl IntoIterator<Item = i64>) -> Self {
        let registry = PartitionRegistry::new();
        let inputs = [partition(1, 1, 8), partition(2, 1, 8)];
        let here = ResourceId("here".to_owned());
        let channel = |input: &Arc<ResultPartition>| InputChannelDescriptor {
            partition: input.id,
            subpartition: 0,
            location: Some(PartitionLocation {
                resource: here.clone(),
                data_address: String::new(),
            }),
        };
        inputs.iter().for_each(|input| registry.register(input.clone()));
        let channels = inputs.iter().map(channel).collect();
        let (network, wake) = (Network::default(), Wake::new());
        let mut gate = InputGate::new(channels, registry, network, here.clone(), wake);
        gate.request_partitions(Instant::now());
        let seen = partition(3, 1, 8);
        let outputs = Outputs::new(vec![(None, writer(&seen))], PartitionRegistry::new());
        let mut chain = Chain::new(Box::new(Batch::<i64>::new()));
        let timers = Rc::new(RefCell::new(timers.into_iter().collect()));
        chain.push(OperatorId(2), label(), Box::new(Alarm(timers)));
        let head = Head::gates(vec![gate], Box::new(Batch::<i64>::new()));
        let task = StreamTask::new(head, chain, outputs);
        Self { task, writers: inputs.iter().map(writer).collect(), seen }
    }

    fn push(&mut self, channel: usize, watermark: Watermark) -> Vec<Seen> {
        self.writers[channel].push_watermark(watermark);
        self.rest()
    }

    fn rest(&mut self) -> Vec<Seen> {
        let mut seen = Vec::new();
        while self.task.step(Instant::now()).expect("nothing fails") == Step::Progress {
            drain(&self.seen.subpartitions[0], &mut seen);
        }
        drain(&self.seen.subpartitions[0], &mut seen);
        seen
    }
}

#[test]
fn timers_fire_when_all_channels_have_come_so_far_and_before_time_goes_on() {
    use Seen::{Record, Time};
    let mut consumer = Consumer::new([5, 10, 15, 20]);
    assert_eq!(consumer.push(0, Watermark::active(10)), []);
    assert_eq!(consumer.push(1, Watermark::active(7)), [Record(5), Time(7)]);
    // A silent channel is not waited for.
    assert_eq!(consumer.push(1, Watermark::idle(7)), [Record(10), Time(10)]);
    assert_eq!(consumer.push(0, Watermark::active(16)), [Record(15), Time(16)]);
    // Nor one that has ended.
    consumer.push(1, Watermark::active(16));
    consumer.push(0, Watermark::active(30));
    consumer.writers[1].finish();
    assert_eq!(consumer.rest(), [Record(20), Time(30)]);
}

#[test]
fn a_barrier_passes_while_event_timers_fire() {
    let timers = Rc::new(RefCell::new((0..1_000_i64).collect::<BTreeSet<_>>()));
    let source = Bursts { bursts: vec![vec![5_000]], ends: false };
    let operators = vec![assigner(), Box::new(Alarm(timers.clone())) as Box<dyn Operator>];
    let mut task = source_task(source, operators, Outputs::new(vec![], PartitionRegistry::new()));
    let now = Instant::now();
    while timers.borrow().len() == 1_000 {
        task.step(now).expect("nothing fails");
    }
    let (checkpoint, kind) = (CheckpointId(1), SnapshotKind::Checkpoint);
    task.trigger(Barrier { checkpoint, timestamp: 0, kind, alignment: Alignment::Aligned }, now);
    let left = loop {
        task.step(now).expect("nothing fails");
        if task.take_reports().iter().any(|report| matches!(report, TaskReport::Snapshot(_))) {
            break timers.borrow().len();
        }
    };
    assert!(left > 900, "{left} timers are left");
    while task.step(now).expect("nothing fails") == Step::Progress {}
    assert!(timers.borrow().is_empty(), "what the barrier interrupted goes on");
}
