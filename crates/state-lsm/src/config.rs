//! [`LsmConfig`]: what the tables of a process may have.

use std::path::PathBuf;

/// What the tables of a process may have, all together.
#[derive(Clone, Debug, PartialEq)]
pub struct LsmConfig {
    /// Bytes of memory.
    pub memory: usize,
    /// The part of it that collects writes.
    pub write_buffer_ratio: f64,
    /// Where the directory is made that holds all files.
    pub directory: PathBuf,
}

/// Less would be spent on what RocksDB has beside blocks and writes.
pub const MEMORY_MIN: usize = 8 << 20;

/// Compactions read and write through buffers of about so much, which nobody counts.
const UNCOUNTED: usize = 4 << 20;

/// So many of a hundred bytes are lost between blocks: the allocator's share.
const LOST_PERCENT: usize = 20;

impl LsmConfig {
    /// What RocksDB counts. Measured with a budget of 64 MiB: when it counted all of it, the process had
    /// 1.28 times as much.
    fn counted(&self) -> f64 {
        let lost = self.memory / 100 * LOST_PERCENT + UNCOUNTED;
        self.memory.saturating_sub(lost).max(1 << 20) as f64
    }

    /// Of RocksDB's shared cache. Memory for writes is charged to it and can exceed its limit by half;
    /// with these shares both stay within [`LsmConfig::memory`] all the same. They are Flink's.
    pub(crate) fn cache_bytes(&self) -> usize {
        ((3.0 - self.write_buffer_ratio) * self.counted() / 3.0) as usize
    }

    /// Of RocksDB's write buffer manager.
    pub(crate) fn write_buffer_bytes(&self) -> usize {
        (2.0 * self.write_buffer_ratio * self.counted() / 3.0) as usize
    }
}
