//! A file that is being written: hidden, then durable, then visible under its name.

use super::{refused, unknown};
use crate::disk::{self, File};
use crate::mutant;
use millstream_checkpoint::storage::{StateOutput, StorageError};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// State comes in blocks; this joins their headers with them.
const BUFFER_BYTES: usize = 128 * 1024;

/// A file whose content can be made durable. A trait so that tests have one that cannot.
pub(super) trait Durable: Write + Send {
    /// What was written survives a power cut when this has returned.
    fn sync(&self) -> io::Result<()>;
}

impl Durable for File {
    fn sync(&self) -> io::Result<()> {
        File::sync(self)
    }
}

/// A file that is being written. Dropped before it is finished, it vanishes.
pub(super) struct Output<F: Durable> {
    /// Empty once a write has failed: what follows could leave a hole.
    file: Option<BufWriter<F>>,
    /// Why `file` is empty.
    failure: Option<StorageError>,
    hidden: PathBuf,
    path: PathBuf,
    is_visible: bool,
}

impl Output<File> {
    /// Begins the file at `path`, in a directory that is there.
    pub(super) fn create(path: &Path) -> Result<Self, StorageError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        loop {
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            let hidden = format!(".{name}.{}-{number}.tmp", std::process::id());
            let hidden = path.with_file_name(hidden);
            match File::create_new(&hidden, 0o666) {
                Ok(file) => return Ok(Self::new(file, hidden, path.to_owned())),
                // A process of the same number, on another machine or before this one.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => (),
                Err(error) => return Err(refused("create", &hidden, error)),
            }
        }
    }
}

impl<F: Durable> Output<F> {
    /// What is written to `file`, which is called `hidden`, becomes `path`.
    pub(super) fn new(file: F, hidden: PathBuf, path: PathBuf) -> Self {
        let file = Some(BufWriter::with_capacity(BUFFER_BYTES, file));
        Self { file, failure: None, hidden, path, is_visible: false }
    }

    fn attempt<R>(
        &mut self,
        action: impl FnOnce(&mut BufWriter<F>) -> io::Result<R>,
    ) -> io::Result<R> {
        let result = match &mut self.file {
            Some(file) => action(file),
            None => return Err(io::Error::other(self.given_up())),
        };
        result.map_err(|error| {
            let kind = error.kind();
            let failure = refused("write", &self.path, error);
            self.failure = Some(failure.clone());
            // Not flushed: the buffer goes with the file.
            drop(self.file.take().map(BufWriter::into_parts));
            io::Error::new(kind, failure)
        })
    }

    fn given_up(&self) -> StorageError {
        let gone = || refused("write", &self.path, "it was given up after a failed write");
        self.failure.clone().unwrap_or_else(gone)
    }
}

impl<F: Durable> Write for Output<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.attempt(|file| file.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.attempt(BufWriter::flush)
    }
}

impl<F: Durable> StateOutput for Output<F> {
    fn finish(mut self: Box<Self>) -> Result<(), StorageError> {
        if self.flush().is_err() {
            return Err(self.given_up());
        }
        let file = self.file.take().ok_or_else(|| self.given_up())?;
        // A failed sync may have thrown the data away and will not fail again: it is final.
        let synced = match mutant::on("file_is_not_synced") {
            true => Ok(()),
            false => file.get_ref().sync(),
        };
        if !mutant::on("failed_sync_is_ignored") {
            synced.map_err(|error| refused("sync", &self.path, error))?;
        }
        // Nothing is left in the buffer; what it is in is closed here.
        drop(file.into_parts());
        disk::rename(&self.hidden, &self.path)
            .map_err(|error| refused("rename a finished file to", &self.path, error))?;
        self.is_visible = true;
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        if mutant::on("name_is_not_synced") {
            return Ok(());
        }
        disk::sync_directory(directory).map_err(|error| {
            if mutant::on("visible_counts_as_durable") {
                return unknown("sync", directory, error);
            }
            // It can be seen, and may be gone after a power cut: whoever looked whether it is there
            // would be misled. So it goes, and has failed.
            let _ = disk::remove_file(&self.path);
            refused("sync", directory, error)
        })
    }
}

impl<F: Durable> Drop for Output<F> {
    fn drop(&mut self) {
        if !self.is_visible {
            drop(self.file.take().map(BufWriter::into_parts));
            let _ = disk::remove_file(&self.hidden);
        }
    }
}
