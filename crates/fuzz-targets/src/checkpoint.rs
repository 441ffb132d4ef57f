//! What is read after a failure: metadata of checkpoints, state files, the record of high availability.
//!
//! These formats have checksums, which a fuzzer does not find: the first byte says whether they are made
//! right before the bytes are read.

use crate::limits::{TYPED, within};
use millstream_checkpoint::handle::{
    FileName, FilePart, ListMode, ListShare, ListState, OperatorRestore, StateFile, TableSchema,
    TableState,
};
use millstream_checkpoint::local::proof::{CHUNK_BYTES, Proof};
use millstream_checkpoint::metadata::{codec, decode, encode};
use millstream_checkpoint::native::TableFormat;
use millstream_checkpoint::snapshot::RestoredOperator;
use millstream_checkpoint::state_file::{BLOCK_HEADER_BYTES, ReadError, open_tables};
use millstream_checkpoint::storage::Storage;
use millstream_checkpoint::testing::MemoryStorage;
use millstream_core::hash::xxh3_64;
use millstream_core::key_group::KeyGroupRange;
use millstream_core::record::Record;
use millstream_jobmanager::ha::HaRecord;
use std::sync::Arc;

/// JSON has two bytes for a list that is empty and 24 in memory; maps have nodes with room for many.
const JSON: usize = 512;

/// The `_metadata` of a checkpoint: the whole file, or its payload only.
pub(crate) fn metadata(bytes: &[u8]) -> bool {
    let file = match bytes.split_first() {
        Some((0, file)) => file.to_vec(),
        Some((_, payload)) => {
            let (length, hash) = (payload.len() as u64, xxh3_64(payload));
            let version = u64::from(codec::VERSION).to_le_bytes();
            [codec::MAGIC, &version, &length.to_le_bytes(), &hash.to_le_bytes(), payload].concat()
        }
        None => return false,
    };
    let decoded = within(file.len(), JSON, || decode(&file, "f"));
    let Ok(mut metadata) = decoded else { return false };
    assert_eq!(decode(&encode(&metadata), "f").as_ref(), Ok(&metadata));
    metadata.bytes();
    for vertex in metadata.vertices.values() {
        assert!(vertex.splits.numbers().len() <= bytes.len());
    }
    metadata.resolve("memory:");
    assert!(metadata.files().all(|file| file.root.is_some()));
    true
}

/// Who leads, and which jobs there are.
pub(crate) fn ha_record(bytes: &[u8]) -> bool {
    let file = match bytes.split_first() {
        Some((0, file)) => file.to_vec(),
        Some((_, body)) => {
            let empty = HaRecord::default().encode();
            let end = empty.iter().position(|byte| *byte == b'\n').unwrap_or_default();
            let mut file = empty[..end - 16].to_vec();
            file.extend_from_slice(format!("{:016x}\n", xxh3_64(body)).as_bytes());
            file.extend_from_slice(body);
            file
        }
        None => return false,
    };
    let Ok(record) = within(file.len(), JSON, || HaRecord::decode(&file)) else { return false };
    assert_eq!(HaRecord::decode(&record.encode()).as_ref(), Ok(&record));
    true
}

/// The name of the file whose copies are proven here.
pub const ORIGIN: &str = "/c/chk-1/a";

/// What lies beside a worker's copy of a state file.
pub(crate) fn local_proof(bytes: &[u8]) -> bool {
    let proof = match bytes.split_first() {
        Some((0, proof)) => proof.to_vec(),
        Some((_, content)) => [content, &xxh3_64(content).to_le_bytes()].concat(),
        None => return false,
    };
    let decoded = within(proof.len(), TYPED, || Proof::decode(&proof, ORIGIN));
    let Ok(proven) = decoded else { return false };
    assert_eq!(proven.encode(), proof, "there is one way to write it");
    let chunks = proven.covering(&(0..proven.bytes().min(CHUNK_BYTES)));
    assert!(chunks.is_some_and(|chunks| chunks.start == 0 && chunks.end <= CHUNK_BYTES));
    assert_eq!(proven.covering(&(0..proven.bytes().saturating_add(1))), None);
    true
}

/// What comes before the file.
struct Preface {
    is_list: bool,
    repaired: bool,
    inline: bool,
    twice: bool,
    index_offset: u64,
    index_length: u64,
    items: u64,
    groups: std::ops::Range<u32>,
}

impl Preface {
    fn of(bytes: &[u8; 9]) -> Self {
        let [flags, offset, offset_high, length, length_high, items, items_high, start, end] =
            *bytes;
        let wide = |low, high| u64::from(u16::from_le_bytes([low, high]));
        Self {
            is_list: flags & 1 != 0,
            repaired: flags & 2 != 0,
            inline: flags & 4 != 0,
            twice: flags & 8 != 0,
            index_offset: wide(offset, offset_high),
            // The bytes can also say what they cannot have.
            index_length: if length_high == 255 { u64::MAX } else { wide(length, length_high) },
            items: wide(items, items_high),
            groups: u32::from(start)..u32::from(end),
        }
    }
}

/// A part of a state file: a table or a list.
pub(crate) fn state_file(bytes: &[u8]) -> bool {
    let Some((preface, file)) = bytes.split_first_chunk() else { return false };
    let (preface, mut file) = (Preface::of(preface), file.to_vec());
    if preface.repaired {
        repair(&mut file, preface.index_offset as usize, preface.index_length as usize);
    }
    let memory = MemoryStorage::new();
    let name = FileName { root: None, path: "f".to_owned(), bytes: file.len() as u64 };
    memory.set("f", file.clone());
    let part = FilePart {
        file: if preface.inline { StateFile::Inline(file) } else { StateFile::File(name) },
        index_offset: preface.index_offset,
        index_length: preface.index_length,
        rows: preface.items,
        bytes: preface.index_offset,
    };
    let storage: Arc<dyn Storage> = Arc::new(memory);
    let restore = restore(&preface, part);
    let groups = KeyGroupRange(0..preface.groups.end);
    let read =
        within(bytes.len(), TYPED, || open_tables(&storage, &restore, &groups).and_then(read_all));
    read.is_ok()
}

fn restore(preface: &Preface, part: FilePart) -> OperatorRestore {
    let name = "state".to_owned();
    if preface.is_list {
        let (mode, items) = (ListMode::Split, preface.items);
        let list = ListState { name, mode, schema: None, items, part };
        return OperatorRestore {
            lists: vec![ListShare { list, items: 0..items }],
            ..OperatorRestore::default()
        };
    }
    let schema = || u64::schema();
    let table = TableState {
        name,
        schema: TableSchema { key: schema(), namespace: <()>::schema(), value: schema() },
        groups: KeyGroupRange(preface.groups.clone()),
        chain: vec![part; if preface.twice { 2 } else { 1 }],
        format: TableFormat::Rows,
    };
    OperatorRestore { tables: vec![table], ..OperatorRestore::default() }
}

fn read_all(restored: RestoredOperator) -> Result<(), ReadError> {
    for mut table in restored.tables {
        while let Some(block) = table.blocks.next()? {
            assert!(block.group.is_some_and(|group| table.blocks.groups().contains(group)));
        }
    }
    Ok(())
}

/// Makes lengths and checksums of the index and of the blocks that it names right.
fn repair(file: &mut [u8], offset: usize, length: usize) {
    let Some(index) = file.get(offset..).and_then(|index| index.get(..length)) else { return };
    let payload = index.get(BLOCK_HEADER_BYTES..).unwrap_or_default();
    let (entries, _) = payload.as_chunks::<16>();
    let starts = entries.iter().map(|entry| {
        let offset = entry.last_chunk().map(|offset| u64::from_le_bytes(*offset));
        offset.map_or(usize::MAX, |offset| offset as usize)
    });
    let mut starts: Vec<usize> = starts.collect();
    starts.push(offset);
    for ends in starts.windows(2) {
        if let Some(block) = file.get_mut(ends[0]..ends[1]) {
            seal(block);
        }
    }
    if let Some(index) = file.get_mut(offset..offset.saturating_add(length)) {
        seal(index);
    }
}

fn seal(block: &mut [u8]) {
    let Some(payload) = block.len().checked_sub(BLOCK_HEADER_BYTES) else { return };
    block[8..12].copy_from_slice(&(payload as u32).to_le_bytes());
    let checksum = xxh3_64(&block[8..]);
    block[..8].copy_from_slice(&checksum.to_le_bytes());
}
