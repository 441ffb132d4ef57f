//! Batches: what moves between operators and tasks. Typed inside, erased between.
//!
//! [`Batch<T>`] is a vector of records, with the hash of each record's key beside it where the
//! stream is keyed. [`AnyBatch`] is all that the engine needs to know of one; operators cast back
//! with [`cast`] and then run plain loops. An Arrow batch can be another implementation.

use millstream_core::record::{DecodeError, Input, Record, SliceOutput};
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

    /// What a record takes in memory, without what it points to.
    fn record_bytes(&self) -> usize;

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

    /// Appends the rows of records `from..`: as many as fit until `out` has `bytes_max` bytes, but
    /// one at least, however long it is; gives the index of the first record that is not written.
    /// The format: per record its hash if `hashes` are there (8 bytes, little-endian), then its row.
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

    fn record_bytes(&self) -> usize {
        size_of::<T>()
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
        match T::FIXED {
            Some(size) => self.encode_fixed(size, from, bytes_max, out),
            None => self.encode_varying(from, bytes_max, out),
        }
    }

    fn decode(&mut self, count: usize, hashed: bool, rows: &[u8]) -> Result<(), DecodeError> {
        match T::FIXED {
            Some(size) => self.decode_fixed(size, count, hashed, rows),
            None => self.decode_varying(count, hashed, rows),
        }
    }

    fn is_hashed(&self) -> bool {
        !self.hashes.is_empty()
    }

    fn hashes(&self) -> &[u64] {
        &self.hashes
    }
}

/// Bytes of a hash in front of a row.
const HASH_BYTES: usize = size_of::<u64>();

/// Rows of one size: how many fit is known before, and each is copied to its place.
impl<T: Record> Batch<T> {
    #[inline]
    fn encode_fixed(&self, size: usize, from: usize, bytes_max: usize, out: &mut Vec<u8>) -> usize {
        let row = size + if self.is_hashed() { HASH_BYTES } else { 0 };
        let left = self.items.len() - from;
        let room = bytes_max.saturating_sub(out.len());
        let next = from + room.checked_div(row).map_or(left, |fitting| left.min(fitting.max(1)));
        let start = out.len();
        out.resize(start + (next - from) * row, 0);
        if row == 0 {
            return next;
        }
        let (rows, items) = (&mut out[start..], &self.items[from..next]);
        if self.is_hashed() {
            let hashed = items.iter().zip(&self.hashes[from..next]);
            for (row, (item, hash)) in rows.chunks_exact_mut(HASH_BYTES + size).zip(hashed) {
                let mut row = SliceOutput::new(row);
                hash.encode(&mut row);
                item.encode(&mut row);
            }
        } else {
            for (row, item) in rows.chunks_exact_mut(size).zip(items) {
                item.encode(&mut SliceOutput::new(row));
            }
        }
        next
    }

    #[inline]
    fn decode_fixed(
        &mut self,
        size: usize,
        count: usize,
        hashed: bool,
        rows: &[u8],
    ) -> Result<(), DecodeError> {
        let row = size + if hashed { HASH_BYTES } else { 0 };
        let wanted = count.saturating_mul(row);
        match rows.len().checked_sub(wanted) {
            Some(0) => (),
            Some(left_over) => return Err(DecodeError::Trailing(left_over)),
            None => return Err(DecodeError::Short { wanted, left: rows.len() }),
        }
        if row == 0 {
            return self.decode_empty_rows(count);
        }
        self.items.reserve(count);
        if hashed {
            self.hashes.reserve(count);
            for row in rows.chunks_exact(HASH_BYTES + size) {
                let mut row = Input::new(row);
                self.hashes.push(u64::decode(&mut row)?);
                self.items.push(T::decode(&mut row)?);
            }
        } else {
            for row in rows.chunks_exact(size) {
                self.items.push(T::decode(&mut Input::new(row))?);
            }
        }
        Ok(())
    }

    /// Rows without bytes are bounded by what a batch may hold.
    fn decode_empty_rows(&mut self, count: usize) -> Result<(), DecodeError> {
        if count > BATCH_BYTES {
            return Err(DecodeError::Invalid("batch: too many empty rows"));
        }
        for _ in 0..count {
            self.items.push(T::decode(&mut Input::new(&[]))?);
        }
        Ok(())
    }
}

/// Rows of varying size: one after the other, each checked against what is left.
impl<T: Record> Batch<T> {
    #[inline]
    fn encode_varying(&self, from: usize, bytes_max: usize, out: &mut Vec<u8>) -> usize {
        let mut next = from;
        let mut end = out.len();
        for item in &self.items[from..] {
            if let Some(hash) = self.hashes.get(next) {
                hash.encode(out);
            }
            item.encode(out);
            if out.len() > bytes_max && next > from {
                // It begins the next frame; so a buffer never outgrows `bytes_max` for long.
                out.truncate(end);
                break;
            }
            (next, end) = (next + 1, out.len());
            if end >= bytes_max {
                break;
            }
        }
        next
    }

    #[inline]
    fn decode_varying(
        &mut self,
        count: usize,
        hashed: bool,
        rows: &[u8],
    ) -> Result<(), DecodeError> {
        let row_min = 1 + if hashed { HASH_BYTES } else { 0 };
        let wanted = count.saturating_mul(row_min);
        if wanted > rows.len() {
            return Err(DecodeError::Short { wanted, left: rows.len() });
        }
        // A count is only a claim: what it makes us allocate is bounded by the bytes that are there.
        let affordable = RESERVE_PER_BYTE * rows.len() / size_of::<T>().max(1);
        self.items.reserve(count.min(affordable));
        if hashed {
            self.hashes.reserve(count);
        }
        let mut input = Input::new(rows);
        for _ in 0..count {
            if hashed {
                self.hashes.push(u64::decode(&mut input)?);
            }
            self.items.push(T::decode(&mut input)?);
        }
        input.finish()
    }
}

/// Memory taken for records before any is decoded, per byte of their rows.
const RESERVE_PER_BYTE: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends the batch through frames of so many bytes; gives the copy and the frames' lengths.
    fn through_frames<T: Record>(batch: &Batch<T>, bytes_max: usize) -> (Batch<T>, Vec<usize>) {
        let mut copy = Batch::new();
        let (mut from, mut frames) = (0, Vec::new());
        while from < batch.len() {
            let mut rows = Vec::new();
            let next = batch.encode(from, bytes_max, &mut rows);
            copy.decode(next - from, batch.is_hashed(), &rows).expect("as written");
            frames.push(rows.len());
            from = next;
        }
        (copy, frames)
    }

    fn batch_of<T: Record>(hashed: bool, make: impl Fn(u64) -> T) -> Batch<T> {
        let items: Vec<T> = (0..100).map(make).collect();
        let hashes = if hashed { (0..100).map(|i| i * 7).collect() } else { Vec::new() };
        Batch { items, hashes }
    }

    #[test]
    fn rows_survive_the_wire_with_and_without_hashes() {
        for hashed in [false, true] {
            let varying = batch_of(hashed, |i| (i, "x".repeat(i as usize)));
            let (copy, frames) = through_frames(&varying, 1000);
            assert_eq!((&copy.items, &copy.hashes), (&varying.items, &varying.hashes));
            assert!(frames.len() > 3 && frames.iter().all(|bytes| *bytes <= 1000));

            let fixed = batch_of(hashed, |i| ([i; 5], i as u32));
            let (copy, frames) = through_frames(&fixed, 1000);
            assert_eq!((&copy.items, &copy.hashes), (&fixed.items, &fixed.hashes));
            assert!(frames.len() > 3 && frames.iter().all(|bytes| *bytes <= 1000));

            let empty = batch_of(hashed, |_| ());
            let (copy, _) = through_frames(&empty, 1000);
            assert_eq!((&copy.items, &copy.hashes), (&empty.items, &empty.hashes));
        }
    }

    #[test]
    fn a_row_longer_than_the_frame_gets_a_frame_of_its_own() {
        let rows = batch_of(false, |i| "x".repeat(if i == 50 { 5000 } else { 10 }));
        let (copy, frames) = through_frames(&rows, 1000);
        assert_eq!(copy.items, rows.items);
        assert_eq!(frames.iter().filter(|bytes| **bytes > 1000).count(), 1);

        let fixed = batch_of(true, |i| [i; 20]);
        let (copy, frames) = through_frames(&fixed, 100);
        assert_eq!(copy.items, fixed.items);
        assert_eq!(frames, [168; 100]);
    }

    #[test]
    fn a_claimed_count_allocates_no_more_than_a_multiple_of_the_rows() {
        let mut batch = Batch::<([u64; 200], String)>::new();
        assert!(batch.decode(1000, false, &[0; 1000]).is_err());
        let bytes = batch.items.capacity() * size_of::<([u64; 200], String)>();
        assert!(bytes <= 16 * 1000, "{bytes}");
        let mut batch = Batch::<()>::new();
        assert!(batch.decode(usize::MAX, false, &[]).is_err());
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
