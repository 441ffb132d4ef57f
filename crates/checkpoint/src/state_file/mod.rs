//! What is in a state file: a header, blocks with length and checksum, and an index per part.
//!
//! A permanent format, told in full in `docs/state-format.md`. All numbers are little-endian.
//!
//! ```text
//! file   = "MILLSTAT" version:u32 zero:u32 part*
//! part   = block* index
//! block  = checksum:u64 length:u32 count:u32 group:u32 kind:u8 zero:u8[3] payload
//! ```
//!
//! `length` is that of the payload, `checksum` the XXH3-64 of all that follows it in the block.
//! Kinds: 0 rows (key, namespace, value), 1 removed (key, namespace), 2 items (each with its length
//! as u32), 3 index. `group` is the key group of rows, 2³²−1 otherwise.
//!
//! The index is a block too. It names the blocks of its part, which lie one behind the other right
//! before it: per block `group:u32 kind:u32 offset:u64`, in the order in which they are to be
//! applied. So it says where each block ends as well, and a reader fetches just the blocks of its key
//! groups. A part is found through its index, an index through its handle.
//!
//! In reading order: `block` (one block), `part` (a part on its way out), `native` (files of a backend,
//! which are copied as they are), [`TaskStateWriter`] (all parts of
//! a task), [`open_tables`] (the way back).

mod block;
mod native;
mod part;
mod reader;
mod writer;

#[cfg(test)]
mod tests;

pub use reader::{StorageRoots, open_tables, read_in_flight};
pub use writer::TaskStateWriter;

use crate::storage::StorageError;
use millstream_core::key_group::KeyGroup;

/// How a state file begins.
pub const MAGIC: &[u8; 8] = b"MILLSTAT";

/// The version that is written; readers know this one and all before it.
pub const VERSION: u32 = 1;

/// Bytes of the file's header.
pub const HEADER_BYTES: usize = 16;

/// Bytes of a block's header.
pub const BLOCK_HEADER_BYTES: usize = 24;

/// Payloads are about so long; a row that is longer has a block of its own.
pub const BLOCK_BYTES: usize = 64 * 1024;

/// No payload is longer.
pub const BLOCK_BYTES_MAX: usize = 256 * 1024 * 1024;

/// What a block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum BlockKind {
    /// Rows of a table: key, namespace and value of each.
    Rows = 0,
    /// Rows that are gone: key and namespace of each.
    Removed = 1,
    /// Items of a list, each with its length before it.
    Items = 2,
    /// Where the blocks of a part are.
    Index = 3,
}

impl BlockKind {
    /// The kind with this number.
    fn of(number: u32) -> Option<Self> {
        [Self::Rows, Self::Removed, Self::Items, Self::Index].into_iter().nth(number as usize)
    }
}

/// One block, read and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// What it holds.
    pub kind: BlockKind,
    /// The key group of rows.
    pub group: Option<KeyGroup>,
    /// How many rows or items.
    pub count: u32,
    /// Their bytes.
    pub payload: Vec<u8>,
}

/// A state file that cannot be what was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("state file `{file}` is damaged at byte {offset}: {what}")]
pub struct Corrupt {
    /// The file, with its storage's root.
    pub file: String,
    /// Where.
    pub offset: u64,
    /// What is wrong there.
    pub what: String,
}

/// State that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// What is there is not what was written: another copy is needed.
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
    /// The storage said no: it may say yes another time.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// It is not rows.
    #[error(
        "{what} is in the files of the state backend `{backend}`: go on with \
         `state.backend.type: {backend}`, or from a savepoint, which every backend reads"
    )]
    Native {
        /// Whose.
        what: String,
        /// The backend that wrote it.
        backend: String,
    },
    /// A local copy could not be read or written.
    #[error("could not read or write `{path}`: {cause}")]
    Local {
        /// The file.
        path: String,
        /// Why.
        cause: String,
    },
}

/// The header of every file.
fn file_header() -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header
}
