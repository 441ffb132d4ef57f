//! One block: built in place behind room for its header, and checked when it comes back.

use super::{BLOCK_HEADER_BYTES, Block, BlockKind};
use millstream_core::hash::xxh3_64;
use millstream_core::key_group::KeyGroup;

/// The group of blocks that belong to none.
const NO_GROUP: u32 = u32::MAX;

/// A block that is being filled. Its memory serves one block after the other.
pub(super) struct OpenBlock {
    /// Room for the header, then the payload.
    bytes: Vec<u8>,
    pub(super) kind: BlockKind,
    pub(super) group: Option<KeyGroup>,
    count: u32,
}

/// What an index says of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) kind: BlockKind,
    pub(super) group: Option<KeyGroup>,
    pub(super) offset: u64,
}

impl Entry {
    /// Bytes of an entry.
    pub(super) const BYTES: usize = 16;

    pub(super) fn encode(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..4].copy_from_slice(&group_number(self.group).to_le_bytes());
        bytes[4..8].copy_from_slice(&(self.kind as u32).to_le_bytes());
        bytes[8..].copy_from_slice(&self.offset.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8; Self::BYTES]) -> Result<Self, String> {
        let group = group_of(word(bytes, 0))?;
        let kind = word(bytes, 4);
        let kind = BlockKind::of(kind).ok_or_else(|| format!("there is no block kind {kind}"))?;
        let (low, high) = (word(bytes, 8), word(bytes, 12));
        Ok(Self { kind, group, offset: u64::from(high) << 32 | u64::from(low) })
    }
}

impl OpenBlock {
    pub(super) fn new() -> Self {
        let bytes = vec![0; BLOCK_HEADER_BYTES];
        Self { bytes, kind: BlockKind::Rows, group: None, count: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of the payload so far.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - BLOCK_HEADER_BYTES
    }

    /// Starts anew.
    pub(super) fn begin(&mut self, kind: BlockKind, group: Option<KeyGroup>) {
        self.bytes.truncate(BLOCK_HEADER_BYTES);
        (self.kind, self.group, self.count) = (kind, group, 0);
    }

    /// Appends `count` rows or items.
    pub(super) fn push(&mut self, count: u32, payload: &[u8]) {
        self.bytes.extend_from_slice(payload);
        self.count += count;
    }

    /// Appends an item with its length before it.
    pub(super) fn push_item(&mut self, item: &[u8]) {
        self.bytes.extend_from_slice(&(item.len() as u32).to_le_bytes());
        self.push(1, item);
    }

    /// The block with its header.
    pub(super) fn seal(&mut self) -> &[u8] {
        let length = self.len() as u32;
        let header = &mut self.bytes[..BLOCK_HEADER_BYTES];
        header[8..12].copy_from_slice(&length.to_le_bytes());
        header[12..16].copy_from_slice(&self.count.to_le_bytes());
        header[16..20].copy_from_slice(&group_number(self.group).to_le_bytes());
        header[20..].copy_from_slice(&[self.kind as u8, 0, 0, 0]);
        let checksum = xxh3_64(&self.bytes[8..]);
        self.bytes[..8].copy_from_slice(&checksum.to_le_bytes());
        &self.bytes
    }
}

/// Checks the bytes of one block, header and payload, against what the index says of it.
pub(super) fn check(bytes: &[u8], entry: Entry) -> Result<Block, String> {
    let Some((header, payload)) = bytes.split_first_chunk::<BLOCK_HEADER_BYTES>() else {
        return Err(format!("{} bytes are less than the header of a block", bytes.len()));
    };
    let stored = u64::from(word(header, 4)) << 32 | u64::from(word(header, 0));
    let actual = xxh3_64(&bytes[8..]);
    if stored != actual {
        return Err(format!("checksum {stored:#018x} expected, {actual:#018x} found"));
    }
    let length = word(header, 8) as usize;
    if length != payload.len() {
        return Err(format!("the payload has {} bytes instead of {length}", payload.len()));
    }
    let kind = u32::from(header[20]);
    let group = group_of(word(header, 16))?;
    if kind != entry.kind as u32 || group != entry.group || header[21..] != [0, 0, 0] {
        let (expected, wanted) = (entry.kind, entry.group.map(KeyGroup::index));
        let found = group.map(KeyGroup::index);
        return Err(format!(
            "a block of kind {kind} and key group {found:?} where the index has {expected:?} of {wanted:?}"
        ));
    }
    let count = word(header, 12);
    Ok(Block { kind: entry.kind, group, count, payload: payload.to_vec() })
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let word = bytes[at..].first_chunk().expect("callers stay within headers and entries");
    u32::from_le_bytes(*word)
}

fn group_number(group: Option<KeyGroup>) -> u32 {
    group.map_or(NO_GROUP, KeyGroup::index)
}

fn group_of(number: u32) -> Result<Option<KeyGroup>, String> {
    match number {
        NO_GROUP => Ok(None),
        _ => match KeyGroup::new(number) {
            Some(group) => Ok(Some(group)),
            None => Err(format!("there is no key group {number}")),
        },
    }
}
