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

/// Less would be spent on what RocksDB keeps per table.
pub const MEMORY_MIN: usize = 4 << 20;

impl LsmConfig {
    /// Of RocksDB's shared cache. Memory for writes is charged to it and can exceed its limit by half;
    /// with these shares both stay within [`LsmConfig::memory`] all the same. They are Flink's.
    pub(crate) fn cache_bytes(&self) -> usize {
        ((3.0 - self.write_buffer_ratio) * self.memory as f64 / 3.0) as usize
    }

    /// Of RocksDB's write buffer manager.
    pub(crate) fn write_buffer_bytes(&self) -> usize {
        (2.0 * self.write_buffer_ratio * self.memory as f64 / 3.0) as usize
    }
}
