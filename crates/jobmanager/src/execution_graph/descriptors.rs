//! What a worker is told of an attempt: what it produces, what it reads and where that is.

use super::vertex::Place;
use super::{ExecutionGraph, ExecutionVertexId};
use millstream_core::ids::{ExecutionAttemptId, PartitionId};
use millstream_core::job_graph::JobEdge;
use millstream_rpc::protocol::deployment::{
    InputChannelDescriptor, InputGateDescriptor, ResultPartitionDescriptor,
    TaskDeploymentDescriptor,
};
use std::collections::BTreeMap;

/// Gate, channel, and what it reads.
pub type ChannelUpdate = (u32, u32, InputChannelDescriptor);

/// Channels of a running consumer whose producers have (new) places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionUpdate {
    /// The consumer.
    pub consumer: ExecutionVertexId,
    /// Its current attempt.
    pub attempt: ExecutionAttemptId,
    /// The channels concerned.
    pub channels: Vec<ChannelUpdate>,
}

impl ExecutionGraph {
    /// Describes the current attempt of a subtask that has a place; remembers what it is told.
    pub fn descriptor(&mut self, id: ExecutionVertexId) -> Option<TaskDeploymentDescriptor> {
        let place = self.execution(id).place()?;
        let vertex = &self.graph.vertices[id.vertex];
        let descriptor = TaskDeploymentDescriptor {
            job: self.job,
            attempt: self.attempt_id(id),
            task_name: vertex.name.clone(),
            allocation: place.allocation,
            parallelism: vertex.parallelism,
            max_parallelism: vertex.max_parallelism,
            partitions: self.partitions_of(id),
            gates: self.gates_of(id),
            checkpointing: None,
            restore: None,
        };
        let told = |channel: &InputChannelDescriptor| {
            let known = channel.location.is_some();
            known.then_some(channel.partition.producer.attempt)
        };
        let told_gate = |gate: &InputGateDescriptor| gate.channels.iter().map(told).collect();
        self.current_mut(id).told = descriptor.gates.iter().map(told_gate).collect();
        Some(descriptor)
    }

    fn partitions_of(&self, id: ExecutionVertexId) -> Vec<ResultPartitionDescriptor> {
        let producer = self.attempt_id(id);
        self.graph
            .outputs_of(id.vertex)
            .map(|(_, edge)| {
                let consumer = &self.graph.vertices[edge.target];
                let fed = self.consumers(edge, id.subtask);
                ResultPartitionDescriptor {
                    partition: PartitionId { data_set: edge.data_set, producer },
                    consumer: consumer.id,
                    ship: edge.ship,
                    exchange: edge.exchange,
                    consumer_parallelism: consumer.parallelism,
                    consumer_max_parallelism: consumer.max_parallelism,
                    first_consumer: fed.start,
                    subpartitions: fed.end - fed.start,
                }
            })
            .collect()
    }

    fn gates_of(&self, id: ExecutionVertexId) -> Vec<InputGateDescriptor> {
        self.graph
            .inputs_of(id.vertex)
            .map(|(_, edge)| InputGateDescriptor {
                data_set: edge.data_set,
                ship: edge.ship,
                channels: self
                    .producers(edge, id.subtask)
                    .map(|producer| self.channel(edge, producer, id.subtask))
                    .collect(),
            })
            .collect()
    }

    fn channel(&self, edge: &JobEdge, producer: u32, consumer: u32) -> InputChannelDescriptor {
        let source = ExecutionVertexId { vertex: edge.source, subtask: producer };
        InputChannelDescriptor {
            partition: PartitionId { data_set: edge.data_set, producer: self.attempt_id(source) },
            subpartition: consumer - self.consumers(edge, producer).start,
            location: self.execution(source).place().map(Place::location),
        }
    }

    /// Producers have just been deployed: what consumers that run already must be told of them.
    /// Remembers that they were told.
    pub fn partition_updates(&mut self, producers: &[ExecutionVertexId]) -> Vec<PartitionUpdate> {
        let mut by_consumer: BTreeMap<ExecutionVertexId, Vec<ChannelUpdate>> = BTreeMap::new();
        for producer in producers {
            for (consumer, channel) in self.untold_consumers(*producer) {
                let (gate, at) = (channel.0 as usize, channel.1 as usize);
                let number = channel.2.partition.producer.attempt;
                self.current_mut(consumer).told[gate][at] = Some(number);
                by_consumer.entry(consumer).or_default().push(channel);
            }
        }
        let update = |(consumer, channels)| PartitionUpdate {
            consumer,
            attempt: self.attempt_id(consumer),
            channels,
        };
        by_consumer.into_iter().map(update).collect()
    }

    /// Running consumers that have been told of another attempt of the producer, or of none.
    fn untold_consumers(
        &self,
        producer: ExecutionVertexId,
    ) -> Vec<(ExecutionVertexId, ChannelUpdate)> {
        let number = self.execution(producer).number();
        let mut untold = Vec::new();
        for (index, edge) in self.graph.outputs_of(producer.vertex) {
            let mut inputs = self.graph.inputs_of(edge.target);
            let gate = inputs.position(|(input, _)| input == index).unwrap_or(0);
            for subtask in self.consumers(edge, producer.subtask) {
                let vertex = edge.target;
                let id = ExecutionVertexId { vertex, subtask };
                let consumer = self.execution(id);
                let channel = producer.subtask - self.producers(edge, subtask).start;
                let told = consumer.told.get(gate);
                let told = told.and_then(|channels| channels.get(channel as usize));
                if consumer.is_running() && told.is_some_and(|told| *told != Some(number)) {
                    let described = self.channel(edge, producer.subtask, subtask);
                    untold.push((id, (gate as u32, channel, described)));
                }
            }
        }
        untold
    }
}
