//! What sources of lines that have to be parsed share: files in splits, blocks of lines, and the place of
//! a line that is refused.

use super::current_split::{CurrentSplit, Found};
use crate::text::block::BLOCK_BYTES;
use crate::text::lines_of_split::LinesOfSplit;
use memchr::memchr;
use millstream_core::OperatorError;
use millstream_core::job_graph::SourceSplit;
use millstream_operator::source::{Poll, SourceClock, SourceReader, SplitChange};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Behind so many bytes the number of a faulty line is not looked up, only its place in bytes.
const LINE_NUMBER_BYTES_MAX: u64 = 1 << 30;

/// So much of a faulty line is told.
const EXCERPT_BYTES: usize = 200;

/// Makes records of lines.
pub(super) trait LineParser<T> {
    /// What a line is called.
    const LINE: &'static str;

    /// Lines of a new block follow.
    fn begin_block(&mut self) {}

    /// The record of a line, which may end with a newline and is not blank; nothing: it is left out.
    fn parse(&mut self, line: &str) -> Result<Option<T>, Refused>;
}

/// Why a line is refused.
#[derive(Debug)]
pub(super) struct Refused {
    /// Where in the line, in bytes from 1.
    pub(super) column: usize,
    pub(super) why: String,
}

/// Reads the lines of one subtask's splits.
#[derive(Default)]
pub(super) struct Reader<P> {
    current: CurrentSplit,
    lines: Lines,
    parser: P,
}

impl<P> Reader<P> {
    pub(super) fn new(parser: P) -> Self {
        Self { current: CurrentSplit::default(), lines: Lines::default(), parser }
    }
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

/// Checking a whole block as UTF-8 is much cheaper than checking each line; where it is not, the line
/// at fault is to be told.
enum Bytes {
    Text(String),
    Invalid(Vec<u8>),
}

impl Default for Bytes {
    fn default() -> Self {
        Self::Text(String::new())
    }
}

impl<T, P: LineParser<T>> SourceReader<T> for Reader<P> {
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
                if self.lines.parse(&mut self.parser, out, full, path)? {
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
                        return Ok(Poll::More);
                    }
                    self.parser.begin_block();
                }
            }
        }
    }

    fn add_split(&mut self, split: Option<SourceSplit>) -> Result<(), OperatorError> {
        self.current.add(split)
    }

    fn take_split_change(&mut self) -> Option<SplitChange> {
        self.current.take_change()
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
    fn parse<T, P: LineParser<T>>(
        &mut self,
        parser: &mut P,
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
                Bytes::Text(text) => parser.parse(&text[line.clone()]),
                Bytes::Invalid(bytes) => match std::str::from_utf8(&bytes[line.clone()]) {
                    Ok(text) => parser.parse(text),
                    Err(error) => Err(Refused {
                        column: error.valid_up_to() + 1,
                        why: "invalid unicode code point".to_owned(),
                    }),
                },
            };
            match parsed {
                Ok(record) => out.extend(record),
                Err(refused) => {
                    let place = self.first + line.start as u64;
                    return Err(failure(P::LINE, path, place, &bytes[line], refused));
                }
            }
        }
        Ok(true)
    }
}

/// Tells which line was refused, where and why.
#[cold]
fn failure(what: &str, path: &Path, place: u64, line: &[u8], refused: Refused) -> OperatorError {
    let Refused { column, why } = refused;
    let file = path.display();
    let place = match line_number(path, place) {
        Some(number) => format!("{file}:{number}:{column} (line at byte {place})"),
        None => format!("{file} (line at byte {place}, column {column})"),
    };
    let line = line.trim_ascii();
    let excerpt = String::from_utf8_lossy(&line[..line.len().min(EXCERPT_BYTES)]);
    let more = if line.len() > EXCERPT_BYTES { " ..." } else { "" };
    OperatorError::new(format!(
        "could not parse a line of {what} at {place}: {why}; correct the line or the record type; \
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
