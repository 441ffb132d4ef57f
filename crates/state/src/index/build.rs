//! The index of a whole table at once: of the rows 1, 2, 3, … of a table that was just read.
//!
//! Put in one by one, each entry costs a cache miss, and the index grows a dozen times. Here it gets its
//! final size first. Entries are then sorted by the stretch of the index that they belong to, as many
//! stretches as have room in the second-level cache each, and put stretch by stretch: memory is written in
//! order. Both steps are divided among a few threads if there is much to do.
//!
//! An entry that meets one with its tag may be of a key that is there already. It is put aside, and looked
//! at in the end: there are few such, by accident one in some hundreds.

use super::{BUCKETS_MIN, Index, USED_PER_BUCKET, home_of};
use crate::bucket::{Bucket, SLOTS, VACANT};
use crate::memory::Zeroed;
use crate::parallel::{in_parallel, threads_for};
use std::ops::Range;

/// Buckets of a stretch: 256 KiB.
const STRETCH: usize = 4 << 10;

/// Tag and row in one word, so that entries can be moved at once.
type Entry = u64;

fn entry(tag: u32, row: u32) -> Entry {
    u64::from(tag) << 32 | u64::from(row)
}

fn tag(entry: Entry) -> u32 {
    (entry >> 32) as u32
}

fn row(entry: Entry) -> u32 {
    entry as u32
}

/// Some entries, by the stretch that they belong to; in a stretch in the order in which they came.
struct Sorted {
    entries: Zeroed<Entry>,
    /// Where the entries of each stretch begin, and where those of the last one end.
    starts: Vec<usize>,
}

impl Index {
    /// Fills an index without entries: row `i + 1` has the tag `tags[i]` (see [`Index::tag`]). `same` says
    /// whether two rows have the same key: then the later one is in the index, and the earlier one is
    /// among those that are given back.
    pub(crate) fn build(
        &mut self,
        tags: &[u32],
        same: &mut dyn FnMut(u32, u32) -> bool,
    ) -> Vec<u32> {
        debug_assert!(self.len == 0 && self.graves == 0);
        if tags.is_empty() {
            return Vec::new();
        }
        let len = tags.len().div_ceil(USED_PER_BUCKET).next_power_of_two().max(BUCKETS_MIN);
        self.buckets = Zeroed::new(len);
        self.shift = 32 - len.ilog2();
        let aside = self.fill(tags);
        self.len = tags.len() - aside.len();
        let mut lost = Vec::new();
        for entry in aside {
            let (tag, row) = (tag(entry), row(entry));
            match self.replace(tag, row, same) {
                Some(former) => lost.push(former),
                None => {
                    self.put(tag, row);
                    self.len += 1;
                }
            }
        }
        lost
    }

    /// Puts all entries but those that it gives back, in order.
    fn fill(&mut self, tags: &[u32]) -> Vec<Entry> {
        let (shift, stretches) = (self.shift, self.buckets.len().div_ceil(STRETCH));
        let threads = threads_for(tags.len());
        let each = tags.len().div_ceil(threads);
        let sorted: Vec<Sorted> = in_parallel(
            tags.chunks(each)
                .enumerate()
                .map(|(i, tags)| move || sort(tags, i * each, shift, stretches))
                .collect(),
        );
        let share = stretches.div_ceil(threads);
        let mut works = Vec::with_capacity(threads);
        for (i, buckets) in self.buckets.chunks_mut(share * STRETCH).enumerate() {
            let part = i * share..((i + 1) * share).min(stretches);
            let sorted = &sorted;
            works.push(move || fill_part(buckets, part, sorted, shift));
        }
        in_parallel(works).concat()
    }

    /// Gives the entry of the row with the same key to this row; the row that had it.
    fn replace(
        &mut self,
        tag: u32,
        row: u32,
        same: &mut dyn FnMut(u32, u32) -> bool,
    ) -> Option<u32> {
        let mut at = self.home(tag);
        for _ in 0..self.buckets.len() {
            let bucket = &mut self.buckets[at];
            let found = bucket.matches(tag);
            for slot in (0..SLOTS).filter(|slot| found & 1 << slot != 0) {
                let former = bucket.rows[slot];
                if same(former, row) {
                    bucket.set(slot, tag, row);
                    return Some(former);
                }
            }
            if !bucket.was_full() {
                return None;
            }
            at = self.after(at);
        }
        None
    }
}

/// Sorts entries by stretch: counts, then places. The first of them is of the row `before + 1`.
fn sort(tags: &[u32], before: usize, shift: u32, stretches: usize) -> Sorted {
    let stretch = |tag: u32| home_of(tag, shift) / STRETCH;
    let mut starts = vec![0; stretches + 1];
    for tag in tags {
        starts[stretch(*tag) + 1] += 1;
    }
    for i in 0..stretches {
        starts[i + 1] += starts[i];
    }
    let mut next = starts.clone();
    let mut entries = Zeroed::new(tags.len());
    for (i, tag) in tags.iter().enumerate() {
        let place = &mut next[stretch(*tag)];
        entries[*place] = entry(*tag, (before + i + 1) as u32);
        *place += 1;
    }
    Sorted { entries, starts }
}

/// Fills the buckets of some stretches, of which the index has no others here. Gives back entries
/// that may be of a key that is there, and those that would go beyond the end.
fn fill_part(
    buckets: &mut [Bucket],
    part: Range<usize>,
    sorted: &[Sorted],
    shift: u32,
) -> Vec<Entry> {
    let first = part.start * STRETCH;
    let mut aside = Vec::new();
    for stretch in part {
        for Sorted { entries, starts } in sorted {
            for entry in &entries[starts[stretch]..starts[stretch + 1]] {
                let home = home_of(tag(*entry), shift) - first;
                if !put_within(&mut buckets[home..], *entry) {
                    aside.push(*entry);
                }
            }
        }
    }
    aside
}

/// Puts an entry into the first of these buckets with room, unless there is one with its tag before.
#[inline]
fn put_within(buckets: &mut [Bucket], entry: Entry) -> bool {
    for bucket in buckets {
        if bucket.matches(tag(entry)) != 0 {
            return false;
        }
        let vacant = bucket.matches(VACANT);
        if vacant != 0 {
            bucket.set(vacant.trailing_zeros() as usize, tag(entry), row(entry));
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parallel::ROWS_PER_THREAD_MIN;

    fn spread(i: u64) -> u64 {
        i.wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }

    fn rows_of(index: &Index, hash: u64) -> Vec<u32> {
        let mut rows = Vec::new();
        index.search(hash, &mut |row| {
            rows.push(row);
            false
        });
        rows.sort_unstable();
        rows
    }

    /// Builds an index of rows with these hashes, which are their keys, and compares it with what
    /// inserting them one by one gives.
    #[track_caller]
    fn check(hashes: &[u64]) {
        let tags: Vec<u32> = hashes.iter().map(|hash| Index::tag(*hash)).collect();
        let mut built = Index::new();
        let key = |row: u32| hashes[row as usize - 1];
        let mut lost = built.build(&tags, &mut |a, b| key(a) == key(b));
        let mut expected = Index::new();
        let mut expected_lost = Vec::new();
        for (i, hash) in hashes.iter().enumerate() {
            let row = i as u32 + 1;
            match expected.search(*hash, &mut |other| key(other) == *hash) {
                0 => expected.insert(*hash, row),
                former => {
                    expected.remove(*hash, former);
                    expected.insert(*hash, row);
                    expected_lost.push(former);
                }
            }
        }
        lost.sort_unstable();
        expected_lost.sort_unstable();
        assert_eq!(lost, expected_lost);
        assert_eq!(built.len(), expected.len());
        for hash in hashes {
            assert_eq!(rows_of(&built, *hash), rows_of(&expected, *hash));
        }
    }

    #[test]
    fn an_index_that_is_built_at_once_is_as_one_that_was_filled_one_by_one() {
        check(&[]);
        check(&[7]);
        for rows in [47, 48, 49, 3_000, 100_000] {
            check(&(1..=rows).map(spread).collect::<Vec<_>>());
        }
        check(&(1..=2_000).map(|i| spread(i) << 32 | i >> 4).collect::<Vec<_>>());
    }

    #[test]
    fn tags_that_fill_a_stretch_go_beyond_its_end_and_around_that_of_the_index() {
        let same_tag = |tag: u64| (1..=500).map(move |i| spread(i) << 32 | tag);
        let crowded = same_tag(u64::from(u32::MAX)).chain(same_tag(0)).chain(same_tag(1 << 31));
        check(&crowded.chain((1..60_000).map(spread)).collect::<Vec<_>>());
    }

    #[test]
    fn of_rows_with_one_key_the_last_is_in_the_index_and_the_others_are_given_back() {
        let hashes: Vec<u64> = (0..30_000).map(|i| spread(i % 1_000)).collect();
        check(&hashes);
        let twice = (0..10_000).chain(5_000..12_000).map(spread);
        check(&twice.collect::<Vec<_>>());
    }

    #[test]
    fn as_many_rows_as_take_several_threads_are_all_found() {
        let rows = 3 * ROWS_PER_THREAD_MIN;
        let hash = |row: u32| spread(u64::from(row));
        let tags: Vec<u32> = (1..=rows as u32).map(|row| Index::tag(hash(row))).collect();
        let mut index = Index::new();
        let lost = index.build(&tags, &mut |_, _| false);
        assert_eq!((lost.len(), index.len()), (0, rows));
        for row in 1..=rows as u32 {
            assert_eq!(index.search(hash(row), &mut |found| found == row), row);
        }
    }
}
