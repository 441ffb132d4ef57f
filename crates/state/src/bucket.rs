//! One bucket of the index: a cache line with eight tags and eight row numbers.
//!
//! Slots fill from the first on. A slot is vacant if its tag is 0; its row number says whether it was
//! never used ([`NOBODY`]) or lost its entry while the bucket was full ([`GRAVE`]).
//!
//! This file is on the list of files that may hold `unsafe`.
#![allow(unsafe_code)]

use crate::memory::Plain;

/// The slots of a bucket.
pub(crate) const SLOTS: usize = 8;

/// The tag of a vacant slot.
pub(crate) const VACANT: u32 = 0;

/// The row number of a slot that was never used.
pub(crate) const NOBODY: u32 = 0;

/// The row number of an entry that was removed from a full bucket.
pub(crate) const GRAVE: u32 = u32::MAX;

/// One cache line. Zeros are an empty bucket.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Bucket {
    /// What is compared with the hash.
    pub(crate) tags: [u32; SLOTS],
    /// What is found.
    pub(crate) rows: [u32; SLOTS],
}

// SAFETY: arrays of integers, and the alignment is that of a cache line.
unsafe impl Plain for Bucket {}

impl Bucket {
    /// Whether every slot has been used, so that entries may have gone on to the next bucket.
    #[inline(always)]
    pub(crate) fn was_full(&self) -> bool {
        self.rows[SLOTS - 1] != NOBODY
    }

    /// The slots that hold the tag, one bit each.
    ///
    /// LLVM does not make the two compares and the mask out of [`matches_portably`]: hence by hand.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(crate) fn matches(&self, tag: u32) -> u32 {
        use std::arch::x86_64::*;
        let tags: *const __m128i = self.tags.as_ptr().cast();
        // SAFETY: every x86-64 has SSE2. The loads read the 32 bytes of `tags` and need no alignment.
        unsafe {
            let wanted = _mm_set1_epi32(tag.cast_signed());
            let low = _mm_cmpeq_epi32(_mm_loadu_si128(tags), wanted);
            let high = _mm_cmpeq_epi32(_mm_loadu_si128(tags.add(1)), wanted);
            let bytes = _mm_packs_epi16(_mm_packs_epi32(low, high), _mm_setzero_si128());
            _mm_movemask_epi8(bytes).cast_unsigned()
        }
    }

    /// The slots that hold the tag, one bit each.
    #[cfg(not(target_arch = "x86_64"))]
    #[inline(always)]
    pub(crate) fn matches(&self, tag: u32) -> u32 {
        matches_portably(&self.tags, tag)
    }

    /// The entries: tag and row.
    #[inline(always)]
    pub(crate) fn entries(&self) -> impl Iterator<Item = (u32, u32)> {
        self.tags.into_iter().zip(self.rows).filter(|(tag, _)| *tag != VACANT)
    }

    /// Fills a slot.
    #[inline(always)]
    pub(crate) fn set(&mut self, slot: usize, tag: u32, row: u32) {
        self.tags[slot] = tag;
        self.rows[slot] = row;
    }

    /// Takes an entry out; whether this makes a grave. Otherwise the last entry fills the gap.
    pub(crate) fn vacate(&mut self, slot: usize) -> bool {
        if self.was_full() {
            self.set(slot, VACANT, GRAVE);
            return true;
        }
        let last = self.matches(VACANT).trailing_zeros() as usize - 1;
        self.set(slot, self.tags[last], self.rows[last]);
        self.set(last, VACANT, NOBODY);
        false
    }
}

/// [`Bucket::matches`] for any machine.
#[cfg(any(test, not(target_arch = "x86_64")))]
#[inline(always)]
fn matches_portably(tags: &[u32; SLOTS], tag: u32) -> u32 {
    let mut found = 0;
    for (slot, other) in tags.iter().enumerate() {
        found |= u32::from(*other == tag) << slot;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_a_cache_line() {
        assert_eq!((size_of::<Bucket>(), align_of::<Bucket>()), (64, 64));
    }

    #[test]
    fn the_vectors_of_this_machine_and_plain_rust_find_the_same_slots() {
        let mut word = 1_u32;
        for _ in 0..10_000 {
            let tags = std::array::from_fn(|_| {
                word = word.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (word >> 30) | (word & 0x8000_0000)
            });
            let bucket = Bucket { tags, rows: [1; SLOTS] };
            for tag in [0, 1, 2, 3, 0x8000_0000, 0x8000_0003, u32::MAX] {
                assert_eq!(bucket.matches(tag), matches_portably(&tags, tag));
            }
        }
    }
}
