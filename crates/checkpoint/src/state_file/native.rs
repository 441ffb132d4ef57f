//! Files of a backend on their way to the storage and back, as they are.

use super::reader::PartReader;
use super::writer::may_be_referred_to;
use super::{Block, Corrupt, ReadError, StorageRoots};
use crate::handle::{FileName, FilePart, StateFile, TableState};
use crate::native::{CopyFile, FrozenFile, NativeFile, NativeFormat, NativeTable, TableFormat};
use crate::snapshot::{BlockSource, SnapshotError};
use crate::storage::{StateOutput, Storage};
use millstream_core::hash::Hasher64;
use millstream_core::key_group::KeyGroupRange;
use std::io::{self, Write};

/// So much of a file is in memory.
const CHUNK_BYTES: u64 = 1 << 20;

/// The files that the snapshot before has.
pub(super) struct Known<'a>(Vec<(&'a FilePart, &'a NativeFile)>);

impl<'a> Known<'a> {
    /// Those that may be referred to.
    pub(super) fn of(previous: Option<&'a TableState>, backend: &str) -> Self {
        let Some(previous) = previous else { return Self(Vec::new()) };
        let TableFormat::Native(format) = &previous.format else { return Self(Vec::new()) };
        if format.backend != backend {
            return Self(Vec::new());
        }
        let parts = previous.chain.iter().zip(&format.files);
        Self(parts.filter(|(part, _)| may_be_referred_to(part)).collect())
    }

    pub(super) fn find(&self, file: &FrozenFile) -> Option<(&'a FilePart, &'a NativeFile)> {
        let is_it = |(part, native): &&(&FilePart, &NativeFile)| {
            file.lasting && native.name == file.name && part.bytes == file.bytes
        };
        self.0.iter().find(is_it).copied()
    }
}

/// A file that has been copied; it is not durable yet.
pub(super) struct Copied {
    pub(super) part: FilePart,
    pub(super) checksum: u64,
    pub(super) output: Option<(String, Box<dyn StateOutput>)>,
}

/// Copies a file to `path`, or into its handle if it is smaller than `inline_max`.
pub(super) fn copy(
    storage: &dyn Storage,
    what: &str,
    path: String,
    inline_max: usize,
    file: &FrozenFile,
    copy: CopyFile<'_>,
) -> Result<Copied, SnapshotError> {
    let (mut inline, mut output) = (Vec::new(), None);
    let target: &mut dyn Write = if file.bytes < inline_max as u64 {
        &mut inline
    } else {
        output.insert(storage.create(&path)?)
    };
    let mut counted = Counted { target, hasher: Hasher64::new(), bytes: 0 };
    copy(&file.name, &mut counted)?;
    let (bytes, checksum) = (counted.bytes, counted.hasher.finish());
    if bytes != file.bytes {
        return Err(SnapshotError::Operator(format!(
            "{what} gave {bytes} bytes as its file `{}`, which has {}",
            file.name, file.bytes
        )));
    }
    let (state_file, output) = match output {
        None => (StateFile::Inline(inline), None),
        Some(output) => {
            let name = FileName { root: None, path: path.clone(), bytes };
            (StateFile::File(name), Some((path, output)))
        }
    };
    let part = FilePart { file: state_file, index_offset: 0, index_length: 0, rows: 0, bytes };
    Ok(Copied { part, checksum, output })
}

/// Counts and hashes what goes through it.
struct Counted<'a> {
    target: &'a mut dyn Write,
    hasher: Hasher64,
    bytes: u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.target.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.target.flush()
    }
}

/// A table in the files of a backend, for the same backend.
pub(super) struct NativeReader {
    what: String,
    format: NativeFormat,
    parts: Vec<PartReader>,
    lengths: Vec<u64>,
    written: KeyGroupRange,
    groups: KeyGroupRange,
}

impl NativeReader {
    pub(super) fn new(
        storage: &dyn StorageRoots,
        what: String,
        table: &TableState,
        format: &NativeFormat,
        groups: KeyGroupRange,
    ) -> Result<Self, ReadError> {
        if table.chain.len() != format.files.len() {
            let what = format!("{} files in {} parts", format.files.len(), table.chain.len());
            let file = format!("the handle of {}", table.name);
            return Err(Corrupt { file, offset: 0, what }.into());
        }
        let parts = table.chain.iter().zip(&format.files).map(|(part, file)| {
            PartReader::new(storage, &format!("file `{}` of {what}", file.name), part)
        });
        Ok(Self {
            parts: parts.collect::<Result<_, _>>()?,
            lengths: table.chain.iter().map(|part| part.bytes).collect(),
            written: table.groups.clone(),
            format: format.clone(),
            groups,
            what,
        })
    }
}

impl BlockSource for NativeReader {
    fn next(&mut self) -> Result<Option<Block>, ReadError> {
        let (what, backend) = (self.what.clone(), self.format.backend.clone());
        Err(ReadError::Native { what, backend })
    }

    fn groups(&self) -> &KeyGroupRange {
        &self.groups
    }

    fn native(&mut self) -> Option<&mut dyn NativeTable> {
        Some(self)
    }
}

impl NativeTable for NativeReader {
    fn backend(&self) -> &str {
        &self.format.backend
    }

    fn written(&self) -> &KeyGroupRange {
        &self.written
    }

    fn files(&self) -> Vec<(String, u64)> {
        let names = self.format.files.iter().map(|file| file.name.clone());
        names.zip(self.lengths.iter().copied()).collect()
    }

    fn copy(&mut self, file: usize, out: &mut dyn Write) -> Result<(), ReadError> {
        let (part, native) = (&self.parts[file], &self.format.files[file]);
        let (length, mut hasher, mut done) = (part.length()?, Hasher64::new(), 0);
        while done < length {
            let end = length.min(done + CHUNK_BYTES);
            let bytes = part.read(done..end)?;
            hasher.update(&bytes);
            out.write_all(&bytes).map_err(|error| ReadError::Local {
                path: native.name.clone(),
                cause: error.to_string(),
            })?;
            done = end;
        }
        if length != self.lengths[file] || hasher.finish() != native.checksum {
            return Err(part.corrupt(0, "its checksum is not that of what was written"));
        }
        Ok(())
    }
}
