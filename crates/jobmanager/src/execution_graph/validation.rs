//! What a job graph must be before it is run. A graph comes from a client, so each demand has a
//! message of its own instead of an assertion.

use millstream_core::job_graph::{JobEdge, JobGraph, ShipStrategy};
use std::collections::BTreeSet;

/// Why a job graph cannot be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidJobGraph(pub String);

impl std::fmt::Display for InvalidJobGraph {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the job graph cannot be run: {}", self.0)
    }
}

impl std::error::Error for InvalidJobGraph {}

pub(super) fn validate(graph: &JobGraph) -> Result<(), InvalidJobGraph> {
    let problem = vertices_problem(graph).or_else(|| {
        let mut data_sets = BTreeSet::new();
        graph.edges.iter().find_map(|edge| {
            let repeated = (!data_sets.insert(edge.data_set))
                .then(|| format!("data set {} is named by two edges", edge.data_set));
            repeated.or_else(|| edge_problem(graph, edge))
        })
    });
    problem.map_or(Ok(()), |text| Err(InvalidJobGraph(text)))
}

fn vertices_problem(graph: &JobGraph) -> Option<String> {
    if graph.vertices.is_empty() {
        return Some("it has no vertices".to_owned());
    }
    let mut ids = BTreeSet::new();
    graph.vertices.iter().find_map(|vertex| {
        let (name, parallelism) = (&vertex.name, vertex.parallelism);
        let most = vertex.max_parallelism.get();
        if !ids.insert(vertex.id) {
            Some(format!("two vertices have the id {}", vertex.id))
        } else if parallelism == 0 {
            Some(format!("vertex `{name}` has parallelism 0"))
        } else if parallelism > most {
            Some(format!(
                "vertex `{name}` has parallelism {parallelism}, its max parallelism is {most}"
            ))
        } else {
            None
        }
    })
}

fn edge_problem(graph: &JobGraph, edge: &JobEdge) -> Option<String> {
    let (Some(source), Some(target)) =
        (graph.vertices.get(edge.source), graph.vertices.get(edge.target))
    else {
        return Some(format!(
            "an edge leads from vertex {} to {}, and there are {} vertices",
            edge.source,
            edge.target,
            graph.vertices.len()
        ));
    };
    if edge.source >= edge.target {
        return Some(format!(
            "vertex `{}` comes before its producer `{}`",
            target.name, source.name
        ));
    }
    let unequal = edge.ship == ShipStrategy::Forward && source.parallelism != target.parallelism;
    unequal.then(|| {
        format!(
            "a forward exchange leads from `{}` with parallelism {} to `{}` with parallelism {}",
            source.name, source.parallelism, target.name, target.parallelism
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execution_graph::testing::graph_of;

    #[test]
    fn a_graph_that_cannot_be_run_is_refused_in_words() {
        type Spoil = fn(&mut JobGraph);
        let cases: [(Spoil, &str); 7] = [
            (|g| g.vertices.clear(), "it has no vertices"),
            (|g| g.vertices[1].id = g.vertices[0].id, "two vertices have the id"),
            (|g| g.vertices[1].parallelism = 0, "vertex `b` has parallelism 0"),
            (|g| g.vertices[0].parallelism = 200, "its max parallelism is 128"),
            (|g| g.edges[0].target = 7, "from vertex 0 to 7, and there are 2"),
            (|g| g.edges[0].source = 1, "comes before its producer"),
            (|g| g.vertices[1].parallelism = 1, "a forward exchange leads from `a`"),
        ];
        for (spoil, expected) in cases {
            let mut graph = graph_of("a:2 b:2 a~forward~b");
            assert_eq!(validate(&graph), Ok(()));
            spoil(&mut graph);
            let problem = validate(&graph).expect_err(expected).to_string();
            assert!(problem.contains(expected), "{problem}");
        }
    }
}
