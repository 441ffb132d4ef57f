//! A plan: the job graph and, for each vertex, the factories of what its tasks run.
//!
//! Made by the API in every process that runs the program; only the graph travels. Factories are
//! called on the slot thread of the task, so what they make need not be `Send`.

use crate::context::{OperatorLabel, RoutingLabel, TaskContext};
use crate::either::Lift;
use crate::operator::Operator;
use crate::source::AnySource;
use millstream_core::OperatorError;
use millstream_core::job_graph::JobGraph;
use millstream_core::key_group::MaxParallelism;
use millstream_shuffle::partition::{BatchPrototype, Router};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// A job, ready to be run by whoever holds it.
pub struct Plan {
    /// What travels.
    pub graph: JobGraph,
    /// What each vertex runs, in the order of the graph's vertices.
    pub vertices: Vec<VertexPlan>,
    /// What the user should know before the job runs.
    pub warnings: Vec<String>,
    /// Files that functions ask for by name, where they are in this process.
    pub cached_files: Arc<BTreeMap<String, PathBuf>>,
}

/// What the tasks of one vertex run.
pub struct VertexPlan {
    /// Where records come from.
    pub head: Head,
    /// Per gate, how its records are marked where there are two inputs; empty where there is one.
    pub lifts: Vec<Option<Lift>>,
    /// The chain after the head, in order.
    pub operators: Vec<ChainedOperator>,
    /// How records leave: one per outgoing edge, in the order of the graph's edges.
    pub outputs: Vec<PlannedOutput>,
    /// Empty batches of what leaves the chain.
    pub output_type: BatchPrototype,
}

/// Where a chain's records come from.
pub enum Head {
    /// A source.
    Source(OperatorLabel, Factory<Box<dyn AnySource>>),
    /// Other tasks. Batches of this type come in.
    Exchange(BatchPrototype),
}

/// One operator of a chain.
pub struct ChainedOperator {
    /// Told with every failure.
    pub label: OperatorLabel,
    /// Makes the operator.
    pub factory: Factory<Box<dyn Operator>>,
    /// Those of its side outputs that somebody reads.
    pub sides: Vec<SideOutput>,
}

/// A side output that somebody reads.
pub struct SideOutput {
    /// The name of its tag.
    pub name: Arc<str>,
    /// Empty batches of its records.
    pub output_type: BatchPrototype,
}

/// Whose records travel along an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputOf {
    /// What leaves the chain.
    Chain,
    /// A side output: the operator's index in [`VertexPlan::operators`], and the index in its
    /// [`ChainedOperator::sides`].
    Side(usize, usize),
}

/// How records leave a task along one edge.
pub struct PlannedOutput {
    /// Whose records they are.
    pub of: OutputOf,
    /// Told with failures of the user's function that routes, if there is one.
    pub label: Option<RoutingLabel>,
    /// Makes the router.
    pub router: Factory<Box<dyn Router>, RouterContext>,
}

/// What a router knows of its edge.
pub struct RouterContext {
    /// The producing task.
    pub task: TaskContext,
    /// How many key groups the consuming vertex has.
    pub consumer_max_parallelism: MaxParallelism,
}

/// Makes one thing per task.
pub struct Factory<T, C = TaskContext>(Mutex<Box<MakeFn<T, C>>>);

type MakeFn<T, C> = dyn FnMut(&C) -> Result<T, OperatorError> + Send;

impl VertexPlan {
    /// Empty batches of the records of one of its outputs.
    pub fn type_of(&self, output: &PlannedOutput) -> &BatchPrototype {
        match output.of {
            OutputOf::Chain => &self.output_type,
            OutputOf::Side(operator, side) => &self.operators[operator].sides[side].output_type,
        }
    }
}

impl<T, C> Factory<T, C> {
    /// Makes things with this function, on the thread that will own them.
    pub fn new(make: impl FnMut(&C) -> Result<T, OperatorError> + Send + 'static) -> Self {
        Self(Mutex::new(Box::new(make)))
    }

    /// Makes one.
    pub fn make(&self, context: &C) -> Result<T, OperatorError> {
        // A user's function that panicked while it made another task's part leaves nothing broken.
        let mut make = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        make(context)
    }
}
