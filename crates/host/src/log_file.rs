//! A log file that never takes more than twice its bound: `NAME`, and `NAME.1` before it.
//!
//! What is there at opening stays and counts: a job process that is started again goes on writing
//! behind its predecessor's last words.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The bound may not be smaller than this, so that a line finds room.
pub const LOG_BYTES_MIN: u64 = 4096;

/// A file that is renamed and begun again when it is full.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    bytes_max: u64,
    /// `None` after an error; the next write opens it again.
    file: Option<File>,
    /// How much the file holds by now.
    bytes: u64,
}

impl LogFile {
    /// Opens the file for appending, and makes it if it is not there.
    pub fn open(path: &Path, bytes_max: u64) -> io::Result<Self> {
        let bytes_max = bytes_max.max(LOG_BYTES_MIN);
        let mut log = LogFile { path: path.to_owned(), bytes_max, file: None, bytes: 0 };
        log.reopen()?;
        Ok(log)
    }

    /// Appends bytes; they may end in the middle of a line.
    ///
    /// After an error the bytes not yet written are lost, and the next call tries anew.
    pub fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let room = self.bytes_max.saturating_sub(self.bytes);
            let now = piece(bytes, room, self.bytes == 0);
            if now == 0 {
                self.rotate()?;
                continue;
            }
            let result = self.reopen().and_then(|mut file| file.write_all(&bytes[..now]));
            if let Err(error) = result {
                self.file = None;
                return Err(error);
            }
            self.bytes += now as u64;
            bytes = &bytes[now..];
        }
        Ok(())
    }

    /// Where the present file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the file before it is.
    pub fn previous_path(&self) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".1");
        name.into()
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.file = None;
        match std::fs::rename(&self.path, self.previous_path()) {
            // Somebody has tidied up; that gives room too.
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => self.reopen().map(|_| ()),
        }
    }

    fn reopen(&mut self) -> io::Result<&File> {
        if self.file.is_none() {
            let file = OpenOptions::new().append(true).create(true).open(&self.path)?;
            self.bytes = file.metadata()?.len();
            self.file = Some(file);
        }
        Ok(self.file.as_ref().expect("it was opened just now"))
    }
}

/// How many of `bytes` to write now that `room` is left: whole lines if that is possible, and 0 if
/// the file has to be rotated first.
fn piece(bytes: &[u8], room: u64, file_is_empty: bool) -> usize {
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    if bytes.len() <= room {
        return bytes.len();
    }
    match memchr::memrchr(b'\n', &bytes[..room]) {
        Some(end) => end + 1,
        // A line longer than a file is cut.
        None if file_is_empty => room,
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    fn length(path: &Path) -> u64 {
        std::fs::metadata(path).map_or(0, |metadata| metadata.len())
    }

    #[test]
    fn a_full_file_is_kept_once_and_no_line_is_torn() {
        let scratch = Scratch::new();
        let mut log = LogFile::open(&scratch.join("a.out"), LOG_BYTES_MIN).unwrap();
        let mut all = String::new();
        for number in 0..1000 {
            let line = format!("this is line {number}\n");
            log.write(line.as_bytes()).unwrap();
            all.push_str(&line);
        }
        let previous = std::fs::read_to_string(log.previous_path()).unwrap();
        let present = std::fs::read_to_string(log.path()).unwrap();
        assert!(previous.len() as u64 <= LOG_BYTES_MIN && present.len() as u64 <= LOG_BYTES_MIN);
        assert!(previous.starts_with("this is line") && previous.ends_with('\n'));
        assert!(all.ends_with(&format!("{previous}{present}")));
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_line_longer_than_the_file_is_cut() {
        let scratch = Scratch::new();
        let mut log = LogFile::open(&scratch.join("a.out"), LOG_BYTES_MIN).unwrap();
        log.write(&vec![b'x'; 5 * LOG_BYTES_MIN as usize + 7]).unwrap();
        assert_eq!(length(log.path()), 7);
        assert_eq!(length(&log.previous_path()), LOG_BYTES_MIN);
    }

    #[test]
    fn what_is_there_counts_towards_the_bound() {
        let scratch = Scratch::new();
        let path = scratch.join("a.out");
        LogFile::open(&path, LOG_BYTES_MIN).unwrap().write(&[b'x'; 4000]).unwrap();
        let mut log = LogFile::open(&path, LOG_BYTES_MIN).unwrap();
        log.write(&[b'y'; 200]).unwrap();
        assert_eq!((length(&path), length(&log.previous_path())), (200, 4000));
    }

    #[test]
    fn a_lost_directory_is_an_error_and_not_the_end() {
        let scratch = Scratch::new();
        let directory = scratch.join("logs");
        std::fs::create_dir(&directory).unwrap();
        let mut log = LogFile::open(&directory.join("a.out"), LOG_BYTES_MIN).unwrap();
        std::fs::remove_dir_all(&directory).unwrap();
        assert!(log.write(&[b'x'; 3 * LOG_BYTES_MIN as usize]).is_err());
        std::fs::create_dir(&directory).unwrap();
        log.write(b"back\n").unwrap();
        assert_eq!(std::fs::read_to_string(log.path()).unwrap(), "back\n");
    }
}
