//! Buffers of frames, taken from a pool and given back when they are dropped.
//!
//! A pool serves one direction of one process. Buffers for encoding come empty, buffers for reading
//! come with all their bytes in place, so that neither is ever filled with zeros again. The pool
//! keeps what a steady flow needs and frees the rest; it does not limit what is taken: credit and
//! the bounds of the queues do.

use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Arc, Mutex, lock};
use std::ops::{Deref, DerefMut};

/// Free buffers that a pool keeps.
const FREE_MAX: usize = 256;

/// A frame that is nearly full may grow by one row before that row is taken back.
const ENCODE_SLACK: usize = 4 * 1024;

/// Bytes of rows in one frame.
pub const ROWS_BYTES_MAX: usize = 32 * 1024;

/// A buffer that had to grow beyond this is not kept.
const KEPT_CAPACITY_MAX: usize = 4 * ROWS_BYTES_MAX;

/// Where buffers come from and go back to. Cheap to clone.
#[derive(Clone)]
pub(crate) struct BufferPool(Arc<Inner>);

struct Inner {
    free: Mutex<Vec<Vec<u8>>>,
    purpose: Purpose,
    taken: AtomicU64,
    returned: AtomicU64,
    allocated: AtomicU64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Encode,
    Read,
}

/// What a pool has done: taken less returned is in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolCounters {
    /// Buffers handed out.
    pub taken: u64,
    /// Buffers that came back.
    pub returned: u64,
    /// Buffers handed out that were new.
    pub allocated: u64,
}

impl BufferPool {
    /// Its buffers are empty and have room for a frame.
    pub(crate) fn for_encoding() -> Self {
        Self::new(Purpose::Encode)
    }

    /// Its buffers have [`ROWS_BYTES_MAX`] bytes of no meaning.
    pub(crate) fn for_reading() -> Self {
        Self::new(Purpose::Read)
    }

    fn new(purpose: Purpose) -> Self {
        let counter = || AtomicU64::new(0);
        Self(Arc::new(Inner {
            free: Mutex::new(Vec::new()),
            purpose,
            taken: counter(),
            returned: counter(),
            allocated: counter(),
        }))
    }

    /// A buffer that finds its way back.
    pub(crate) fn take(&self) -> Buffer {
        let inner = &self.0;
        inner.taken.fetch_add(1, Ordering::Relaxed);
        let free = lock(&inner.free).pop();
        let bytes = free.unwrap_or_else(|| {
            inner.allocated.fetch_add(1, Ordering::Relaxed);
            match inner.purpose {
                Purpose::Encode => Vec::with_capacity(ROWS_BYTES_MAX + ENCODE_SLACK),
                Purpose::Read => vec![0; ROWS_BYTES_MAX],
            }
        });
        Buffer { bytes, pool: self.clone() }
    }

    /// What it has done.
    pub(crate) fn counters(&self) -> PoolCounters {
        PoolCounters {
            taken: self.0.taken.load(Ordering::Relaxed),
            returned: self.0.returned.load(Ordering::Relaxed),
            allocated: self.0.allocated.load(Ordering::Relaxed),
        }
    }

    fn put(&self, mut bytes: Vec<u8>) {
        self.0.returned.fetch_add(1, Ordering::Relaxed);
        if self.0.purpose == Purpose::Encode {
            bytes.clear();
        }
        if bytes.capacity() <= KEPT_CAPACITY_MAX {
            let mut free = lock(&self.0.free);
            if free.len() < FREE_MAX {
                free.push(bytes);
            }
        }
    }
}

/// A buffer that returns to its pool.
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    pool: BufferPool,
}

impl Deref for Buffer {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.bytes
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.pool.put(std::mem::take(&mut self.bytes));
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_and_is_used_again() {
        let pool = BufferPool::for_encoding();
        let mut first = pool.take();
        first.extend_from_slice(&[1; 100]);
        let place = first.as_ptr();
        drop(first);
        let again = pool.take();
        assert_eq!((again.len(), again.as_ptr()), (0, place));
        drop(again);
        assert_eq!(pool.counters(), PoolCounters { taken: 2, returned: 2, allocated: 1 });
    }

    #[test]
    fn a_buffer_that_grew_for_one_long_row_is_not_kept() {
        let pool = BufferPool::for_encoding();
        pool.take().reserve(1 << 20);
        assert!(pool.take().capacity() < 1 << 20);
    }
}
