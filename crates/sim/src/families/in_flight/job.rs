//! The tasks of one execution of a played job, and their way into state files and back.

use super::log::{ByKey, Left, Log, Numbers, UNKEYED, hash_of, partition_of, word};
use millstream_checkpoint::handle::{InFlightState, TaskRestore};
use millstream_checkpoint::snapshot::{ListSnapshot, RestoredList, RestoredOperator};
use millstream_checkpoint::state_file::{TaskStateWriter, read_in_flight};
use millstream_checkpoint::storage::Storage;
use millstream_checkpoint::testing::MemoryStorage;
use millstream_core::error::Location;
use millstream_core::ids::{
    DataSetId, ExecutionAttemptId, ExecutionGraphId, JobVertexId, OperatorId, PartitionId,
    ResourceId,
};
use millstream_core::job_graph::{
    ExchangeMode, JobEdge, JobGraph, JobVertex, OperatorInfo, PlanSignature, RuntimeMode,
    ShipStrategy,
};
use millstream_core::key_group::{KeyGroupRange, MaxParallelism, subtask_of_hash};
use millstream_operator::context::OperatorLabel;
use millstream_operator::source::{AnySource, ReaderSource};
use millstream_rpc::machine::Rng;
use millstream_rpc::protocol::deployment::{InputChannelDescriptor, PartitionLocation};
use millstream_shuffle::batch::{Batch, BoxBatch};
use millstream_shuffle::edge::Edge;
use millstream_shuffle::gate::InputGate;
use millstream_shuffle::in_flight::{InFlightRows, OwnKeys};
use millstream_shuffle::partition::{
    BatchPrototype, HashRouter, PartitionWriter, ResultPartition, RoundRobinRouter, Router,
};
use millstream_shuffle::registry::PartitionRegistry;
use millstream_shuffle::subpartition::Subpartition;
use millstream_shuffle::wake::Wake;
use millstream_shuffle::wire::Network;
use millstream_task::stream_task::{
    Chain, Head, Outputs, RestoredInFlight, RestoredTask, SPLITS, StreamTask, TaskSnapshot,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// Vertex and subtask.
pub(super) type TaskId = (usize, u32);

/// What is fixed for a job; the parallelism is in the graph, and may change.
#[derive(Clone)]
pub(super) struct Plan {
    pub(super) graph: JobGraph,
    /// Batches that a queue takes.
    pub(super) queue_batches: usize,
    /// Records of each partition, and how many a source gives at a time.
    pub(super) records: u64,
    pub(super) burst: u64,
    /// Vertex 1 reads by key, so records of a key stay in order.
    pub(super) ordered: bool,
}

/// What a task's part of a checkpoint holds.
#[derive(Clone, Default)]
pub(super) struct Saved {
    pub(super) seen: Vec<u64>,
    pub(super) left: Vec<Left>,
    pub(super) finished: bool,
    pub(super) in_flight: Vec<InFlightState>,
}

/// Partitions of the first source.
const PARTITIONS: u64 = 4;

pub(super) fn max_parallelism() -> MaxParallelism {
    MaxParallelism::new(16).expect("within bounds")
}

fn operator(vertex: usize) -> OperatorId {
    OperatorId(100 + vertex as u128)
}

impl Plan {
    /// A source, a vertex that passes records on, a vertex that reads that by key; perhaps a second
    /// source that the last one reads too, over an exchange that no barrier overtakes.
    pub(super) fn draw(rng: &mut Rng, records: u64) -> Self {
        let first = [ShipStrategy::Hash, ShipStrategy::Hash, ShipStrategy::Rebalance];
        let first = first[rng.below(3) as usize];
        let mut edges = vec![edge(0, 1, first), edge(1, 2, ShipStrategy::Hash)];
        let mut vertices: Vec<JobVertex> = (0..3).map(|vertex| drawn(rng, vertex)).collect();
        if rng.below(2) == 0 {
            vertices.push(drawn(rng, 3));
            edges.push(edge(3, 2, ShipStrategy::Rescale));
        }
        let graph = JobGraph {
            name: "played".to_owned(),
            vertices,
            edges,
            mode: RuntimeMode::Streaming,
            configuration: BTreeMap::new(),
            signature: PlanSignature::default(),
            program: None,
        };
        Self {
            graph,
            queue_batches: 1 + rng.below(4) as usize,
            records: 1 + rng.below(records),
            burst: 1 + rng.below(40),
            ordered: first == ShipStrategy::Hash,
        }
    }

    pub(super) fn rescale(&mut self, rng: &mut Rng) {
        for vertex in &mut self.graph.vertices {
            vertex.parallelism = 1 + rng.below(3) as u32;
        }
    }

    pub(super) fn tasks(&self) -> Vec<TaskId> {
        let vertices = self.graph.vertices.iter().enumerate();
        vertices.flat_map(|(at, v)| (0..v.parallelism).map(move |subtask| (at, subtask))).collect()
    }

    pub(super) fn is_source(&self, vertex: usize) -> bool {
        self.graph.inputs_of(vertex).next().is_none()
    }

    /// The tasks that send to this one.
    pub(super) fn producers(&self, (vertex, subtask): TaskId) -> Vec<TaskId> {
        let of_edge = |edge: &JobEdge| {
            let (producers, consumers) = self.parallelism(edge);
            let from = edge.source;
            edge.ship.producers_of(subtask, producers, consumers).map(move |p| (from, p))
        };
        self.graph.inputs_of(vertex).flat_map(|(_, edge)| of_edge(edge)).collect()
    }

    /// The tasks that read something of this vertex.
    pub(super) fn consumers(&self, vertex: usize) -> Vec<TaskId> {
        let readers = self.graph.outputs_of(vertex).map(|(_, edge)| edge.target);
        readers
            .flat_map(|to| (0..self.graph.vertices[to].parallelism).map(move |s| (to, s)))
            .collect()
    }

    fn parallelism(&self, edge: &JobEdge) -> (u32, u32) {
        let of = |vertex: usize| self.graph.vertices[vertex].parallelism;
        (of(edge.source), of(edge.target))
    }

    /// Everything that the sources of the job give and that this vertex must process.
    pub(super) fn expected(&self, vertex: usize) -> Vec<u64> {
        let from = |first: u64, count: u64| {
            (first..first + count).flat_map(|partition| {
                (0..self.records).map(move |number| super::log::record(partition, number))
            })
        };
        let keyed = if vertex == 3 { 0 } else { PARTITIONS };
        let with_second = self.graph.vertices.len() > 3 && vertex >= 2;
        let second = if with_second { PARTITIONS } else { 0 };
        from(0, keyed).chain(from(UNKEYED, second)).collect()
    }

    /// The partitions that a subtask of a source begins with.
    pub(super) fn partitions(&self, (vertex, subtask): TaskId) -> Vec<Left> {
        let first = if vertex == 3 { UNKEYED } else { 0 };
        let own =
            |p: &u64| p % u64::from(self.graph.vertices[vertex].parallelism) == u64::from(subtask);
        let partitions = (0..PARTITIONS).filter(own);
        let (next, end) = (0, self.records);
        partitions.map(|p| Left { partition: first + p, next, end }).collect()
    }

    /// Who goes on with what tasks of this vertex have processed.
    fn heir(&self, vertex: usize, record: u64) -> u32 {
        let keyed = self.graph.inputs_of(vertex).any(|(_, edge)| edge.ship == ShipStrategy::Hash);
        if !keyed || partition_of(record) >= UNKEYED {
            return 0;
        }
        let parallelism = self.graph.vertices[vertex].parallelism;
        subtask_of_hash(hash_of(record), max_parallelism(), parallelism)
    }
}

fn drawn(rng: &mut Rng, vertex: usize) -> JobVertex {
    JobVertex {
        id: JobVertexId(100 + vertex as u128),
        name: format!("vertex {vertex}"),
        parallelism: 1 + rng.below(3) as u32,
        max_parallelism: max_parallelism(),
        slot_sharing_group: "default".to_owned(),
        operators: vec![OperatorInfo {
            id: operator(vertex),
            name: format!("operator {vertex}"),
            declared_at: Location::default(),
            states: None,
        }],
        splits: Vec::new(),
    }
}

fn edge(source: usize, target: usize, ship: ShipStrategy) -> JobEdge {
    let data_set = DataSetId(1_000 + 10 * source as u128 + target as u128);
    JobEdge { data_set, source, target, ship, exchange: ExchangeMode::Pipelined }
}

fn label(name: &str) -> OperatorLabel {
    OperatorLabel { name: name.into(), declared_at: Location::default() }
}

/// The tasks of one execution.
pub(super) struct Job {
    plan: Plan,
    registry: PartitionRegistry,
    wake: Wake,
    storage: MemoryStorage,
    pub(super) tasks: BTreeMap<TaskId, StreamTask>,
}

impl Job {
    pub(super) fn new(plan: &Plan, storage: MemoryStorage) -> Self {
        let (registry, wake) = (PartitionRegistry::new(), Wake::new());
        let mut job = Self { plan: plan.clone(), registry, wake, storage, tasks: BTreeMap::new() };
        // Producers come first: consumers find what they have registered.
        let (sources, readers): (Vec<TaskId>, Vec<TaskId>) =
            plan.tasks().into_iter().partition(|id| plan.is_source(id.0));
        for id in sources.into_iter().chain(readers) {
            let task = job.make(id).with_checkpoints();
            job.tasks.insert(id, task);
        }
        job
    }

    fn make(&self, id: TaskId) -> StreamTask {
        let outputs = self.outputs(id);
        let empty = || Box::new(Batch::<u64>::new()) as BoxBatch;
        let head = if self.plan.is_source(id.0) {
            let (left, burst) = (self.plan.partitions(id), self.plan.burst);
            let source = ReaderSource(Box::new(Numbers { left, burst, polls: 0 }));
            debug_assert!(source.output().is_empty());
            Head::source(OperatorId(200 + id.0 as u128), label("numbers"), Box::new(source))
        } else {
            Head::gates(self.gates(id), empty())
        };
        let mut chain = Chain::new(empty());
        let log = Log::new(self.plan.ordered && id.0 < 3);
        chain.push(operator(id.0), label("log"), Box::new(log));
        StreamTask::new(head, chain, outputs)
    }

    fn outputs(&self, id: TaskId) -> Outputs {
        let writers = self.plan.graph.outputs_of(id.0).map(|(_, edge)| {
            let (producers, consumers) = self.plan.parallelism(edge);
            let consumers = edge.ship.consumers_of(id.1, producers, consumers);
            let queue =
                |_| Arc::new(Subpartition::with_bound(self.wake.clone(), self.plan.queue_batches));
            let shared = ResultPartition {
                id: partition_id(edge.data_set, id),
                subpartitions: consumers.map(queue).collect(),
                prototype: BatchPrototype::of::<u64>(),
            };
            let router: Box<dyn Router> = match edge.ship {
                ShipStrategy::Hash => Box::new(HashRouter::new(Box::new(ByKey), max_parallelism())),
                _ => Box::new(RoundRobinRouter::new(id.1)),
            };
            (None, PartitionWriter::new(Arc::new(shared), router).shipping(edge.ship))
        });
        Outputs::new(writers.collect(), self.registry.clone())
    }

    fn gates(&self, id: TaskId) -> Vec<InputGate> {
        let gates = self.plan.graph.inputs_of(id.0).map(|(_, edge)| {
            let (producers, consumers) = self.plan.parallelism(edge);
            let channel = |producer: u32| InputChannelDescriptor {
                partition: partition_id(edge.data_set, (edge.source, producer)),
                subpartition: id.1 - edge.ship.consumers_of(producer, producers, consumers).start,
                location: Some(PartitionLocation { resource: here(), data_address: String::new() }),
            };
            let from = edge.ship.producers_of(id.1, producers, consumers);
            let channels = from.map(channel).collect();
            let (registry, wake) = (self.registry.clone(), self.wake.clone());
            let mut gate = InputGate::new(channels, registry, Network::default(), here(), wake)
                .of_edge(Edge { data_set: edge.data_set, ship: edge.ship });
            gate.request_partitions(Instant::now());
            gate
        });
        gates.collect()
    }

    /// Writes what a task handed over.
    pub(super) fn save(&self, id: TaskId, snapshot: TaskSnapshot) -> Saved {
        let path = format!("chk-{}/{}-{}", snapshot.barrier.checkpoint, id.0, id.1);
        let storage: Arc<dyn Storage> = Arc::new(self.storage.clone());
        let groups = KeyGroupRange(0..max_parallelism().get());
        let shared = format!("shared/{path}");
        let mut writer = TaskStateWriter::new(storage, path, shared, groups, 200);
        let mut saved = Saved { finished: snapshot.finished, ..Saved::default() };
        for list in snapshot.operators.into_iter().flat_map(|(_, operator)| operator.lists) {
            let ListSnapshot { name, items, .. } = list;
            match name.as_str() {
                SPLITS => saved.left = items.iter().map(|item| Left::decode(item)).collect(),
                _ => saved.seen = items.iter().map(|item| word(item, 0)).collect(),
            }
        }
        for rows in snapshot.in_flight {
            saved.in_flight.push(writer.in_flight(rows).expect("the storage takes all"));
        }
        writer.finish().expect("the storage takes all");
        saved
    }

    /// Puts a task where a checkpoint left it.
    pub(super) fn restore(
        &mut self,
        id: TaskId,
        states: &BTreeMap<TaskId, Saved>,
        restore: TaskRestore,
    ) {
        let own = |record: &u64| self.plan.heir(id.0, *record) == id.1;
        let of_vertex = || states.iter().filter(|((vertex, _), _)| *vertex == id.0);
        let former = of_vertex().count() as u32;
        let parallelism = self.plan.graph.vertices[id.0].parallelism;
        let same = former == parallelism;
        let mut seen: Vec<u64> = match same {
            true => states[&id].seen.clone(),
            false => of_vertex().flat_map(|(_, s)| s.seen.iter().copied()).filter(own).collect(),
        };
        if !same {
            seen.sort_unstable();
        }
        let all_left = of_vertex().flat_map(|(_, s)| s.left.iter().copied());
        let left: Vec<Left> = match same {
            true => states[&id].left.clone(),
            false => all_left
                .filter(|l| l.partition % u64::from(parallelism) == u64::from(id.1))
                .collect(),
        };
        let list = |name: &str, items: Vec<Vec<u8>>| RestoredOperator {
            tables: Vec::new(),
            lists: vec![RestoredList { name: name.to_owned(), schema: None, items }],
        };
        let items = seen.iter().map(|record| record.to_le_bytes().to_vec()).collect();
        let mut operators = BTreeMap::from([(operator(id.0), list("seen", items))]);
        if self.plan.is_source(id.0) {
            let items = left.into_iter().map(Left::encode).collect();
            operators.insert(OperatorId(200 + id.0 as u128), list(SPLITS, items));
        }
        let in_flight = self.in_flight(id, &restore);
        let (checkpoint, finished) = (restore.checkpoint, restore.finished);
        let from = RestoredTask { checkpoint, finished, operators, in_flight };
        let task = self.tasks.get_mut(&id).expect("it was made");
        task.restore(from).expect("a task goes on from what it has written");
    }

    fn in_flight(&self, id: TaskId, restore: &TaskRestore) -> Vec<RestoredInFlight> {
        let storage: Arc<dyn Storage> = Arc::new(self.storage.clone());
        let max_parallelism = max_parallelism();
        let parallelism = self.plan.graph.vertices[id.0].parallelism;
        let groups = KeyGroupRange::of_subtask(id.1, max_parallelism, parallelism);
        let shares = restore.in_flight.iter().map(|share| {
            let list = read_in_flight(&storage, share).expect("as written");
            let own = share.filter.then(|| OwnKeys { max_parallelism, groups: groups.clone() });
            let (gate, items) = (share.gate as usize, list.items);
            RestoredInFlight { gate, own, schema: list.schema, items }
        });
        shares.collect()
    }

    /// The records that are in flight according to a task's part.
    pub(super) fn records_in_flight(&self, state: &InFlightState) -> Vec<u64> {
        let storage: Arc<dyn Storage> = Arc::new(self.storage.clone());
        let share = millstream_checkpoint::handle::InFlightShare {
            gate: 0,
            filter: false,
            list: state.list.clone(),
        };
        let list = read_in_flight(&storage, &share).expect("as written");
        let mut all = Batch::<u64>::new();
        for item in &list.items {
            let mut batch: BoxBatch = Box::new(Batch::<u64>::new());
            let rows = InFlightRows::of_item(item).expect("as written");
            rows.decode(None, &mut batch).expect("as written");
            batch.append_to(&mut all);
        }
        all.items
    }
}

fn here() -> ResourceId {
    ResourceId("here".to_owned())
}

fn partition_id(data_set: DataSetId, (vertex, subtask): TaskId) -> PartitionId {
    let (graph, vertex) = (ExecutionGraphId(1), JobVertexId(vertex as u128));
    let producer = ExecutionAttemptId { graph, vertex, subtask, attempt: 0 };
    PartitionId { data_set, producer }
}
