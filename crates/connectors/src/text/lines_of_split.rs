//! Reads the lines of one split, as runs of bytes that hold whole lines only.
//!
//! A line belongs to the split in which its first byte lies. So the split's own bytes run from
//! after the first newline at or behind the byte before `start` (from 0 if that is the file's
//! begin) up to the first newline at or behind the byte before `end`, or the end of the file. Two
//! neighbours apply the same rule to the same byte: each line is read once.
//!
//! What a read brings beyond the last newline waits in `tail` for the next run.

use super::block::BLOCK_BYTES;
use super::split::FileSplit;
use crate::failure::{failure, file_failure};
use memchr::{memchr, memrchr};
use millstream_core::OperatorError;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// A longer line is an error: this is hardly text.
const LINE_BYTES_MAX: usize = 64 << 20;

/// Behind the split's end only the rest of one line is wanted: so much is read at a time.
const BEYOND_END_BYTES: usize = 16 * 1024;

/// UTF-8's byte order mark, which some editors put in front of a text.
const MARK: &[u8] = "\u{FEFF}".as_bytes();

/// Where one split's reading stands.
pub(crate) struct LinesOfSplit {
    path: PathBuf,
    file: File,
    /// The file's byte that comes next. Those of `tail` come before it.
    position: u64,
    /// Where the split ends.
    end: u64,
    /// Bytes behind the last newline that was given out.
    tail: Vec<u8>,
    /// Nothing more belongs to the split.
    done: bool,
}

impl LinesOfSplit {
    /// Opens the file and finds the split's first line.
    pub(crate) fn open(split: FileSplit) -> Result<Self, OperatorError> {
        let FileSplit { path, start, end } = split;
        let mut lines = Self::at(path, start.saturating_sub(1), end)?;
        lines.done = end <= start;
        if start > 0 && !lines.done {
            lines.skip_line()?;
        }
        Ok(lines)
    }

    /// Opens the file again where a line begins that [`LinesOfSplit::next_line`] or
    /// [`LinesOfSplit::fill`] has told.
    pub(crate) fn resume(split: FileSplit) -> Result<Self, OperatorError> {
        let FileSplit { path, start, end } = split;
        let lines = Self::at(path, start, end)?;
        let length = lines.file.metadata().map_err(|error| lines.failure("look at", &error))?.len();
        if length < start {
            return Err(failure(
                format_args!("go on at byte {start} of `{}`", lines.path.display()),
                format_args!("the file has only {length} bytes now"),
                "leave files as they are while a job reads them, or begin afresh",
            ));
        }
        Ok(lines)
    }

    fn at(path: PathBuf, position: u64, end: u64) -> Result<Self, OperatorError> {
        let mut file =
            File::open(&path).map_err(|error| file_failure("open text file", &path, &error))?;
        file.seek(SeekFrom::Start(position))
            .map_err(|error| file_failure("seek in text file", &path, &error))?;
        Ok(Self { path, file, position, end, tail: Vec::new(), done: end <= position })
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the split ends.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Where the next line begins that [`LinesOfSplit::fill`] will give; nothing: there is none.
    pub(crate) fn next_line(&self) -> Option<u64> {
        (!self.done).then(|| self.position - self.tail.len() as u64)
    }

    fn failure(&self, verb: &str, error: &io::Error) -> OperatorError {
        file_failure(&format!("{verb} text file"), &self.path, error)
    }

    /// Goes behind the next newline. If that is the split's end or further, no line is its own.
    fn skip_line(&mut self) -> Result<(), OperatorError> {
        let wanted_max = (self.end - 1 - self.position).min(BLOCK_BYTES as u64) as usize;
        let mut bytes = vec![0; wanted_max];
        loop {
            let wanted = (self.end - 1 - self.position).min(wanted_max as u64) as usize;
            let count = self.read(&mut bytes[..wanted])?;
            if count == 0 {
                self.done = true;
                return Ok(());
            }
            if let Some(newline) = memchr(b'\n', &bytes[..count]) {
                self.tail.extend_from_slice(&bytes[newline + 1..count]);
                return Ok(());
            }
        }
    }

    /// Replaces the content of `bytes` by the next lines, each with its newline, except that the
    /// last line of a file may have none. Gives the place of the first byte in the file; nothing if
    /// the split has no more lines. The vector's length at the call is not zeroed again.
    pub(crate) fn fill(&mut self, bytes: &mut Vec<u8>) -> Result<Option<u64>, OperatorError> {
        if self.done {
            return Ok(None);
        }
        bytes.resize(BLOCK_BYTES.max(self.tail.len() + BEYOND_END_BYTES), 0);
        bytes[..self.tail.len()].copy_from_slice(&self.tail);
        let mut filled = self.tail.len();
        let first = self.position - filled as u64;
        let mut lines_end = None;
        while lines_end.is_none() {
            if filled == bytes.len() {
                self.grow(bytes, first)?;
            }
            let before_end = self.end.saturating_sub(self.position);
            let wanted = if before_end > 0 { before_end } else { BEYOND_END_BYTES as u64 };
            let wanted = (bytes.len() - filled).min(usize::try_from(wanted).unwrap_or(usize::MAX));
            let count = self.read(&mut bytes[filled..filled + wanted])?;
            // The first byte that was not there the last time we looked, or the split's last byte.
            let unseen = filled.max((self.end - 1).saturating_sub(first) as usize);
            filled += count;
            lines_end = if count == 0 {
                self.done = true;
                Some(filled)
            } else if self.position < self.end {
                memrchr(b'\n', &bytes[..filled]).map(|newline| newline + 1)
            } else {
                let newline = memchr(b'\n', &bytes[unseen.min(filled)..filled]);
                self.done = newline.is_some();
                newline.map(|newline| unseen + newline + 1)
            };
        }
        let lines_end = lines_end.expect("the loop has found it");
        self.tail.clear();
        if !self.done {
            self.tail.extend_from_slice(&bytes[lines_end..filled]);
        }
        bytes.truncate(lines_end);
        Ok(Some(first + skip_mark(first, bytes)))
    }

    /// No line has ended yet: makes room for more of it.
    fn grow(&self, bytes: &mut Vec<u8>, first: u64) -> Result<(), OperatorError> {
        if bytes.len() >= LINE_BYTES_MAX {
            return Err(failure(
                format_args!("read a line of `{}`", self.path.display()),
                format_args!(
                    "the line at byte {first} is longer than {} MiB",
                    LINE_BYTES_MAX >> 20
                ),
                "check that this is a text file with newlines",
            ));
        }
        bytes.resize((2 * bytes.len()).min(LINE_BYTES_MAX), 0);
        Ok(())
    }

    fn read(&mut self, bytes: &mut [u8]) -> Result<usize, OperatorError> {
        loop {
            match self.file.read(bytes) {
                Ok(count) => {
                    self.position += count as u64;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                Err(error) => return Err(self.failure("read", &error)),
            }
        }
    }
}

/// Removes a byte order mark from the begin of a file; gives the number of bytes removed.
fn skip_mark(first: u64, bytes: &mut Vec<u8>) -> u64 {
    if first > 0 || !bytes.starts_with(MARK) {
        return 0;
    }
    bytes.drain(..MARK.len());
    MARK.len() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    /// The lines of all splits, each with its place in the file.
    fn read(path: &Path, bounds: &[u64]) -> Vec<(u64, Vec<u8>)> {
        let mut lines = Vec::new();
        let mut bytes = Vec::new();
        for bound in bounds.windows(2) {
            let split = FileSplit { path: path.to_owned(), start: bound[0], end: bound[1] };
            let mut split = LinesOfSplit::open(split).expect("it is there");
            while let Some(first) = split.fill(&mut bytes).expect("it is readable") {
                let mut place = first;
                for line in bytes.split_inclusive(|byte| *byte == b'\n') {
                    lines.push((place, line.to_vec()));
                    place += line.len() as u64;
                }
            }
        }
        lines
    }

    #[test]
    fn splits_at_every_byte_give_each_line_once() {
        let scratch = Scratch::new();
        for text in ["a\nbb\n\nccc ccc\r\n\n\ndddd\ne", "a\n", "\n", "\n\n\n", "no newline"] {
            let path = scratch.write("text", text);
            let len = text.len() as u64;
            let expected = read(&path, &[0, len]);
            let joined: Vec<u8> = expected.iter().flat_map(|(_, line)| line.clone()).collect();
            assert_eq!(joined, text.as_bytes());
            for a in 0..=len {
                for b in a..=len {
                    assert_eq!(read(&path, &[0, a, b, len]), expected, "{text:?} at {a} and {b}");
                }
            }
            let all: Vec<u64> = (0..=len).collect();
            assert_eq!(read(&path, &all), expected, "{text:?}");
        }
    }

    #[test]
    fn lines_longer_than_a_block_are_read_whole_wherever_splits_lie() {
        let scratch = Scratch::new();
        let long = "x".repeat(3 * BLOCK_BYTES + 5);
        let text = format!("first\n{long}\nafter\n{long}");
        let path = scratch.write("text", &text);
        let len = text.len() as u64;
        let expected = read(&path, &[0, len]);
        assert_eq!(expected.len(), 4);
        let block = BLOCK_BYTES as u64;
        for at in [1, 5, 6, 7, block, 2 * block, 3 * block + 11, 3 * block + 12, len - 1] {
            assert_eq!(read(&path, &[0, at, len]), expected, "split at {at}");
        }
        let many: Vec<u64> = (0..len).step_by(100_000).chain([len]).collect();
        assert_eq!(read(&path, &many), expected);
    }

    #[test]
    fn many_blocks_of_lines_are_read_in_order() {
        let scratch = Scratch::new();
        let text: String = (0..100_000).map(|i| format!("line {i}\n")).collect();
        let path = scratch.write("text", &text);
        let len = text.len() as u64;
        for bounds in [vec![0, len], vec![0, 300_000, 300_001, 600_000, len]] {
            let lines = read(&path, &bounds);
            let joined: Vec<u8> = lines.iter().flat_map(|(_, line)| line.clone()).collect();
            assert!(joined == text.as_bytes());
            assert!(
                lines
                    .iter()
                    .all(|(place, line)| text.as_bytes()[*place as usize..].starts_with(line))
            );
        }
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_first_line() {
        let scratch = Scratch::new();
        let path = scratch.write("text", "\u{FEFF}a\nb\u{FEFF}\n");
        assert_eq!(read(&path, &[0, 9]), [(3, b"a\n".to_vec()), (5, "b\u{FEFF}\n".into())]);
    }

    #[test]
    fn a_file_that_became_shorter_ends_where_it_ends() {
        let scratch = Scratch::new();
        let path = scratch.write("text", "a\nb\n");
        assert_eq!(read(&path, &[0, 100, 200]).len(), 2);
    }

    #[test]
    fn a_line_beyond_the_limit_is_an_error_that_names_its_place() {
        let scratch = Scratch::new();
        let path = scratch.write("text", "a\n");
        let file = File::options().append(true).open(&path).expect("it is there");
        file.set_len(LINE_BYTES_MAX as u64 + 100).expect("a hole needs no space");
        let end = LINE_BYTES_MAX as u64 + 100;
        let split = FileSplit { path, start: 0, end };
        let mut split = LinesOfSplit::open(split).expect("it is there");
        let mut bytes = Vec::new();
        assert_eq!(split.fill(&mut bytes), Ok(Some(0)));
        let error = split.fill(&mut bytes).expect_err("too long");
        assert!(error.message.contains("the line at byte 2 is longer than 64 MiB"), "{error}");
    }
}
