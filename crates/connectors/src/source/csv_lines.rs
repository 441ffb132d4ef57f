//! A source of lines of values between commas: made for files of many columns of which few are wanted.

use super::lines_of_files::{LineParser, Reader, Refused};
use super::text_files::{TextFiles, text_files};
use memchr::{memchr, memchr_iter};
use millstream_core::OperatorError;
use millstream_core::job_graph::SourceSplit;
use millstream_operator::context::TaskContext;
use millstream_operator::source::{Source, SourceReader};
use std::fmt::Display;
use std::path::PathBuf;

/// Values between commas, a record per line. Made by [`csv_lines`].
#[derive(Clone, Debug)]
pub struct CsvLines<F> {
    files: TextFiles,
    columns: usize,
    read: F,
}

/// What a function makes of the lines of files that hold so many values each, separated by commas:
/// without a header, and without quotes around values. Files, directories and splits are as in
/// [`text_files`]; blank lines are skipped, and those of which the function gives nothing.
///
/// A value is looked for when it is asked for, so what nobody asks for costs next to nothing. One
/// that cannot be read, a line with too few values, and one that is not UTF-8 fail the job and are named
/// with file, line and column.
///
/// ```
/// use millstream_connectors::harness::read_all;
/// use millstream_connectors::source::csv_lines;
///
/// # let file = std::env::temp_dir().join(format!("orders-{}.csv", std::process::id()));
/// std::fs::write(&file, "7,ann,1250\n8,bob,300\n9,ann,20\n")?;
/// let cents_of_ann = csv_lines(&file, 3, |order| {
///     (order.text(1) == "ann").then(|| order.number(2))
/// });
/// assert_eq!(read_all(&cents_of_ann, 1)?, [1250, 20]);
/// # std::fs::remove_file(&file)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn csv_lines<T, F>(path: impl Into<PathBuf>, columns: usize, read: F) -> CsvLines<F>
where
    F: Fn(&mut Fields<'_>) -> Option<T> + Clone + Send + 'static,
{
    CsvLines { files: text_files(path), columns, read }
}

impl<F> CsvLines<F> {
    /// And another file or directory.
    pub fn and(self, path: impl Into<PathBuf>) -> Self {
        Self { files: self.files.and(path), ..self }
    }

    /// See [`TextFiles::split_bytes`].
    pub fn split_bytes(self, bytes_max: u64) -> Self {
        Self { files: self.files.split_bytes(bytes_max), ..self }
    }

    /// See [`TextFiles::splits_at_once`].
    pub fn splits_at_once(self, count: usize) -> Self {
        Self { files: self.files.splits_at_once(count), ..self }
    }
}

impl<T, F> Source<T> for CsvLines<F>
where
    T: 'static,
    F: Fn(&mut Fields<'_>) -> Option<T> + Clone + Send + 'static,
{
    fn reader(&self, _context: &TaskContext) -> Result<Box<dyn SourceReader<T>>, OperatorError> {
        let csv = || {
            let (columns, read) = (self.columns, self.read.clone());
            Csv { columns, read, ends: Vec::new(), counted: false }
        };
        Ok(self.files.reader_of(|| Reader::new(csv())))
    }

    fn is_bounded(&self) -> bool {
        true
    }

    fn splits(&self) -> Result<Vec<SourceSplit>, OperatorError> {
        self.files.encoded_splits()
    }
}

struct Csv<F> {
    columns: usize,
    read: F,
    /// The buffer of [`Fields::ends`].
    ends: Vec<u32>,
    /// Of a block the first line has been seen to have as many values as there should be.
    counted: bool,
}

impl<T, F: Fn(&mut Fields<'_>) -> Option<T>> LineParser<T> for Csv<F> {
    const LINE: &'static str = "CSV";

    fn begin_block(&mut self) {
        self.counted = false;
    }

    #[inline]
    fn parse(&mut self, line: &str) -> Result<Option<T>, Refused> {
        let line = line.strip_suffix('\n').unwrap_or(line);
        let line = line.strip_suffix('\r').unwrap_or(line);
        if !self.counted {
            let count = memchr_iter(b',', line.as_bytes()).count() + 1;
            if count != self.columns {
                return Err(Refused {
                    column: line.len() + 1,
                    why: format!("{count} values, expected {}", self.columns),
                });
            }
            self.counted = true;
        }
        self.ends.clear();
        let mut fields = Fields { line, ends: &mut self.ends, refused: None };
        let record = (self.read)(&mut fields);
        match fields.refused {
            None => Ok(record),
            Some(refused) => Err(*refused),
        }
    }
}

/// The values of a line. What cannot be read fails the job when the function that asked for it returns;
/// until then it is 0 or empty.
pub struct Fields<'a> {
    line: &'a str,
    /// Where the first values end.
    ends: &'a mut Vec<u32>,
    refused: Option<Box<Refused>>,
}

impl<'a> Fields<'a> {
    /// The value of a column, counted from 0.
    #[inline]
    pub fn text(&mut self, column: usize) -> &'a str {
        while self.ends.len() <= column {
            let start = self.ends.last().map_or(0, |end| *end as usize + 1);
            let Some(rest) = self.line.as_bytes().get(start..) else {
                self.refuse(self.line.len(), format_args!("only {} values", self.ends.len()));
                return "";
            };
            let end = memchr(b',', rest).map_or(self.line.len(), |comma| start + comma);
            self.ends.push(end as u32);
        }
        let text = &self.line[self.start(column)..self.ends[column] as usize];
        if text.as_bytes().first() == Some(&b'"') {
            self.refuse(self.start(column), "a quoted value, which this source does not read");
        }
        text
    }

    /// The value of a column, counted from 0, as a number.
    #[inline]
    pub fn number(&mut self, column: usize) -> i64 {
        let text = self.text(column);
        match parse(text) {
            Some(number) => number,
            None => {
                self.refuse(self.start_of(column), format_args!("`{text}` is not a whole number"));
                0
            }
        }
    }

    /// The value of a column, counted from 0, as a function reads it; `expected` says what that is,
    /// for people.
    #[inline]
    pub fn parsed<V: Default>(
        &mut self,
        column: usize,
        parse: impl FnOnce(&str) -> Option<V>,
        expected: &str,
    ) -> V {
        let text = self.text(column);
        parse(text).unwrap_or_else(|| {
            self.refuse(self.start_of(column), format_args!("`{text}` is not {expected}"));
            V::default()
        })
    }

    #[inline]
    fn start(&self, column: usize) -> usize {
        if column == 0 { 0 } else { self.ends[column - 1] as usize + 1 }
    }

    /// Where the column begins, or the line ends.
    fn start_of(&self, column: usize) -> usize {
        if column <= self.ends.len() { self.start(column) } else { self.line.len() }
    }

    /// Only the first fault is told.
    #[cold]
    fn refuse(&mut self, at: usize, why: impl Display) {
        let refused = || Box::new(Refused { column: at + 1, why: why.to_string() });
        self.refused.get_or_insert_with(refused);
    }
}

/// A whole number; digits with perhaps a minus before them.
#[inline]
fn parse(text: &str) -> Option<i64> {
    /// So many digits are never too great.
    const DIGITS: usize = 18;
    let bytes = text.as_bytes();
    if bytes.is_empty() || bytes.len() > DIGITS || !bytes[0].is_ascii_digit() {
        return text.parse().ok();
    }
    let mut number = 0;
    for byte in bytes {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number * 10 + i64::from(digit);
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::read_all;
    use crate::scratch::Scratch;

    type Row = (i64, String, i64);

    fn row(fields: &mut Fields<'_>) -> Option<Row> {
        // In any order.
        let (last, first) = (fields.number(2), fields.number(0));
        Some((first, fields.text(1).to_owned(), last))
    }

    #[test]
    fn each_line_is_a_record_however_the_file_is_cut() {
        let scratch = Scratch::new();
        let text = "1,a,-2\r\n\n9223372036854775807,,-9223372036854775808\n3,\u{e9} \u{e9},4";
        let path = scratch.write("rows", text);
        let expected: Vec<Row> = vec![
            (1, "a".to_owned(), -2),
            (i64::MAX, String::new(), i64::MIN),
            (3, "\u{e9} \u{e9}".to_owned(), 4),
        ];
        for split_bytes in 1..text.len() as u64 {
            let source = csv_lines(&path, 3, row).split_bytes(split_bytes);
            assert_eq!(read_all(&source, 1).as_ref(), Ok(&expected));
        }
    }

    #[test]
    fn a_line_of_which_nothing_is_made_is_left_out() {
        let scratch = Scratch::new();
        let lines: String = (0..100_000).map(|n| format!("{n},x,{}\n", n % 3)).collect();
        let path = scratch.write("rows", lines);
        let source = csv_lines(path, 3, |fields| (fields.number(2) == 0).then(|| fields.number(0)));
        let numbers = read_all(&source, 1).expect("they are numbers");
        assert!(numbers.into_iter().eq((0..100_000).step_by(3)));
    }

    #[track_caller]
    fn check_refused(content: &[u8], expected: &str) {
        let scratch = Scratch::new();
        let path = scratch.write("rows", content);
        let error = read_all(&csv_lines(path, 3, row), 1).expect_err("a line is at fault");
        assert!(error.message.contains(expected), "{error}");
    }

    #[test]
    fn a_faulty_line_is_named_with_file_line_column_and_reason() {
        check_refused(b"1,a,2\n1,a\n", "/rows:2:4 (line at byte 6): only 2 values; ");
        check_refused(b"1,a\n1,a,2\n", "/rows:1:4 (line at byte 0): 2 values, expected 3; ");
        check_refused(b"1,a,2,\n", "/rows:1:7 (line at byte 0): 4 values, expected 3; ");
        check_refused(
            b"1,a,2\n1,a,2x\n",
            "/rows:2:5 (line at byte 6): `2x` is not a whole number; ",
        );
        check_refused(b"1,a,2\n,a,2\n", "/rows:2:1 (line at byte 6): `` is not a whole number; ");
        check_refused(b"1,\"a\",2\n", "/rows:1:3 (line at byte 0): a quoted value, which");
        check_refused(b"1,a,9223372036854775808\n", "is not a whole number; ");
        check_refused(
            b"1,a,2\n1,\xFF,2\n",
            "/rows:2:3 (line at byte 6): invalid unicode code point; ",
        );
    }

    #[test]
    fn what_has_not_been_asked_for_is_not_looked_at() {
        let scratch = Scratch::new();
        let path = scratch.write("rows", "1,a,2\n5,a\n");
        let source = csv_lines(path, 3, |fields| Some(fields.number(0)));
        assert_eq!(read_all(&source, 1), Ok(vec![1, 5]));
    }
}
