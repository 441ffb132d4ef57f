//! Whole jobs in one thread: tasks over queues of their own, stepped by hand, that remember what they
//! processed and what they sent.
//!
//! Each task runs one operator, which keeps every record that it sees, and a router, which keeps every
//! record that leaves and where it goes. Both are part of the task's snapshot, so what a checkpoint
//! holds can be compared with what it should.

#![allow(dead_code, reason = "each test binary uses its part")]

use millstream_checkpoint::handle::ListMode;
use millstream_checkpoint::snapshot::{
    ListSnapshot, OperatorSnapshot, RestoredList, RestoredOperator,
};
use millstream_core::OperatorError;
use millstream_core::checkpoint::{Alignment, Barrier, CheckpointId, SnapshotKind};
use millstream_core::error::Location;
use millstream_core::hash::xxh3_64;
use millstream_core::ids::{
    DataSetId, ExecutionAttemptId, ExecutionGraphId, JobVertexId, OperatorId, PartitionId,
    ResourceId,
};
use millstream_operator::context::OperatorLabel;
use millstream_operator::operator::{Flow, Operator};
use millstream_operator::source::{AnySource, Poll, ReaderSource, SourceClock, SourceReader};
use millstream_rpc::protocol::deployment::{InputChannelDescriptor, PartitionLocation};
use millstream_shuffle::batch::{AnyBatch, Batch, BoxBatch, cast};
use millstream_shuffle::gate::InputGate;
use millstream_shuffle::partition::{BatchPrototype, PartitionWriter, ResultPartition, Router};
use millstream_shuffle::registry::PartitionRegistry;
use millstream_shuffle::subpartition::Subpartition;
use millstream_shuffle::wake::Wake;
use millstream_shuffle::wire::Network;
use millstream_task::stream_task::{Chain, Head, Outputs, RestoredTask, StreamTask, TaskSnapshot};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// A job: vertices in an order in which producers come first.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) vertices: Vec<Vertex>,
    /// Batches that a queue takes.
    pub(crate) queue_batches: usize,
}

/// Sources are those without inputs.
#[derive(Clone, Debug)]
pub(crate) struct Vertex {
    pub(crate) parallelism: usize,
    /// The vertices that it reads, one edge each.
    pub(crate) inputs: Vec<usize>,
    /// It gives its results only when it is flushed.
    pub(crate) holds_back: bool,
    /// Records that each subtask of a source gives, and how many at a time.
    pub(crate) records: u64,
    pub(crate) burst: u64,
}

impl Vertex {
    pub(crate) fn source(parallelism: usize, records: u64) -> Self {
        Self { parallelism, inputs: Vec::new(), holds_back: false, records, burst: 7 }
    }

    pub(crate) fn reading(parallelism: usize, inputs: &[usize]) -> Self {
        let (inputs, holds_back) = (inputs.to_vec(), false);
        Self { parallelism, inputs, holds_back, records: 0, burst: 0 }
    }

    pub(crate) fn holding_back(mut self) -> Self {
        self.holds_back = true;
        self
    }
}

/// One task of a plan: vertex and subtask.
pub(crate) type TaskId = (usize, usize);

impl Plan {
    pub(crate) fn tasks(&self) -> Vec<TaskId> {
        let of_vertex = |(at, vertex): (usize, &Vertex)| {
            (0..vertex.parallelism).map(move |subtask| (at, subtask)).collect::<Vec<_>>()
        };
        self.vertices.iter().enumerate().flat_map(of_vertex).collect()
    }

    /// The edges that leave a vertex: consumer, and which of its inputs.
    pub(crate) fn outputs(&self, of: usize) -> Vec<(usize, usize)> {
        let consumers = self.vertices.iter().enumerate();
        let edges = consumers.flat_map(|(consumer, vertex)| {
            let inputs = vertex.inputs.iter().enumerate();
            inputs.filter(move |(_, from)| **from == of).map(move |(input, _)| (consumer, input))
        });
        edges.collect()
    }

    pub(crate) fn producers(&self, of: TaskId) -> Vec<TaskId> {
        let inputs = self.vertices[of.0].inputs.iter();
        let all = |from: &usize| {
            (0..self.vertices[*from].parallelism)
                .map(|subtask| (*from, subtask))
                .collect::<Vec<_>>()
        };
        inputs.flat_map(all).collect()
    }

    pub(crate) fn consumers(&self, of: usize) -> Vec<TaskId> {
        let all = |(to, _): (usize, usize)| {
            (0..self.vertices[to].parallelism).map(|subtask| (to, subtask)).collect::<Vec<_>>()
        };
        self.outputs(of).into_iter().flat_map(all).collect()
    }
}

/// What a task has sent: by consuming vertex, its input and its subtask.
pub(crate) type Sent = BTreeMap<(usize, usize, usize), Vec<u64>>;

/// What a snapshot of a task holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) processed: Vec<u64>,
    pub(crate) sent: Sent,
    /// What is left to read, of a source.
    pub(crate) splits: Vec<Vec<u8>>,
    pub(crate) finished: bool,
}

impl State {
    pub(crate) fn of(snapshot: TaskSnapshot) -> Self {
        let mut state = Self { finished: snapshot.finished, ..Self::default() };
        for list in snapshot.operators.into_iter().flat_map(|(_, operator)| operator.lists) {
            match list.name.as_str() {
                "processed" => state.processed = list.items.iter().map(|i| word(i, 0)).collect(),
                "sent" => state.sent = decode_sent(&list.items),
                _ => state.splits = list.items,
            }
        }
        state
    }

    pub(crate) fn restored(&self, of: TaskId, checkpoint: CheckpointId) -> RestoredTask {
        let list = |name: &str, items: Vec<Vec<u8>>| RestoredList {
            name: name.to_owned(),
            schema: None,
            items,
        };
        let processed = self.processed.iter().map(|record| record.to_le_bytes().to_vec());
        let log =
            vec![list("processed", processed.collect()), list("sent", encode_sent(&self.sent))];
        let operator = |lists| RestoredOperator { tables: Vec::new(), lists };
        let mut operators = BTreeMap::from([(log_id(of.0), operator(log))]);
        if !self.splits.is_empty() {
            operators.insert(source_id(of.0), operator(vec![list("splits", self.splits.clone())]));
        }
        RestoredTask { checkpoint, finished: self.finished, operators, in_flight: Vec::new() }
    }
}

fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at * 8..at * 8 + 8].try_into().expect("eight bytes"))
}

fn encode_sent(sent: &Sent) -> Vec<Vec<u8>> {
    let items = sent.iter().flat_map(|((vertex, input, subtask), records)| {
        let place = [*vertex as u64, *input as u64, *subtask as u64];
        records.iter().map(move |record| {
            place.iter().chain([record]).flat_map(|word| word.to_le_bytes()).collect()
        })
    });
    items.collect()
}

fn decode_sent(items: &[Vec<u8>]) -> Sent {
    let mut sent = Sent::new();
    for item in items {
        let place = |at| word(item, at) as usize;
        sent.entry((place(0), place(1), place(2))).or_default().push(word(item, 3));
    }
    sent
}

fn source_id(vertex: usize) -> OperatorId {
    OperatorId(1000 + vertex as u128)
}

fn log_id(vertex: usize) -> OperatorId {
    OperatorId(2000 + vertex as u128)
}

/// A label for operators of tests.
pub(crate) fn label(name: &str) -> OperatorLabel {
    let declared_at = Location { file: "src/main.rs".to_owned(), line: 7 };
    OperatorLabel { name: name.into(), declared_at }
}

/// A barrier of an aligned checkpoint.
pub(crate) fn barrier(id: u64) -> Barrier {
    let (checkpoint, kind) = (CheckpointId(id), SnapshotKind::Checkpoint);
    Barrier { checkpoint, timestamp: 0, kind, alignment: Alignment::Aligned }
}

/// Keeps what it sees.
struct Log {
    processed: Vec<u64>,
    held: Vec<u64>,
    holds_back: bool,
    sent: Arc<Mutex<Sent>>,
}

impl Operator for Log {
    fn output(&self) -> BoxBatch {
        Box::new(Batch::<u64>::new())
    }

    fn process(
        &mut self,
        input: &mut dyn AnyBatch,
        out: &mut dyn AnyBatch,
        _room: usize,
    ) -> Result<Flow, OperatorError> {
        let input = cast::<u64>(input);
        input.hashes.clear();
        self.processed.extend(&input.items);
        let to = if self.holds_back { &mut self.held } else { &mut cast::<u64>(out).items };
        to.append(&mut input.items);
        Ok(Flow::Drained)
    }

    fn flush(&mut self, out: &mut dyn AnyBatch, _room: usize) -> Result<Flow, OperatorError> {
        // A few at a time: it is called again.
        let few = self.held.len().min(3);
        cast::<u64>(out).items.extend(self.held.drain(..few));
        Ok(if self.held.is_empty() { Flow::Drained } else { Flow::More })
    }

    fn snapshot(
        &mut self,
        _barrier: &Barrier,
        state: &mut OperatorSnapshot,
    ) -> Result<(), OperatorError> {
        assert!(self.held.is_empty(), "flushed before the snapshot");
        let list = |name: &str, items| ListSnapshot {
            name: name.to_owned(),
            mode: ListMode::Split,
            schema: None,
            items,
        };
        let processed = self.processed.iter().map(|record| record.to_le_bytes().to_vec());
        state.lists.push(list("processed", processed.collect()));
        state.lists.push(list("sent", encode_sent(&self.sent.lock().expect("one thread"))));
        Ok(())
    }

    fn restore(&mut self, state: RestoredOperator) -> Result<(), OperatorError> {
        self.processed = state.items("processed").iter().map(|item| word(item, 0)).collect();
        *self.sent.lock().expect("one thread") = decode_sent(&state.items("sent"));
        Ok(())
    }
}

/// By the record's hash; keeps what goes where.
struct LoggedRouter {
    edge: (usize, usize),
    sent: Arc<Mutex<Sent>>,
}

impl LoggedRouter {
    fn note(&self, record: u64, target: usize) {
        let (vertex, input) = self.edge;
        let mut sent = self.sent.lock().expect("one thread");
        sent.entry((vertex, input, target)).or_default().push(record);
    }
}

impl Router for LoggedRouter {
    fn route(&mut self, batch: &mut BoxBatch, open: &mut [BoxBatch]) {
        let records = cast::<u64>(batch.as_mut()).items.clone();
        let target = |record: &u64| xxh3_64(&record.to_le_bytes()) % open.len() as u64;
        let targets: Vec<u32> = records.iter().map(|record| target(record) as u32).collect();
        for (record, target) in records.into_iter().zip(&targets) {
            self.note(record, *target as usize);
        }
        batch.distribute(&targets, open);
    }

    fn prepare(&mut self, batch: &mut dyn AnyBatch) {
        for record in cast::<u64>(batch).items.clone() {
            self.note(record, 0);
        }
    }
}

/// Gives so many records, a few at a time, and is idle now and then.
struct Numbers {
    next: u64,
    end: u64,
    burst: u64,
    polls: u64,
}

impl SourceReader<u64> for Numbers {
    fn poll(
        &mut self,
        out: &mut Vec<u64>,
        _room: usize,
        _clock: SourceClock,
    ) -> Result<Poll, OperatorError> {
        self.polls += 1;
        if self.polls.is_multiple_of(5) {
            return Ok(Poll::Idle);
        }
        let to = self.end.min(self.next + self.burst);
        out.extend(self.next..to);
        self.next = to;
        Ok(if self.next == self.end { Poll::End } else { Poll::More })
    }

    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>, OperatorError> {
        let left = [self.next, self.end].map(u64::to_le_bytes).concat();
        Ok(if self.next < self.end { vec![left] } else { Vec::new() })
    }

    fn restore(&mut self, items: Vec<Vec<u8>>) -> Result<(), OperatorError> {
        (self.next, self.end) = items.first().map_or((0, 0), |left| (word(left, 0), word(left, 1)));
        Ok(())
    }
}

/// The tasks of one execution of a plan.
pub(crate) struct Job {
    pub(crate) plan: Plan,
    registry: PartitionRegistry,
    wake: Wake,
    pub(crate) tasks: BTreeMap<TaskId, StreamTask>,
    sent: BTreeMap<TaskId, Arc<Mutex<Sent>>>,
}

impl Job {
    /// Begins afresh, or from the states of a checkpoint.
    pub(crate) fn start(plan: &Plan, from: Option<(u64, &BTreeMap<TaskId, State>)>) -> Self {
        let (registry, wake) = (PartitionRegistry::new(), Wake::new());
        let (tasks, sent) = (BTreeMap::new(), BTreeMap::new());
        let mut job = Self { plan: plan.clone(), registry, wake, tasks, sent };
        for id in plan.tasks() {
            let mut task = job.make(id).with_checkpoints();
            if let Some((checkpoint, states)) = from {
                let restored = states[&id].restored(id, CheckpointId(checkpoint));
                task.restore(restored).expect("nothing fails");
            }
            job.tasks.insert(id, task);
        }
        job
    }

    fn make(&mut self, id: TaskId) -> StreamTask {
        let vertex = self.plan.vertices[id.0].clone();
        let sent = Arc::<Mutex<Sent>>::default();
        self.sent.insert(id, sent.clone());
        let outputs = self.outputs(id, &sent);
        let (head, input) = if vertex.inputs.is_empty() {
            let next = ((id.0 as u64) << 40) | ((id.1 as u64) << 32);
            let (end, burst) = (next + vertex.records, vertex.burst);
            let source = ReaderSource(Box::new(Numbers { next, end, burst, polls: 0 }));
            let batch = source.output();
            (Head::source(source_id(id.0), label("numbers"), Box::new(source)), batch)
        } else {
            let rest: BoxBatch = Box::new(Batch::<u64>::new());
            (Head::gates(self.gates(id), rest), Box::new(Batch::<u64>::new()) as BoxBatch)
        };
        let mut chain = Chain::new(input);
        let (processed, held, holds_back) = (Vec::new(), Vec::new(), vertex.holds_back);
        let log = Log { processed, held, holds_back, sent };
        chain.push(log_id(id.0), label("log"), Box::new(log));
        StreamTask::new(head, chain, outputs)
    }

    fn outputs(&self, id: TaskId, sent: &Arc<Mutex<Sent>>) -> Outputs {
        let edges = self.plan.outputs(id.0).into_iter();
        let writers = edges.map(|edge| {
            let queue = |_| Subpartition::with_bound(self.wake.clone(), self.plan.queue_batches);
            let consumers = self.plan.vertices[edge.0].parallelism;
            let shared = ResultPartition {
                id: partition_id(id, edge),
                subpartitions: (0..consumers).map(queue).map(Arc::new).collect(),
                prototype: BatchPrototype::of::<u64>(),
            };
            let router = LoggedRouter { edge, sent: sent.clone() };
            PartitionWriter::new(Arc::new(shared), Box::new(router))
        });
        Outputs::new(writers.map(|writer| (None, writer)).collect(), self.registry.clone())
    }

    fn gates(&self, id: TaskId) -> Vec<InputGate> {
        let inputs = self.plan.vertices[id.0].inputs.iter().enumerate();
        let gate = |(input, from): (usize, &usize)| {
            let channel = |subtask| InputChannelDescriptor {
                partition: partition_id((*from, subtask), (id.0, input)),
                subpartition: id.1 as u32,
                location: Some(PartitionLocation { resource: here(), data_address: String::new() }),
            };
            let channels = (0..self.plan.vertices[*from].parallelism).map(channel).collect();
            let (registry, wake) = (self.registry.clone(), self.wake.clone());
            let mut gate = InputGate::new(channels, registry, Network::default(), here(), wake);
            gate.request_partitions(Instant::now());
            gate
        };
        inputs.map(gate).collect()
    }

    /// All that a task has sent so far.
    pub(crate) fn sent(&self, id: TaskId) -> Sent {
        self.sent[&id].lock().expect("one thread").clone()
    }
}

fn here() -> ResourceId {
    ResourceId("here".to_owned())
}

fn partition_id(producer: TaskId, (consumer, input): (usize, usize)) -> PartitionId {
    PartitionId {
        data_set: DataSetId((producer.0 * 10_000 + consumer * 100 + input) as u128),
        producer: ExecutionAttemptId {
            graph: ExecutionGraphId(1),
            vertex: JobVertexId(producer.0 as u128),
            subtask: producer.1 as u32,
            attempt: 0,
        },
    }
}

/// The records in order of their numbers.
pub(crate) fn sorted(records: impl IntoIterator<Item = u64>) -> Vec<u64> {
    let mut records: Vec<u64> = records.into_iter().collect();
    records.sort_unstable();
    records
}
