//! A file of a storage as a stream of bytes: read in large pieces, held one at a time.

use millstream_checkpoint::storage::{Storage, StorageError};
use std::io::{self, Read};

/// A piece has so many bytes: as many as an object store gives well in one answer.
const PIECE_BYTES: u64 = 4 << 20;

/// Reads a file from its begin to its end.
pub(super) struct StorageReader<'a> {
    storage: &'a dyn Storage,
    path: &'a str,
    length: u64,
    /// The piece that is being read, and how much of it has been.
    piece: Vec<u8>,
    taken: usize,
    /// Where the next piece begins.
    next: u64,
}

impl<'a> StorageReader<'a> {
    /// Begins to read; the file has to be there.
    pub(super) fn open(storage: &'a dyn Storage, path: &'a str) -> Result<Self, StorageError> {
        let missing = || StorageError {
            attempt: "read".to_owned(),
            path: format!("{}/{path}", storage.root()),
            cause: "it does not exist".to_owned(),
            unknown: false,
        };
        let length = storage.length(path)?.ok_or_else(missing)?;
        Ok(Self { storage, path, length, piece: Vec::new(), taken: 0, next: 0 })
    }

    /// How long the file is.
    pub(super) fn length(&self) -> u64 {
        self.length
    }
}

impl Read for StorageReader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.piece.len() && self.next < self.length {
            let end = self.length.min(self.next + PIECE_BYTES);
            let piece = self.storage.read(self.path, self.next..end);
            self.piece = piece.map_err(io::Error::other)?;
            (self.taken, self.next) = (0, end);
        }
        let count = into.len().min(self.piece.len() - self.taken);
        into[..count].copy_from_slice(&self.piece[self.taken..self.taken + count]);
        self.taken += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::storage::Storages;
    use std::io::Write;

    #[test]
    fn a_file_longer_than_a_piece_comes_whole_and_a_missing_one_is_named() {
        let root = std::env::temp_dir().join(format!("millstream-reader-{}", std::process::id()));
        let storage = Storages::default().open(&root.display().to_string()).expect("a directory");
        let content: Vec<u8> = (0..PIECE_BYTES * 2 + 7).map(|i| ((i * 31) >> 8) as u8).collect();
        for (path, content) in [("long", &content[..]), ("empty", b"")] {
            let mut file = storage.create(path).expect("begins");
            file.write_all(content).expect("is written");
            file.finish().expect("is finished");
            let mut found = Vec::new();
            let mut reader = StorageReader::open(&*storage, path).expect("it is there");
            reader.read_to_end(&mut found).expect("it can be read");
            assert!(found == content, "{path}");
        }
        let error = StorageReader::open(&*storage, "none").err().expect("it is not there");
        assert!(error.to_string().contains("/none`: it does not exist"), "{error}");
        std::fs::remove_dir_all(&root).expect("can be removed");
    }
}
