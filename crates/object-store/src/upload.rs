//! An object that is being written: at once if it is small, else in parts. It appears when it is
//! finished; parts of one that is given up are taken back.

use crate::bucket::{Bucket, runtime, wait};
use millstream_checkpoint::storage::{StateOutput, StorageError};
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStoreExt};
use std::io::{self, Write};
use std::sync::Arc;

/// Parts are so long; stores want at least 5 MiB, and the same for all but the last.
const PART_BYTES: usize = 8 * 1024 * 1024;

/// An object that nobody sees yet.
pub(crate) struct Upload {
    bucket: Arc<Bucket>,
    path: String,
    object: Path,
    buffer: Vec<u8>,
    /// Once there is more than one part.
    parts: Option<Box<dyn MultipartUpload>>,
    /// Something went wrong: the object will not be finished.
    failed: bool,
}

impl Upload {
    pub(crate) fn new(bucket: Arc<Bucket>, path: String, object: Path) -> Self {
        Self { bucket, path, object, buffer: Vec::new(), parts: None, failed: false }
    }

    fn send_part(&mut self) -> object_store::Result<()> {
        let part = std::mem::take(&mut self.buffer);
        if self.parts.is_none() {
            self.parts = Some(wait(self.bucket.client().put_multipart(&self.object))?);
        }
        match &mut self.parts {
            Some(parts) => wait(parts.put_part(part.into())),
            None => Ok(()),
        }
    }

    fn complete(&mut self) -> object_store::Result<()> {
        if self.parts.is_none() {
            let content = std::mem::take(&mut self.buffer);
            return wait(self.bucket.client().put(&self.object, content.into())).map(drop);
        }
        if !self.buffer.is_empty() {
            self.send_part()?;
        }
        match &mut self.parts {
            Some(parts) => wait(parts.complete()).map(drop),
            None => Ok(()),
        }
    }
}

impl Write for Upload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.failed {
            return Err(io::Error::other("an earlier part could not be written"));
        }
        let room = PART_BYTES - self.buffer.len();
        let taken = room.min(bytes.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        if self.buffer.len() == PART_BYTES {
            self.send_part().map_err(|error| {
                self.failed = true;
                io::Error::other(self.bucket.refused("write", &self.path, &error))
            })?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl StateOutput for Upload {
    fn finish(mut self: Box<Self>) -> Result<(), StorageError> {
        if self.failed {
            let cause = "an earlier part could not be written";
            return Err(self.bucket.error("write", &self.path, cause, false));
        }
        self.complete().map_err(|error| self.bucket.changed("write", &self.path, &error))?;
        self.parts = None;
        Ok(())
    }
}

impl Drop for Upload {
    /// Nobody waits for it: what is left of parts costs money, not correctness.
    fn drop(&mut self) {
        if let Some(mut parts) = self.parts.take() {
            runtime().spawn(async move { parts.abort().await });
        }
    }
}
