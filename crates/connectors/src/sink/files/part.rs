//! One part file on its way: written under a hidden name, made whole, sealed for a checkpoint, which syncs
//! it and is done beside the task.
//!
//! A part that is dropped on that way (a failure, a cancellation, a panic) removes its file. A sealed
//! one stays, whatever becomes of the task: its checkpoint may turn out to be complete.

use super::directory::remove_file;
use crate::failure::{failure, file_failure};
use millstream_core::OperatorError;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// So much is gathered before it is written.
const BUFFER_BYTES: usize = 128 * 1024;

/// A part that is being written.
pub(super) struct Part {
    hidden: HiddenFile,
    file: File,
    /// Bytes that are in the file.
    written: u64,
    /// Bytes that come after those.
    buffer: Vec<u8>,
}

/// A part that is whole, under the name under which it was written.
pub(super) struct WholePart {
    hidden: HiddenFile,
    /// Nothing: it is synced already.
    file: Option<File>,
    bytes: u64,
}

/// Removes the file, unless it has been renamed.
struct HiddenFile(Option<PathBuf>);

impl Part {
    /// Begins a part under this name, which nobody else uses.
    pub(super) fn create(path: PathBuf) -> Result<Self, OperatorError> {
        let file = File::create_new(&path).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => failure(
                format_args!("create file `{}`", path.display()),
                "another sink of this job is writing it",
                "give each sink a directory or a suffix of its own",
            ),
            _ => file_failure("create file", &path, &error),
        })?;
        let buffer = Vec::with_capacity(BUFFER_BYTES);
        Ok(Self { hidden: HiddenFile(Some(path)), file, written: 0, buffer })
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Where to append; call [`Part::appended`] afterwards.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Something was appended: writes it to the file if it is much.
    #[inline]
    pub(super) fn appended(&mut self) -> Result<(), OperatorError> {
        if self.buffer.len() < BUFFER_BYTES { Ok(()) } else { self.write_buffer() }
    }

    fn write_buffer(&mut self) -> Result<(), OperatorError> {
        let written = self.file.write_all(&self.buffer);
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        written.map_err(|error| file_failure("write file", self.hidden.path(), &error))
    }

    /// Nothing more comes.
    pub(super) fn finish(mut self) -> Result<WholePart, OperatorError> {
        self.write_buffer()?;
        Ok(WholePart { hidden: self.hidden, file: Some(self.file), bytes: self.written })
    }
}

impl WholePart {
    /// Its length.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether its file is open.
    pub(super) fn is_open(&self) -> bool {
        self.file.is_some()
    }

    /// Makes the bytes durable, and closes the file.
    pub(super) fn sync(&mut self) -> Result<(), OperatorError> {
        let synced = self.file.take().map_or(Ok(()), |file| file.sync_all());
        synced.map_err(|error| file_failure("sync file", self.hidden.path(), &error))
    }

    /// Makes the bytes durable, and gives it the name under which it waits to be committed. From here on
    /// it is the checkpoint's. The new name is durable when the directory has been synced. A failure is
    /// final, the part goes with it.
    pub(super) fn seal(mut self, pending: &Path) -> Result<(), OperatorError> {
        self.sync()?;
        let hidden = self.hidden.path();
        fs::rename(hidden, pending).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => failure(
                format_args!("rename `{}` to `{}`", hidden.display(), pending.display()),
                "another attempt has replaced this one and removed the former",
                "nothing has to be done: the other attempt writes it again",
            ),
            _ => file_failure(&format!("rename `{}` to", hidden.display()), pending, &error),
        })?;
        self.hidden.0 = None;
        Ok(())
    }
}

impl HiddenFile {
    fn path(&self) -> &Path {
        self.0.as_deref().unwrap_or(Path::new(""))
    }
}

impl Drop for HiddenFile {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // Nothing more can be done here; the next attempt tries again.
            let _ = remove_file(path);
        }
    }
}
