//! Small graphs for tests.

use super::vertex::Place;
use super::{ExecutionGraph, ExecutionVertexId};
use millstream_core::ids::{
    AllocationId, DataSetId, ExecutionAttemptId, ExecutionGraphId, JobId, JobVertexId, ResourceId,
};
use millstream_core::job_graph::{
    ExchangeMode, JobEdge, JobGraph, JobVertex, PlanSignature, RuntimeMode, ShipStrategy,
    SourceSplit,
};
use millstream_core::key_group::MaxParallelism;
use std::collections::BTreeMap;

/// The id of every graph that is begun by these helpers.
pub(crate) const GRAPH: ExecutionGraphId = ExecutionGraphId(9);

pub(crate) fn attempt(vertex: u128, subtask: u32, attempt: u32) -> ExecutionAttemptId {
    ExecutionAttemptId { graph: GRAPH, vertex: JobVertexId(vertex), subtask, attempt }
}

/// A job graph from text. `a:2` is a vertex with parallelism 2 (ids count from 1), `a:2@red` is in
/// the slot sharing group `red`, `a:2*5` has five splits; `a~hash~b` is a pipelined exchange,
/// `a=hash=b` a blocking one.
pub(crate) fn graph_of(plan: &str) -> JobGraph {
    let mut graph = JobGraph {
        name: "test".to_owned(),
        vertices: Vec::new(),
        edges: Vec::new(),
        mode: RuntimeMode::Streaming,
        configuration: BTreeMap::new(),
        signature: PlanSignature::default(),
        program: None,
    };
    for word in plan.split_whitespace() {
        match word.split_once(':') {
            Some((name, rest)) => graph.vertices.push(vertex_of(graph.vertices.len(), name, rest)),
            None => graph.edges.push(edge_of(&graph, word)),
        }
    }
    graph
}

fn vertex_of(index: usize, name: &str, rest: &str) -> JobVertex {
    let (rest, splits) = rest.split_once('*').unwrap_or((rest, "0"));
    let (parallelism, group) = rest.split_once('@').unwrap_or((rest, "default"));
    let splits: u8 = splits.parse().expect("a number of splits");
    JobVertex {
        id: JobVertexId(index as u128 + 1),
        name: name.to_owned(),
        parallelism: parallelism.parse().expect("a parallelism"),
        max_parallelism: MaxParallelism::default_for(1),
        slot_sharing_group: group.to_owned(),
        operators: Vec::new(),
        splits: (0..splits).map(|n| SourceSplit(vec![n])).collect(),
    }
}

fn edge_of(graph: &JobGraph, word: &str) -> JobEdge {
    let pipelined = word.contains('~');
    let parts: Vec<&str> = word.split(['~', '=']).collect();
    let [source, ship, target] = parts[..] else { panic!("`{word}` is no edge") };
    let index = |name: &str| {
        let found = graph.vertices.iter().position(|v| v.name == name);
        found.expect("a vertex of the graph")
    };
    JobEdge {
        data_set: DataSetId(graph.edges.len() as u128 + 1),
        source: index(source),
        target: index(target),
        ship: match ship {
            "forward" => ShipStrategy::Forward,
            "rescale" => ShipStrategy::Rescale,
            "hash" => ShipStrategy::Hash,
            "rebalance" => ShipStrategy::Rebalance,
            "broadcast" => ShipStrategy::Broadcast,
            _ => panic!("`{ship}` is no ship strategy of these tests"),
        },
        exchange: if pipelined { ExchangeMode::Pipelined } else { ExchangeMode::Blocking },
    }
}

/// An execution graph that has begun.
pub(crate) fn begun(plan: &str) -> ExecutionGraph {
    let mut graph = ExecutionGraph::new(JobId(1), graph_of(plan)).expect("a valid graph");
    graph.begin(GRAPH, 0);
    graph
}

pub(crate) fn id(vertex: usize, subtask: u32) -> ExecutionVertexId {
    ExecutionVertexId { vertex, subtask }
}

pub(crate) fn place(worker: &str, allocation: u128) -> Place {
    Place {
        resource: ResourceId(worker.to_owned()),
        allocation: AllocationId(allocation),
        data_address: format!("{worker}:9000"),
    }
}
