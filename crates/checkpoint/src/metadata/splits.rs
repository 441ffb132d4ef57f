//! Which parts of a source's bounded input have been given to readers.
//!
//! Splits are numbered in the order of the job graph. A job that goes on from a savepoint may have
//! another list of splits (a file was added to the directory): then seen ones are recognised by the
//! hash of their content, and what is new is read.

use millstream_core::hash::xxh3_64;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// The splits of one vertex that have been given to readers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenSplits {
    /// How many splits there were.
    pub total: u32,
    /// The hash of them all: equal means that the numbers mean the same splits.
    #[serde(with = "digits")]
    pub all: u64,
    /// The numbers of the seen ones: ascending, not touching each other.
    pub seen: Vec<Range<u32>>,
    /// The hash of each seen one, in that order: 16 hexadecimal digits each.
    pub hashes: String,
}

impl SeenSplits {
    /// These of the splits have been seen.
    pub fn new(splits: &[&[u8]], seen: &BTreeSet<u32>) -> Self {
        if splits.is_empty() {
            return Self::default();
        }
        let hash_of = |number: &u32| splits.get(*number as usize).map(|split| xxh3_64(split));
        Self {
            total: splits.len() as u32,
            all: hash_of_all(splits),
            seen: ranges(seen),
            hashes: seen.iter().filter_map(hash_of).map(|hash| format!("{hash:016x}")).collect(),
        }
    }

    /// The numbers of the seen ones, as they were when the checkpoint was taken.
    pub fn numbers(&self) -> BTreeSet<u32> {
        self.seen.iter().cloned().flatten().collect()
    }

    /// Which of these splits have been seen.
    pub fn among(&self, splits: &[&[u8]]) -> BTreeSet<u32> {
        if self.total as usize == splits.len()
            && (self.total == 0 || self.all == hash_of_all(splits))
        {
            return self.numbers();
        }
        let mut seen: BTreeMap<u64, u32> = BTreeMap::new();
        for hash in self.hash_values() {
            *seen.entry(hash).or_default() += 1;
        }
        let mut found = BTreeSet::new();
        for (number, split) in (0..).zip(splits) {
            if let Some(left) = seen.get_mut(&xxh3_64(split)).filter(|left| **left > 0) {
                *left -= 1;
                found.insert(number);
            }
        }
        found
    }

    fn hash_values(&self) -> impl Iterator<Item = u64> + '_ {
        let digits = self.hashes.as_bytes().chunks(16).map(|chunk| std::str::from_utf8(chunk).ok());
        digits.filter_map(|digits| u64::from_str_radix(digits?, 16).ok())
    }

    pub(super) fn problem(&self) -> Option<String> {
        let mut next = 0;
        for range in &self.seen {
            if range.start < next || range.start >= range.end || range.end > self.total {
                return Some(format!("splits {range:?} of {} are out of order", self.total));
            }
            next = range.end;
        }
        let count: usize = self.seen.iter().map(|range| range.len()).sum();
        let whole = self.hashes.len() == 16 * count && self.hash_values().count() == count;
        (!whole).then(|| format!("{count} splits are seen, and their hashes are not as many"))
    }
}

fn hash_of_all(splits: &[&[u8]]) -> u64 {
    let hashes: Vec<u8> = splits.iter().flat_map(|split| xxh3_64(split).to_le_bytes()).collect();
    xxh3_64(&hashes)
}

fn ranges(numbers: &BTreeSet<u32>) -> Vec<Range<u32>> {
    let mut ranges: Vec<Range<u32>> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some(last) if last.end == *number => last.end += 1,
            _ => ranges.push(*number..*number + 1),
        }
    }
    ranges
}

/// 64 bits as 16 hexadecimal digits: numbers in JSON lose bits in some readers.
mod digits {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &u64, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&format_args!("{value:016x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<u64, D::Error> {
        let text = String::deserialize(d)?;
        u64::from_str_radix(&text, 16).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_list_is_known_by_number_and_another_by_content() {
        let splits: [&[u8]; 5] = [b"a", b"b", b"c", b"b", b"e"];
        let seen = SeenSplits::new(&splits, &[0, 1, 4].into());
        assert_eq!(seen.seen, [0..2, 4..5]);
        assert_eq!(seen.problem(), None);
        assert_eq!(seen.among(&splits), [0, 1, 4].into());
        // `b` was seen once; a file was added, and one is gone.
        assert_eq!(seen.among(&[b"aa", b"a", b"b", b"b", b"c"]), [1, 2].into());
        assert_eq!(seen.among(&[]), [].into());
    }

    #[test]
    fn what_cannot_have_been_written_is_noticed() {
        let good = SeenSplits::new(&[b"a", b"b"], &[0].into());
        for spoil in [
            |s: &mut SeenSplits| s.seen[0].end = 3,
            |s: &mut SeenSplits| s.seen[0] = 1..1,
            |s: &mut SeenSplits| s.seen = vec![1..2, 0..1],
            |s: &mut SeenSplits| s.hashes.push('0'),
            |s: &mut SeenSplits| s.hashes = "x".repeat(16),
        ] {
            let mut bad = good.clone();
            spoil(&mut bad);
            assert!(bad.problem().is_some(), "{bad:?}");
        }
    }
}
