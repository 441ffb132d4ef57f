//! Sorted rows on local disk: written once from beginning to end, and read once.
//!
//! The file has no name any more when its first row is written, so nothing of it is left behind however
//! the process ends.

use super::sorter::RowHead;
use std::fs::{File, OpenOptions, remove_file};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes that are written or read at once.
const BUFFER_BYTES: usize = 64 * 1024;

/// Hash, time, length of the key, length of key and record.
const HEAD_BYTES: usize = 8 + 8 + 4 + 4;

/// Takes sorted rows.
pub(super) struct RunWriter(BufWriter<File>);

/// Gives them back.
pub(super) struct RunReader(BufReader<File>);

impl RunWriter {
    pub(super) fn create(directory: &Path) -> io::Result<Self> {
        static FILES: AtomicU64 = AtomicU64::new(0);
        let number = FILES.fetch_add(1, Ordering::Relaxed);
        let path = directory.join(format!("millstream-sort-{}-{number}", std::process::id()));
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        remove_file(&path)?;
        Ok(Self(BufWriter::with_capacity(BUFFER_BYTES, file)))
    }

    pub(super) fn write(&mut self, head: RowHead, row: &[u8]) -> io::Result<()> {
        let mut bytes = [0; HEAD_BYTES];
        bytes[..8].copy_from_slice(&head.hash.to_le_bytes());
        bytes[8..16].copy_from_slice(&head.time.to_le_bytes());
        bytes[16..20].copy_from_slice(&head.key_bytes.to_le_bytes());
        bytes[20..].copy_from_slice(&head.row_bytes.to_le_bytes());
        self.0.write_all(&bytes)?;
        self.0.write_all(row)
    }

    pub(super) fn finish(self) -> io::Result<RunReader> {
        let mut file = self.0.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.seek(SeekFrom::Start(0))?;
        Ok(RunReader(BufReader::with_capacity(BUFFER_BYTES, file)))
    }
}

impl RunReader {
    /// Puts the next row into `row`; nothing: that was all.
    pub(super) fn next(&mut self, row: &mut Vec<u8>) -> io::Result<Option<RowHead>> {
        let mut bytes = [0; HEAD_BYTES];
        match self.0.read(&mut bytes[..1])? {
            0 => return Ok(None),
            _ => self.0.read_exact(&mut bytes[1..])?,
        }
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight"));
        let half = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four"));
        let (hash, time) = (word(0), word(8) as i64);
        let head = RowHead { hash, time, key_bytes: half(16), row_bytes: half(20) };
        row.resize(head.row_bytes as usize, 0);
        self.0.read_exact(row)?;
        Ok(Some(head))
    }
}
