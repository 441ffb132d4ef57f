//! Pipelined regions: subtasks that live and die together.
//!
//! Subtasks tied by pipelined exchanges run at the same time, and when one fails all of them start
//! over. Regions are made of subtasks, not of vertices, as in Flink: a job of forward exchanges
//! only falls into one region per subtask, and each fails alone.

use super::ExecutionVertexId;
use millstream_core::job_graph::{ExchangeMode, JobGraph};
use std::collections::BTreeMap;

/// A region's number: its place in [`Regions`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RegionId(pub usize);

/// All regions of a job.
#[derive(Clone, Debug, Default)]
pub struct Regions {
    /// In topological order of their first member; members in topological order.
    members: Vec<Vec<ExecutionVertexId>>,
    /// By vertex, then subtask.
    of: Vec<Vec<RegionId>>,
}

impl Regions {
    /// Ties the subtasks of a valid job graph.
    pub fn new(graph: &JobGraph) -> Self {
        let mut ties = Ties::new(graph);
        for edge in &graph.edges {
            if edge.exchange == ExchangeMode::Pipelined {
                let producers = graph.vertices[edge.source].parallelism;
                let consumers = graph.vertices[edge.target].parallelism;
                for consumer in 0..consumers {
                    for producer in edge.ship.producers_of(consumer, producers, consumers) {
                        ties.tie((edge.source, producer), (edge.target, consumer));
                        // All-to-all: the first consumer ties all producers, and one producer
                        // ties each other consumer to them.
                        if consumer > 0 && !edge.ship.is_pointwise() {
                            break;
                        }
                    }
                }
            }
        }
        ties.into_regions(graph)
    }

    /// The region of a subtask.
    pub fn of(&self, id: ExecutionVertexId) -> RegionId {
        self.of[id.vertex][id.subtask as usize]
    }

    /// A region's subtasks, producers before consumers.
    pub fn members(&self, region: RegionId) -> &[ExecutionVertexId] {
        &self.members[region.0]
    }

    /// Every region, in topological order of their first members.
    pub fn ids(&self) -> impl Iterator<Item = RegionId> + use<> {
        (0..self.members.len()).map(RegionId)
    }
}

/// A union-find over all subtasks: each points to an earlier one of its region, or to itself.
struct Ties {
    /// Where a vertex's subtasks begin in `parent`.
    first: Vec<usize>,
    parent: Vec<usize>,
}

impl Ties {
    fn new(graph: &JobGraph) -> Self {
        let mut first = Vec::with_capacity(graph.vertices.len());
        let mut all = 0;
        for vertex in &graph.vertices {
            first.push(all);
            all += vertex.parallelism as usize;
        }
        Self { first, parent: (0..all).collect() }
    }

    fn root(&mut self, (vertex, subtask): (usize, u32)) -> usize {
        let mut at = self.first[vertex] + subtask as usize;
        while self.parent[at] != at {
            self.parent[at] = self.parent[self.parent[at]];
            at = self.parent[at];
        }
        at
    }

    fn tie(&mut self, a: (usize, u32), b: (usize, u32)) {
        let (a, b) = (self.root(a), self.root(b));
        self.parent[a.max(b)] = a.min(b);
    }

    /// The root of a region is its first member, so regions come out in topological order.
    fn into_regions(mut self, graph: &JobGraph) -> Regions {
        let mut regions = Regions::default();
        let mut numbers = BTreeMap::new();
        for (vertex, planned) in graph.vertices.iter().enumerate() {
            let mut of = Vec::with_capacity(planned.parallelism as usize);
            for subtask in 0..planned.parallelism {
                let root = self.root((vertex, subtask));
                let region = *numbers.entry(root).or_insert_with(|| {
                    regions.members.push(Vec::new());
                    RegionId(regions.members.len() - 1)
                });
                regions.members[region.0].push(ExecutionVertexId { vertex, subtask });
                of.push(region);
            }
            regions.of.push(of);
        }
        regions
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execution_graph::testing::graph_of;

    /// Regions as text: `a0 b0 | a1 b1`.
    #[track_caller]
    fn check(plan: &str, expected: &str) {
        let graph = graph_of(plan);
        let regions = Regions::new(&graph);
        let found: Vec<String> = regions
            .ids()
            .map(|region| {
                let member = |id: &ExecutionVertexId| {
                    format!("{}{}", graph.vertices[id.vertex].name, id.subtask)
                };
                let names: Vec<String> = regions.members(region).iter().map(member).collect();
                names.join(" ")
            })
            .collect();
        assert_eq!(found.join(" | "), expected, "{plan}");
    }

    #[test]
    fn pipelined_exchanges_tie_the_subtasks_that_they_connect() {
        for (plan, expected) in [
            ("a:2 b:2 a~hash~b", "a0 a1 b0 b1"),
            ("a:2 b:2 a~forward~b", "a0 b0 | a1 b1"),
            ("a:4 b:2 a~rescale~b", "a0 a1 b0 | a2 a3 b1"),
            ("a:2 b:2 a=hash=b", "a0 | a1 | b0 | b1"),
            ("a:2 b:1 c:2 a~forward~c b~broadcast~c", "a0 a1 b0 c0 c1"),
            ("a:1 b:1 c:1 a=hash=b a~hash~c c~hash~b", "a0 b0 c0"),
            ("a:2 b:2 c:2 a=hash=b b~forward~c", "a0 | a1 | b0 c0 | b1 c1"),
        ] {
            check(plan, expected);
        }
    }

    #[test]
    fn regions_agree_with_the_job_graphs_own_where_all_exchanges_are_all_to_all() {
        let graph = graph_of("a:3 b:2 c:4 d:1 a~hash~b b=hash=c c~rebalance~d");
        let of_vertices = graph.pipelined_regions();
        let regions = Regions::new(&graph);
        let mut found: Vec<Vec<usize>> = regions
            .ids()
            .map(|r| regions.members(r).iter().map(|id| id.vertex).collect())
            .collect();
        found.iter_mut().for_each(Vec::dedup);
        assert_eq!(found, of_vertices);
    }
}
