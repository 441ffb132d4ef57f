//! What is in the file of a stored partition. It is read by processes of the same program only, on the
//! worker where it was written, and never outlives the job.
//!
//! ```text
//! blocks      of all consumers, in the order in which they became full
//! index       how many consumers (u32); per consumer: how many blocks (u32), and each block's offset
//!             (u64), length (u32) and checksum (u64)
//! footer      offset (u64), length (u64) and checksum (u64) of the index, "MSRP"
//! ```
//!
//! A block is a row of frames for one consumer. A frame begins with its kind (u8). Rows: flags (u8),
//! how many records (u32), how many bytes (u32), and the rows as they would go over the wire. A
//! watermark: its time (i64). Numbers are little-endian, checksums XXH3-64.

use crate::batch::Columns;
use crate::wire::frame::{columns_of, flags_of};

/// What a file ends with.
pub(super) const MAGIC: [u8; 4] = *b"MSRP";

/// The bytes of a footer.
pub(super) const FOOTER_BYTES: usize = 8 + 8 + 8 + 4;

/// The bytes of a block's entry in the index.
pub(super) const ENTRY_BYTES: usize = 8 + 4 + 8;

/// Kinds of frames.
const ROWS: u8 = 1;
const WATERMARK: u8 = 2;

/// What comes before the rows of a frame.
pub(super) const ROWS_HEAD_BYTES: usize = 1 + 1 + 4 + 4;

/// Where a block is, and what it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockEntry {
    pub(super) offset: u64,
    pub(super) length: u32,
    pub(super) checksum: u64,
}

impl BlockEntry {
    pub(super) fn encode(self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.offset.to_le_bytes());
        to.extend_from_slice(&self.length.to_le_bytes());
        to.extend_from_slice(&self.checksum.to_le_bytes());
    }

    fn decode(from: &mut Cursor<'_>) -> Option<Self> {
        Some(Self { offset: from.u64()?, length: from.u32()?, checksum: from.u64()? })
    }
}

/// Where the index is, and what it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) offset: u64,
    pub(super) length: u64,
    pub(super) checksum: u64,
}

impl Footer {
    pub(super) fn encode(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FOOTER_BYTES);
        for number in [self.offset, self.length, self.checksum] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&MAGIC);
        bytes
    }

    /// Nothing: these bytes are no footer.
    pub(super) fn decode(bytes: &[u8; FOOTER_BYTES]) -> Option<Self> {
        let mut from = Cursor(bytes);
        let footer = Self { offset: from.u64()?, length: from.u64()?, checksum: from.u64()? };
        (from.0 == MAGIC).then_some(footer)
    }
}

/// The blocks of one consumer; nothing: the index does not hold them.
pub(super) fn blocks_of(index: &[u8], consumer: u32) -> Option<Vec<BlockEntry>> {
    let mut from = Cursor(index);
    let consumers = from.u32()?;
    if consumer >= consumers {
        return None;
    }
    for _ in 0..consumer {
        let blocks = from.u32()? as usize;
        from.take(blocks.checked_mul(ENTRY_BYTES)?)?;
    }
    let blocks = from.u32()? as usize;
    let mut entries = Cursor(from.take(blocks.checked_mul(ENTRY_BYTES)?)?);
    (0..blocks).map(|_| BlockEntry::decode(&mut entries)).collect()
}

/// One frame of a block.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum StoredFrame<'a> {
    /// So many records.
    Rows { columns: Columns, count: u32, rows: &'a [u8] },
    /// How far event time was.
    Watermark(i64),
}

/// Writes what comes before `length` bytes of rows.
pub(super) fn rows_head(columns: Columns, count: u32, length: u32) -> [u8; ROWS_HEAD_BYTES] {
    let mut head = [0; ROWS_HEAD_BYTES];
    (head[0], head[1]) = (ROWS, flags_of(columns));
    head[2..6].copy_from_slice(&count.to_le_bytes());
    head[6..].copy_from_slice(&length.to_le_bytes());
    head
}

/// Writes a watermark.
pub(super) fn push_watermark(block: &mut Vec<u8>, time: i64) {
    block.push(WATERMARK);
    block.extend_from_slice(&time.to_le_bytes());
}

/// Reads the frame that begins at `at` and moves on; nothing: there is none.
pub(super) fn next_frame<'a>(block: &'a [u8], at: &mut usize) -> Option<StoredFrame<'a>> {
    let mut from = Cursor(block.get(*at..)?);
    let frame = match from.u8()? {
        ROWS => {
            let columns = columns_of(from.u8()?);
            let (count, length) = (from.u32()?, from.u32()?);
            StoredFrame::Rows { columns, count, rows: from.take(length as usize)? }
        }
        WATERMARK => StoredFrame::Watermark(from.u64()? as i64),
        _ => return None,
    };
    *at = block.len() - from.0.len();
    Some(frame)
}

/// Bytes that have not been read.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
}
