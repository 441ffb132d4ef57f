//! Exchanges between processes: frames, credit and connections.

use crate::batch::BoxBatch;
use crate::gate::{PartitionUnavailable, Polled};
use crate::wake::Wake;
use millstream_core::ids::PartitionId;

/// The connections of one process to the others of its job. Cheap to clone.
#[derive(Clone, Default)]
pub struct Network;

impl Network {
    /// Asks the process behind the data port for a subpartition. Never waits: connecting goes on elsewhere.
    pub fn subscribe(
        &self,
        _address: &str,
        partition: PartitionId,
        _subpartition: u32,
        _wake: Wake,
    ) -> RemoteChannel {
        RemoteChannel { partition }
    }
}

/// The consumer's end of a queue in another process.
pub struct RemoteChannel {
    partition: PartitionId,
}

impl RemoteChannel {
    /// Fills the buffer, which is empty, with the next batch.
    pub fn poll(&mut self, _buffer: &mut BoxBatch) -> Result<Polled, PartitionUnavailable> {
        Err(PartitionUnavailable { partition: self.partition, reason: "no network".to_owned() })
    }

    /// Whether nothing waits to be read.
    pub fn is_empty(&self) -> bool {
        true
    }

    /// Bytes that came in.
    pub fn bytes(&self) -> u64 {
        0
    }
}
