//! Batches: what moves between operators and tasks. Typed inside, erased between.
//!
//! [`Batch<T>`] is a vector of records, with the hash of each record's key beside it where the
//! stream is keyed. [`AnyBatch`] is all that the engine needs to know of one; operators cast back
//! with [`cast`] and then run plain loops. An Arrow batch can be another implementation.

use millstream_core::record::{DecodeError, Input, Record};
use std::any::Any;

/// A batch holds about so many bytes of records (their size in memory, without what they point to).
pub const BATCH_BYTES: usize = 32 * 1024;

/// A batch holds at most about so many records.
pub const BATCH_RECORDS_MAX: usize = 1024;

/// An erased batch.
pub type BoxBatch = Box<dyn AnyBatch>;

/// Records that move together.
#[derive(Clone, Debug)]
pub struct Batch<T> {
    /// The records.
    pub items: Vec<T>,
    /// The hashes of their keys: as many as records where the stream is keyed, else none.
    pub hashes: Vec<u64>,
}

impl<T> Batch<T> {
    /// Holds nothing yet, and allocates when the first record comes.
    pub const fn new() -> Self {
        Self { items: Vec::new(), hashes: Vec::new() }
    }

    /// So many records make a full batch of this type.
    pub const fn target() -> usize {
        let size = if size_of::<T>() == 0 { 1 } else { size_of::<T>() };
        let records = BATCH_BYTES / size;
        if records < 16 {
            16
        } else if records > BATCH_RECORDS_MAX {
            BATCH_RECORDS_MAX
        } else {
            records
        }
    }
}

impl<T> Default for Batch<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// What the engine needs to know of a batch.
pub trait AnyBatch: Any + Send {
    /// How many records there are.
    fn len(&self) -> usize;

    /// No records.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// So many records make a full batch of this type.
    fn target(&self) -> usize;

    /// Drops the records and keeps the memory.
    fn clear(&mut self);

    /// An empty batch of the same type.
    fn fresh(&self) -> BoxBatch;

    /// A copy, for a second consumer.
    fn duplicate(&self) -> BoxBatch;

    /// For [`cast`].
    fn as_any(&mut self) -> &mut dyn Any;

    /// Moves every record, in order, to the end of the other batch, which is of the same type.
    fn append_to(&mut self, other: &mut dyn AnyBatch);

    /// Moves the first `n` records, or all if there are fewer, to the end of the other batch, which
    /// is of the same type.
    fn take_front(&mut self, n: usize, other: &mut dyn AnyBatch);

    /// Moves record `i` to the end of `outs[targets[i]]`, for all `i`, with its hash if it has one.
    fn distribute(&mut self, targets: &[u32], outs: &mut [BoxBatch]);

    /// Appends the rows of records `from..`, until `out` has grown to `bytes_max` or all are
    /// written; gives the index of the first record that is not written. The format: per record
    /// its hash if `hashes` are there (8 bytes, little-endian), then its row.
    fn encode(&self, from: usize, bytes_max: usize, out: &mut Vec<u8>) -> usize;

    /// Appends `count` records that [`AnyBatch::encode`] wrote, with hashes or without.
    fn decode(&mut self, count: usize, hashed: bool, rows: &[u8]) -> Result<(), DecodeError>;

    /// Whether each record has its hash beside it.
    fn is_hashed(&self) -> bool;

    /// The hashes of the records' keys, if the stream is keyed.
    fn hashes(&self) -> &[u64];
}

/// Batches to so many consumers are distributed without an allocation.
const OUTS_ON_STACK: usize = 32;

impl<T> Batch<T> {
    fn distribute_to(&mut self, targets: &[u32], outs: &mut [Option<&mut Batch<T>>]) {
        fn out<'a, T>(outs: &'a mut [Option<&mut Batch<T>>], target: u32) -> &'a mut Batch<T> {
            outs[target as usize].as_mut().expect("a router chooses among the consumers")
        }
        if self.hashes.is_empty() {
            for (item, target) in self.items.drain(..).zip(targets) {
                out(outs, *target).items.push(item);
            }
            return;
        }
        for ((item, hash), target) in self.items.drain(..).zip(self.hashes.drain(..)).zip(targets) {
            let out = out(outs, *target);
            out.items.push(item);
            out.hashes.push(hash);
        }
    }
}

/// What stands in a batch's place while the batch is away. It is never used, and takes no memory.
struct Away;

/// A place holder that is never used.
pub(crate) fn away() -> BoxBatch {
    Box::new(Away)
}

const AWAY: &str = "a batch that is away is not used";

impl AnyBatch for Away {
    fn len(&self) -> usize {
        0
    }

    fn target(&self) -> usize {
        1
    }

    fn clear(&mut self) {}

    fn fresh(&self) -> BoxBatch {
        unreachable!("{AWAY}")
    }

    fn duplicate(&self) -> BoxBatch {
        unreachable!("{AWAY}")
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }

    fn append_to(&mut self, _other: &mut dyn AnyBatch) {
        unreachable!("{AWAY}")
    }

    fn take_front(&mut self, _n: usize, _other: &mut dyn AnyBatch) {
        unreachable!("{AWAY}")
    }

    fn distribute(&mut self, _targets: &[u32], _outs: &mut [BoxBatch]) {
        unreachable!("{AWAY}")
    }

    fn encode(&self, _from: usize, _bytes_max: usize, _out: &mut Vec<u8>) -> usize {
        unreachable!("{AWAY}")
    }

    fn decode(&mut self, _: usize, _: bool, _: &[u8]) -> Result<(), DecodeError> {
        unreachable!("{AWAY}")
    }

    fn is_hashed(&self) -> bool {
        false
    }

    fn hashes(&self) -> &[u64] {
        &[]
    }
}

/// The batch as what it is. A mismatch is a bug of the plan's translation.
#[inline]
pub fn cast<T: Record>(batch: &mut dyn AnyBatch) -> &mut Batch<T> {
    match batch.as_any().downcast_mut() {
        Some(typed) => typed,
        None => panic!("the batch does not hold records of {}", std::any::type_name::<T>()),
    }
}

impl<T: Record> AnyBatch for Batch<T> {
    fn len(&self) -> usize {
        self.items.len()
    }

    fn target(&self) -> usize {
        Self::target()
    }

    fn clear(&mut self) {
        self.items.clear();
        self.hashes.clear();
    }

    fn fresh(&self) -> BoxBatch {
        Box::new(Self::new())
    }

    fn duplicate(&self) -> BoxBatch {
        Box::new(self.clone())
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }

    fn append_to(&mut self, other: &mut dyn AnyBatch) {
        let other = cast::<T>(other);
        if other.items.is_empty() {
            std::mem::swap(self, other);
        } else {
            other.items.append(&mut self.items);
            other.hashes.append(&mut self.hashes);
        }
    }

    fn take_front(&mut self, n: usize, other: &mut dyn AnyBatch) {
        if n >= self.items.len() {
            return self.append_to(other);
        }
        let other = cast::<T>(other);
        other.items.extend(self.items.drain(..n));
        if !self.hashes.is_empty() {
            other.hashes.extend(self.hashes.drain(..n));
        }
    }

    fn distribute(&mut self, targets: &[u32], outs: &mut [BoxBatch]) {
        debug_assert_eq!(targets.len(), self.items.len());
        if outs.len() <= OUTS_ON_STACK {
            let mut few = [const { None }; OUTS_ON_STACK];
            for (slot, out) in few.iter_mut().zip(outs) {
                *slot = Some(cast::<T>(out.as_mut()));
            }
            self.distribute_to(targets, &mut few);
        } else {
            let many = outs.iter_mut().map(|out| Some(cast::<T>(out.as_mut())));
            self.distribute_to(targets, &mut many.collect::<Vec<_>>());
        }
    }

    fn encode(&self, from: usize, bytes_max: usize, out: &mut Vec<u8>) -> usize {
        let mut next = from;
        for item in &self.items[from..] {
            if out.len() >= bytes_max {
                break;
            }
            if let Some(hash) = self.hashes.get(next) {
                hash.encode(out);
            }
            item.encode(out);
            next += 1;
        }
        next
    }

    fn decode(&mut self, count: usize, hashed: bool, rows: &[u8]) -> Result<(), DecodeError> {
        let row_min = T::FIXED.unwrap_or(1) + if hashed { 8 } else { 0 };
        // A row may be empty; so many of those are bounded by the frame's record count.
        if count.saturating_mul(row_min) > rows.len() || count > u32::MAX as usize {
            let wanted = count.saturating_mul(row_min);
            return Err(DecodeError::Short { wanted, left: rows.len() });
        }
        let mut input = Input::new(rows);
        self.items.reserve(count.min(BATCH_BYTES));
        for _ in 0..count {
            if hashed {
                self.hashes.push(u64::decode(&mut input)?);
            }
            self.items.push(T::decode(&mut input)?);
        }
        input.finish()
    }

    fn is_hashed(&self) -> bool {
        !self.hashes.is_empty()
    }

    fn hashes(&self) -> &[u64] {
        &self.hashes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_survive_the_wire_with_and_without_hashes() {
        for hashed in [false, true] {
            let mut batch = Batch::<(u64, String)>::new();
            for i in 0..100 {
                batch.items.push((i, "x".repeat(i as usize)));
                if hashed {
                    batch.hashes.push(i * 7);
                }
            }
            let mut copy = Batch::<(u64, String)>::new();
            let (mut from, mut frames) = (0, 0);
            while from < 100 {
                let mut rows = Vec::new();
                let next = batch.encode(from, 1000, &mut rows);
                copy.decode(next - from, hashed, &rows).expect("as written");
                (from, frames) = (next, frames + 1);
            }
            assert!(frames > 3);
            assert_eq!((&copy.items, &copy.hashes), (&batch.items, &batch.hashes));
        }
    }

    #[test]
    fn a_count_beyond_the_rows_is_an_error() {
        let mut batch = Batch::<u64>::new();
        assert!(batch.decode(usize::MAX, false, &[0; 64]).is_err());
        assert!(batch.decode(9, false, &[0; 64]).is_err());
        assert!(batch.decode(7, false, &[0; 64]).is_err());
        batch.clear();
        assert_eq!(batch.decode(8, false, &[0; 64]), Ok(()));
    }
}
