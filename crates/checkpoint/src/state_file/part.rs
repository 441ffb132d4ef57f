//! A part on its way out: in memory while it is small, in a file of its own from then on.

use super::block::{Entry, OpenBlock};
use super::{BLOCK_BYTES, BLOCK_BYTES_MAX, BlockKind, HEADER_BYTES, file_header};
use crate::handle::{FileName, FilePart, StateFile};
use crate::snapshot::{RowSink, SnapshotError};
use crate::storage::{StateOutput, Storage, StorageError};
use millstream_core::key_group::{KeyGroup, KeyGroupRange};

/// One part while it is written.
pub(super) struct PartWriter<'a> {
    storage: &'a dyn Storage,
    /// Whose part it is, for messages.
    what: &'a str,
    /// The file that the part gets when it is not small.
    path: String,
    groups: &'a KeyGroupRange,
    inline_max: usize,
    /// The file from its begin, until it goes out.
    small: Vec<u8>,
    output: Option<Box<dyn StateOutput>>,
    /// Bytes so far, with the file's header.
    position: u64,
    block: OpenBlock,
    entries: Vec<Entry>,
    rows: u64,
}

/// A part that is complete, and its file, which is not durable yet.
pub(super) struct WrittenPart {
    pub(super) part: FilePart,
    pub(super) output: Option<(String, Box<dyn StateOutput>)>,
}

impl<'a> PartWriter<'a> {
    /// Begins a part that moves to the file `path` if it is not smaller than `inline_max`.
    pub(super) fn new(
        storage: &'a dyn Storage,
        what: &'a str,
        path: String,
        groups: &'a KeyGroupRange,
        inline_max: usize,
    ) -> Self {
        Self {
            storage,
            what,
            path,
            groups,
            inline_max,
            small: file_header().to_vec(),
            output: None,
            position: HEADER_BYTES as u64,
            block: OpenBlock::new(),
            entries: Vec::new(),
            rows: 0,
        }
    }

    /// Appends rows of a group to the open block, or to a new one if it is full or of another kind.
    fn push(
        &mut self,
        kind: BlockKind,
        group: KeyGroup,
        count: u32,
        payload: &[u8],
    ) -> Result<(), SnapshotError> {
        self.check_group(group)?;
        self.check_length(payload.len())?;
        let group = Some(group);
        let other = self.block.kind != kind || self.block.group != group;
        if other || self.block.len() + payload.len() > BLOCK_BYTES {
            self.close_block()?;
            self.block.begin(kind, group);
        }
        self.block.push(count, payload);
        self.rows += u64::from(count);
        Ok(())
    }

    /// Appends an item of a list.
    pub(super) fn item(&mut self, item: &[u8]) -> Result<(), SnapshotError> {
        self.check_length(item.len().saturating_add(4))?;
        if self.block.kind != BlockKind::Items || self.block.len() + item.len() > BLOCK_BYTES {
            self.close_block()?;
            self.block.begin(BlockKind::Items, None);
        }
        self.block.push_item(item);
        self.rows += 1;
        Ok(())
    }

    fn check_group(&self, group: KeyGroup) -> Result<(), SnapshotError> {
        let ascends = self.block.is_empty() || self.block.group <= Some(group);
        if ascends && self.groups.contains(group) {
            return Ok(());
        }
        let (what, group, groups) = (self.what, group.index(), &self.groups.0);
        Err(SnapshotError::Operator(format!(
            "{what} gave rows of key group {group}, out of order or not within {groups:?}"
        )))
    }

    fn check_length(&self, length: usize) -> Result<(), SnapshotError> {
        if length <= BLOCK_BYTES_MAX {
            return Ok(());
        }
        Err(SnapshotError::Operator(format!(
            "{} gave {length} bytes at once; a row of state has at most {BLOCK_BYTES_MAX}: \
             keep large values in several rows",
            self.what
        )))
    }

    fn close_block(&mut self) -> Result<(), SnapshotError> {
        if self.block.is_empty() {
            return Ok(());
        }
        let (kind, group) = (self.block.kind, self.block.group);
        self.entries.push(Entry { kind, group, offset: self.position });
        self.put_block()
    }

    /// Moves the open block to where the part is.
    fn put_block(&mut self) -> Result<(), SnapshotError> {
        let bytes = self.block.seal();
        self.position += bytes.len() as u64;
        if self.output.is_none() && self.small.len() + bytes.len() < self.inline_max {
            self.small.extend_from_slice(bytes);
            return Ok(());
        }
        let output = match &mut self.output {
            Some(output) => output,
            None => {
                let output = self.output.insert(self.storage.create(&self.path)?);
                let small = std::mem::take(&mut self.small);
                output
                    .write_all(&small)
                    .map_err(|error| refused(self.storage, &self.path, &error))?;
                output
            }
        };
        output.write_all(bytes).map_err(|error| refused(self.storage, &self.path, &error))?;
        Ok(())
    }

    /// Writes the index; the part is complete.
    pub(super) fn finish(mut self) -> Result<WrittenPart, SnapshotError> {
        self.close_block()?;
        let index_offset = self.position;
        let first = self.entries.first().map_or(index_offset, |entry| entry.offset);
        self.check_length(self.entries.len() * Entry::BYTES)?;
        self.block.begin(BlockKind::Index, None);
        for entry in &self.entries {
            self.block.push(1, &entry.encode());
        }
        self.put_block()?;
        let part = FilePart {
            file: match &self.output {
                None => StateFile::Inline(self.small),
                Some(_) => StateFile::File(FileName {
                    root: None,
                    path: self.path.clone(),
                    bytes: self.position,
                }),
            },
            index_offset,
            index_length: self.position - index_offset,
            rows: self.rows,
            bytes: index_offset - first,
        };
        Ok(WrittenPart { part, output: self.output.map(|output| (self.path, output)) })
    }
}

impl RowSink for PartWriter<'_> {
    fn rows(&mut self, group: KeyGroup, count: u32, rows: &[u8]) -> Result<(), SnapshotError> {
        self.push(BlockKind::Rows, group, count, rows)
    }

    fn removed(&mut self, group: KeyGroup, count: u32, keys: &[u8]) -> Result<(), SnapshotError> {
        self.push(BlockKind::Removed, group, count, keys)
    }
}

/// The error of a write, in the words of the storage.
fn refused(storage: &dyn Storage, path: &str, error: &std::io::Error) -> SnapshotError {
    SnapshotError::Storage(StorageError {
        attempt: "write".to_owned(),
        path: format!("{}/{path}", storage.root()),
        cause: error.to_string(),
        unknown: false,
    })
}
