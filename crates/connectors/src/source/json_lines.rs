//! A source of JSON values, one per line of files.

use super::lines_of_files::{LineParser, Reader, Refused};
use super::text_files::{TextFiles, text_files};
use millstream_core::OperatorError;
use millstream_core::job_graph::SourceSplit;
use millstream_operator::context::TaskContext;
use millstream_operator::source::{Source, SourceReader};
use serde::de::DeserializeOwned;
use std::marker::PhantomData;
use std::path::PathBuf;

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

    /// See [`TextFiles::splits_at_once`].
    pub fn splits_at_once(self, count: usize) -> Self {
        Self { files: self.files.splits_at_once(count), ..self }
    }
}

impl<T: DeserializeOwned + 'static> Source<T> for JsonLines<T> {
    fn reader(&self, _context: &TaskContext) -> Result<Box<dyn SourceReader<T>>, OperatorError> {
        Ok(self.files.reader_of(|| Reader::new(Json)))
    }

    fn is_bounded(&self) -> bool {
        true
    }

    fn splits(&self) -> Result<Vec<SourceSplit>, OperatorError> {
        self.files.encoded_splits()
    }
}

/// Parses with serde.
struct Json;

impl<T: DeserializeOwned> LineParser<T> for Json {
    const LINE: &'static str = "JSON";

    fn parse(&mut self, line: &str) -> Result<Option<T>, Refused> {
        serde_json::from_str(line).map(Some).map_err(|error| {
            let (column, why) = (error.column(), error.to_string());
            // The line is serde's whole input, so that its own idea of a line is always 1.
            let place = format!(" at line {} column {column}", error.line());
            let why = why.strip_suffix(&place).unwrap_or(&why).to_owned();
            Refused { column, why }
        })
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
