//! What every connection of a process uses.

use super::budget::Budget;
use super::buffer::BufferPool;
use super::counters::{Counters, NetworkCounters};
use super::preface::Preface;
use super::transport::Dialer;
use crate::registry::PartitionRegistry;
use crate::sync::Arc;
use millstream_core::ids::JobId;
use std::time::Duration;

/// How a process speaks to the others of its job.
#[derive(Clone, Debug)]
pub struct NetworkConfig {
    /// With what its connections begin.
    pub preface: Preface,
    /// Frames of 32 KiB that a producer may send to one channel before the consumer has taken any:
    /// what a channel may occupy here.
    pub channel_frames_max: u32,
    /// Frames that all channels together may occupy here.
    pub frames_max: u32,
    /// How long a consumer waits for its producer's process to answer.
    pub answer_wait: Duration,
    /// How long a request waits here for its partition.
    pub partition_wait: Duration,
    /// Whether a thread that has something to send writes it itself when the connection is free.
    pub direct_writes: bool,
}

impl NetworkConfig {
    /// The usual configuration for a job.
    pub fn new(job: JobId) -> Self {
        Self {
            preface: Preface { job, incarnation: 0, nonce: 0 },
            channel_frames_max: 16,
            frames_max: 4096,
            answer_wait: Duration::from_secs(10),
            partition_wait: Duration::from_secs(10),
            direct_writes: true,
        }
    }
}

/// One per network.
pub(crate) struct Shared {
    pub(crate) config: NetworkConfig,
    pub(crate) registry: PartitionRegistry,
    pub(crate) dialer: Arc<dyn Dialer>,
    pub(crate) counters: Arc<Counters>,
    /// Buffers for rows that leave.
    pub(crate) encode_buffers: BufferPool,
    /// Buffers for frames that come.
    pub(crate) read_buffers: BufferPool,
    /// How many of them channels may fill.
    pub(crate) budget: Budget,
}

impl Shared {
    pub(crate) fn counters(&self) -> NetworkCounters {
        NetworkCounters {
            encode_buffers: self.encode_buffers.counters(),
            read_buffers: self.read_buffers.counters(),
            ..self.counters.read()
        }
    }
}
