//! [`Sorter`]: sorts rows by hash, key and time, in memory as far as that goes and on local disk beyond.
//!
//! Rows lie one after the other in an arena, with a list of where they are beside it; the list is sorted.
//! When both would take more than they may, the sorted rows become a run on disk, and all begins anew. At
//! the end the runs and what is left in memory are merged, as they are read. Rows that are equal in hash,
//! key and time keep the order in which they came.

use super::run_file::{RunReader, RunWriter};
use millstream_core::OperatorError;
use millstream_core::time::Timestamp;
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::io;
use std::path::{Path, PathBuf};

/// So many runs are merged at a time: each has a buffer of 64 KiB.
const RUNS_MAX: usize = 256;

/// What is known of a row without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowHead {
    /// The hash of its key.
    pub hash: u64,
    /// Its time.
    pub time: Timestamp,
    /// So many bytes of it are the key, at its beginning.
    pub key_bytes: u32,
    /// So many bytes it has.
    pub row_bytes: u32,
}

/// Takes rows in any order.
pub struct Sorter {
    rows: Rows,
    /// The row that is being added; kept for its memory.
    row: Vec<u8>,
    memory_max: usize,
    directory: PathBuf,
    runs: Vec<RunReader>,
    spilled: usize,
}

/// Rows in memory.
#[derive(Default)]
struct Rows {
    arena: Vec<u8>,
    index: Vec<(RowHead, usize)>,
}

/// Gives rows in order.
pub struct SortedRows {
    rows: Rows,
    /// The next of those in memory.
    next: usize,
    runs: Vec<RunReader>,
    /// The first row of each run that has one.
    heads: BinaryHeap<Reverse<First>>,
    /// The row that was given last, if it is of a run.
    given: Option<First>,
    directory: PathBuf,
}

/// The first row of a run.
struct First {
    head: RowHead,
    row: Vec<u8>,
    run: usize,
}

/// A row in its turn.
pub struct SortedRow<'a> {
    /// The hash of its key.
    pub hash: u64,
    /// Its time.
    pub time: Timestamp,
    /// Its key, as it is encoded.
    pub key: &'a [u8],
    /// The record, as it is encoded.
    pub record: &'a [u8],
}

impl Rows {
    fn row(&self, at: usize) -> (RowHead, &[u8]) {
        let (head, from) = self.index[at];
        (head, &self.arena[from..from + head.row_bytes as usize])
    }

    fn sort(&mut self) {
        let Self { arena, index } = self;
        let key = |(head, from): &(RowHead, usize)| &arena[*from..from + head.key_bytes as usize];
        index.sort_unstable_by(|a, b| {
            let by_hash = a.0.hash.cmp(&b.0.hash);
            let by_key = by_hash.then_with(|| key(a).cmp(key(b)));
            by_key.then(a.0.time.cmp(&b.0.time)).then(a.1.cmp(&b.1))
        });
    }

    /// What they will take with one more row of so many bytes.
    fn memory_with(&self, bytes: usize) -> usize {
        let grown = |len: usize, more: usize, capacity: usize| match len + more > capacity {
            true => (2 * capacity).max(len + more),
            false => capacity,
        };
        let index = grown(self.index.len(), 1, self.index.capacity());
        grown(self.arena.len(), bytes, self.arena.capacity())
            + index * size_of::<(RowHead, usize)>()
    }
}

impl Sorter {
    /// Takes so much memory and not more (a row that is larger by itself aside); what does not fit goes
    /// into files in this directory.
    pub fn new(memory_max: usize, directory: PathBuf) -> Self {
        let (rows, row, runs) = (Rows::default(), Vec::new(), Vec::new());
        Self { rows, row, memory_max, directory, runs, spilled: 0 }
    }

    /// Adds a row: `key` and `record` append their encodings.
    pub fn push(
        &mut self,
        hash: u64,
        time: Timestamp,
        key: impl FnOnce(&mut Vec<u8>),
        record: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), OperatorError> {
        self.row.clear();
        key(&mut self.row);
        let key_bytes = self.row.len();
        record(&mut self.row);
        let row_bytes = self.row.len();
        if !self.rows.index.is_empty() && self.rows.memory_with(row_bytes) > self.memory_max {
            self.spill()?;
        }
        let (Ok(key_bytes), Ok(row_bytes)) = (u32::try_from(key_bytes), u32::try_from(row_bytes))
        else {
            return Err(OperatorError::new("a record of more than 4 GiB cannot be sorted"));
        };
        self.rows.index.push((RowHead { hash, time, key_bytes, row_bytes }, self.rows.arena.len()));
        self.rows.arena.extend_from_slice(&self.row);
        Ok(())
    }

    /// How many bytes of rows have gone to disk.
    pub fn spilled_bytes(&self) -> usize {
        self.spilled
    }

    /// What is held in memory.
    pub fn memory_bytes(&self) -> usize {
        let index = self.rows.index.capacity() * size_of::<(RowHead, usize)>();
        self.rows.arena.capacity() + index
    }

    fn spill(&mut self) -> Result<(), OperatorError> {
        self.rows.sort();
        let Self { rows, directory, .. } = self;
        let written = RunWriter::create(directory).and_then(|mut run| {
            for at in 0..rows.index.len() {
                let (head, row) = rows.row(at);
                run.write(head, row)?;
            }
            run.finish()
        });
        self.runs.push(written.map_err(|error| unusable(directory, &error))?);
        self.spilled += self.rows.arena.len();
        self.rows.arena.clear();
        self.rows.index.clear();
        if self.memory_bytes() > self.memory_max {
            // One large row made it so.
            self.rows = Rows::default();
        }
        if self.runs.len() == RUNS_MAX {
            self.merge_runs()?;
        }
        Ok(())
    }

    /// Makes one run of all.
    fn merge_runs(&mut self) -> Result<(), OperatorError> {
        let runs = std::mem::take(&mut self.runs);
        let mut merged = SortedRows::new(Rows::default(), runs, self.directory.clone())?;
        let told = |error| unusable(&self.directory, &error);
        let mut run = RunWriter::create(&self.directory).map_err(told)?;
        while let Some((head, row)) = merged.next_row()? {
            run.write(head, row).map_err(told)?;
        }
        self.runs.push(run.finish().map_err(told)?);
        Ok(())
    }

    /// All rows, in order.
    pub fn sorted(mut self) -> Result<SortedRows, OperatorError> {
        self.rows.sort();
        SortedRows::new(self.rows, self.runs, self.directory)
    }
}

impl SortedRows {
    fn new(rows: Rows, runs: Vec<RunReader>, directory: PathBuf) -> Result<Self, OperatorError> {
        let (heads, given) = (BinaryHeap::with_capacity(runs.len()), None);
        let mut sorted = Self { rows, next: 0, runs, heads, given, directory };
        for run in 0..sorted.runs.len() {
            sorted.refill(run, Vec::new())?;
        }
        Ok(sorted)
    }

    /// The next row; nothing: that was all.
    #[expect(clippy::should_implement_trait, reason = "a row is borrowed until the next call")]
    pub fn next(&mut self) -> Result<Option<SortedRow<'_>>, OperatorError> {
        let row = self.next_row()?;
        Ok(row.map(|(RowHead { hash, time, key_bytes, .. }, row)| {
            let (key, record) = row.split_at(key_bytes as usize);
            SortedRow { hash, time, key, record }
        }))
    }

    fn next_row(&mut self) -> Result<Option<(RowHead, &[u8])>, OperatorError> {
        if let Some(First { row, run, .. }) = self.given.take() {
            self.refill(run, row)?;
        }
        let in_memory = (self.next < self.rows.index.len()).then(|| self.rows.row(self.next));
        let in_file = self.heads.peek();
        let takes_memory = match (&in_memory, in_file) {
            (None, None) => return Ok(None),
            (Some(memory), Some(Reverse(file))) => file.order(memory.0, memory.1).is_gt(),
            (memory, _) => memory.is_some(),
        };
        if takes_memory {
            self.next += 1;
            return Ok(Some(self.rows.row(self.next - 1)));
        }
        let Some(Reverse(first)) = self.heads.pop() else { return Ok(None) };
        let First { head, row, .. } = self.given.insert(first);
        Ok(Some((*head, row)))
    }

    fn refill(&mut self, run: usize, mut row: Vec<u8>) -> Result<(), OperatorError> {
        let next = self.runs[run].next(&mut row);
        if let Some(head) = next.map_err(|error| unusable(&self.directory, &error))? {
            self.heads.push(Reverse(First { head, row, run }));
        }
        Ok(())
    }
}

impl First {
    /// Before or behind a row that came later; never equal.
    fn order(&self, head: RowHead, row: &[u8]) -> Ordering {
        let key = |head: &RowHead, row: &[u8]| row[..head.key_bytes as usize].to_vec();
        let by_hash = self.head.hash.cmp(&head.hash);
        let by_key = by_hash.then_with(|| key(&self.head, &self.row).cmp(&key(&head, row)));
        by_key.then(self.head.time.cmp(&head.time)).then(Ordering::Less)
    }
}

impl Ord for First {
    fn cmp(&self, other: &Self) -> Ordering {
        if self.run == other.run {
            return Ordering::Equal;
        }
        // Runs are numbered in the order in which they came.
        match self.run < other.run {
            true => self.order(other.head, &other.row),
            false => other.order(self.head, &self.row).reverse(),
        }
    }
}

impl PartialOrd for First {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for First {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for First {}

fn unusable(directory: &Path, error: &io::Error) -> OperatorError {
    let next = "make room there, or name another directory with `io.tmp.dirs`";
    let directory = directory.display();
    OperatorError::new(format!(
        "cannot keep sorted records in files of {directory}: {error}; {next}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Row = (u64, u8, i64, Vec<u8>);

    fn sorted(rows: &[Row], memory_max: usize) -> (Vec<Row>, usize) {
        let mut sorter = Sorter::new(memory_max, std::env::temp_dir());
        for (hash, key, time, record) in rows {
            let added = sorter.push(*hash, *time, |out| out.push(*key), |out| out.extend(record));
            added.expect("the disk is not full");
            assert!(sorter.memory_bytes() <= memory_max.max(1_024));
        }
        let spilled = sorter.spilled_bytes();
        let (mut rows, mut sorted) = (Vec::new(), sorter.sorted().expect("it can be read"));
        while let Some(row) = sorted.next().expect("it can be read") {
            rows.push((row.hash, row.key[0], row.time, row.record.to_vec()));
        }
        (rows, spilled)
    }

    fn rows() -> impl Strategy<Value = Vec<Row>> {
        let record = prop::collection::vec(any::<u8>(), 0..40);
        prop::collection::vec((0..4_u64, 0..3_u8, -2..3_i64, record), 0..300)
    }

    proptest! {
        #[test]
        fn rows_come_by_hash_key_and_time_and_equal_ones_as_they_came(rows in rows()) {
            let mut expected = rows.clone();
            expected.sort_by_key(|(hash, key, time, _)| (*hash, *key, *time));
            prop_assert_eq!(&sorted(&rows, usize::MAX).0, &expected);
            prop_assert_eq!(&sorted(&rows, 2_048).0, &expected);
        }
    }

    #[test]
    fn more_runs_than_are_merged_at_a_time_are_one_order_all_the_same() {
        let rows: Vec<Row> =
            (0..20_000_u64).map(|n| (n * 7_919 % 1_000, 0, n as i64, vec![n as u8; 20])).collect();
        let mut expected = rows.clone();
        expected.sort_by_key(|(hash, key, time, _)| (*hash, *key, *time));
        let (found, spilled) = sorted(&rows, 4_096);
        assert!(spilled > RUNS_MAX * 1_024, "{spilled} bytes were spilled");
        assert_eq!(found, expected);
    }

    #[test]
    fn a_directory_that_is_not_there_is_named() {
        let mut sorter = Sorter::new(0, PathBuf::from("/nowhere"));
        sorter.push(0, 0, |_| (), |_| ()).expect("a row alone fits");
        let error = sorter.push(0, 0, |_| (), |_| ()).expect_err("two do not").message;
        assert!(error.contains("/nowhere") && error.contains("io.tmp.dirs"), "{error}");
    }
}
