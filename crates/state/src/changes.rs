//! What has changed since the snapshot before: what an increment holds.
//!
//! A row that is written sets the bit of its unit: as many rows as share a cache line, or one. Exact bits
//! for small rows would be several times the memory, and every update touches one of them. A key that
//! is removed leaves a tombstone, if its row is older than the snapshot; rows that come and go in
//! between leave none, so there are never more tombstones than the snapshot had rows.
//!
//! Nothing is tracked before the first snapshot: it is whole anyway.

use crate::bits::Bits;
use crate::memory::LINE;
use millstream_core::key_group::{KeyGroup, MaxParallelism};

/// What has changed in a table.
#[derive(Default)]
pub(crate) struct Changes {
    tracked: bool,
    /// A bit per unit of rows. Empty while nothing is tracked, so that one comparison says both
    /// whether there is a bit and whether there is anything to do.
    dirty: Vec<u64>,
    /// Rows that came into being since the snapshot.
    born: Bits,
    tombstones: Tombstones,
}

/// What a snapshot knows of the changes before it.
pub(crate) struct FrozenChanges {
    dirty: Vec<u64>,
    unit_log2: u32,
    tombstones: Tombstones,
}

/// Keys that are gone.
#[derive(Default)]
pub(crate) struct Tombstones {
    /// Per key: its hash, the length of its encoding (u32), its encoding.
    bytes: Vec<u8>,
    count: usize,
}

/// 2 to the power of this rows share a bit. A constant where the stride is one.
#[inline(always)]
const fn unit_log2(stride: usize) -> u32 {
    if stride >= LINE { 0 } else { (LINE / stride).ilog2() }
}

impl Changes {
    pub(crate) fn memory_bytes(&self) -> usize {
        let words = self.dirty.capacity() * size_of::<u64>();
        words + self.born.memory_bytes() + self.tombstones.bytes.capacity()
    }

    /// Whether a snapshot was taken.
    pub(crate) fn is_tracked(&self) -> bool {
        self.tracked
    }

    /// The row is being changed.
    #[inline(always)]
    pub(crate) fn mark(&mut self, row: u32, stride: usize) {
        let unit = row >> unit_log2(stride);
        if let Some(word) = self.dirty.get_mut(unit as usize / 64) {
            *word |= 1 << (unit % 64);
        }
    }

    /// All of these rows may be changed: one test for many rows.
    #[inline]
    pub(crate) fn mark_all(&mut self, rows: &[u32], stride: usize) {
        if self.tracked {
            for row in rows {
                self.mark(*row, stride);
            }
        }
    }

    /// The row has been given to a new key; all row numbers are below `end`.
    pub(crate) fn add(&mut self, row: u32, end: u32, stride: usize) {
        if self.tracked {
            self.cover(end, stride);
            self.born.set(row, end);
            self.mark(row, stride);
        }
    }

    /// Whether the removal of this row's key leaves a tombstone.
    pub(crate) fn wants_tombstone(&self, row: u32) -> bool {
        self.tracked && !self.born.has(row)
    }

    /// The key with this hash and encoding is gone.
    pub(crate) fn bury(&mut self, hash: u64, key: &[u8]) {
        let bytes = &mut self.tombstones.bytes;
        bytes.extend_from_slice(&hash.to_le_bytes());
        bytes.extend_from_slice(&(key.len() as u32).to_le_bytes());
        bytes.extend_from_slice(key);
        self.tombstones.count += 1;
    }

    /// Hands over what has changed since the last call, if that is known, and starts anew.
    pub(crate) fn freeze(&mut self, end: u32, stride: usize) -> Option<FrozenChanges> {
        let dirty = std::mem::take(&mut self.dirty);
        let tombstones = std::mem::take(&mut self.tombstones);
        let frozen = FrozenChanges { dirty, unit_log2: unit_log2(stride), tombstones };
        let known = self.tracked.then_some(frozen);
        self.tracked = true;
        self.born.clear();
        self.cover(end, stride);
        known
    }

    fn cover(&mut self, end: u32, stride: usize) {
        let units = (end >> unit_log2(stride)) as usize + 1;
        if self.dirty.len() * 64 < units {
            self.dirty.resize(units.div_ceil(64), 0);
        }
    }
}

impl FrozenChanges {
    /// Of 64 rows, given by the number of their word, those that may have changed.
    pub(crate) fn word(&self, at: usize) -> u64 {
        let per_word = 64 >> self.unit_log2;
        let first = at * per_word;
        let word = self.dirty.get(first / 64).copied().unwrap_or(0) >> (first % 64);
        if self.unit_log2 == 0 {
            return word;
        }
        let unit = (1 << (1 << self.unit_log2)) - 1;
        let units = (0..per_word).filter(|i| word & 1 << i != 0);
        units.fold(0, |rows, i| rows | unit << (i << self.unit_log2))
    }

    pub(crate) fn tombstones(&self) -> &Tombstones {
        &self.tombstones
    }
}

impl Tombstones {
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Key group and encoding of each, by key group.
    pub(crate) fn sorted(&self, max: MaxParallelism) -> Vec<(KeyGroup, &[u8])> {
        let mut all = Vec::with_capacity(self.count);
        let mut rest = self.bytes.as_slice();
        while let Some((hash, after)) = rest.split_first_chunk() {
            let (length, after) = after.split_first_chunk().expect("written together");
            let (key, after) = after.split_at(u32::from_le_bytes(*length) as usize);
            all.push((KeyGroup::of_hash(u64::from_le_bytes(*hash), max), key));
            rest = after;
        }
        all.sort_by_key(|(group, _)| *group);
        all
    }
}
