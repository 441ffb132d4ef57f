//! The headers of a 64-bit little-endian ELF file, as far as they say whether and how it runs.
//!
//! Source: Tool Interface Standard, *Executable and Linking Format*; `elf(5)`. Every offset and
//! length is checked against the file's before anything is read.

use super::Machine;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

const HEADER_BYTES: usize = 64;
const SEGMENT_BYTES: usize = 56;
const SEGMENTS_MAX: usize = 1024;
const LOADER_BYTES_MAX: u64 = 4096;
const DYNAMIC_BYTES_MAX: u64 = 64 << 10;

const SEGMENT_LOAD: u32 = 1;
const SEGMENT_DYNAMIC: u32 = 2;
const SEGMENT_LOADER: u32 = 3;
const DYNAMIC_FLAGS_1: u64 = 0x6fff_fffb;
const FLAG_1_PIE: u64 = 0x0800_0000;

/// What the headers say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elf {
    /// What runs it.
    pub machine: Machine,
    /// The program that loads it; `None` if it is linked statically.
    pub loader: Option<PathBuf>,
}

/// Why the headers cannot be those of a program.
#[derive(Debug)]
pub enum ElfError {
    /// The first bytes are others.
    NotElf,
    /// Made for machines of another word size or byte order.
    Foreign(&'static str),
    /// A library, an object file, a core file.
    NotAProgram(&'static str),
    /// It ends early or contradicts itself.
    Damaged(&'static str),
    /// The file system said no.
    Read(io::Error),
}

/// Reads the headers of a file of `bytes` bytes.
pub fn read(file: &File, bytes: u64) -> Result<Elf, ElfError> {
    if bytes < HEADER_BYTES as u64 {
        let mut magic = vec![0; bytes.min(4) as usize];
        file.read_exact_at(&mut magic, 0).map_err(ElfError::Read)?;
        let is_elf = magic == b"\x7fELF";
        return Err(if is_elf { ElfError::Damaged("it ends early") } else { ElfError::NotElf });
    }
    let header: [u8; HEADER_BYTES] = read_array(file, 0)?;
    let machine = machine(&header)?;
    let kind = u16_at(&header, 16);
    match kind {
        2 | 3 => (),
        1 => return Err(ElfError::NotAProgram("an object file")),
        4 => return Err(ElfError::NotAProgram("a core file")),
        _ => return Err(ElfError::Damaged("its type is unknown")),
    }
    let segments = read_segments(file, &header, bytes)?;
    let loader = read_loader(file, &segments)?;
    let is_dynamic_object = kind == 3;
    if is_dynamic_object && loader.is_none() && !is_static_pie(file, &segments)? {
        return Err(ElfError::NotAProgram("a shared library"));
    }
    Ok(Elf { machine, loader })
}

/// One entry of the program header table.
struct Segment {
    kind: u32,
    offset: u64,
    file_bytes: u64,
}

fn machine(header: &[u8; HEADER_BYTES]) -> Result<Machine, ElfError> {
    if !header.starts_with(b"\x7fELF") {
        return Err(ElfError::NotElf);
    }
    match (header[4], header[5]) {
        (2, 1) => (),
        (1, 1) => return Err(ElfError::Foreign("a 32-bit program")),
        (_, 2) => return Err(ElfError::Foreign("a program for a big-endian machine")),
        _ => return Err(ElfError::Damaged("its word size is unknown")),
    }
    Ok(match u16_at(header, 18) {
        62 => Machine::X86_64,
        183 => Machine::Aarch64,
        number => Machine::Other(number),
    })
}

fn read_segments(
    file: &File,
    header: &[u8; HEADER_BYTES],
    bytes: u64,
) -> Result<Vec<Segment>, ElfError> {
    let (table, entry_bytes) = (u64_at(header, 32), usize::from(u16_at(header, 54)));
    let count = usize::from(u16_at(header, 56));
    if count == 0 || SEGMENTS_MAX < count || entry_bytes != SEGMENT_BYTES {
        return Err(ElfError::Damaged("its program header table has an impossible size"));
    }
    check_extent(table, (count * SEGMENT_BYTES) as u64, bytes)?;
    let mut raw = vec![0; count * SEGMENT_BYTES];
    file.read_exact_at(&mut raw, table).map_err(ElfError::Read)?;
    let mut segments = Vec::with_capacity(count);
    for entry in raw.chunks_exact(SEGMENT_BYTES) {
        let kind = u32::from_le_bytes(entry[..4].try_into().expect("four bytes"));
        let segment = Segment { kind, offset: u64_at(entry, 8), file_bytes: u64_at(entry, 32) };
        if matches!(kind, SEGMENT_LOAD | SEGMENT_DYNAMIC | SEGMENT_LOADER) {
            check_extent(segment.offset, segment.file_bytes, bytes)?;
        }
        segments.push(segment);
    }
    Ok(segments)
}

fn read_loader(file: &File, segments: &[Segment]) -> Result<Option<PathBuf>, ElfError> {
    let Some(segment) = segments.iter().find(|segment| segment.kind == SEGMENT_LOADER) else {
        return Ok(None);
    };
    if LOADER_BYTES_MAX < segment.file_bytes {
        return Err(ElfError::Damaged("the name of its loader is too long"));
    }
    let mut name = vec![0; segment.file_bytes as usize];
    file.read_exact_at(&mut name, segment.offset).map_err(ElfError::Read)?;
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    let name = std::str::from_utf8(&name[..end])
        .map_err(|_| ElfError::Damaged("the name of its loader is no text"))?;
    Ok(Some(PathBuf::from(name)))
}

/// A program without a loader that may lie anywhere looks like a library but for one flag.
fn is_static_pie(file: &File, segments: &[Segment]) -> Result<bool, ElfError> {
    let Some(segment) = segments.iter().find(|segment| segment.kind == SEGMENT_DYNAMIC) else {
        return Ok(true);
    };
    let mut table = vec![0; segment.file_bytes.min(DYNAMIC_BYTES_MAX) as usize];
    file.read_exact_at(&mut table, segment.offset).map_err(ElfError::Read)?;
    let mut entries = table.chunks_exact(16);
    let flagged = entries
        .any(|entry| u64_at(entry, 0) == DYNAMIC_FLAGS_1 && u64_at(entry, 8) & FLAG_1_PIE != 0);
    Ok(flagged)
}

fn check_extent(offset: u64, length: u64, bytes: u64) -> Result<(), ElfError> {
    match offset.checked_add(length) {
        Some(end) if end <= bytes => Ok(()),
        _ => Err(ElfError::Damaged("it ends early")),
    }
}

fn read_array<const N: usize>(file: &File, offset: u64) -> Result<[u8; N], ElfError> {
    let mut array = [0; N];
    file.read_exact_at(&mut array, offset).map_err(ElfError::Read)?;
    Ok(array)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
