//! A whole job process: messages in, events out, real threads, and a storage in memory.

use millstream_checkpoint::handle::{
    ListMode, ListShare, OperatorRestore, StateFile, TaskRestore, TaskState,
};
use millstream_checkpoint::snapshot::{ListSnapshot, OperatorSnapshot, RestoredOperator};
use millstream_checkpoint::storage::Storage;
use millstream_checkpoint::testing::MemoryStorage;
use millstream_core::OperatorError;
use millstream_core::checkpoint::{Alignment, Barrier, CheckpointId, SnapshotKind};
use millstream_core::error::Location;
use millstream_core::ids::{
    AllocationId, DataSetId, ExecutionAttemptId, ExecutionGraphId, JobId, JobVertexId, OperatorId,
    PartitionId, ResourceId,
};
use millstream_core::job_graph::{
    ExchangeMode, JobEdge, JobGraph, JobVertex, OperatorInfo, PlanSignature, RuntimeMode,
    ShipStrategy,
};
use millstream_core::key_group::MaxParallelism;
use millstream_core::status::ExecutionState;
use millstream_operator::context::OperatorLabel;
use millstream_operator::operator::{Flow, Operator};
use millstream_operator::plan::{
    ChainedOperator, Factory, Head, OutputOf, Plan, PlannedOutput, VertexPlan,
};
use millstream_operator::source::{AnySource, Poll, ReaderSource, SourceClock, SourceReader};
use millstream_rpc::protocol::deployment::{
    CheckpointSetup, InputChannelDescriptor, InputGateDescriptor, PartitionLocation,
    ResultPartitionDescriptor, TaskDeploymentDescriptor,
};
use millstream_rpc::protocol::job_link::{FromJobProcess, ToJobProcess};
use millstream_shuffle::batch::{AnyBatch, Batch, BoxBatch, cast};
use millstream_shuffle::partition::{BatchPrototype, ForwardRouter, Router};
use millstream_shuffle::registry::PartitionRegistry;
use millstream_shuffle::wire::Network;
use millstream_task::host::TaskHost;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

const RECORDS: u64 = 1_000;

/// Gives numbers; is idle when they are over, until it is told that they end.
struct Numbers {
    next: u64,
    ends: Arc<AtomicBool>,
}

impl SourceReader<u64> for Numbers {
    fn poll(
        &mut self,
        out: &mut Vec<u64>,
        _room: usize,
        clock: SourceClock,
    ) -> Result<Poll, OperatorError> {
        let to = RECORDS.min(self.next + 100);
        out.extend(self.next..to);
        self.next = to;
        Ok(match (self.next < RECORDS, self.ends.load(Ordering::SeqCst)) {
            (true, _) => Poll::More,
            (false, true) => Poll::End,
            (false, false) => Poll::WakeAt(clock.now_us + 1_000),
        })
    }

    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>, OperatorError> {
        Ok(vec![self.next.to_le_bytes().to_vec()])
    }

    fn restore(&mut self, items: Vec<Vec<u8>>) -> Result<(), OperatorError> {
        let item = items.first().and_then(|item| item.as_slice().try_into().ok());
        self.next = item.map_or(RECORDS, u64::from_le_bytes);
        Ok(())
    }
}

/// Adds all numbers up.
#[derive(Default)]
struct Sum(u64);

impl Operator for Sum {
    fn output(&self) -> BoxBatch {
        Box::new(Batch::<u64>::new())
    }

    fn process(
        &mut self,
        input: &mut dyn AnyBatch,
        _out: &mut dyn AnyBatch,
        _room: usize,
    ) -> Result<Flow, OperatorError> {
        self.0 += cast::<u64>(input).items.drain(..).sum::<u64>();
        Ok(Flow::Drained)
    }

    fn snapshot(
        &mut self,
        _barrier: &Barrier,
        state: &mut OperatorSnapshot,
    ) -> Result<(), OperatorError> {
        let (name, mode, schema) = ("sum".to_owned(), ListMode::Split, None);
        let items = vec![self.0.to_le_bytes().to_vec()];
        state.lists.push(ListSnapshot { name, mode, schema, items });
        Ok(())
    }

    fn restore(&mut self, state: RestoredOperator) -> Result<(), OperatorError> {
        let items = state.items("sum");
        let words = items.iter().filter_map(|item| item.as_slice().try_into().ok());
        self.0 = words.map(u64::from_le_bytes).sum();
        Ok(())
    }
}

fn location() -> Location {
    Location { file: "src/main.rs".to_owned(), line: 7 }
}

fn label(name: &str) -> OperatorLabel {
    OperatorLabel { name: name.into(), declared_at: location() }
}

/// Numbers in one vertex, their sum in another.
fn plan(ends: &Arc<AtomicBool>) -> Plan {
    let vertex = |number: u128, name: &str| JobVertex {
        id: JobVertexId(number),
        name: name.to_owned(),
        parallelism: 1,
        max_parallelism: MaxParallelism::default_for(1),
        slot_sharing_group: "default".to_owned(),
        operators: vec![OperatorInfo {
            id: OperatorId(number),
            name: name.to_owned(),
            declared_at: location(),
            states: None,
        }],
        splits: Vec::new(),
    };
    let edge = JobEdge {
        data_set: DataSetId(1),
        source: 0,
        target: 1,
        ship: ShipStrategy::Forward,
        exchange: ExchangeMode::Pipelined,
    };
    let graph = JobGraph {
        name: "job".to_owned(),
        vertices: vec![vertex(1, "numbers"), vertex(2, "sum")],
        edges: vec![edge],
        mode: RuntimeMode::Streaming,
        configuration: BTreeMap::new(),
        signature: PlanSignature::default(),
        program: None,
    };
    let ends = ends.clone();
    let source = Factory::new(move |_: &_| {
        let reader = Box::new(Numbers { next: 0, ends: ends.clone() });
        Ok(Box::new(ReaderSource(reader)) as Box<dyn AnySource>)
    });
    let forward = Factory::new(|_: &_| Ok(Box::new(ForwardRouter) as Box<dyn Router>));
    let sum = Factory::new(|_: &_| Ok(Box::<Sum>::default() as Box<dyn Operator>));
    let output_type = BatchPrototype::of::<u64>();
    let vertices = vec![
        VertexPlan {
            head: Head::Source(label("numbers"), source),
            operators: Vec::new(),
            lifts: Vec::new(),
            outputs: vec![PlannedOutput { of: OutputOf::Chain, label: None, router: forward }],
            output_type: output_type.clone(),
        },
        VertexPlan {
            head: Head::Exchange(output_type.clone()),
            lifts: Vec::new(),
            operators: vec![ChainedOperator {
                label: label("sum"),
                factory: sum,
                sides: Vec::new(),
            }],
            outputs: Vec::new(),
            output_type,
        },
    ];
    Plan { graph, vertices, warnings: Vec::new(), cached_files: Arc::default() }
}

fn attempt(vertex: u128, attempt: u32) -> ExecutionAttemptId {
    let graph = ExecutionGraphId(1);
    ExecutionAttemptId { graph, vertex: JobVertexId(vertex), subtask: 0, attempt }
}

fn here() -> ResourceId {
    ResourceId("here".to_owned())
}

fn descriptor(of: ExecutionAttemptId) -> TaskDeploymentDescriptor {
    let producer = attempt(1, of.attempt);
    let partition = PartitionId { data_set: DataSetId(1), producer };
    let is_source = of.vertex == JobVertexId(1);
    let output = ResultPartitionDescriptor {
        partition,
        consumer: JobVertexId(2),
        ship: ShipStrategy::Forward,
        exchange: ExchangeMode::Pipelined,
        consumer_parallelism: 1,
        consumer_max_parallelism: MaxParallelism::default_for(1),
        first_consumer: 0,
        subpartitions: 1,
    };
    let location = Some(PartitionLocation { resource: here(), data_address: String::new() });
    let channels = vec![InputChannelDescriptor { partition, subpartition: 0, location }];
    let input =
        InputGateDescriptor { data_set: DataSetId(1), ship: ShipStrategy::Forward, channels };
    TaskDeploymentDescriptor {
        job: JobId(1),
        attempt: of,
        task_name: if is_source { "numbers" } else { "sum" }.to_owned(),
        allocation: AllocationId(of.vertex.0),
        parallelism: 1,
        max_parallelism: MaxParallelism::default_for(1),
        partitions: if is_source { vec![output] } else { Vec::new() },
        gates: if is_source { Vec::new() } else { vec![input] },
        checkpointing: Some(CheckpointSetup { directory: "job".to_owned(), inline_bytes_max: 0 }),
        restore: None,
    }
}

struct Process {
    host: TaskHost,
    events: Receiver<FromJobProcess>,
    storage: MemoryStorage,
    ends: Arc<AtomicBool>,
}

impl Process {
    fn start(storage: &MemoryStorage) -> Self {
        let (sender, events) = channel();
        let ends = Arc::<AtomicBool>::default();
        let opened = storage.clone();
        let host = TaskHost::new(
            Arc::new(plan(&ends)),
            here(),
            PartitionRegistry::new(),
            Network::default(),
            // The test may have heard enough.
            Arc::new(move |event| drop(sender.send(event))),
            Arc::new(move |directory: &str| Ok(opened.below(directory))),
        );
        Self { host, events, storage: storage.clone(), ends }
    }

    /// Deploys both tasks as these attempts, perhaps from a checkpoint.
    fn deploy(&self, number: u32, from: Option<&BTreeMap<JobVertexId, TaskState>>) {
        for vertex in [2, 1] {
            let mut descriptor = descriptor(attempt(vertex, number));
            descriptor.restore = from
                .map(|states| Box::new(restore_of(CheckpointId(2), &states[&JobVertexId(vertex)])));
            self.host.handle(ToJobProcess::Deploy(Box::new(descriptor)));
        }
    }

    fn trigger(&self, of: ExecutionAttemptId, id: u64) {
        let barrier = Barrier {
            checkpoint: CheckpointId(id),
            timestamp: 0,
            kind: SnapshotKind::Checkpoint,
            alignment: Alignment::Aligned,
        };
        self.host.handle(ToJobProcess::TriggerCheckpoint { attempt: of, barrier });
    }

    fn complete(&self, number: u32, id: u64) {
        for vertex in [1, 2] {
            self.host.handle(ToJobProcess::CheckpointCompleted {
                attempt: attempt(vertex, number),
                checkpoint: CheckpointId(id),
            });
        }
    }

    /// The next event that the closure wants.
    fn wait_for<T>(&self, mut wanted: impl FnMut(FromJobProcess) -> Option<T>) -> T {
        loop {
            let event = self.events.recv_timeout(PATIENCE).expect("something is said");
            if let FromJobProcess::TaskState(state) = &event {
                assert_eq!(state.failure, None);
            }
            if let Some(found) = wanted(event) {
                return found;
            }
        }
    }

    /// The states of both tasks in a checkpoint.
    fn acknowledged(&self, id: u64) -> BTreeMap<JobVertexId, TaskState> {
        let mut states = BTreeMap::new();
        self.wait_for(|event| match event {
            FromJobProcess::AcknowledgeCheckpoint { attempt, checkpoint, state, metrics } => {
                assert_eq!(checkpoint, CheckpointId(id));
                assert!(metrics.written_bytes > 0 && metrics.state_bytes > 0);
                states.insert(attempt.vertex, *state);
                (states.len() == 2).then_some(())
            }
            FromJobProcess::DeclineCheckpoint { cause, .. } => panic!("{cause}"),
            _ => None,
        });
        states
    }

    fn wait_for_states(&self, wanted: ExecutionState) {
        let mut left = 2;
        self.wait_for(|event| {
            if let FromJobProcess::TaskState(state) = event {
                left -= u32::from(state.state == wanted);
            }
            (left == 0).then_some(())
        });
    }

    fn stop(self) {
        self.host.handle(ToJobProcess::Dismiss);
        for vertex in [1, 2] {
            for number in [0, 1] {
                let attempt = attempt(vertex, number);
                self.host.handle(ToJobProcess::Cancel { attempt });
            }
        }
        self.host.join();
    }
}

/// What a coordinator makes of a state when nothing has changed.
fn restore_of(checkpoint: CheckpointId, state: &TaskState) -> TaskRestore {
    let operators = state.operators.iter().map(|(id, operator)| {
        let lists = operator.lists.iter().map(|list| {
            let items = 0..list.items;
            ListShare { list: list.clone(), items }
        });
        let restore = OperatorRestore { tables: operator.tables.clone(), lists: lists.collect() };
        (*id, restore)
    });
    let (finished, operators) = (state.finished, operators.collect());
    TaskRestore { checkpoint, finished, operators, in_flight: Vec::new() }
}

/// The only item of the list of an operator, as it is in the storage or the handle.
fn word(storage: &MemoryStorage, state: &TaskState) -> u64 {
    let list = &state.operators.values().next().expect("one operator").lists[0];
    let bytes = match &list.part.file {
        StateFile::Inline(bytes) => bytes.clone(),
        StateFile::File(name) => storage.files()[&format!("job/{}", name.path)].clone(),
    };
    // File header, block header, length of the item.
    u64::from_le_bytes(bytes[16 + 24 + 4..16 + 24 + 12].try_into().expect("eight bytes"))
}

fn sum_to(n: u64) -> u64 {
    n * (n - 1) / 2
}

#[test]
fn a_trigger_makes_every_task_acknowledge_what_it_has_written() {
    let process = Process::start(&MemoryStorage::new());
    process.deploy(0, None);
    process.trigger(attempt(1, 0), 1);
    let states = process.acknowledged(1);
    let read = word(&process.storage, &states[&JobVertexId(1)]);
    assert_eq!(word(&process.storage, &states[&JobVertexId(2)]), sum_to(read.max(1)));
    let files: Vec<String> = process.storage.files().into_keys().collect();
    assert!(files.len() == 2 && files.iter().all(|file| file.starts_with("job/chk-1/")));
    assert!(states.values().all(|state| !state.finished));
    process.stop();
}

#[test]
fn a_storage_that_says_no_makes_tasks_decline_and_go_on() {
    let process = Process::start(&MemoryStorage::new());
    process.deploy(0, None);
    process.storage.refuse("create", "chk-1/");
    process.trigger(attempt(1, 0), 1);
    let mut declined = Vec::new();
    process.wait_for(|event| {
        if let FromJobProcess::DeclineCheckpoint { attempt, checkpoint, cause } = event {
            assert_eq!(checkpoint, CheckpointId(1));
            assert!(cause.starts_with("could not create `memory:/job/chk-1/"), "{cause}");
            declined.push(attempt.vertex.0);
        }
        (declined.len() == 2).then_some(())
    });
    process.trigger(attempt(1, 0), 2);
    process.acknowledged(2);
    process.stop();
}

#[test]
fn bounded_tasks_end_with_the_checkpoint_that_says_so() {
    let process = Process::start(&MemoryStorage::new());
    process.ends.store(true, Ordering::SeqCst);
    process.deploy(0, None);
    let mut at_end = Vec::new();
    process.wait_for(|event| {
        if let FromJobProcess::EndOfData { attempt } = event {
            at_end.push(attempt.vertex.0);
        }
        (at_end.len() == 2).then_some(())
    });
    // None of them reads a running task.
    process.trigger(attempt(1, 0), 1);
    process.trigger(attempt(2, 0), 1);
    let mut states = Vec::new();
    process.wait_for(|event| {
        if let FromJobProcess::AcknowledgeCheckpoint { attempt, state, .. } = event {
            assert!(state.finished);
            states.push((attempt.vertex.0, state));
        }
        (states.len() == 2).then_some(())
    });
    let sum = states.iter().find(|(vertex, _)| *vertex == 2).map(|(_, state)| state);
    assert_eq!(word(&process.storage, sum.expect("it acknowledged")), sum_to(RECORDS));
    process.complete(0, 1);
    process.wait_for_states(ExecutionState::Finished);
    process.trigger(attempt(1, 0), 2);
    process.wait_for(|event| match event {
        FromJobProcess::DeclineCheckpoint { checkpoint: CheckpointId(2), .. } => Some(()),
        _ => None,
    });
    process.stop();
}

#[test]
fn a_new_process_goes_on_from_what_was_acknowledged() {
    let storage = MemoryStorage::new();
    let process = Process::start(&storage);
    process.deploy(0, None);
    process.trigger(attempt(1, 0), 1);
    process.acknowledged(1);
    process.complete(0, 1);
    process.trigger(attempt(1, 0), 2);
    let states = process.acknowledged(2);
    process.stop();

    let process = Process::start(&storage);
    process.deploy(1, Some(&states));
    process.wait_for_states(ExecutionState::Running);
    process.ends.store(true, Ordering::SeqCst);
    let mut at_end = 0;
    process.wait_for(|event| {
        at_end += u32::from(matches!(event, FromJobProcess::EndOfData { .. }));
        (at_end == 2).then_some(())
    });
    process.trigger(attempt(2, 1), 3);
    let state = process.wait_for(|event| match event {
        FromJobProcess::AcknowledgeCheckpoint { state, .. } => Some(state),
        _ => None,
    });
    assert_eq!(word(&storage, &state), sum_to(RECORDS), "each number once");
    process.stop();
}

#[test]
fn state_that_cannot_be_read_fails_the_task_with_the_operator_and_the_file() {
    let storage = MemoryStorage::new();
    let process = Process::start(&storage);
    process.deploy(0, None);
    process.trigger(attempt(1, 0), 2);
    let states = process.acknowledged(2);
    process.stop();
    for file in storage.files().into_keys() {
        storage.set(&file, vec![0; 10]);
    }
    let process = Process::start(&storage);
    process.deploy(1, Some(&states));
    let mut messages = Vec::new();
    while messages.len() < 2 {
        let event = process.events.recv_timeout(PATIENCE).expect("something is said");
        if let FromJobProcess::TaskState(state) = event
            && let Some(failure) = state.failure
        {
            messages.push(failure.message);
        }
    }
    messages.sort();
    let expected = "operator `numbers` declared at src/main.rs:7 failed in task `numbers (1/1)`: \
                    cannot read its state in checkpoint 2: state file `memory:/job/chk-2/";
    assert!(messages[0].starts_with(expected), "{}", messages[0]);
    process.stop();
}
