//! Jobs and workers in all states, made by hand.

use millstream_checkpoint::coordinator::SnapshotProgress;
use millstream_core::accumulator::AccumulatorValue;
use millstream_core::checkpoint::{CheckpointId, SnapshotKind};
use millstream_core::error::Location;
use millstream_core::ids::*;
use millstream_core::job_graph::*;
use millstream_core::key_group::MaxParallelism;
use millstream_core::metric::{MetricValue, Spread};
use millstream_core::status::{ExecutionState, JobStatus};
use millstream_rpc::protocol::details::*;
use millstream_rpc::protocol::job_master::TaskMetrics;
use millstream_rpc::protocol::resource::{ResourceProfile, SlotReport, SlotStatus};
use millstream_rpc::protocol::resource_manager::{
    HardwareDescription, MemoryConfiguration, TaskExecutorRegistration,
};
use millstream_rpc::protocol::{Address, EndpointName};
use std::collections::BTreeMap;

pub(crate) const RUNNING: JobId = JobId(0xA1);
pub(crate) const FINISHED: JobId = JobId(0xA2);
pub(crate) const FAILED: JobId = JobId(0xA3);
pub(crate) const CANCELED: JobId = JobId(0xA4);
pub(crate) const INITIALIZING: JobId = JobId(0xA5);
/// A savepoint that was taken, one that failed, one that is being taken.
pub(crate) const TAKEN: TriggerId = TriggerId(0xB1);
pub(crate) const FAILED_TRIGGER: TriggerId = TriggerId(0xB2);
pub(crate) const WAITING: TriggerId = TriggerId(0xB3);
/// No job has this id.
pub(crate) const UNKNOWN: JobId = JobId(0xFF);

pub(crate) const SOURCE: JobVertexId = JobVertexId(0x51);
pub(crate) const SINK: JobVertexId = JobVertexId(0x52);

/// When everything began.
pub(crate) const T0: i64 = 1_700_000_000_000;

pub(crate) fn worker(name: &str) -> ResourceId {
    ResourceId(format!("127.0.0.1:7000-{name}"))
}

/// A source, keyed by hash, and a sink behind a map.
pub(crate) fn graph(name: &str, mode: RuntimeMode) -> JobGraph {
    let vertex = |id, operators: &[&str]| JobVertex {
        id,
        name: operators.join(" -> "),
        parallelism: 2,
        max_parallelism: MaxParallelism::default_for(2),
        slot_sharing_group: "default".to_owned(),
        operators: operators.iter().map(|name| operator(name)).collect(),
        splits: Vec::new(),
    };
    let edge = JobEdge {
        data_set: DataSetId(1),
        source: 0,
        target: 1,
        ship: ShipStrategy::Hash,
        exchange: ExchangeMode::Pipelined,
    };
    JobGraph {
        name: name.to_owned(),
        vertices: vec![vertex(SOURCE, &["numbers"]), vertex(SINK, &["<inc>", "print"])],
        edges: vec![edge],
        mode,
        configuration: [
            ("restart-strategy.type".to_owned(), "none".to_owned()),
            ("db.password".to_owned(), "hunter2".to_owned()),
        ]
        .into(),
        signature: PlanSignature::default(),
        program: None,
    }
}

fn operator(name: &str) -> OperatorInfo {
    let declared_at = Location { file: "src/main.rs".to_owned(), line: 7 };
    let id = OperatorId(name.len() as u128);
    OperatorInfo { id, name: name.to_owned(), declared_at, states: None }
}

pub(crate) fn jobs() -> Vec<ExecutionGraphDetails> {
    vec![running(), finished(), failed(), canceled(), initializing()]
}

fn running() -> ExecutionGraphDetails {
    use JobStatus::*;
    let times = [(Initializing, T0), (Created, T0 + 10), (Running, T0 + 20)];
    let subtasks = [ExecutionState::Running, ExecutionState::Running];
    let mut details = job(RUNNING, "long", RuntimeMode::Streaming, &times, subtasks);
    details.waiting_for = Some("waiting for a better example".to_owned());
    details.restarts = 2;
    details.checkpoints = Some(Box::new(checkpoints()));
    details
}

fn checkpoints() -> CheckpointDetails {
    let completed = |id, kind, path: &str| CompletedDetails {
        checkpoint: CheckpointId(id),
        kind,
        triggered: T0 + 1000 * id as i64,
        bytes: 4096,
        path: path.to_owned(),
    };
    CheckpointDetails {
        completed: 5,
        failed: 1,
        pending: vec![CheckpointId(7)],
        retained: vec![
            completed(5, SnapshotKind::Checkpoint, "/state/chk-5"),
            completed(6, SnapshotKind::Savepoint, "/state/savepoint-6"),
        ],
        base: Some(CheckpointId(5)),
        requests: Vec::new(),
    }
}

/// What has become of the requests that these triggers name.
pub(crate) fn progress(trigger: TriggerId) -> Option<SnapshotProgress> {
    let (checkpoint, path) = (CheckpointId(6), "/state/savepoint-6".to_owned());
    match trigger {
        TAKEN => Some(SnapshotProgress::Completed { checkpoint, path }),
        FAILED_TRIGGER => Some(SnapshotProgress::Failed { cause: "the disk is full".to_owned() }),
        WAITING => Some(SnapshotProgress::InProgress),
        _ => None,
    }
}

fn finished() -> ExecutionGraphDetails {
    use JobStatus::*;
    let times = [(Initializing, T0), (Created, T0 + 10), (Running, T0 + 20), (Finished, T0 + 500)];
    let subtasks = [ExecutionState::Finished, ExecutionState::Finished];
    job(FINISHED, "count", RuntimeMode::Batch, &times, subtasks)
}

fn failed() -> ExecutionGraphDetails {
    use JobStatus::*;
    let times = [(Initializing, T0), (Created, T0 + 10), (Running, T0 + 20), (Failed, T0 + 90)];
    let subtasks = [ExecutionState::Failed, ExecutionState::Canceled];
    let mut details = job(FAILED, "boom", RuntimeMode::Streaming, &times, subtasks);
    let failure = |at, message: &str, task: Option<&str>, name: Option<&str>| FailureDetails {
        at,
        message: message.to_owned(),
        task: task.map(str::to_owned),
        resource: name.map(worker),
    };
    let task = "numbers (1/2)";
    let boom = failure(T0 + 80, "boom at 50\n  in `<inc>`, src/main.rs:7", Some(task), Some("a"));
    details.failures = vec![boom.clone(), failure(T0 + 40, "slots lost", None, None)];
    details.root_failure = Some(failure(T0 + 90, "restarts are used up", None, None));
    details
}

fn canceled() -> ExecutionGraphDetails {
    use JobStatus::*;
    let times =
        [(Initializing, T0), (Created, T0 + 10), (Cancelling, T0 + 20), (Canceled, T0 + 30)];
    let subtasks = [ExecutionState::Canceled, ExecutionState::Canceled];
    job(CANCELED, "stopped", RuntimeMode::Streaming, &times, subtasks)
}

/// There is no execution graph yet.
fn initializing() -> ExecutionGraphDetails {
    let times = [(JobStatus::Initializing, T0)];
    let subtasks = [ExecutionState::Created, ExecutionState::Created];
    let mut details = job(INITIALIZING, "new", RuntimeMode::Streaming, &times, subtasks);
    details.summary.tasks.clear();
    details.vertices.iter_mut().for_each(|vertex| vertex.subtasks.clear());
    details
}

fn job(
    job: JobId,
    name: &str,
    mode: RuntimeMode,
    times: &[(JobStatus, i64)],
    subtasks: [ExecutionState; 2],
) -> ExecutionGraphDetails {
    let (status, changed) = *times.last().expect("a job has a status");
    let vertices: Vec<_> =
        [SOURCE, SINK].iter().map(|vertex| vertex_details(*vertex, subtasks)).collect();
    let mut tasks = BTreeMap::new();
    for attempt in vertices.iter().flat_map(|vertex| &vertex.subtasks) {
        *tasks.entry(attempt.state).or_default() += 1;
    }
    ExecutionGraphDetails {
        summary: JobSummary {
            job,
            name: name.to_owned(),
            status,
            started: T0,
            ended: status.is_globally_terminal().then_some(changed),
            last_modified: changed,
            tasks,
        },
        status_times: times.iter().copied().collect(),
        graph: graph(name, mode),
        vertices,
        root_failure: None,
        failures: Vec::new(),
        waiting_for: None,
        restarts: 0,
        checkpoints: None,
    }
}

/// The first subtask is on worker `a`, the second on worker `b`.
fn vertex_details(vertex: JobVertexId, states: [ExecutionState; 2]) -> VertexDetails {
    let subtasks = states.iter().zip(["a", "b"]).enumerate();
    let subtasks = subtasks
        .map(|(subtask, (state, name))| attempt_details(vertex, subtask as u32, *state, name));
    VertexDetails { subtasks: subtasks.collect() }
}

fn attempt_details(
    vertex: JobVertexId,
    subtask: u32,
    state: ExecutionState,
    name: &str,
) -> AttemptDetails {
    use ExecutionState::*;
    let placed = state != Created;
    let mut state_times: BTreeMap<_, _> = [(Created, T0 + 10)].into();
    if placed {
        state_times.extend([(Scheduled, T0 + 20), (Deploying, T0 + 30), (Running, T0 + 50)]);
        state_times.entry(state).or_insert(T0 + 80);
    }
    let graph = ExecutionGraphId(1);
    let sizes = Box::new(Spread::of(vec![3, 4], 2));
    AttemptDetails {
        attempt: ExecutionAttemptId { graph, vertex, subtask, attempt: 1 },
        state,
        state_times,
        place: placed.then(|| (worker(name), AllocationId(u128::from(subtask) + 1))),
        endpoint: placed.then(|| "127.0.0.1:7001".to_owned()),
        metrics: TaskMetrics {
            records_in: 10 + u64::from(subtask),
            records_out: 20,
            bytes_in: 300,
            bytes_out: 400,
            busy_ms: 700,
            idle_ms: 200,
            back_pressured_ms: 100,
            watermark: Some(T0 + i64::from(subtask)),
            accumulators: [("lines".to_owned(), AccumulatorValue::Counter(10))].into(),
            user: [
                ("print.lines".to_owned(), MetricValue::Counter(10 + i64::from(subtask))),
                ("print.sizes".to_owned(), MetricValue::Histogram(sizes)),
            ]
            .into(),
        },
    }
}

/// Worker `name` at `process`, with two slots of which the running job has one.
pub(crate) fn task_manager(name: &str, process: &str) -> TaskManagerDetails {
    let profile = ResourceProfile {
        cpu_millis: 1_500,
        task_memory: 256 << 20,
        managed_memory: 128 << 20,
        network_memory: 64 << 20,
    };
    let slot = |allocation| SlotStatus { profile, allocation };
    let slots = [(0, slot(Some((AllocationId(1), RUNNING)))), (1, slot(None))].into();
    TaskManagerDetails {
        registration: TaskExecutorRegistration {
            address: Address { process: process.to_owned(), endpoint: EndpointName::TaskExecutor },
            resource: worker(name),
            data_address: "127.0.0.1:7001".to_owned(),
            hardware: HardwareDescription {
                cpu_cores: 2,
                physical_memory: 8 << 30,
                free_memory: 4 << 30,
                managed_memory: 256 << 20,
            },
            memory: MemoryConfiguration {
                process: 1 << 30,
                task: 512 << 20,
                network: 128 << 20,
                managed: 256 << 20,
            },
            default_slot: profile,
            total: profile,
            slots: 2,
        },
        instance: InstanceId(1),
        slots: SlotReport { slots },
        last_heartbeat: T0 + 1_000,
        free: profile,
    }
}
