//! A request's body as a reader for a blocking thread: chunks go through a short queue, so that
//! neither side runs ahead of the other.
//!
//! An end is said, not guessed: a queue that closes without it is an upload that broke off.

use axum::body::Bytes;
use std::io::{self, Read};
use tokio::sync::mpsc;

/// Chunks that may wait for the disk.
const CHUNKS_MAX: usize = 8;

/// The side of the request.
pub(crate) struct UploadWriter(mpsc::Sender<Part>);

/// The side of the disk.
pub(crate) struct UploadReader {
    parts: mpsc::Receiver<Part>,
    rest: Bytes,
    ended: bool,
}

enum Part {
    Chunk(Bytes),
    End,
}

/// The store reads no more: it has failed, and its result says why.
#[derive(Debug)]
pub(crate) struct ReaderGone;

pub(crate) fn pipe() -> (UploadWriter, UploadReader) {
    let (send, parts) = mpsc::channel(CHUNKS_MAX);
    (UploadWriter(send), UploadReader { parts, rest: Bytes::new(), ended: false })
}

impl UploadWriter {
    pub(crate) async fn write(&self, chunk: Bytes) -> Result<(), ReaderGone> {
        self.0.send(Part::Chunk(chunk)).await.map_err(|_| ReaderGone)
    }

    /// The content is complete. Without this the reader gets an error.
    pub(crate) async fn end(self) -> Result<(), ReaderGone> {
        self.0.send(Part::End).await.map_err(|_| ReaderGone)
    }
}

impl Read for UploadReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() && !self.ended {
            match self.parts.blocking_recv() {
                Some(Part::Chunk(chunk)) => self.rest = chunk,
                Some(Part::End) => self.ended = true,
                None => {
                    let why = "the upload broke off";
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
                }
            }
        }
        let n = buffer.len().min(self.rest.len());
        buffer[..n].copy_from_slice(&self.rest.split_to(n));
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(parts: Vec<Part>) -> io::Result<Vec<u8>> {
        let (writer, mut reader) = pipe();
        for part in parts {
            assert!(writer.0.try_send(part).is_ok(), "the queue has room");
        }
        drop(writer);
        let mut read = Vec::new();
        reader.read_to_end(&mut read).map(|_| read)
    }

    #[test]
    fn chunks_come_out_in_order() {
        let chunk = |text: &'static str| Part::Chunk(Bytes::from_static(text.as_bytes()));
        let parts = vec![chunk("ab"), chunk(""), chunk("cd"), Part::End];
        assert_eq!(read_all(parts).expect("complete"), b"abcd");
    }

    #[test]
    fn an_upload_without_its_end_is_an_error() {
        let parts = vec![Part::Chunk(Bytes::from_static(b"ab"))];
        let error = read_all(parts).expect_err("broken off");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
