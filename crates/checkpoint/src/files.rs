//! What is done with the files of a whole checkpoint: copies are made before the metadata that refers
//! to them, and the metadata is what makes a directory a checkpoint. No decision is taken here.

use crate::coordinator::Copies;
use crate::metadata::METADATA_FILE;
use crate::metadata::codec::{HEADER_BYTES, PAYLOAD_BYTES_MAX};
use crate::storage::{Storage, StorageError};
use std::io::Write;
use std::sync::Arc;

/// A file is copied in pieces of so many bytes.
const COPY_BYTES: u64 = 4 << 20;

/// Finds the storage that a user's path or URI names.
pub type Open<'a> = dyn Fn(&str) -> Result<Arc<dyn Storage>, StorageError> + 'a;

/// Copies files to a directory and then writes the metadata there.
pub fn write(
    open: &Open<'_>,
    directory: &str,
    copies: Option<&Copies>,
    bytes: &[u8],
) -> Result<(), StorageError> {
    let target = open(directory)?;
    if let Some(copies) = copies {
        let source = open(&copies.from)?;
        for path in &copies.paths {
            // Nothing refers to a copy before the metadata does: a doubtful one is a failed one.
            copy(&*source, &*target, path)
                .map_err(|error| StorageError { unknown: false, ..error })?;
        }
    }
    put(&*target, METADATA_FILE, |out| out.write_all(bytes))
}

/// The metadata in a directory, if there is any.
pub fn read(open: &Open<'_>, directory: &str) -> Result<Option<Vec<u8>>, StorageError> {
    let storage = open(directory)?;
    let Some(length) = storage.length(METADATA_FILE)? else { return Ok(None) };
    if length > PAYLOAD_BYTES_MAX + HEADER_BYTES as u64 {
        let cause = format!("{length} bytes are too many for the metadata of a checkpoint");
        return Err(refused("read", &*storage, METADATA_FILE, cause));
    }
    storage.read(METADATA_FILE, 0..length).map(Some)
}

fn put(
    storage: &dyn Storage,
    path: &str,
    fill: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<(), StorageError> {
    let mut out = storage.create(path)?;
    fill(&mut out).map_err(|error| refused("write", storage, path, error.to_string()))?;
    out.finish()
}

fn copy(source: &dyn Storage, target: &dyn Storage, path: &str) -> Result<(), StorageError> {
    let Some(length) = source.length(path)? else {
        return Err(refused("read", source, path, "it does not exist".to_owned()));
    };
    let mut failed = None;
    let copied = put(target, path, |out| {
        let mut at = 0;
        while at < length {
            let end = length.min(at + COPY_BYTES);
            let piece = source.read(path, at..end).map_err(|error| {
                let told = std::io::Error::other(error.to_string());
                failed = Some(error);
                told
            })?;
            out.write_all(&piece)?;
            at = end;
        }
        Ok(())
    });
    failed.map_or(copied, Err)
}

fn refused(attempt: &str, storage: &dyn Storage, path: &str, cause: String) -> StorageError {
    let path = format!("{}/{path}", storage.root());
    StorageError { attempt: attempt.to_owned(), path, cause, unknown: false }
}
