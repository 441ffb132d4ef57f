//! A source of JSON values, one per line of files.

use super::current_split::{CurrentSplit, Found};
use super::text_files::{TextFiles, text_files};
use crate::text::block::BLOCK_BYTES;
use crate::text::lines_of_split::LinesOfSplit;
use memchr::memchr;
use millstream_core::OperatorError;
use millstream_core::job_graph::SourceSplit;
use millstream_operator::context::TaskContext;
use millstream_operator::source::{Poll, Source, SourceClock, SourceReader};
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::{self, Read};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

/// Behind so many bytes the number of a faulty line is not looked up, only its place in bytes.
const LINE_NUMBER_BYTES_MAX: u64 = 1 << 30;

/// So much of a faulty line is told.
const EXCERPT_BYTES: usize = 200;

/// A JSON value per line of files. Made by [`json_lines`].
#[derive(Clone, Debug)]
pub struct JsonLines<T> {
    files: TextFiles,
    _record: PhantomData<fn() -> T>,
}

/// The values in files that hold one JSON value per line (JSON lines, NDJSON). Files, directories and
/// splits are as in [`text_files`]; blank lines are skipped. A line that is not a `T`, or not
/// UTF-8, fails the job and is named with file, line and column.
///
/// ```no_run
/// use millstream_connectors::source::json_lines;
///
/// #[derive(serde::Deserialize)]
/// struct Order { user: String, cents: i64 }
///
/// let orders = json_lines::<Order>("/data/orders");
/// ```
pub fn json_lines<T: DeserializeOwned>(path: impl Into<PathBuf>) -> JsonLines<T> {
    JsonLines { files: text_files(path), _record: PhantomData }
}

impl<T> JsonLines<T> {
    /// And another file or directory.
    pub fn and(self, path: impl Into<PathBuf>) -> Self {
        Self { files: self.files.and(path), ..self }
    }

    /// See [`TextFiles::split_bytes`].
    pub fn split_bytes(self, bytes_max: u64) -> Self {
        Self { files: self.files.split_bytes(bytes_max), ..self }
    }
}

impl<T: DeserializeOwned + 'static> Source<T> for JsonLines<T> {
    fn reader(&self, _context: &TaskContext) -> Result<Box<dyn SourceReader<T>>, OperatorError> {
        Ok(Box::new(Reader::default()))
    }

    fn is_bounded(&self) -> bool {
        true
    }

    fn splits(&self) -> Result<Vec<SourceSplit>, OperatorError> {
        self.files.encoded_splits()
    }
}

#[derive(Default)]
struct Reader {
    current: CurrentSplit,
    lines: Lines,
}

/// Lines that have been read.
#[derive(Default)]
struct Lines {
    bytes: Bytes,
    /// Where the next line begins in `bytes`.
    next: usize,
    /// Where `bytes` begin in the file.
    first: u64,
}

/// Checking a whole block as UTF-8 is much cheaper than checking each string in it; but only
/// serde can say which line is at fault.
enum Bytes {
    Text(String),
    Invalid(Vec<u8>),
}

impl Default for Bytes {
    fn default() -> Self {
        Self::Text(String::new())
    }
}

impl<T: DeserializeOwned> SourceReader<T> for Reader {
    fn poll(
        &mut self,
        out: &mut Vec<T>,
        room: usize,
        _clock: SourceClock,
    ) -> Result<Poll, OperatorError> {
        let full = out.len() + room;
        loop {
            if self.lines.has_more() {
                let path = self.current.path();
                if self.lines.parse(out, full, path)? {
                    return Ok(Poll::More);
                }
            }
            match self.current.find()? {
                Found::Nothing => return Ok(Poll::NeedSplit),
                Found::End => return Ok(Poll::End),
                // Positions are those of lines that have not been given out.
                Found::Resumed(_) => (),
                Found::Split(split) => {
                    if !self.lines.refill(split)? {
                        self.current.end();
                    }
                }
            }
        }
    }

    fn add_split(&mut self, split: Option<SourceSplit>) -> Result<(), OperatorError> {
        self.current.add(split)
    }

    fn snapshot(&mut self) -> Result<Vec<Vec<u8>>, OperatorError> {
        let next = self.lines.has_more().then(|| self.lines.first + self.lines.next as u64);
        Ok(self.current.snapshot(next.map(|start| (start, 0)), 0))
    }

    fn restore(&mut self, items: Vec<Vec<u8>>) -> Result<(), OperatorError> {
        self.current.restore(&items)
    }
}

impl Lines {
    fn has_more(&self) -> bool {
        self.next < self.bytes().len()
    }

    fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Text(text) => text.as_bytes(),
            Bytes::Invalid(bytes) => bytes,
        }
    }

    /// Reads the next block of the split. No: there is none.
    fn refill(&mut self, split: &mut LinesOfSplit) -> Result<bool, OperatorError> {
        let mut bytes = match std::mem::take(&mut self.bytes) {
            Bytes::Text(text) => text.into_bytes(),
            Bytes::Invalid(bytes) => bytes,
        };
        if bytes.capacity() > 2 * BLOCK_BYTES {
            bytes = Vec::new();
        }
        let first = split.fill(&mut bytes)?;
        if first.is_none() {
            bytes.clear();
        }
        self.bytes = match String::from_utf8(bytes) {
            Ok(text) => Bytes::Text(text),
            Err(error) => Bytes::Invalid(error.into_bytes()),
        };
        self.next = 0;
        self.first = first.unwrap_or_default();
        Ok(first.is_some())
    }

    /// Parses lines until `out` has `full` records. No: before that the lines came to an end.
    fn parse<T: DeserializeOwned>(
        &mut self,
        out: &mut Vec<T>,
        full: usize,
        path: &Path,
    ) -> Result<bool, OperatorError> {
        let bytes = match &self.bytes {
            Bytes::Text(text) => text.as_bytes(),
            Bytes::Invalid(bytes) => bytes,
        };
        while out.len() < full {
            let rest = &bytes[self.next..];
            if rest.is_empty() {
                return Ok(false);
            }
            let len = memchr(b'\n', rest).map_or(rest.len(), |newline| newline + 1);
            let line = self.next..self.next + len;
            self.next = line.end;
            let is_blank = rest[0] <= b' ' && rest[..len].trim_ascii().is_empty();
            if is_blank {
                continue;
            }
            let parsed = match &self.bytes {
                Bytes::Text(text) => serde_json::from_str(&text[line.clone()]),
                Bytes::Invalid(bytes) => serde_json::from_slice(&bytes[line.clone()]),
            };
            match parsed {
                Ok(record) => out.push(record),
                Err(error) => {
                    let place = self.first + line.start as u64;
                    return Err(refused(path, place, &bytes[line], &error));
                }
            }
        }
        Ok(true)
    }
}

/// Tells which line was refused, where and why.
#[cold]
fn refused(path: &Path, place: u64, line: &[u8], error: &serde_json::Error) -> OperatorError {
    let (column, why) = (error.column(), error.to_string());
    // The line is serde's whole input, so that its own idea of a line is always 1.
    let why =
        why.strip_suffix(&format!(" at line {} column {column}", error.line())).unwrap_or(&why);
    let file = path.display();
    let place = match line_number(path, place) {
        Some(number) => format!("{file}:{number}:{column} (line at byte {place})"),
        None => format!("{file} (line at byte {place}, column {column})"),
    };
    let line = line.trim_ascii();
    let excerpt = String::from_utf8_lossy(&line[..line.len().min(EXCERPT_BYTES)]);
    let more = if line.len() > EXCERPT_BYTES { " ..." } else { "" };
    OperatorError::new(format!(
        "could not parse a line of JSON at {place}: {why}; correct the line or the record type; \
         the line is: {excerpt}{more}"
    ))
}

/// The number of the line that begins at this byte, from 1, if it can be found in reasonable time.
fn line_number(path: &Path, place: u64) -> Option<u64> {
    if place > LINE_NUMBER_BYTES_MAX {
        return None;
    }
    let mut before = File::open(path).ok()?.take(place);
    let mut bytes = vec![0; BLOCK_BYTES];
    let mut newlines = 0;
    loop {
        match before.read(&mut bytes) {
            Ok(0) => return Some(newlines + 1),
            Ok(count) => newlines += memchr::memchr_iter(b'\n', &bytes[..count]).count() as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
            Err(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::read_all;
    use crate::scratch::Scratch;
    use serde::Deserialize;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Order {
        user: String,
        cents: i64,
    }

    fn order(user: &str, cents: i64) -> Order {
        Order { user: user.to_owned(), cents }
    }

    #[test]
    fn each_line_is_a_record_and_blank_lines_are_none() {
        let scratch = Scratch::new();
        let text =
            "{\"user\":\"a\",\"cents\":1}\n\n \t\r\n  {\"cents\": 2, \"user\": \"\u{e9}\"}\r\n";
        let path = scratch.write("orders", text);
        for split_bytes in 1..text.len() as u64 {
            let source = json_lines(&path).split_bytes(split_bytes);
            let expected = vec![order("a", 1), order("\u{e9}", 2)];
            assert_eq!(read_all::<Order>(&source, 1), Ok(expected));
        }
    }

    #[test]
    fn records_come_batch_by_batch_in_order() {
        let scratch = Scratch::new();
        let text: String = (0..50_000).map(|i| format!("[{i}]\n")).collect();
        let records: Vec<(u32,)> =
            read_all(&json_lines(scratch.write("x", text)), 1).expect("they are numbers");
        assert!(records.into_iter().map(|(i,)| i).eq(0..50_000));
    }

    #[track_caller]
    fn check_refused(content: &[u8], expected: &[&str]) {
        let scratch = Scratch::new();
        let path = scratch.write("orders", content);
        for split_bytes in [1, 30, 1 << 20] {
            let source = json_lines::<Order>(&path).split_bytes(split_bytes);
            let error = read_all(&source, 1).expect_err("a line is at fault");
            for part in expected {
                assert!(error.message.contains(part), "{error}");
            }
        }
    }

    #[test]
    fn a_faulty_line_is_named_with_file_line_column_and_reason() {
        let good = "{\"user\":\"a\",\"cents\":1}\n".repeat(3);
        let faulty = format!("{good}{{\"user\":\"b\",\"cents\":\"x\"}}\n{good}");
        let reason = "invalid type: string \"x\", expected i64; ";
        let line = "the line is: {\"user\":\"b\",\"cents\":\"x\"}";
        check_refused(faulty.as_bytes(), &["/orders:4:23 (line at byte 69): ", reason, line]);
        let missing = format!("{good}{{\"user\":\"b\"}}");
        check_refused(missing.as_bytes(), &["/orders:4:12 ", "missing field `cents`; "]);
    }

    #[test]
    fn a_line_that_is_not_utf8_is_refused_and_not_changed() {
        let content = b"{\"user\":\"a\",\"cents\":1}\n{\"user\":\"b\xFF\",\"cents\":1}\n";
        check_refused(content, &["/orders:2:", "invalid unicode code point"]);
    }

    #[test]
    fn a_long_faulty_line_is_told_in_part() {
        let content = format!("{{\"user\":\"{}\"}}", "x".repeat(1000));
        check_refused(content.as_bytes(), &["xxx ..."]);
    }
}
