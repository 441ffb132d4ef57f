//! Who reads from whom, and whether it can be read.

use super::{ExecutionGraph, ExecutionVertexId};
use crate::execution_graph::regions::RegionId;
use millstream_core::ids::{PartitionId, ResourceId};
use millstream_core::job_graph::{ExchangeMode, JobEdge};
use millstream_core::status::ExecutionState;
use std::collections::BTreeSet;
use std::ops::Range;

impl ExecutionGraph {
    /// The producers that a subtask reads over an edge: its channel `i` comes from the `i`-th.
    pub fn producers(&self, edge: &JobEdge, consumer: u32) -> Range<u32> {
        let producers = self.graph.vertices[edge.source].parallelism;
        let consumers = self.graph.vertices[edge.target].parallelism;
        edge.ship.producers_of(consumer, producers, consumers)
    }

    /// The consumers that a subtask feeds over an edge: its subpartition `i` is for the `i`-th.
    pub fn consumers(&self, edge: &JobEdge, producer: u32) -> Range<u32> {
        let producers = self.graph.vertices[edge.source].parallelism;
        let consumers = self.graph.vertices[edge.target].parallelism;
        edge.ship.consumers_of(producer, producers, consumers)
    }

    /// Whether all that the subtask reads over the edge has been produced and is still there.
    pub fn is_produced(&self, edge: &JobEdge, consumer: u32) -> bool {
        self.missing_producers(edge, consumer).next().is_none()
    }

    /// The producers whose output over the edge the subtask could not read now.
    pub fn missing_producers<'a>(
        &'a self,
        edge: &'a JobEdge,
        consumer: u32,
    ) -> impl Iterator<Item = ExecutionVertexId> + 'a {
        self.producers(edge, consumer)
            .map(|subtask| ExecutionVertexId { vertex: edge.source, subtask })
            .filter(|producer| !self.execution(*producer).has_output())
    }

    /// The producers whose output over the edge was there and is not any more. Those that have yet
    /// to finish are not among them: they will produce.
    pub fn lost_producers<'a>(
        &'a self,
        edge: &'a JobEdge,
        consumer: u32,
    ) -> impl Iterator<Item = ExecutionVertexId> + 'a {
        self.missing_producers(edge, consumer)
            .filter(|producer| self.state(*producer) == ExecutionState::Finished)
    }

    /// The blocking edges over which the region's members read from other regions, each with the
    /// reading member.
    pub fn outside_inputs(
        &self,
        region: RegionId,
    ) -> impl Iterator<Item = (&JobEdge, ExecutionVertexId)> {
        self.regions.members(region).iter().flat_map(move |member| {
            self.graph
                .inputs_of(member.vertex)
                .map(|(_, edge)| edge)
                .filter(|edge| edge.exchange == ExchangeMode::Blocking)
                .filter(move |edge| {
                    self.producers(edge, member.subtask).any(|subtask| {
                        let vertex = edge.source;
                        self.region_of(ExecutionVertexId { vertex, subtask }) != region
                    })
                })
                .map(|edge| (edge, *member))
        })
    }

    /// The other regions that read what the region produces.
    pub fn consumer_regions(&self, region: RegionId) -> BTreeSet<RegionId> {
        let mut regions = BTreeSet::new();
        for member in self.regions.members(region) {
            for (_, edge) in self.graph.outputs_of(member.vertex) {
                let vertex = edge.target;
                for subtask in self.consumers(edge, member.subtask) {
                    regions.insert(self.region_of(ExecutionVertexId { vertex, subtask }));
                }
            }
        }
        regions.remove(&region);
        regions
    }

    /// A partition turned out to be unreadable; the subtask that has to produce it again, unless
    /// the partition is of a former attempt, which is nobody's loss.
    pub fn lose_partition(&mut self, partition: &PartitionId) -> Option<ExecutionVertexId> {
        let producer = self.find(partition.producer)?;
        self.current_mut(producer).output_lost = true;
        Some(producer)
    }

    /// A worker is gone, and blocking partitions with it: the finished subtasks whose output is now
    /// lost and still wanted, by a consumer that has not finished or that `will_restart`.
    pub fn lose_outputs_on(
        &mut self,
        resource: &ResourceId,
        will_restart: impl Fn(ExecutionVertexId) -> bool,
    ) -> Vec<ExecutionVertexId> {
        let there = |id: &ExecutionVertexId| {
            let execution = self.execution(*id);
            let place = execution.place();
            execution.has_output() && place.is_some_and(|place| place.resource == *resource)
        };
        let mut lost: Vec<ExecutionVertexId> = self.ids().filter(there).collect();
        for id in &lost {
            self.current_mut(*id).output_lost = true;
        }
        lost.retain(|id| {
            let mut readers = self.blocking_readers(*id);
            readers.any(|reader| {
                self.state(reader) != ExecutionState::Finished || will_restart(reader)
            })
        });
        lost
    }

    /// Whether the worker holds results that somebody has yet to read.
    pub fn has_unread_output_on(&self, resource: &ResourceId) -> bool {
        self.executions().any(|(id, execution)| {
            let place = execution.place();
            let there = place.is_some_and(|place| place.resource == *resource);
            let mut readers = self.blocking_readers(id);
            there
                && execution.has_output()
                && readers.any(|reader| self.state(reader) != ExecutionState::Finished)
        })
    }

    /// Nobody will read any more what the subtask produced for later: whoever has to after all, needs it
    /// produced again.
    pub fn release_output(&mut self, producer: ExecutionVertexId) {
        self.current_mut(producer).output_lost = true;
    }

    /// The partitions of the attempt that are kept for later.
    pub fn blocking_partitions(&self, producer: ExecutionVertexId) -> Vec<PartitionId> {
        let attempt = self.attempt_id(producer);
        self.graph
            .outputs_of(producer.vertex)
            .filter(|(_, edge)| edge.exchange == ExchangeMode::Blocking)
            .map(|(_, edge)| PartitionId { data_set: edge.data_set, producer: attempt })
            .collect()
    }

    /// The consumers of what the subtask produces for later.
    pub fn blocking_readers(
        &self,
        producer: ExecutionVertexId,
    ) -> impl Iterator<Item = ExecutionVertexId> + '_ {
        self.graph
            .outputs_of(producer.vertex)
            .filter(|(_, edge)| edge.exchange == ExchangeMode::Blocking)
            .flat_map(move |(_, edge)| {
                let vertex = edge.target;
                self.consumers(edge, producer.subtask)
                    .map(move |subtask| ExecutionVertexId { vertex, subtask })
            })
    }
}
