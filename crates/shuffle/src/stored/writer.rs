//! [`StoredWriter`]: takes batches for all consumers of a partition and writes them to one file.
//!
//! Rows are encoded on the producer's thread into one block per consumer; a full block goes to the file.
//! What is not in the file yet is bounded by the number of consumers times a block, and the index in
//! memory is 20 bytes per block. After an error everything else is dropped: the task fails with it.

use super::format::{BlockEntry, ENTRY_BYTES, Footer, ROWS_HEAD_BYTES, push_watermark, rows_head};
use super::{StoredError, UNFINISHED};
use crate::batch::AnyBatch;
use crate::subpartition::RowTooLong;
use crate::wire::frame::{ROW_BYTES_MAX, ROWS_BYTES_MAX};
use millstream_core::hash::xxh3_64;
use millstream_core::time::Timestamp;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;

/// A block is written when it has about so many bytes, where there are few consumers.
const BLOCK_BYTES_MAX: usize = 256 * 1024;

/// All blocks of a partition that are not written yet have about so many bytes, unless there are so many
/// consumers that even blocks of one frame have more.
const OPEN_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Why a stored partition cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotStored {
    /// A row is longer than rows may be.
    #[error(transparent)]
    Row(#[from] RowTooLong),
    /// The disk does not take it.
    #[error(transparent)]
    File(#[from] StoredError),
}

/// Writes one partition.
pub struct StoredWriter {
    /// What the file is called when it is whole.
    path: PathBuf,
    /// What it is called until then.
    unfinished: PathBuf,
    file: File,
    /// So many bytes have been written.
    position: u64,
    /// The block that each consumer's rows go into.
    open: Vec<Vec<u8>>,
    /// Where the watermark begins that each of these ends with: the next takes its place.
    marked: Vec<Option<usize>>,
    /// The blocks of each consumer that have been written.
    index: Vec<Vec<BlockEntry>>,
    /// A block of so many bytes is written.
    block_bytes: usize,
    failure: Option<NotStored>,
    finished: bool,
}

impl StoredWriter {
    pub(super) fn create(path: PathBuf, consumers: usize) -> Result<Self, StoredError> {
        let mut unfinished = path.clone().into_os_string();
        unfinished.push(format!(".{UNFINISHED}"));
        let unfinished = PathBuf::from(unfinished);
        // A killed process may have left one of this name: the attempt is deployed again to the next.
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(&unfinished);
        let file = file.map_err(|error| StoredError::to_write(&unfinished, &error))?;
        let share = OPEN_BYTES_MAX.checked_div(consumers).unwrap_or(OPEN_BYTES_MAX);
        Ok(Self {
            path,
            unfinished,
            file,
            position: 0,
            open: vec![Vec::new(); consumers],
            marked: vec![None; consumers],
            index: vec![Vec::new(); consumers],
            block_bytes: share.clamp(ROWS_BYTES_MAX, BLOCK_BYTES_MAX),
            failure: None,
            finished: false,
        })
    }

    /// For how many consumers.
    pub fn consumers(&self) -> usize {
        self.open.len()
    }

    /// Adds the records of the batch for one consumer. What goes wrong is told by
    /// [`StoredWriter::check`].
    pub fn push(&mut self, consumer: usize, batch: &dyn AnyBatch) {
        let mut from = 0;
        while from < batch.len() && self.failure.is_none() {
            let block = &mut self.open[consumer];
            let head = block.len();
            block.resize(head + ROWS_HEAD_BYTES, 0);
            let start = block.len();
            let next = batch.encode(from, start + ROWS_BYTES_MAX, block);
            let bytes = block.len() - start;
            if bytes > ROW_BYTES_MAX {
                block.clear();
                self.failure = Some(RowTooLong { bytes }.into());
                return;
            }
            // Both are bounded: a frame has at most `ROW_BYTES_MAX` bytes, a batch fewer records.
            let frame = rows_head(batch.columns(), (next - from) as u32, bytes as u32);
            block[head..start].copy_from_slice(&frame);
            self.marked[consumer] = None;
            from = next;
            if block.len() >= self.block_bytes {
                self.write_block(consumer);
            }
        }
    }

    /// Says to all consumers how far event time is.
    pub fn push_watermark(&mut self, time: Timestamp) {
        for (block, marked) in self.open.iter_mut().zip(&mut self.marked) {
            block.truncate(marked.unwrap_or(block.len()));
            *marked = Some(block.len());
            push_watermark(block, time);
        }
    }

    fn write_block(&mut self, consumer: usize) {
        let block = &mut self.open[consumer];
        let entry = BlockEntry {
            offset: self.position,
            // At most the longest row and a block.
            length: block.len() as u32,
            checksum: xxh3_64(block),
        };
        match self.file.write_all(block) {
            Ok(()) => {
                self.position += block.len() as u64;
                self.index[consumer].push(entry);
            }
            Err(error) => self.failure = Some(StoredError::to_write(&self.path, &error).into()),
        }
        self.marked[consumer] = None;
        block.clear();
        block.shrink_to(self.block_bytes + ROWS_BYTES_MAX + ROWS_BYTES_MAX / 2);
    }

    /// Writes what is left and gives the file its name: it can be read from now on.
    pub fn finish(&mut self) {
        for consumer in 0..self.open.len() {
            if self.failure.is_none() && !self.open[consumer].is_empty() {
                self.write_block(consumer);
            }
        }
        if self.failure.is_some() || self.finished {
            return;
        }
        match self.write_index().and_then(|()| fs::rename(&self.unfinished, &self.path)) {
            Ok(()) => self.finished = true,
            Err(error) => self.failure = Some(StoredError::to_write(&self.path, &error).into()),
        }
    }

    fn write_index(&mut self) -> io::Result<()> {
        let blocks: usize = self.index.iter().map(Vec::len).sum();
        let mut index = Vec::with_capacity(blocks * ENTRY_BYTES + 4 * (self.index.len() + 1));
        index.extend_from_slice(&(self.index.len() as u32).to_le_bytes());
        for entries in &self.index {
            index.extend_from_slice(&(entries.len() as u32).to_le_bytes());
            entries.iter().for_each(|entry| entry.encode(&mut index));
        }
        let footer =
            Footer { offset: self.position, length: index.len() as u64, checksum: xxh3_64(&index) };
        index.extend_from_slice(&footer.encode());
        self.file.write_all(&index)
    }

    /// What went wrong, if something did: nobody may be told then that the partition is whole.
    pub fn check(&self) -> Result<(), NotStored> {
        self.failure.clone().map_or(Ok(()), Err)
    }
}

impl Drop for StoredWriter {
    /// What is not whole is of no use to anybody.
    fn drop(&mut self) {
        if !self.finished {
            let _ = fs::remove_file(&self.unfinished);
        }
    }
}
