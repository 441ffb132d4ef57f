//! Key groups: the slices of the key space in which keyed state moves when a job is rescaled.
//!
//! A permanent format. With `h` the key's 64-bit hash ([`crate::hash`]):
//! `key group = ((h >> 32) * max_parallelism) >> 32` and `subtask = key_group * p / max_parallelism`.
//! State tables take their index from the low half of `h`, which is independent of the group.

use serde::{Deserialize, Serialize};
use std::ops::Range;

/// The greatest max parallelism that a job can ask for.
pub const MAX_PARALLELISM_LIMIT: u32 = 32_768;

/// The number of key groups of an operator: the bound of its parallelism, fixed for the life of its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32")]
pub struct MaxParallelism(u32);

impl TryFrom<u32> for MaxParallelism {
    type Error = String;

    fn try_from(groups: u32) -> Result<Self, String> {
        Self::new(groups).ok_or_else(|| format!("{groups} is no max parallelism"))
    }
}

impl MaxParallelism {
    /// `groups` key groups, if that is within 1 and [`MAX_PARALLELISM_LIMIT`].
    pub fn new(groups: u32) -> Option<Self> {
        (1..=MAX_PARALLELISM_LIMIT).contains(&groups).then_some(Self(groups))
    }

    /// Flink's default: the next power of two above 1.5 times the parallelism, within 128 and 32,768.
    pub fn default_for(parallelism: u32) -> Self {
        let wanted = parallelism.saturating_add(parallelism / 2).min(MAX_PARALLELISM_LIMIT);
        Self(wanted.next_power_of_two().clamp(128, MAX_PARALLELISM_LIMIT))
    }

    /// The number of key groups.
    pub fn get(self) -> u32 {
        self.0
    }
}

/// One slice of the key space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32")]
pub struct KeyGroup(u16);

impl TryFrom<u32> for KeyGroup {
    type Error = String;

    fn try_from(index: u32) -> Result<Self, String> {
        Self::new(index).ok_or_else(|| format!("there is no key group {index}"))
    }
}

impl KeyGroup {
    /// The group with this number, if one can have it.
    pub fn new(index: u32) -> Option<Self> {
        (index < MAX_PARALLELISM_LIMIT).then_some(Self(index as u16))
    }

    /// The group of a key with this hash.
    #[inline]
    pub fn of_hash(hash: u64, max: MaxParallelism) -> Self {
        Self((((hash >> 32) * u64::from(max.0)) >> 32) as u16)
    }

    /// The group's number, below the max parallelism.
    pub fn index(self) -> u32 {
        u32::from(self.0)
    }

    /// The subtask that owns the group; shuffle and restore both ask here.
    #[inline]
    pub fn owner(self, max: MaxParallelism, parallelism: u32) -> u32 {
        debug_assert!(parallelism <= max.0 && u32::from(self.0) < max.0);
        u32::from(self.0) * parallelism / max.0
    }
}

/// The subtask that owns the keys with this hash.
#[inline]
pub fn subtask_of_hash(hash: u64, max: MaxParallelism, parallelism: u32) -> u32 {
    KeyGroup::of_hash(hash, max).owner(max, parallelism)
}

/// The contiguous key groups of one subtask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyGroupRange(pub Range<u32>);

impl KeyGroupRange {
    /// The groups that `subtask` of `parallelism` owns.
    pub fn of_subtask(subtask: u32, max: MaxParallelism, parallelism: u32) -> Self {
        assert!(subtask < parallelism && parallelism <= max.0);
        let first =
            |s: u32| (u64::from(s) * u64::from(max.0)).div_ceil(u64::from(parallelism)) as u32;
        Self(first(subtask)..first(subtask + 1))
    }

    /// Whether the group belongs to this range.
    pub fn contains(&self, group: KeyGroup) -> bool {
        self.0.contains(&group.index())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_cover_every_group_once_and_agree_with_the_owner() {
        for max in [1, 2, 7, 128, 1000, 32_768] {
            let max = MaxParallelism::new(max).expect("within bounds");
            for parallelism in [1, 2, 3, 5, 127, 128] {
                if parallelism > max.get() {
                    continue;
                }
                let mut next = 0;
                for subtask in 0..parallelism {
                    let range = KeyGroupRange::of_subtask(subtask, max, parallelism);
                    assert_eq!(range.0.start, next);
                    next = range.0.end;
                    for group in range.0 {
                        assert_eq!(KeyGroup(group as u16).owner(max, parallelism), subtask);
                    }
                }
                assert_eq!(next, max.get());
            }
        }
    }

    #[test]
    fn the_greatest_hash_is_in_the_last_group() {
        let max = MaxParallelism::new(MAX_PARALLELISM_LIMIT).expect("within bounds");
        assert_eq!(KeyGroup::of_hash(u64::MAX, max).index(), MAX_PARALLELISM_LIMIT - 1);
        assert_eq!(KeyGroup::of_hash(0, max).index(), 0);
    }

    #[test]
    fn default_max_parallelism_is_flinks() {
        let default = |p| MaxParallelism::default_for(p).get();
        assert_eq!([default(1), default(85), default(86), default(200)], [128, 128, 256, 512]);
        assert_eq!(default(30_000), 32_768);
    }
}
