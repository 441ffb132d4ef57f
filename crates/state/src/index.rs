//! From a hash to row numbers: a hash table of buckets with eight tags and eight row numbers each.
//!
//! A tag is the low half of the key's hash (the high half chose the key group, so within a subtask
//! it says little). Its top bits name the home bucket, all of it is compared: growth therefore reads
//! nothing but the index, and reads and writes it in order.
//!
//! A bucket fills from slot 0. When it is full, entries go to the next bucket with room; a search goes
//! on until it meets a bucket that has never been full. So an entry that is removed from a full bucket
//! leaves a [`GRAVE`], which a later entry may take; in any other bucket the last entry takes its place.
//! Both are vacant, which tag 0 says: a hash with that low half is given tag 1.
//!
//! At most three quarters of the slots are in use, so every search ends; each is bounded by the number
//! of buckets on top of that. The index never looks at keys: many entries may have one tag.
//! `build` makes the index of a table that was read.

mod build;

use crate::bucket::{Bucket, GRAVE, NOBODY, SLOTS, VACANT};
use crate::memory::{Zeroed, prefetch};

/// Six entries per bucket on average at most: one bucket in four is then full and one entry in twenty
/// lies beyond its home; right after growth it is one bucket in eighty.
const USED_PER_BUCKET: usize = 6;

/// 512 bytes, 48 entries.
const BUCKETS_MIN: usize = 8;

/// Where the rows of each hash are.
pub(crate) struct Index {
    /// A power of two of buckets, or none.
    buckets: Zeroed<Bucket>,
    /// What is left of a tag after the shift is the home bucket.
    shift: u32,
    /// Slots with an entry.
    len: usize,
    /// Slots with a grave: they count as used, because searches go past them.
    graves: usize,
}

/// The top bits of the tag. With one bucket the shift is by 32 and must give 0: hence 64 bits.
#[inline(always)]
fn home_of(tag: u32, shift: u32) -> usize {
    (u64::from(tag) >> shift) as usize
}

#[inline(always)]
fn tag_of(hash: u64) -> u32 {
    (hash as u32).max(VACANT + 1)
}

impl Index {
    /// No entries and no memory.
    pub(crate) fn new() -> Self {
        Self { buckets: Zeroed::new(0), shift: 32, len: 0, graves: 0 }
    }

    /// The number of entries.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// What the buckets take.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.buckets.bytes()
    }

    /// What of a hash is compared.
    #[inline(always)]
    pub(crate) fn tag(hash: u64) -> u32 {
        tag_of(hash)
    }

    #[inline(always)]
    fn home(&self, tag: u32) -> usize {
        home_of(tag, self.shift)
    }

    #[inline(always)]
    fn after(&self, bucket: usize) -> usize {
        (bucket + 1) & (self.buckets.len() - 1)
    }

    /// Brings the home bucket of the hash near.
    #[inline(always)]
    pub(crate) fn prefetch(&self, hash: u64) {
        prefetch(self.buckets.as_ptr().wrapping_add(self.home(tag_of(hash))));
    }

    /// The first row with the hash's tag, which may be of another key; 0 if there is none. `None` if
    /// this cannot be said without a look at the next bucket.
    #[inline(always)]
    pub(crate) fn first(&self, hash: u64) -> Option<u32> {
        let tag = tag_of(hash);
        let Some(bucket) = self.buckets.get(self.home(tag)) else {
            return Some(NOBODY);
        };
        let found = bucket.matches(tag);
        if found != 0 {
            Some(bucket.rows[found.trailing_zeros() as usize % SLOTS])
        } else if bucket.was_full() {
            None
        } else {
            Some(NOBODY)
        }
    }

    /// Brings the bucket near that follows the home bucket of the hash.
    #[inline]
    pub(crate) fn prefetch_beyond(&self, hash: u64) {
        prefetch(self.buckets.as_ptr().wrapping_add(self.after(self.home(tag_of(hash)))));
    }

    /// What [`first`](Self::first) could not say without a look at the next bucket.
    #[inline(never)]
    pub(crate) fn first_beyond(&self, hash: u64) -> u32 {
        let tag = tag_of(hash);
        self.search_from(self.after(self.home(tag)), tag, &mut |_| true)
    }

    /// The first row with the hash's tag that is the one, or 0.
    pub(crate) fn search(&self, hash: u64, is_it: &mut dyn FnMut(u32) -> bool) -> u32 {
        let tag = tag_of(hash);
        self.search_from(self.home(tag), tag, is_it)
    }

    fn search_from(&self, start: usize, tag: u32, is_it: &mut dyn FnMut(u32) -> bool) -> u32 {
        let mut at = start;
        for _ in 0..self.buckets.len() {
            let bucket = &self.buckets[at];
            let mut found = bucket.matches(tag);
            while found != 0 {
                let row = bucket.rows[found.trailing_zeros() as usize];
                if is_it(row) {
                    return row;
                }
                found &= found - 1;
            }
            if !bucket.was_full() {
                break;
            }
            at = self.after(at);
        }
        NOBODY
    }

    /// Adds an entry. The caller has made sure that the row is not there yet.
    pub(crate) fn insert(&mut self, hash: u64, row: u32) {
        debug_assert!(row != NOBODY && row != GRAVE);
        if self.len + self.graves >= self.buckets.len() * USED_PER_BUCKET {
            self.rebuild();
        }
        self.put(tag_of(hash), row);
        self.len += 1;
    }

    /// Puts an entry into the first vacant slot from its home on; there is one.
    #[inline]
    fn put(&mut self, tag: u32, row: u32) {
        let mut at = self.home(tag);
        loop {
            let bucket = &mut self.buckets[at];
            let vacant = bucket.matches(VACANT);
            if vacant != 0 {
                let slot = vacant.trailing_zeros() as usize;
                self.graves -= usize::from(bucket.rows[slot] == GRAVE);
                bucket.set(slot, tag, row);
                return;
            }
            at = self.after(at);
        }
    }

    /// Makes room: twice the buckets, or the same number if it was graves that filled them.
    #[cold]
    #[inline(never)]
    fn rebuild(&mut self) {
        let mostly_graves = self.len * 2 < self.buckets.len() * USED_PER_BUCKET;
        let factor = if mostly_graves { 1 } else { 2 };
        let len = (self.buckets.len() * factor).max(BUCKETS_MIN);
        let old = std::mem::replace(&mut self.buckets, Zeroed::new(len));
        let old_shift = std::mem::replace(&mut self.shift, 32 - len.ilog2());
        self.graves = 0;
        // Entries that are at home have room at home, in the next slots of one bucket or of two.
        for (home, bucket) in old.iter().enumerate() {
            let mut filled = [0; 2];
            for (tag, row) in bucket.entries().filter(|(tag, _)| home_of(*tag, old_shift) == home) {
                let new_home = self.home(tag);
                let slot = &mut filled[new_home % 2];
                self.buckets[new_home].set(*slot, tag, row);
                *slot += 1;
            }
        }
        for (at, bucket) in old.iter().enumerate() {
            for (tag, row) in bucket.entries().filter(|(tag, _)| home_of(*tag, old_shift) != at) {
                self.put(tag, row);
            }
        }
    }

    /// Removes the entry of this row; whether it was there.
    pub(crate) fn remove(&mut self, hash: u64, row: u32) -> bool {
        let tag = tag_of(hash);
        let mut at = self.home(tag);
        for _ in 0..self.buckets.len() {
            let bucket = &mut self.buckets[at];
            let found = bucket.matches(tag);
            if let Some(slot) = (0..SLOTS).find(|i| found & (1 << i) != 0 && bucket.rows[*i] == row)
            {
                self.graves += usize::from(bucket.vacate(slot));
                self.len -= 1;
                return true;
            }
            if !bucket.was_full() {
                break;
            }
            at = self.after(at);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows_of(index: &Index, hash: u64) -> Vec<u32> {
        let mut rows = Vec::new();
        index.search(hash, &mut |row| {
            rows.push(row);
            false
        });
        rows.sort_unstable();
        rows
    }

    #[test]
    fn an_empty_index_finds_nothing_and_takes_nothing() {
        let mut index = Index::new();
        assert_eq!((index.first(7), index.memory_bytes()), (Some(0), 0));
        assert!(!index.remove(7, 1));
        index.prefetch(7);
    }

    #[test]
    fn entries_are_found_after_growth_whatever_their_hashes() {
        let spread = |i: u64| i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 7;
        let all_low = |i: u64| i;
        let all_high = |i: u64| 0xFFFF_FFFF - i;
        let wrapping: [fn(u64) -> u64; 3] = [spread, all_low, all_high];
        for hash in wrapping {
            let mut index = Index::new();
            for i in 1..2_000 {
                index.insert(hash(i), i as u32);
            }
            for i in 1..2_000 {
                assert!(rows_of(&index, hash(i)).contains(&(i as u32)));
            }
            assert_eq!(index.len(), 1_999);
        }
    }

    #[test]
    fn equal_hashes_overflow_around_the_end_and_can_all_be_removed() {
        for hash in [0, 1, 0xFFFF_FFFF, u64::MAX] {
            let mut index = Index::new();
            for row in 1..=1_000 {
                index.insert(hash, row);
            }
            assert_eq!(rows_of(&index, hash), (1..=1_000).collect::<Vec<_>>());
            for row in (1..=1_000).rev() {
                assert!(index.remove(hash, row));
                assert!(!index.remove(hash, row));
            }
            assert_eq!((index.len(), index.search(hash, &mut |_| true)), (0, 0));
        }
    }

    #[test]
    fn entries_behind_a_grave_stay_reachable() {
        let mut index = Index::new();
        for row in 1..=20 {
            index.insert(5, row);
        }
        for row in 1..=10 {
            assert!(index.remove(5, row));
        }
        assert_eq!(rows_of(&index, 5), (11..=20).collect::<Vec<_>>());
        index.insert(5, 30);
        assert_eq!(rows_of(&index, 5).len(), 11);
    }

    #[test]
    fn coming_and_going_does_not_make_the_index_grow() {
        let mut index = Index::new();
        for round in 0..1_000_u32 {
            let hash = u64::from(round).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 16;
            for row in 1..=20 {
                index.insert(hash, row);
            }
            for row in 1..=20 {
                assert!(index.remove(hash, row));
            }
        }
        assert_eq!(index.len(), 0);
        assert!(index.memory_bytes() <= 2 * BUCKETS_MIN * 64);
    }
}
