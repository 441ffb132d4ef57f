//! What goes between the job processes of a job: frames, and the rows in them.

use crate::limits::{PLAIN, TYPED, within};
use millstream_core::{Record, Str};
use millstream_shuffle::batch::{AnyBatch, Batch, BoxBatch, Columns};
use millstream_shuffle::in_flight::InFlightRows;
use millstream_shuffle::wire::fuzzing;

/// Frames, in pieces of as many bytes as the first byte says.
pub(crate) fn frame(bytes: &[u8]) -> bool {
    let Some((step, bytes)) = bytes.split_first() else { return false };
    within(bytes.len(), PLAIN, || fuzzing::frames(bytes, usize::from(*step) * 8 + 1))
}

/// The rows of a frame: which type, with hashes and times or without, how many, and the rows.
pub(crate) fn batch(bytes: &[u8]) -> bool {
    let Some(([choice, count @ ..], rows)) = bytes.split_first_chunk::<5>() else { return false };
    let columns = Columns { hashed: choice % 2 == 1, timed: choice / 12 % 2 == 1 };
    let count = u32::from_le_bytes(*count);
    match choice / 2 % 6 {
        0 => rows_of::<u64>(columns, count, rows),
        1 => rows_of::<Str>(columns, count, rows),
        2 => rows_of::<()>(columns, count, rows),
        3 => rows_of::<(Str, u64)>(columns, count, rows),
        4 => rows_of::<Vec<Option<u128>>>(columns, count, rows),
        _ => rows_of::<[u64; 100]>(columns, count, rows),
    }
}

/// An item of records in flight: with hashes they are words, else numbers.
pub(crate) fn in_flight(bytes: &[u8]) -> bool {
    within(bytes.len(), TYPED, || {
        let Ok(run) = InFlightRows::of_item(bytes) else { return false };
        assert_eq!(run.to_item(), bytes, "there is one way to write an item");
        let mut batch: BoxBatch = if run.columns.hashed {
            Box::new(Batch::<Str>::new())
        } else {
            Box::new(Batch::<u64>::new())
        };
        run.decode(None, &mut batch).is_ok()
    })
}

fn rows_of<T: Record>(columns: Columns, count: u32, rows: &[u8]) -> bool {
    let mut batch = Batch::<T>::new();
    let decoded = within(rows.len(), TYPED, || batch.decode(count as usize, columns, rows));
    if decoded.is_err() {
        return false;
    }
    assert_eq!(batch.items.len(), count as usize);
    let mut written = Vec::new();
    let mut next = 0;
    while next < batch.items.len() {
        next = batch.encode(next, usize::MAX, &mut written);
    }
    assert_eq!(written, rows, "there is one way to write rows");
    true
}
