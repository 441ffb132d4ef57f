//! Jobs for scenarios.

use crate::cluster::{Setup, Timing};
use crate::nodes::client::JobPlan;
use crate::nodes::job_process::{ENDLESS, SLOW, UNFIT};
use millstream_core::error::Location;
use millstream_core::ids::{DataSetId, JobId, JobVertexId, OperatorId};
use millstream_core::job_graph::{
    ExchangeMode, JobEdge, JobGraph, JobVertex, OperatorInfo, PlanSignature, RuntimeMode,
    ShipStrategy, SourceSplit,
};
use millstream_core::key_group::MaxParallelism;
use millstream_rpc::machine::Rng;
use std::collections::BTreeMap;

/// What a job may look like.
#[derive(Clone, Copy, Debug)]
pub struct JobShape {
    /// Most subtasks of a vertex.
    pub parallelism_max: u32,
    /// Whether exchanges may be blocking.
    pub blocking: bool,
    /// Whether it may run for ever.
    pub endless: bool,
    /// Whether its tasks take long.
    pub slow: bool,
}

/// A job of one to three vertices in a row.
pub fn draw_graph(rng: &mut Rng, shape: JobShape) -> JobGraph {
    let count = 1 + rng.below(3) as usize;
    let vertices: Vec<JobVertex> =
        (0..count).map(|number| draw_vertex(rng, number, shape)).collect();
    let edges = (1..count).map(|target| draw_edge(rng, &vertices, target, shape)).collect();
    // So that no chance failure ends a job for good: what is looked for is that it goes on.
    let configuration = [
        ("restart-strategy.type", "exponential-delay"),
        ("restart-strategy.exponential-delay.initial-backoff", "100 ms"),
        ("restart-strategy.exponential-delay.max-backoff", "2 s"),
        ("restart-strategy.repeat-limit", "0"),
    ];
    let text = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    JobGraph {
        name: "a job".to_owned(),
        vertices,
        edges,
        mode: if shape.blocking { RuntimeMode::Batch } else { RuntimeMode::Streaming },
        configuration: configuration.into_iter().map(text).collect::<BTreeMap<_, _>>(),
        signature: PlanSignature::default(),
        program: None,
    }
}

fn draw_vertex(rng: &mut Rng, number: usize, shape: JobShape) -> JobVertex {
    let parallelism = 1 + rng.below(u64::from(shape.parallelism_max)) as u32;
    let splits = if number == 0 && !shape.endless { rng.below(6) as u8 } else { 0 };
    let kind = match shape {
        JobShape { endless: true, .. } => ENDLESS,
        JobShape { slow: true, .. } => SLOW,
        _ => "finite",
    };
    JobVertex {
        id: JobVertexId(100 + number as u128),
        name: format!("{kind} {number}"),
        parallelism,
        max_parallelism: MaxParallelism::default_for(parallelism),
        slot_sharing_group: if rng.below(4) == 0 { format!("g{number}") } else { "default".into() },
        operators: vec![OperatorInfo {
            id: OperatorId(100 + number as u128),
            name: format!("op {number}"),
            declared_at: Location::default(),
            states: None,
        }],
        splits: (0..splits).map(|split| SourceSplit(vec![split])).collect(),
    }
}

fn draw_edge(rng: &mut Rng, vertices: &[JobVertex], target: usize, shape: JobShape) -> JobEdge {
    let source = target - 1;
    let equal = vertices[source].parallelism == vertices[target].parallelism;
    let ship = match rng.below(3) {
        0 if equal => ShipStrategy::Forward,
        1 => ShipStrategy::Rescale,
        _ => ShipStrategy::Hash,
    };
    let blocking = shape.blocking && rng.below(2) == 0;
    JobEdge {
        data_set: DataSetId(200 + target as u128),
        source,
        target,
        ship,
        exchange: if blocking { ExchangeMode::Blocking } else { ExchangeMode::Pipelined },
    }
}

/// Jobs that are submitted in the first third of the run, some of them cancelled later.
pub fn draw_jobs(
    rng: &mut Rng,
    most: u64,
    end_at_ms: u64,
    cancelled: u64,
    shape: JobShape,
) -> Vec<JobPlan> {
    let count = 1 + rng.below(most);
    (0..count)
        .map(|number| {
            let submit_at_ms = rng.below(end_at_ms / 3);
            let endless = shape.endless && rng.below(2) == 0;
            let cancel = endless || rng.one_in_thousand(cancelled);
            let cancel_at_ms = cancel.then(|| submit_at_ms + rng.below(end_at_ms / 3));
            let mut graph = draw_graph(rng, JobShape { endless, ..shape });
            if rng.one_in_thousand(30) {
                graph.name = UNFIT.to_owned();
            }
            JobPlan {
                job: JobId(rng.next_u128() << 8 | u128::from(number)),
                graph,
                submit_at_ms,
                cancel_at_ms,
            }
        })
        .collect()
}

/// A cluster with jobs, in a run of twenty heartbeat timeouts.
pub fn draw_setup(
    rng: &mut Rng,
    timing: Timing,
    workers_max: u64,
    jobs_max: u64,
    cancelled: u64,
    shape: JobShape,
) -> Setup {
    let end_at_ms = 20 * timing.heartbeat().timeout_ms;
    let workers = 1 + rng.below(workers_max) as usize;
    let jobs = draw_jobs(rng, jobs_max, end_at_ms, cancelled, shape);
    Setup {
        workers,
        slots: slots_for(&jobs, workers) + rng.below(2) as u32,
        jobs,
        timing,
        embedded: false,
        standby: false,
    }
}

/// So many slots per worker that all jobs can run at the same time: who waits for a slot that
/// cannot come would say nothing about the cluster.
fn slots_for(jobs: &[JobPlan], workers: usize) -> u32 {
    let needed: u32 = jobs.iter().map(|plan| plan.graph.slots_needed()).sum();
    needed.div_ceil(workers as u32).max(1)
}
