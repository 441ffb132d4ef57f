//! Job graphs, which clients send.

use crate::rpc;
use millstream_core::ids::JobId;
use millstream_core::job_graph::JobGraph;
use millstream_jobmanager::execution_graph::ExecutionGraph;

/// So many subtasks are built; more would only take longer.
const SUBTASKS_MAX: u64 = 1000;

/// A job graph, and what is made of it: whether it can be run.
pub(crate) fn job_graph(bytes: &[u8]) -> bool {
    if !rpc::value::<JobGraph>(bytes) {
        return false;
    }
    let graph: JobGraph = postcard::from_bytes(bytes).expect("as before");
    let subtasks: u64 = graph.vertices.iter().map(|vertex| u64::from(vertex.parallelism)).sum();
    if subtasks > SUBTASKS_MAX {
        return false;
    }
    match ExecutionGraph::new(JobId(1), graph.clone()) {
        Ok(built) => {
            assert!(built.graph().pipelined_regions().len() <= graph.vertices.len());
            assert!(u64::from(graph.slots_needed()) <= subtasks);
            assert_eq!(graph.signature.first_difference(&graph.signature), None);
            true
        }
        Err(problem) => {
            assert!(!problem.to_string().is_empty());
            false
        }
    }
}
