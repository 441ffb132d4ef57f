//! The way back: from handles to blocks and items, every one of them checked.
//!
//! Nothing is allocated for a length that a file claims: whatever is fetched lies within the file as
//! the storage knows it, and is as long as the index says, which has a checksum itself. Tables are read
//! on demand, a few megabytes at a time.

use super::block::{self, Entry};
use super::native::NativeReader;
use super::{
    BLOCK_BYTES_MAX, BLOCK_HEADER_BYTES, Block, BlockKind, Corrupt, HEADER_BYTES, MAGIC, ReadError,
    VERSION,
};
use crate::handle::{FilePart, InFlightShare, ListShare, OperatorRestore, StateFile, TableState};
use crate::native::TableFormat;
use crate::snapshot::{BlockSource, RestoredList, RestoredOperator, RestoredTable};
use crate::storage::{Storage, StorageError};
use millstream_core::key_group::KeyGroupRange;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// Blocks that follow each other are fetched together, up to so many bytes; a longer block alone. A
/// fetch costs a round trip, or a seek.
const FETCH_BYTES: u64 = 4 << 20;

/// Finds the storage of a file by the root in its name.
pub trait StorageRoots {
    /// The storage below this root; nothing: that of the job's own checkpoints, or of the savepoint.
    fn at(&self, root: Option<&str>) -> Result<Arc<dyn Storage>, StorageError>;
}

/// One storage: it knows itself alone.
impl StorageRoots for Arc<dyn Storage> {
    fn at(&self, root: Option<&str>) -> Result<Arc<dyn Storage>, StorageError> {
        match root {
            Some(root) if root != self.root() => Err(StorageError {
                attempt: "open".to_owned(),
                path: root.to_owned(),
                cause: format!("only files below {} can be read here", self.root()),
                unknown: false,
            }),
            _ => Ok(Arc::clone(self)),
        }
    }
}

/// Opens the tables of an operator, for key groups of one subtask, and reads its lists.
pub fn open_tables(
    storage: &dyn StorageRoots,
    restore: &OperatorRestore,
    groups: &KeyGroupRange,
) -> Result<RestoredOperator, ReadError> {
    let tables = restore.tables.iter().map(|table| open_table(storage, table, groups));
    let lists = restore.lists.iter().map(|share| read_list(storage, share));
    Ok(RestoredOperator {
        tables: tables.collect::<Result<_, _>>()?,
        lists: lists.collect::<Result<_, _>>()?,
    })
}

/// Reads all items of a list of rows that a barrier overtook.
pub fn read_in_flight(
    storage: &dyn StorageRoots,
    share: &InFlightShare,
) -> Result<RestoredList, ReadError> {
    let (list, items) = (share.list.clone(), 0..share.list.items);
    read_list(storage, &ListShare { list, items })
}

fn open_table(
    storage: &dyn StorageRoots,
    table: &TableState,
    groups: &KeyGroupRange,
) -> Result<RestoredTable, ReadError> {
    let what = format!("table `{}`", table.name);
    let (name, schema) = (table.name.clone(), table.schema.clone());
    if let TableFormat::Native(format) = &table.format {
        let blocks = Box::new(NativeReader::new(storage, what, table, format, groups.clone())?);
        return Ok(RestoredTable { name, schema, blocks });
    }
    let chain = table.chain.iter().map(|part| PartReader::new(storage, &what, part));
    let blocks = TableReader {
        parts: chain.collect::<Result<_, _>>()?,
        written: table.groups.clone(),
        groups: groups.clone(),
        fetches: None,
    };
    Ok(RestoredTable { name, schema, blocks: Box::new(blocks) })
}

/// Gives the blocks of a chain of parts, one after the other.
struct TableReader {
    /// Those that have not been begun.
    parts: VecDeque<PartReader>,
    /// The key groups that the parts may hold.
    written: KeyGroupRange,
    /// Those of the subtask.
    groups: KeyGroupRange,
    /// The part that is being read.
    fetches: Option<Fetches>,
}

impl TableReader {
    /// The blocks of a part that are of the subtask's groups.
    fn select(&self, part: PartReader) -> Result<Fetches, ReadError> {
        let mut spans = part.index()?;
        for span in &spans {
            let of_table = matches!(span.entry.kind, BlockKind::Rows | BlockKind::Removed);
            if !of_table || !span.entry.group.is_some_and(|group| self.written.contains(group)) {
                let Entry { kind, group, .. } = span.entry;
                let what = format!(
                    "the index names a block of kind {kind:?} and group {group:?} in a table of the \
                     key groups {:?}",
                    self.written.0
                );
                return Err(part.corrupt(part.index.start, what));
            }
        }
        spans.retain(|span| span.entry.group.is_some_and(|group| self.groups.contains(group)));
        Ok(Fetches::new(part, spans))
    }
}

impl BlockSource for TableReader {
    fn next(&mut self) -> Result<Option<Block>, ReadError> {
        loop {
            if let Some(fetches) = &mut self.fetches
                && let Some(block) = fetches.next()?
            {
                return Ok(Some(block));
            }
            match self.parts.pop_front() {
                Some(part) => self.fetches = Some(self.select(part)?),
                None => return Ok(None),
            }
        }
    }

    fn groups(&self) -> &KeyGroupRange {
        &self.groups
    }
}

fn read_list(storage: &dyn StorageRoots, share: &ListShare) -> Result<RestoredList, ReadError> {
    let ListShare { list, items: wanted } = share;
    let part = PartReader::new(storage, &format!("list `{}`", list.name), &list.part)?;
    let spans = part.index()?;
    let (mut fetches, mut items, mut at) = (Fetches::new(part, spans), Vec::new(), 0);
    while let Some(block) = fetches.next()? {
        let of_list = block.kind == BlockKind::Items;
        let split = split_items(&block).filter(|_| of_list);
        let Some(split) = split else {
            let what = format!("{:?} with {} items do not fit its length", block.kind, block.count);
            return Err(fetches.part.corrupt(fetches.last, what));
        };
        for item in split {
            if wanted.contains(&at) {
                items.push(item.to_vec());
            }
            at += 1;
        }
    }
    if at != list.items || wanted.end > at {
        let what = format!("it holds {at} items where {} were written", list.items);
        return Err(fetches.part.corrupt(fetches.part.index.start, what));
    }
    Ok(RestoredList { name: list.name.clone(), schema: list.schema.clone(), items })
}

/// The items of a block, if they fill it.
fn split_items(block: &Block) -> Option<Vec<&[u8]>> {
    let mut rest = block.payload.as_slice();
    let mut items = Vec::new();
    for _ in 0..block.count {
        let (length, after) = rest.split_first_chunk()?;
        let (item, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        items.push(item);
        rest = after;
    }
    rest.is_empty().then_some(items)
}

/// Reads one part.
pub(super) struct PartReader {
    bytes: PartBytes,
    /// For messages: the file with its root, or whose part it is.
    name: String,
    /// Where the index is.
    index: Range<u64>,
}

/// Where a part's bytes come from.
enum PartBytes {
    Inline(Vec<u8>),
    File(Arc<dyn Storage>, String, u64),
}

/// One block and where it lies.
struct Span {
    entry: Entry,
    end: u64,
}

impl PartReader {
    pub(super) fn new(
        storage: &dyn StorageRoots,
        what: &str,
        part: &FilePart,
    ) -> Result<Self, ReadError> {
        let index = part.index_offset..part.index_offset.saturating_add(part.index_length);
        Ok(match &part.file {
            StateFile::Inline(bytes) => {
                let name = format!("{what}, inside the checkpoint's metadata");
                Self { bytes: PartBytes::Inline(bytes.clone()), name, index }
            }
            StateFile::File(file) => {
                let storage = storage.at(file.root.as_deref())?;
                let name = format!("{}/{}", storage.root(), file.path);
                let bytes = PartBytes::File(storage, file.path.clone(), file.bytes);
                Self { bytes, name, index }
            }
        })
    }

    pub(super) fn corrupt(&self, offset: u64, what: impl Into<String>) -> ReadError {
        Corrupt { file: self.name.clone(), offset, what: what.into() }.into()
    }

    /// The length, which is what was written.
    pub(super) fn length(&self) -> Result<u64, ReadError> {
        let (storage, path, expected) = match &self.bytes {
            PartBytes::Inline(bytes) => return Ok(bytes.len() as u64),
            PartBytes::File(storage, path, expected) => (storage, path, *expected),
        };
        match storage.length(path)? {
            Some(length) if length == expected => Ok(length),
            Some(length) => {
                let what = format!("the file has {length} bytes, {expected} were written");
                Err(self.corrupt(length.min(expected), what))
            }
            None => Err(self.corrupt(0, "the file is missing")),
        }
    }

    /// Bytes that lie within the file.
    pub(super) fn read(&self, range: Range<u64>) -> Result<Vec<u8>, ReadError> {
        match &self.bytes {
            PartBytes::Inline(bytes) => {
                let found = bytes.get(range.start as usize..range.end as usize);
                found.map(<[u8]>::to_vec).ok_or_else(|| self.corrupt(range.start, "it ends early"))
            }
            PartBytes::File(storage, path, _) => {
                let wanted = range.end - range.start;
                let bytes = storage.read(path, range.clone())?;
                if bytes.len() as u64 == wanted {
                    Ok(bytes)
                } else {
                    let what = format!("{} of {wanted} bytes could be read", bytes.len());
                    Err(self.corrupt(range.start, what))
                }
            }
        }
    }

    /// Reads header and index: where the blocks of the part are.
    fn index(&self) -> Result<Vec<Span>, ReadError> {
        let length = self.length()?;
        let least = (HEADER_BYTES + BLOCK_HEADER_BYTES) as u64;
        let most = (BLOCK_HEADER_BYTES + BLOCK_BYTES_MAX) as u64;
        let index_length = self.index.end - self.index.start;
        let within = self.index.start >= HEADER_BYTES as u64 && self.index.end <= length;
        if length < least || !within || index_length > most {
            let what = format!("an index at {:?} does not fit {length} bytes", self.index);
            return Err(self.corrupt(self.index.start.min(length), what));
        }
        self.check_header()?;
        let bytes = self.read(self.index.clone())?;
        let this = Entry { kind: BlockKind::Index, group: None, offset: self.index.start };
        let found = block::check(&bytes, this).and_then(|index| self.spans(&index));
        found.map_err(|what| self.corrupt(self.index.start, what))
    }

    fn check_header(&self) -> Result<(), ReadError> {
        let header = self.read(0..HEADER_BYTES as u64)?;
        if header[..8] != *MAGIC {
            return Err(self.corrupt(0, "it does not begin as a state file"));
        }
        let version = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
        if version == 0 || version > VERSION {
            let what = format!(
                "it has version {version} of the format, this program reads 1 to {VERSION}: \
                 restore it with the program that wrote it or a newer one"
            );
            return Err(self.corrupt(8, what));
        }
        if header[12..] != [0; 4] { Err(self.corrupt(12, "zeros expected")) } else { Ok(()) }
    }

    /// Blocks follow each other up to the index.
    fn spans(&self, index: &Block) -> Result<Vec<Span>, String> {
        let (entries, rest) = index.payload.as_chunks::<{ Entry::BYTES }>();
        if !rest.is_empty() || entries.len() != index.count as usize {
            return Err("its length is not that of its entries".to_owned());
        }
        let mut spans: Vec<Span> = Vec::with_capacity(entries.len());
        for bytes in entries {
            let entry = Entry::decode(bytes)?;
            let first = entry.offset >= HEADER_BYTES as u64;
            match spans.last_mut() {
                Some(before) => before.end = entry.offset,
                None if first => (),
                None => return Err(format!("a block begins at {}", entry.offset)),
            }
            spans.push(Span { entry, end: self.index.start });
        }
        let block_bytes = BLOCK_HEADER_BYTES as u64..=(BLOCK_HEADER_BYTES + BLOCK_BYTES_MAX) as u64;
        let mut lengths = spans.iter().map(|span| span.end.checked_sub(span.entry.offset));
        if lengths.all(|length| length.is_some_and(|length| block_bytes.contains(&length))) {
            Ok(spans)
        } else {
            Err("blocks do not follow each other".to_owned())
        }
    }
}

/// Gives some blocks of a part in order, and fetches several of them at once.
struct Fetches {
    part: PartReader,
    left: VecDeque<Span>,
    /// What was fetched last, and where it begins.
    fetched: Vec<u8>,
    start: u64,
    /// Where the block lies that was given last.
    last: u64,
}

impl Fetches {
    fn new(part: PartReader, spans: Vec<Span>) -> Self {
        Self { part, left: spans.into(), fetched: Vec::new(), start: 0, last: 0 }
    }

    fn next(&mut self) -> Result<Option<Block>, ReadError> {
        let Some(span) = self.left.pop_front() else { return Ok(None) };
        let begin = span.entry.offset;
        self.last = begin;
        let known = self.start..self.start + self.fetched.len() as u64;
        if begin < known.start || span.end > known.end {
            let end = self.end_of_fetch(&span);
            self.fetched = Vec::new();
            self.fetched = self.part.read(begin..end)?;
            self.start = begin;
        }
        let bytes = &self.fetched[(begin - self.start) as usize..(span.end - self.start) as usize];
        let block = block::check(bytes, span.entry);
        block.map(Some).map_err(|what| self.part.corrupt(begin, what))
    }

    /// As far as blocks follow each other without a gap.
    fn end_of_fetch(&self, first: &Span) -> u64 {
        let begin = first.entry.offset;
        let mut end = first.end;
        for span in &self.left {
            if span.entry.offset != end || span.end - begin > FETCH_BYTES {
                break;
            }
            end = span.end;
        }
        end
    }
}
