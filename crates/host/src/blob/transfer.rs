//! Copies bytes and hashes them on the way.

use super::error::BlobError;
use crate::artefact;
use millstream_core::hash::Hasher128;
use millstream_core::ids::ContentHash;
use std::io::{self, Read, Write};
use std::path::Path;

/// How much is moved at a time.
pub(super) const CHUNK_BYTES_MAX: usize = 64 << 10;

/// Something that takes a blob, chunk by chunk.
pub(super) trait Sink {
    fn accept(&mut self, chunk: &[u8]) -> Result<(), BlobError>;
}

impl<F: FnMut(&[u8]) -> Result<(), BlobError>> Sink for F {
    fn accept(&mut self, chunk: &[u8]) -> Result<(), BlobError> {
        self(chunk)
    }
}

/// Reads to the end of `source`; returns length and hash.
pub(super) fn copy(
    source: &mut dyn Read,
    read_error: impl Fn(io::Error) -> BlobError,
    sink: &mut dyn Sink,
) -> Result<(u64, ContentHash), BlobError> {
    let mut hasher = Hasher128::new();
    let mut chunk = vec![0; CHUNK_BYTES_MAX];
    let mut bytes = 0;
    loop {
        match source.read(&mut chunk) {
            Ok(0) => return Ok((bytes, ContentHash(hasher.finish()))),
            Ok(count) => {
                hasher.update(&chunk[..count]);
                sink.accept(&chunk[..count])?;
                bytes += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
            Err(error) => return Err(read_error(error)),
        }
    }
}

/// Whether the content is what its name says.
pub(super) fn verify(expected: ContentHash, found: ContentHash) -> Result<(), BlobError> {
    if expected == found { Ok(()) } else { Err(BlobError::Damaged { expected, found }) }
}

/// The hash of a file.
pub(super) fn hash_of(path: &Path) -> Result<ContentHash, BlobError> {
    artefact::content_hash(path).map_err(BlobError::file("read", path))
}

/// Writes to something that is not a socket.
pub(super) fn write_all(
    writer: &mut dyn Write,
    path: &Path,
    bytes: &[u8],
) -> Result<(), BlobError> {
    writer.write_all(bytes).map_err(BlobError::file("write", path))
}
