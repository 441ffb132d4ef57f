//! Records that a barrier overtook, as rows: what of them is kept in a checkpoint, and how they come
//! back out of it.
//!
//! An item of the state's list is one run of rows of the same form:
//!
//! | bytes | |
//! |---|---|
//! | 0 | what each row has in front, 8 bytes each: 1 its hash, 2 its time, 3 both; 0 neither |
//! | 1..4 | zero |
//! | 4..8 | how many rows, little-endian |
//! | 8.. | the rows, as they go over the wire |

use crate::batch::{AnyBatch, BoxBatch, Columns};
use crate::wire::frame::ROWS_BYTES_MAX;
use millstream_core::key_group::{KeyGroup, KeyGroupRange, MaxParallelism};
use millstream_core::record::DecodeError;

/// Bytes before the rows of an item.
const HEADER_BYTES: usize = 8;

/// A run of rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InFlightRows {
    /// What each row has in front.
    pub columns: Columns,
    /// How many.
    pub count: u32,
    /// One after the other.
    pub rows: Vec<u8>,
}

/// The keys that a task owns.
#[derive(Clone, Debug)]
pub struct OwnKeys {
    /// How many key groups there are.
    pub max_parallelism: MaxParallelism,
    /// Those of the task.
    pub groups: KeyGroupRange,
}

/// Adds all records of a batch.
pub fn encode_batch(batch: &dyn AnyBatch, to: &mut Vec<InFlightRows>) {
    let mut from = 0;
    while from < batch.len() {
        let mut rows = Vec::new();
        let next = batch.encode(from, ROWS_BYTES_MAX, &mut rows);
        let count = u32::try_from(next - from).expect("a run of rows is shorter than 2^32 bytes");
        to.push(InFlightRows { columns: batch.columns(), count, rows });
        from = next;
    }
}

impl InFlightRows {
    /// The item of the state's list.
    pub fn to_item(&self) -> Vec<u8> {
        let mut item = Vec::with_capacity(HEADER_BYTES + self.rows.len());
        let columns = u8::from(self.columns.hashed) | (u8::from(self.columns.timed) << 1);
        item.extend_from_slice(&[columns, 0, 0, 0]);
        item.extend_from_slice(&self.count.to_le_bytes());
        item.extend_from_slice(&self.rows);
        item
    }

    /// Reads an item; the rows are not looked at.
    pub fn of_item(item: &[u8]) -> Result<Self, DecodeError> {
        let short = DecodeError::Short { wanted: HEADER_BYTES, left: item.len() };
        let (header, rows) = item.split_first_chunk::<HEADER_BYTES>().ok_or(short)?;
        let [columns @ 0..=3, 0, 0, 0, count @ ..] = *header else {
            return Err(DecodeError::Invalid("rows in flight: unknown form"));
        };
        let columns = Columns { hashed: columns & 1 != 0, timed: columns & 2 != 0 };
        Ok(Self { columns, count: u32::from_le_bytes(count), rows: rows.to_vec() })
    }

    /// Fills an empty batch with the rows; with `own`, with those that the task owns.
    pub fn decode(&self, own: Option<&OwnKeys>, batch: &mut BoxBatch) -> Result<(), DecodeError> {
        batch.decode(self.count as usize, self.columns, &self.rows)?;
        let Some(OwnKeys { max_parallelism, groups }) = own else { return Ok(()) };
        if !self.columns.hashed {
            return Err(DecodeError::Invalid("rows in flight by key: without the hashes of keys"));
        }
        let is_foreign = |hash: &u64| !groups.contains(KeyGroup::of_hash(*hash, *max_parallelism));
        let targets: Vec<u32> = batch.hashes().iter().map(|h| u32::from(is_foreign(h))).collect();
        let mut parts = [batch.fresh(), batch.fresh()];
        batch.distribute(&targets, &mut parts);
        let [kept, _] = parts;
        *batch = kept;
        Ok(())
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;
    use crate::batch::{Batch, cast};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn records_come_back_as_they_were(
            records in proptest::collection::vec((any::<u64>(), ".{0,9}"), 0..500),
            hashed: bool, timed: bool,
        ) {
            let hashes = if hashed { records.iter().map(|r| r.0).collect() } else { Vec::new() };
            let times = records.iter().map(|record| record.0 as i64 / 2);
            let timestamps = if timed { times.collect() } else { Vec::new() };
            let batch = Batch { items: records, hashes, timestamps };
            let (mut runs, mut copy) = (Vec::new(), Batch::<(u64, String)>::new());
            encode_batch(&batch, &mut runs);
            for run in runs {
                let read = InFlightRows::of_item(&run.to_item()).expect("as written");
                prop_assert_eq!(&read, &run);
                let mut part: BoxBatch = Box::<Batch<(u64, String)>>::default();
                read.decode(None, &mut part).expect("as written");
                part.append_to(&mut copy);
            }
            prop_assert_eq!(copy.items, batch.items);
            prop_assert_eq!((copy.hashes, copy.timestamps), (batch.hashes, batch.timestamps));
        }

        #[test]
        fn each_key_comes_back_in_exactly_one_subtask(
            hashes in proptest::collection::vec(any::<u64>(), 1..200), parallelism in 1_u32..7,
        ) {
            let max_parallelism = MaxParallelism::new(128).expect("within bounds");
            let batch = Batch { hashes: hashes.clone(), ..Batch::of(hashes.clone()) };
            let (mut runs, mut all) = (Vec::new(), Vec::new());
            encode_batch(&batch, &mut runs);
            for subtask in 0..parallelism {
                let groups = KeyGroupRange::of_subtask(subtask, max_parallelism, parallelism);
                let own = OwnKeys { max_parallelism, groups };
                let mut part: BoxBatch = Box::<Batch<u64>>::default();
                runs[0].decode(Some(&own), &mut part).expect("as written");
                all.append(&mut cast::<u64>(part.as_mut()).items);
            }
            all.sort_unstable();
            let mut expected = hashes;
            expected.sort_unstable();
            prop_assert_eq!(all, expected);
        }

        #[test]
        fn arbitrary_items_never_panic(item in proptest::collection::vec(any::<u8>(), 0..100)) {
            if let Ok(rows) = InFlightRows::of_item(&item) {
                prop_assert_eq!(rows.to_item(), item);
                let mut batch: BoxBatch = Box::<Batch<(u64, String)>>::default();
                let _ = rows.decode(None, &mut batch);
            }
        }
    }
}
