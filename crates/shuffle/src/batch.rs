//! Batches: what moves between operators and tasks. Typed inside, erased between.
//!
//! [`Batch<T>`] is a vector of records, with the hash of each record's key beside it where the
//! stream is keyed, and its time where event time is in use. [`AnyBatch`] is all that the engine needs
//! to know of one; operators cast back with [`cast`] and then run plain loops. An Arrow batch can be
//! another implementation.

use crate::prefetch::prefetch_for_writing;
use millstream_core::record::{DecodeError, Input, Output, Record, Schema, SliceOutput};
use millstream_core::time::{NO_TIMESTAMP, Timestamp};
use std::any::Any;
use std::ops::Range;

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
    /// Their times: as many as records where event time is in use, else none. A record without a
    /// time among others has [`NO_TIMESTAMP`].
    pub timestamps: Vec<Timestamp>,
}

/// What lies beside the records of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    /// Hashes of keys.
    pub hashed: bool,
    /// Timestamps.
    pub timed: bool,
}

impl Columns {
    /// Neither.
    pub const NONE: Self = Self { hashed: false, timed: false };

    /// What they add to the bytes of a row.
    const fn bytes(self) -> usize {
        COLUMN_BYTES * (self.hashed as usize + self.timed as usize)
    }
}

impl<T> Batch<T> {
    /// Holds nothing yet, and allocates when the first record comes.
    pub const fn new() -> Self {
        Self { items: Vec::new(), hashes: Vec::new(), timestamps: Vec::new() }
    }

    /// Holds these records, and nothing beside them.
    pub fn of(items: Vec<T>) -> Self {
        Self { items, ..Self::new() }
    }

    /// Gives the records that were appended last, one for each record of `from` and in their order,
    /// the times of those. `from`, whose records have been taken out, is left without times.
    pub fn take_timestamps<U>(&mut self, from: &mut Batch<U>) {
        if self.timestamps.is_empty() && from.timestamps.len() == self.items.len() {
            return std::mem::swap(&mut self.timestamps, &mut from.timestamps);
        }
        if !from.timestamps.is_empty() {
            self.timestamps.resize(self.items.len() - from.timestamps.len(), NO_TIMESTAMP);
            self.timestamps.append(&mut from.timestamps);
        }
        self.pad_timestamps();
    }

    /// Gives all records from this one on the same time, or none.
    #[inline]
    pub fn stamp(&mut self, from: usize, time: Option<Timestamp>) {
        stamp(&mut self.timestamps, from..self.items.len(), time);
    }

    /// Where some records have a time, those without get the mark of that.
    fn pad_timestamps(&mut self) {
        if !self.timestamps.is_empty() {
            self.timestamps.resize(self.items.len(), NO_TIMESTAMP);
        }
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

/// Gives the records of this range, which are the last of a batch, the same time or none.
#[inline]
pub fn stamp(timestamps: &mut Vec<Timestamp>, records: Range<usize>, time: Option<Timestamp>) {
    match time {
        Some(time) => {
            if timestamps.len() < records.start {
                timestamps.resize(records.start, NO_TIMESTAMP);
            }
            timestamps.resize(records.end, time);
        }
        None if timestamps.is_empty() => (),
        None => timestamps.resize(records.end, NO_TIMESTAMP),
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

    /// Moves record `i` to the end of `outs[targets[i]]`, for all `i`, with what lies beside it.
    fn distribute(&mut self, targets: &[u32], outs: &mut [BoxBatch]);

    /// Appends the rows of records `from..`: as many as fit until `out` has `bytes_max` bytes, but
    /// one at least, however long it is; gives the index of the first record that is not written.
    /// The format: per record its hash and its time, if there are such (8 bytes each, little-endian),
    /// then its row.
    fn encode(&self, from: usize, bytes_max: usize, out: &mut Vec<u8>) -> usize;

    /// Appends `count` records that [`AnyBatch::encode`] wrote, with these columns.
    fn decode(&mut self, count: usize, columns: Columns, rows: &[u8]) -> Result<(), DecodeError>;

    /// What lies beside the records.
    fn columns(&self) -> Columns;

    /// The hashes of the records' keys, if the stream is keyed.
    fn hashes(&self) -> &[u64];

    /// What a record is.
    fn schema(&self) -> Schema;
}

/// Batches to so many consumers are distributed without an allocation.
const OUTS_ON_STACK: usize = 32;

impl<T> Batch<T> {
    /// Moves every record, as what the function makes of it, to the end of the other batch; hashes and
    /// times go with them.
    pub fn map_into<U>(&mut self, other: &mut Batch<U>, function: impl Fn(T) -> U) {
        other.items.extend(self.items.drain(..).map(function));
        other.hashes.append(&mut self.hashes);
        other.take_timestamps(self);
    }

    fn distribute_to(&mut self, targets: &[u32], outs: &mut [Option<&mut Batch<T>>]) {
        fn out<'a, T>(outs: &'a mut [Option<&mut Batch<T>>], target: u32) -> &'a mut Batch<T> {
            outs[target as usize].as_mut().expect("a router chooses among the consumers")
        }
        self.distribute_timestamps(targets, outs);
        if self.hashes.is_empty() {
            for (item, target) in self.items.drain(..).zip(targets) {
                push(&mut out(outs, *target).items, item);
            }
            return;
        }
        for ((item, hash), target) in self.items.drain(..).zip(self.hashes.drain(..)).zip(targets) {
            let out = out(outs, *target);
            push(&mut out.items, item);
            push(&mut out.hashes, hash);
        }
    }

    /// Before the records themselves are moved.
    fn distribute_timestamps(&mut self, targets: &[u32], outs: &mut [Option<&mut Batch<T>>]) {
        let timed = outs.iter().flatten().any(|out| !out.timestamps.is_empty());
        if self.timestamps.is_empty() && !timed {
            return;
        }
        self.timestamps.resize(self.items.len(), NO_TIMESTAMP);
        for out in outs.iter_mut().flatten() {
            out.timestamps.resize(out.items.len(), NO_TIMESTAMP);
        }
        for (time, target) in self.timestamps.drain(..).zip(targets) {
            let out = outs[*target as usize].as_mut();
            out.expect("a router chooses among the consumers").timestamps.push(time);
        }
    }
}

/// How far ahead of what is written memory is asked for.
const PREFETCHED_BYTES: usize = 1024;

/// Appends to memory that may be in the cache of another core.
#[inline(always)]
fn push<T>(to: &mut Vec<T>, item: T) {
    let ahead = const { if size_of::<T>() == 0 { 0 } else { PREFETCHED_BYTES / size_of::<T>() } };
    prefetch_for_writing(to.as_ptr().wrapping_add(to.len() + ahead));
    to.push(item);
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
        self.timestamps.clear();
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
            other.take_timestamps(self);
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
        if !self.timestamps.is_empty() {
            other.timestamps.resize(other.items.len() - n, NO_TIMESTAMP);
            other.timestamps.extend(self.timestamps.drain(..n));
        }
        other.pad_timestamps();
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

    fn decode(&mut self, count: usize, columns: Columns, rows: &[u8]) -> Result<(), DecodeError> {
        match T::FIXED {
            Some(size) => self.decode_fixed(size, count, columns, rows)?,
            None => self.decode_varying(count, columns, rows)?,
        }
        self.pad_timestamps();
        Ok(())
    }

    fn columns(&self) -> Columns {
        Columns { hashed: !self.hashes.is_empty(), timed: !self.timestamps.is_empty() }
    }

    fn hashes(&self) -> &[u64] {
        &self.hashes
    }

    fn schema(&self) -> Schema {
        T::schema()
    }
}

/// Bytes of a hash or a time in front of a row.
const COLUMN_BYTES: usize = size_of::<u64>();

/// Rows of one size: how many fit is known before, and each is copied to its place.
impl<T: Record> Batch<T> {
    #[inline]
    fn encode_fixed(&self, size: usize, from: usize, bytes_max: usize, out: &mut Vec<u8>) -> usize {
        let columns = self.columns();
        let row = size + columns.bytes();
        let left = self.items.len() - from;
        let room = bytes_max.saturating_sub(out.len());
        let next = from + room.checked_div(row).map_or(left, |fitting| left.min(fitting.max(1)));
        let start = out.len();
        out.resize(start + (next - from) * row, 0);
        if row == 0 {
            return next;
        }
        let (rows, items) = (&mut out[start..], &self.items[from..next]);
        match columns {
            Columns::NONE => {
                for (row, item) in rows.chunks_exact_mut(size).zip(items) {
                    item.encode(&mut SliceOutput::new(row));
                }
            }
            Columns { hashed: true, timed: false } => {
                let hashed = items.iter().zip(&self.hashes[from..next]);
                for (row, (item, hash)) in rows.chunks_exact_mut(row).zip(hashed) {
                    let mut row = SliceOutput::new(row);
                    hash.encode(&mut row);
                    item.encode(&mut row);
                }
            }
            Columns { timed: true, .. } => {
                for (i, row) in (from..next).zip(rows.chunks_exact_mut(row)) {
                    let mut row = SliceOutput::new(row);
                    self.encode_columns(i, &mut row);
                    self.items[i].encode(&mut row);
                }
            }
        }
        next
    }

    #[inline]
    fn encode_columns<O: Output>(&self, i: usize, out: &mut O) {
        if let Some(hash) = self.hashes.get(i) {
            hash.encode(out);
        }
        if let Some(time) = self.timestamps.get(i) {
            time.encode(out);
        }
    }

    #[inline]
    fn decode_columns(
        &mut self,
        columns: Columns,
        input: &mut Input<'_>,
    ) -> Result<(), DecodeError> {
        if columns.hashed {
            self.hashes.push(u64::decode(input)?);
        }
        if columns.timed {
            self.timestamps.push(i64::decode(input)?);
        }
        Ok(())
    }

    /// Before `count` records are decoded, for which there are bytes.
    fn reserve_columns(&mut self, columns: Columns, count: usize) {
        if columns.hashed {
            self.hashes.reserve(count);
        }
        if columns.timed {
            self.timestamps.resize(self.items.len(), NO_TIMESTAMP);
            self.timestamps.reserve(count);
        }
    }

    #[inline]
    fn decode_fixed(
        &mut self,
        size: usize,
        count: usize,
        columns: Columns,
        rows: &[u8],
    ) -> Result<(), DecodeError> {
        let row = size + columns.bytes();
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
        self.reserve_columns(columns, count);
        match columns {
            Columns::NONE => {
                for row in rows.chunks_exact(size) {
                    self.items.push(T::decode(&mut Input::new(row))?);
                }
            }
            Columns { hashed: true, timed: false } => {
                for row in rows.chunks_exact(row) {
                    let mut row = Input::new(row);
                    self.hashes.push(u64::decode(&mut row)?);
                    self.items.push(T::decode(&mut row)?);
                }
            }
            Columns { timed: true, .. } => {
                for row in rows.chunks_exact(row) {
                    let mut row = Input::new(row);
                    self.decode_columns(columns, &mut row)?;
                    self.items.push(T::decode(&mut row)?);
                }
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
            self.encode_columns(next, out);
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
        columns: Columns,
        rows: &[u8],
    ) -> Result<(), DecodeError> {
        let row_min = 1 + columns.bytes();
        let wanted = count.saturating_mul(row_min);
        if wanted > rows.len() {
            return Err(DecodeError::Short { wanted, left: rows.len() });
        }
        // A count is only a claim: what it makes us allocate is bounded by the bytes that are there.
        let affordable = RESERVE_PER_BYTE * rows.len() / size_of::<T>().max(1);
        self.items.reserve(count.min(affordable));
        self.reserve_columns(columns, count);
        let mut input = Input::new(rows);
        for _ in 0..count {
            self.decode_columns(columns, &mut input)?;
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
            copy.decode(next - from, batch.columns(), &rows).expect("as written");
            frames.push(rows.len());
            from = next;
        }
        (copy, frames)
    }

    const HASHED: Columns = Columns { hashed: true, timed: false };

    fn batch_of<T: Record>(columns: Columns, make: impl Fn(u64) -> T) -> Batch<T> {
        let mut batch = Batch::of((0..100).map(make).collect());
        if columns.hashed {
            batch.hashes = (0..100).map(|i| i * 7).collect();
        }
        if columns.timed {
            batch.timestamps = (0..100).map(|i| i * 1_000 - 50_000).collect();
        }
        batch
    }

    fn assert_equal<T: Record + PartialEq + std::fmt::Debug>(copy: &Batch<T>, of: &Batch<T>) {
        assert_eq!(copy.items, of.items);
        assert_eq!((&copy.hashes, &copy.timestamps), (&of.hashes, &of.timestamps));
    }

    #[test]
    fn rows_survive_the_wire_with_and_without_hashes_and_times() {
        for (hashed, timed) in [(false, false), (true, false), (false, true), (true, true)] {
            let columns = Columns { hashed, timed };
            let varying = batch_of(columns, |i| (i, "x".repeat(i as usize)));
            let (copy, frames) = through_frames(&varying, 1000);
            assert_equal(&copy, &varying);
            assert!(frames.len() > 3 && frames.iter().all(|bytes| *bytes <= 1000));

            let fixed = batch_of(columns, |i| ([i; 5], i as u32));
            let (copy, frames) = through_frames(&fixed, 1000);
            assert_equal(&copy, &fixed);
            assert!(frames.len() > 3 && frames.iter().all(|bytes| *bytes <= 1000));

            let empty = batch_of(columns, |_| ());
            let (copy, _) = through_frames(&empty, 1000);
            assert_equal(&copy, &empty);
        }
    }

    #[test]
    fn records_without_a_time_keep_their_places_among_those_with_one() {
        let timed = || Batch { timestamps: vec![10, 20], ..Batch::of(vec![1_u64, 2]) };
        let bare = || Batch::of(vec![7_u64, 8]);
        let none = NO_TIMESTAMP;

        let mut joined = bare();
        timed().append_to(&mut joined);
        bare().append_to(&mut joined);
        assert_eq!(joined.timestamps, [none, none, 10, 20, none, none]);

        let mut front = bare();
        joined.take_front(3, &mut front);
        assert_eq!(front.timestamps, [none, none, none, none, 10]);
        assert_eq!(joined.timestamps, [20, none, none]);

        let mut outs: Vec<BoxBatch> = vec![Box::new(bare()), Box::new(timed())];
        bare().distribute(&[1, 0], &mut outs);
        timed().distribute(&[0, 1], &mut outs);
        let [first, second] = &mut outs[..] else { panic!("two") };
        assert_eq!(cast::<u64>(first.as_mut()).timestamps, [none, none, none, 10]);
        assert_eq!(cast::<u64>(second.as_mut()).timestamps, [10, 20, none, 20]);
    }

    #[test]
    fn a_stream_without_times_pays_nothing_for_them() {
        let mut batch = Batch::of(vec![1_u64, 2]);
        batch.stamp(0, None);
        Batch::of(vec![3_u64]).append_to(&mut batch);
        assert_eq!((batch.timestamps.capacity(), batch.columns()), (0, Columns::NONE));
    }

    #[test]
    fn a_row_longer_than_the_frame_gets_a_frame_of_its_own() {
        let rows = batch_of(Columns::NONE, |i| "x".repeat(if i == 50 { 5000 } else { 10 }));
        let (copy, frames) = through_frames(&rows, 1000);
        assert_eq!(copy.items, rows.items);
        assert_eq!(frames.iter().filter(|bytes| **bytes > 1000).count(), 1);

        let fixed = batch_of(HASHED, |i| [i; 20]);
        let (copy, frames) = through_frames(&fixed, 100);
        assert_eq!(copy.items, fixed.items);
        assert_eq!(frames, [168; 100]);
    }

    #[test]
    fn a_claimed_count_allocates_no_more_than_a_multiple_of_the_rows() {
        let mut batch = Batch::<([u64; 200], String)>::new();
        assert!(batch.decode(1000, Columns::NONE, &[0; 1000]).is_err());
        let bytes = batch.items.capacity() * size_of::<([u64; 200], String)>();
        assert!(bytes <= 16 * 1000, "{bytes}");
        let mut batch = Batch::<()>::new();
        assert!(batch.decode(usize::MAX, Columns::NONE, &[]).is_err());
    }

    #[test]
    fn a_count_beyond_the_rows_is_an_error() {
        let mut batch = Batch::<u64>::new();
        assert!(batch.decode(usize::MAX, Columns::NONE, &[0; 64]).is_err());
        assert!(batch.decode(9, Columns::NONE, &[0; 64]).is_err());
        assert!(batch.decode(7, Columns::NONE, &[0; 64]).is_err());
        batch.clear();
        assert_eq!(batch.decode(8, Columns::NONE, &[0; 64]), Ok(()));
    }
}
