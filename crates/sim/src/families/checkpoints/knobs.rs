//! What a played job is like, and what goes wrong.

use millstream_core::error::Location;
use millstream_core::ids::{DataSetId, JobVertexId, OperatorId};
use millstream_core::job_graph::{
    ExchangeMode, JobEdge, JobGraph, JobVertex, OperatorInfo, PlanSignature, RuntimeMode,
    ShipStrategy, SourceSplit,
};
use millstream_core::key_group::MaxParallelism;
use millstream_rpc::machine::Rng;

/// What goes wrong, and what the job is like. Chances are in thousandths.
pub(super) struct Knobs {
    /// That a task fails when it goes on.
    pub(super) failures: u64,
    /// That what is told to tasks or by them of checkpoints gets lost.
    pub(super) lost_tells: u64,
    /// That it comes twice.
    pub(super) doubled_tells: u64,
    /// That an acknowledgement comes once more, for another checkpoint or of another attempt.
    pub(super) forged: u64,
    /// That a work fails, or that nobody knows.
    pub(super) store_faults: u64,
    /// Works take seconds.
    pub(super) slow_store: bool,
    pub(super) incremental: bool,
    pub(super) interval_ms: u64,
    /// The job is stopped with a savepoint, and another goes on from it.
    pub(super) stop: bool,
    pub(super) splits: u8,
    /// Job masters crash, sleep and are followed by others.
    pub(super) leaders: bool,
}

impl Knobs {
    /// Nothing goes wrong.
    pub(super) fn calm(rng: &mut Rng) -> Self {
        Self {
            failures: 0,
            lost_tells: 0,
            doubled_tells: 0,
            forged: 0,
            store_faults: 0,
            slow_store: false,
            incremental: rng.below(2) == 0,
            interval_ms: 200 + rng.below(1_500),
            stop: false,
            splits: 1 + rng.below(8) as u8,
            leaders: false,
        }
    }
}

pub(super) fn draw_graph(rng: &mut Rng, knobs: &Knobs) -> JobGraph {
    let count = 1 + rng.below(2) as usize;
    let vertices: Vec<JobVertex> = (0..count)
        .map(|number| JobVertex {
            id: JobVertexId(100 + number as u128),
            name: format!("vertex {number}"),
            parallelism: 1 + rng.below(3) as u32,
            max_parallelism: MaxParallelism::new(128).expect("within bounds"),
            slot_sharing_group: "default".to_owned(),
            operators: vec![OperatorInfo {
                id: OperatorId(100 + number as u128),
                name: format!("operator {number}"),
                declared_at: Location::default(),
                states: None,
            }],
            splits: match number {
                0 => (0..knobs.splits).map(|split| SourceSplit(vec![split])).collect(),
                _ => Vec::new(),
            },
        })
        .collect();
    let edges = (1..count).map(|target| JobEdge {
        data_set: DataSetId(200),
        source: target - 1,
        target,
        ship: if rng.below(2) == 0 { ShipStrategy::Hash } else { ShipStrategy::Rescale },
        exchange: ExchangeMode::Pipelined,
    });
    let edges = edges.collect();
    let number = |number: u64| number.to_string();
    let configuration = [
        ("restart-strategy.exponential-delay.initial-backoff", "100 ms".to_owned()),
        ("restart-strategy.exponential-delay.max-backoff", "2 s".to_owned()),
        ("restart-strategy.repeat-limit", "0".to_owned()),
        ("execution.checkpointing.dir", "/c".to_owned()),
        ("execution.checkpointing.savepoint-dir", "/s".to_owned()),
        ("execution.checkpointing.interval", number(knobs.interval_ms)),
        ("execution.checkpointing.timeout", "3 s".to_owned()),
        ("execution.checkpointing.min-pause", number(rng.below(2) * rng.below(500))),
        ("execution.checkpointing.tolerable-failed-checkpoints", number(rng.below(2) * 1_000)),
        ("execution.checkpointing.num-retained", number(1 + rng.below(3))),
        ("execution.checkpointing.max-concurrent-checkpoints", number(1 + rng.below(2))),
        ("execution.checkpointing.incremental", knobs.incremental.to_string()),
    ];
    let configuration = configuration.into_iter().map(|(key, value)| (key.to_owned(), value));
    JobGraph {
        name: "a job".to_owned(),
        vertices,
        edges,
        mode: RuntimeMode::Streaming,
        configuration: configuration.collect(),
        signature: PlanSignature::default(),
        program: None,
    }
}
