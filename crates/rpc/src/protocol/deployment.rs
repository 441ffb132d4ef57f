//! What a task executor needs to run one execution attempt: where its data comes from and goes to.

use millstream_checkpoint::handle::TaskRestore;
use millstream_core::ids::{
    AllocationId, DataSetId, ExecutionAttemptId, JobId, JobVertexId, PartitionId, ResourceId,
};
use millstream_core::job_graph::{ExchangeMode, ShipStrategy};
use millstream_core::key_group::MaxParallelism;
use serde::{Deserialize, Serialize};

/// One execution attempt, ready to be started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskDeploymentDescriptor {
    /// The job.
    pub job: JobId,
    /// The attempt; holds vertex, subtask and attempt number.
    pub attempt: ExecutionAttemptId,
    /// The vertex's name.
    pub task_name: String,
    /// The slot in which it runs.
    pub allocation: AllocationId,
    /// How many subtasks the vertex has.
    pub parallelism: u32,
    /// How many key groups.
    pub max_parallelism: MaxParallelism,
    /// What it produces: one partition per outgoing edge, in the order of the job graph's edges.
    pub partitions: Vec<ResultPartitionDescriptor>,
    /// What it reads: one gate per incoming edge, in the order of the job graph's edges.
    pub gates: Vec<InputGateDescriptor>,
    /// How the task takes part in checkpoints; nothing where there are none.
    pub checkpointing: Option<CheckpointSetup>,
    /// What the task begins with; nothing for a task that begins afresh.
    pub restore: Option<Box<TaskRestore>>,
}

/// How a task takes part in checkpoints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointSetup {
    /// The directory of the job's checkpoints: a path or `s3://…`.
    pub directory: String,
    /// State of less than so many bytes travels with its handle.
    pub inline_bytes_max: u32,
}

/// What one attempt produces for one edge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultPartitionDescriptor {
    /// The edge's data set and this attempt.
    pub partition: PartitionId,
    /// The consuming vertex.
    pub consumer: JobVertexId,
    /// How records find their subpartition.
    pub ship: ShipStrategy,
    /// When consumers may read.
    pub exchange: ExchangeMode,
    /// Subtasks of the consuming vertex: hashes are mapped onto these.
    pub consumer_parallelism: u32,
    /// Key groups of the consuming vertex.
    pub consumer_max_parallelism: MaxParallelism,
    /// Consumers fed by this partition: subpartition `i` is for subtask `first_consumer + i`.
    pub first_consumer: u32,
    /// How many subpartitions there are.
    pub subpartitions: u32,
}

/// What one attempt reads from one edge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputGateDescriptor {
    /// The edge's data set.
    pub data_set: DataSetId,
    /// How records got here.
    pub ship: ShipStrategy,
    /// One per producer that feeds this subtask.
    pub channels: Vec<InputChannelDescriptor>,
}

/// One producer's part of a gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputChannelDescriptor {
    /// What is read.
    pub partition: PartitionId,
    /// Which subpartition of it.
    pub subpartition: u32,
    /// Where it is; not yet known for a producer that has no slot.
    pub location: Option<PartitionLocation>,
}

/// The worker that holds a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionLocation {
    /// The worker. A consumer on the same worker is in the same job process: nothing is sent.
    pub resource: ResourceId,
    /// `host:port` of the worker's data port.
    pub data_address: String,
}
