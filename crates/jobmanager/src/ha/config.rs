//! The lease and what follows from it.

use millstream_core::ids::ResourceId;

/// What a contender is told at the start. Times in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HaConfig {
    /// This process, as the record names it. A restarted one must have another name.
    pub process: ResourceId,
    /// `host:port` of this process for messages.
    pub rpc: String,
    /// `high-availability.filesystem.lease-duration` (15 s, as Flink's leases in Kubernetes): so long a record
    /// must stay unchanged before its leader may be replaced.
    pub lease_ms: u64,
}

impl HaConfig {
    /// A leader writes so often, even if nothing has changed.
    pub fn renew_ms(&self) -> u64 {
        (self.lease_ms / 3).max(1)
    }

    /// A leader that could not write for so long stops acting. A quarter of the lease is left for
    /// clocks that run differently.
    pub fn patience_ms(&self) -> u64 {
        (self.lease_ms - self.lease_ms / 4).max(1)
    }

    /// The pause after a write or a read that failed.
    pub fn retry_ms(&self) -> u64 {
        (self.lease_ms / 12).max(1)
    }

    /// A contender looks at the record so often.
    pub fn poll_ms(&self) -> u64 {
        (self.lease_ms / 6).clamp(1, 1000)
    }
}
