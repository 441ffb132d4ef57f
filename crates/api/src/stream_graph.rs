//! The stream graph: what the program declared, operator by operator, untyped.

use millstream_core::error::Location;
use millstream_core::job_graph::ShipStrategy;
use millstream_core::job_state::DeclaredState;
use millstream_core::{OperatorError, job_graph::SourceSplit};
use millstream_operator::context::{RoutingFunction, TaskContext};
use millstream_operator::either::Lift;
use millstream_operator::operator::Operator;
use millstream_operator::plan::{Factory, RouterContext};
use millstream_operator::side_output::OutputTag;
use millstream_operator::source::AnySource;
use millstream_shuffle::partition::{BatchPrototype, ForwardRouter, Router};
use std::sync::Arc;

/// The index of a node in [`StreamGraph::nodes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub usize);

/// Everything that was declared since the last `execute`.
#[derive(Default)]
pub struct StreamGraph {
    /// In the order of declaration, which is topological.
    pub nodes: Vec<StreamNode>,
}

/// One declared operator.
pub struct StreamNode {
    /// What kind of operator, with its types: part of the plan's signature.
    pub kind: String,
    /// What the user called it, or the verb.
    pub name: String,
    /// Whether the user chose the name.
    pub named: bool,
    /// Whether it keeps state between records.
    pub stateful: bool,
    /// What state it has; nothing where that is known only when it runs.
    pub states: Option<Vec<DeclaredState>>,
    /// Whether it can have side outputs.
    pub gives_sides: bool,
    /// The user's own identity for it.
    pub uid: Option<String>,
    /// The line of the user's program.
    pub declared_at: Location,
    /// As set by the user.
    pub parallelism: Option<u32>,
    /// What the source or sink can bear.
    pub parallelism_max: Option<u32>,
    /// As set by the user.
    pub max_parallelism: Option<u32>,
    /// As set by the user.
    pub slot_sharing_group: Option<String>,
    /// As set by the user.
    pub chaining: Chaining,
    /// Where its records come from.
    pub inputs: Vec<StreamEdge>,
    /// What it is.
    pub body: NodeBody,
    /// Empty batches of what it gives.
    pub output_type: BatchPrototype,
}

/// What a node is.
pub enum NodeBody {
    /// A source.
    Source {
        /// Makes a task's part of it.
        factory: Factory<Box<dyn AnySource>>,
        /// Whether it ends by itself.
        bounded: bool,
        /// Whether it can read again what it has read.
        replays: bool,
        /// Lists its parts.
        splits: Box<dyn Fn() -> Result<Vec<SourceSplit>, OperatorError>>,
    },
    /// Anything with input.
    Operator {
        /// Makes a task's part of it.
        factory: Factory<Box<dyn Operator>>,
        /// Empty batches of what it takes.
        input_type: BatchPrototype,
    },
}

impl NodeBody {
    /// An operator of each task that is made by this function.
    pub fn operator<T: millstream_core::Record, O: Operator + 'static>(
        mut make: impl FnMut(&TaskContext) -> Result<O, OperatorError> + Send + 'static,
    ) -> Self {
        NodeBody::Operator {
            factory: Factory::new(move |context| {
                let operator: Box<dyn Operator> = Box::new(make(context)?);
                Ok(operator)
            }),
            input_type: BatchPrototype::of::<T>(),
        }
    }
}

/// Whether an operator may run in one task with its neighbours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Chaining {
    /// With both.
    #[default]
    Always,
    /// Not with the one before it.
    Head,
    /// With none.
    Never,
}

/// Records of one node on their way to another.
pub struct StreamEdge {
    /// The producer.
    pub from: NodeId,
    /// Which of its side outputs; nothing: its own.
    pub side: Option<SideTag>,
    /// How they are marked, if the consumer has two inputs.
    pub lift: Option<Lift>,
    /// How they find their subtask; nothing: straight on where parallelism allows, else in turn.
    pub ship: Option<Ship>,
}

/// A tag, untyped.
#[derive(Clone)]
pub struct SideTag {
    /// Its name.
    pub name: Arc<str>,
    /// The type of its records, for comparing and for people.
    pub type_name: &'static str,
    /// The shape of its records: part of the plan's signature.
    pub schema: String,
    /// Empty batches of its records.
    pub output_type: BatchPrototype,
}

impl SideTag {
    /// A typed tag's.
    pub fn of<T: millstream_core::Record>(tag: &OutputTag<T>) -> Self {
        Self {
            name: tag.name().into(),
            type_name: std::any::type_name::<T>(),
            schema: T::schema().to_string(),
            output_type: BatchPrototype::of::<T>(),
        }
    }
}

/// How records find their subtask.
pub struct Ship {
    /// The pattern.
    pub strategy: ShipStrategy,
    /// Makes the router of one producer task.
    pub router: Factory<Box<dyn Router>, RouterContext>,
    /// Part of the plan's signature.
    pub signature: String,
    /// The user's function that the router calls, if it calls one.
    pub function: Option<RoutingFunction>,
}

impl Ship {
    /// Records find their subtask through a router of the producer's task.
    pub fn new(
        strategy: ShipStrategy,
        signature: impl Into<String>,
        mut make: impl FnMut(&RouterContext) -> Box<dyn Router> + Send + 'static,
    ) -> Self {
        let router = Factory::new(move |context| Ok(make(context)));
        Self { strategy, router, signature: signature.into(), function: None }
    }

    /// The same, through a function of the user's.
    pub fn calling(mut self, function: RoutingFunction) -> Self {
        self.function = Some(function);
        self
    }
}

/// Straight on: the router of an edge without a choice.
pub(crate) fn forward() -> Ship {
    Ship::new(ShipStrategy::Forward, "forward", |_: &RouterContext| Box::new(ForwardRouter))
}
