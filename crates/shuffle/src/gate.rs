//! What one task reads: one channel per producer, polled in turn.
//!
//! A channel begins pending, until its producer's partition is found in this process or the
//! connection to its process is made. The gate never waits: it gives what is there, and the
//! task's thread is woken when there is more.

use crate::batch::BoxBatch;
use crate::edge::Edge;
use crate::element::{Ahead, Control, Element, Found};
use crate::in_flight::{InFlightRows, encode_batch};
use crate::registry::PartitionRegistry;
use crate::stored::StoredReader;
use crate::subpartition::Subpartition;
use crate::sync::Arc;
use crate::wake::Wake;
use crate::wire::{Network, RemoteChannel};
use millstream_core::checkpoint::CheckpointId;
use millstream_core::ids::{PartitionId, ResourceId};
use millstream_rpc::protocol::deployment::InputChannelDescriptor;
use std::time::{Duration, Instant};

/// How long a producer of this process may take to appear.
pub const PRODUCER_WAIT: Duration = Duration::from_secs(10);

/// What a poll found.
#[derive(Debug, PartialEq, Eq)]
pub enum Polled {
    /// The buffer holds a batch.
    Batch,
    /// The engine says something on the channel with this number. Each channel's end is told once.
    Control(usize, Control),
    /// Nothing now.
    Empty,
    /// Every channel has ended.
    End,
}

/// A producer that cannot be read: its attempt has to run again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("partition {partition} cannot be read: {reason}")]
pub struct PartitionUnavailable {
    /// Which.
    pub partition: PartitionId,
    /// Why.
    pub reason: String,
    /// The connection to it broke. What is whole can be read over another one.
    pub disconnected: bool,
}

/// All channels of one edge into one task.
pub struct InputGate {
    channels: Vec<Channel>,
    /// Channels that are not polled, because the others have to come first.
    blocked: Vec<bool>,
    /// Channels of which all batches are recorded, because a barrier is to overtake them.
    recorded: Vec<bool>,
    /// What was recorded.
    records_in_flight: Vec<InFlightRows>,
    /// The edge.
    edge: Edge,
    /// Where the next poll begins: after the channel that gave something last.
    next: usize,
    /// Channels that have not ended.
    alive: usize,
    registry: PartitionRegistry,
    network: Network,
    here: ResourceId,
    wake: Wake,
    /// Its exchange is blocking: what it reads is whole, on the disk of its producer's worker.
    blocking: bool,
    /// Records read so far.
    records: u64,
    /// Bytes from other processes over channels that have ended.
    ended_bytes: u64,
}

enum Channel {
    /// The producer has no known place yet.
    Unknown(InputChannelDescriptor),
    /// The producer is in this process, but its partition was not there yet.
    Pending(InputChannelDescriptor, Instant),
    /// The producer's queue in this process.
    Local(Arc<Subpartition>),
    /// A queue that the network fills.
    Remote(RemoteChannel),
    /// A file on this worker.
    Stored(PartitionId, StoredReader),
    /// What should be there is not, or not readable.
    Lost(PartitionUnavailable),
    /// Nothing will come.
    Ended,
}

impl InputGate {
    /// Reads the channels for a thread that is woken through `wake`.
    pub fn new(
        channels: Vec<InputChannelDescriptor>,
        registry: PartitionRegistry,
        network: Network,
        here: ResourceId,
        wake: Wake,
    ) -> Self {
        let alive = channels.len();
        Self {
            channels: channels.into_iter().map(Channel::Unknown).collect(),
            blocked: vec![false; alive],
            recorded: vec![false; alive],
            records_in_flight: Vec::new(),
            edge: Edge::default(),
            next: 0,
            alive,
            registry,
            network,
            here,
            wake: wake.with_urgency(),
            blocking: false,
            records: 0,
            ended_bytes: 0,
        }
    }

    /// The edge that it reads.
    pub fn of_edge(mut self, edge: Edge) -> Self {
        self.edge = edge;
        self
    }

    /// Whether what it reads was stored by producers that have finished.
    pub fn blocking(mut self, blocking: bool) -> Self {
        self.blocking = blocking;
        self
    }

    /// The edge that it reads.
    pub fn edge(&self) -> Edge {
        self.edge
    }

    /// Whether something has come that cannot wait for its turn, since the last time: see
    /// [`InputGate::look_ahead`].
    #[inline]
    pub fn take_urgency(&self) -> bool {
        self.wake.take_urgency()
    }

    /// What waits behind a channel's data.
    pub fn look_ahead(&self, channel: usize) -> Ahead {
        match &self.channels[channel] {
            Channel::Local(queue) => queue.look_ahead(),
            Channel::Remote(channel) => channel.look_ahead(),
            _ => Ahead::default(),
        }
    }

    /// Takes the checkpoint's barrier out of a channel ahead of its turn and records all that is before
    /// it, or before the end if that is there; whether there was either.
    pub fn overtake(&mut self, channel: usize, checkpoint: CheckpointId) -> bool {
        let rows = &mut self.records_in_flight;
        match &self.channels[channel] {
            Channel::Local(queue) => queue.overtake(checkpoint, rows),
            Channel::Remote(channel) => channel.overtake(checkpoint, rows),
            _ => false,
        }
    }

    /// Records what is read from this channel from now on, or does not.
    pub fn set_recorded(&mut self, channel: usize, recorded: bool) {
        self.recorded[channel] = recorded;
    }

    /// Records what was read from it before and is not processed.
    pub fn record(&mut self, rows: Vec<InFlightRows>) {
        self.records_in_flight.extend(rows);
    }

    /// What was recorded since the last time.
    pub fn take_recorded(&mut self) -> Vec<InFlightRows> {
        std::mem::take(&mut self.records_in_flight)
    }

    /// Goes to the places of the producers that are known. Records of the type come in.
    pub fn request_partitions(&mut self, now: Instant) {
        for index in 0..self.channels.len() {
            if let Channel::Unknown(descriptor) = &self.channels[index] {
                let descriptor = descriptor.clone();
                self.channels[index] = self.connect(descriptor, now);
            }
        }
    }

    /// A producer has got a (new) place.
    pub fn update_channel(&mut self, index: usize, found: InputChannelDescriptor, now: Instant) {
        if matches!(self.channels.get(index), Some(Channel::Unknown(_) | Channel::Pending(..))) {
            self.channels[index] = self.connect(found, now);
        }
    }

    fn connect(&self, descriptor: InputChannelDescriptor, now: Instant) -> Channel {
        let Some(location) = &descriptor.location else { return Channel::Unknown(descriptor) };
        if location.resource == self.here {
            return match self.blocking {
                true => self.find_stored(&descriptor),
                false => self.find_local(descriptor, now),
            };
        }
        let address = &location.data_address;
        let (partition, subpartition) = (descriptor.partition, descriptor.subpartition);
        Channel::Remote(self.network.subscribe(address, partition, subpartition, self.wake.clone()))
    }

    /// It was whole before we began: if it is not there now, it will never be.
    fn find_stored(&self, descriptor: &InputChannelDescriptor) -> Channel {
        let partition = descriptor.partition;
        let stored = self.registry.stored();
        let found = stored.and_then(|stored| stored.open(partition, descriptor.subpartition));
        let reason = match found {
            Some(Ok(reader)) => return Channel::Stored(partition, reader),
            Some(Err(error)) => error.to_string(),
            None => "it is not on this worker".to_owned(),
        };
        Channel::Lost(PartitionUnavailable { partition, reason, disconnected: false })
    }

    fn find_local(&self, descriptor: InputChannelDescriptor, since: Instant) -> Channel {
        match self.registry.find(descriptor.partition, &self.wake) {
            None => Channel::Pending(descriptor, since),
            Some(partition) => {
                let queue = &partition.subpartitions[descriptor.subpartition as usize];
                queue.attach(self.wake.clone());
                Channel::Local(queue.clone())
            }
        }
    }

    /// How many channels there are, those that have ended included.
    pub fn len(&self) -> usize {
        self.channels.len()
    }

    /// There are no channels.
    pub fn is_empty(&self) -> bool {
        self.channels.is_empty()
    }

    /// Polls this channel, or does not: what waits on a blocked one does not count as something to
    /// read.
    pub fn set_blocked(&mut self, channel: usize, blocked: bool) {
        self.blocked[channel] = blocked;
    }

    /// Fills the buffer, which is empty, with the next batch of any channel; or tells what a channel
    /// says instead.
    pub fn poll(
        &mut self,
        buffer: &mut BoxBatch,
        now: Instant,
    ) -> Result<Polled, PartitionUnavailable> {
        for _ in 0..self.channels.len() {
            let index = self.next;
            self.next = if index + 1 == self.channels.len() { 0 } else { index + 1 };
            if self.blocked[index] {
                continue;
            }
            match self.poll_channel(index, buffer, now)? {
                Found::Batch => {
                    self.records += buffer.len() as u64;
                    if self.recorded[index] {
                        encode_batch(buffer.as_ref(), &mut self.records_in_flight);
                    }
                    return Ok(Polled::Batch);
                }
                Found::Control(control) => {
                    if control == Control::EndOfPartition {
                        self.end(index);
                    }
                    return Ok(Polled::Control(index, control));
                }
                Found::Empty => (),
            }
        }
        Ok(if self.alive == 0 { Polled::End } else { Polled::Empty })
    }

    fn poll_channel(
        &mut self,
        index: usize,
        buffer: &mut BoxBatch,
        now: Instant,
    ) -> Result<Found, PartitionUnavailable> {
        match &mut self.channels[index] {
            Channel::Unknown(_) | Channel::Ended => Ok(Found::Empty),
            Channel::Pending(descriptor, since) => {
                let (descriptor, since) = (descriptor.clone(), *since);
                if now.duration_since(since) > PRODUCER_WAIT {
                    let partition = descriptor.partition;
                    let reason = format!("its producer did not appear within {PRODUCER_WAIT:?}");
                    return Err(PartitionUnavailable { partition, reason, disconnected: false });
                }
                self.channels[index] = self.find_local(descriptor, since);
                match self.channels[index] {
                    Channel::Local(_) => self.poll_channel(index, buffer, now),
                    _ => Ok(Found::Empty),
                }
            }
            Channel::Local(queue) => Ok(match queue.pop() {
                None => Found::Empty,
                Some(Element::Batch(batch)) => {
                    let empty = std::mem::replace(buffer, batch);
                    queue.recycle(empty);
                    Found::Batch
                }
                Some(Element::Control(control)) => Found::Control(control),
            }),
            // What is not whole cannot be read on: nobody knows what was seen of it.
            Channel::Remote(channel) => channel.poll(buffer, now).map_err(|unavailable| {
                let disconnected = unavailable.disconnected && self.blocking;
                PartitionUnavailable { disconnected, ..unavailable }
            }),
            Channel::Stored(partition, reader) => reader.poll(buffer).map_err(|error| {
                let (partition, reason) = (*partition, error.to_string());
                PartitionUnavailable { partition, reason, disconnected: false }
            }),
            Channel::Lost(unavailable) => Err(unavailable.clone()),
        }
    }

    fn end(&mut self, index: usize) {
        match &self.channels[index] {
            Channel::Local(queue) => queue.release(),
            Channel::Remote(channel) => self.ended_bytes += channel.bytes(),
            _ => (),
        }
        self.channels[index] = Channel::Ended;
        self.alive -= 1;
    }

    /// Whether a poll would find nothing: asked before the thread sleeps.
    pub fn is_idle(&self) -> bool {
        let nothing = |channel: &Channel| match channel {
            Channel::Unknown(_) | Channel::Pending(..) | Channel::Ended => true,
            Channel::Local(queue) => queue.is_empty(),
            Channel::Remote(channel) => channel.is_empty(),
            Channel::Stored(..) | Channel::Lost(_) => false,
        };
        let mut channels = self.channels.iter().zip(&self.blocked);
        self.alive > 0 && channels.all(|(channel, blocked)| *blocked || nothing(channel))
    }

    /// When a producer that is missing will have been waited for long enough, or is to be asked for
    /// again: a poll is due then.
    pub fn deadline(&self) -> Option<Instant> {
        let polled = self.channels.iter().zip(&self.blocked).filter(|(_, blocked)| !**blocked);
        let pending = polled.filter_map(|(channel, _)| match channel {
            Channel::Pending(_, since) => Some(*since + PRODUCER_WAIT),
            Channel::Remote(channel) => channel.deadline(),
            _ => None,
        });
        pending.min()
    }

    /// Records read so far.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Bytes that came from other processes.
    pub fn remote_bytes(&self) -> u64 {
        let remote = self.channels.iter().map(|channel| match channel {
            Channel::Remote(channel) => channel.bytes(),
            _ => 0,
        });
        self.ended_bytes + remote.sum::<u64>()
    }
}

impl Drop for InputGate {
    /// A task that ends, however it ends, lets its producers go on without it.
    fn drop(&mut self) {
        for channel in &self.channels {
            match channel {
                Channel::Local(queue) => queue.release(),
                Channel::Pending(descriptor, _) => self.registry.forget_wait(descriptor.partition),
                _ => (),
            }
        }
    }
}
