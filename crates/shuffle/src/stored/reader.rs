//! [`StoredReader`]: one consumer's part of a stored partition, block by block, from the beginning to the
//! end. It waits for the disk and for nothing else.

use super::StoredError;
use super::format::{BlockEntry, FOOTER_BYTES, Footer, StoredFrame, blocks_of, next_frame};
use crate::batch::BoxBatch;
use crate::element::{Control, Found, Watermark};
use millstream_core::hash::xxh3_64;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// Reads one consumer's part of a partition.
pub struct StoredReader {
    path: PathBuf,
    file: File,
    blocks: std::vec::IntoIter<BlockEntry>,
    /// The block that is being read, and how far.
    block: Vec<u8>,
    at: usize,
}

impl StoredReader {
    pub(super) fn open(file: File, path: PathBuf, consumer: u32) -> Result<Self, StoredError> {
        let blocks = find_blocks(&file, consumer)
            .map_err(|reason| StoredError::new("read results in", &path, reason))?;
        Ok(Self { path, file, blocks: blocks.into_iter(), block: Vec::new(), at: 0 })
    }

    /// Fills the buffer, which is empty, with the next records, if that is what comes next.
    pub fn poll(&mut self, buffer: &mut BoxBatch) -> Result<Found, StoredError> {
        let found = match self.next_frame()? {
            None => Ok(Found::Control(Control::EndOfPartition)),
            Some(StoredFrame::Watermark(time)) => {
                Ok(Found::Control(Control::Watermark(Watermark::active(time))))
            }
            Some(StoredFrame::Rows { columns, count, rows }) => buffer
                .decode(count as usize, columns, rows)
                .map(|()| Found::Batch)
                .map_err(|error| error.to_string()),
        };
        found.map_err(|reason| {
            buffer.clear();
            StoredError::new("read results in", &self.path, reason)
        })
    }

    /// The next frame; nothing: that was the last.
    pub(super) fn next_frame(&mut self) -> Result<Option<StoredFrame<'_>>, StoredError> {
        while self.at == self.block.len() {
            let Some(entry) = self.blocks.next() else { return Ok(None) };
            self.at = 0;
            read_block(&self.file, entry, &mut self.block)
                .map_err(|reason| StoredError::new("read results in", &self.path, reason))?;
        }
        let frame = next_frame(&self.block, &mut self.at);
        let nonsense = || StoredError::new("read results in", &self.path, "a frame is malformed");
        frame.map(Some).ok_or_else(nonsense)
    }
}

fn find_blocks(file: &File, consumer: u32) -> Result<Vec<BlockEntry>, String> {
    let told = |error: std::io::Error| error.to_string();
    let length = file.metadata().map_err(told)?.len();
    let mut footer = [0; FOOTER_BYTES];
    let at = length.checked_sub(FOOTER_BYTES as u64).ok_or("it is too short")?;
    file.read_exact_at(&mut footer, at).map_err(told)?;
    let footer = Footer::decode(&footer).ok_or("it does not end as it should")?;
    if footer.offset.checked_add(footer.length) != Some(at) {
        return Err("its index is not where it should be".to_owned());
    }
    // Not longer than the file.
    let mut index = vec![0; footer.length as usize];
    file.read_exact_at(&mut index, footer.offset).map_err(told)?;
    if xxh3_64(&index) != footer.checksum {
        return Err("its index is damaged".to_owned());
    }
    let blocks = blocks_of(&index, consumer);
    let blocks = blocks.ok_or_else(|| format!("it has no part {consumer}"))?;
    let is_within = |block: &BlockEntry| {
        let end = block.offset.checked_add(u64::from(block.length));
        end.is_some_and(|end| end <= footer.offset) && block.length > 0
    };
    if !blocks.iter().all(is_within) {
        return Err("its index names a block outside of it".to_owned());
    }
    Ok(blocks)
}

fn read_block(file: &File, entry: BlockEntry, block: &mut Vec<u8>) -> Result<(), String> {
    block.resize(entry.length as usize, 0);
    file.read_exact_at(block, entry.offset).map_err(|error| error.to_string())?;
    match xxh3_64(block) == entry.checksum {
        true => Ok(()),
        false => Err(format!("the block at {} is damaged", entry.offset)),
    }
}
