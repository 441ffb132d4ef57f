//! The record of the shuffle between two processes: 100 bytes.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

/// Bytes of a record on a plain wire.
pub const BYTES: usize = 100;

/// A number and a payload of fixed size, so that no library has to allocate for it.
#[derive(Clone, Serialize, Deserialize)]
pub struct Wide {
    /// The record's number.
    pub number: u64,
    /// The rest of the hundred bytes.
    pub payload: ByteArray<{ BYTES - 8 }>,
}

impl Wide {
    /// A record whose payload depends on its number.
    pub fn new(number: u64) -> Self {
        Self { number, payload: ByteArray::new([number as u8; BYTES - 8]) }
    }
}
