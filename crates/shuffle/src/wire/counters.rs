//! What the network of one process has done, for metrics and for tests of leaks.

use super::buffer::PoolCounters;
use crate::sync::atomic::{AtomicU64, Ordering};

/// Counters of one process, read at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetworkCounters {
    /// Bytes that came in over all connections, control frames included.
    pub bytes_in: u64,
    /// Bytes that went out.
    pub bytes_out: u64,
    /// Connections that are open, made or accepted.
    pub connections: u64,
    /// Connections that were ever open.
    pub connections_ever: u64,
    /// Buffers in which rows are encoded.
    pub encode_buffers: PoolCounters,
    /// Buffers to which frames are read.
    pub read_buffers: PoolCounters,
}

/// The live form: written by transports.
#[derive(Default)]
pub(crate) struct Counters {
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    opened: AtomicU64,
    closed: AtomicU64,
}

impl Counters {
    pub(crate) fn came_in(&self, bytes: usize) {
        self.bytes_in.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn went_out(&self, bytes: usize) {
        self.bytes_out.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn opened(&self) {
        self.opened.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn closed(&self) {
        self.closed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> NetworkCounters {
        let closed = self.closed.load(Ordering::Relaxed);
        let opened = self.opened.load(Ordering::Relaxed);
        NetworkCounters {
            bytes_in: self.bytes_in.load(Ordering::Relaxed),
            bytes_out: self.bytes_out.load(Ordering::Relaxed),
            connections: opened.saturating_sub(closed),
            connections_ever: opened,
            ..NetworkCounters::default()
        }
    }
}
