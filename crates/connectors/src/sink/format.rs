//! What a record looks like as bytes.

use crate::failure::failure;
use millstream_core::OperatorError;
use serde::Serialize;
use std::fmt::{Debug, Display};
use std::io::Write;

/// Turns records into bytes, one after the other.
///
/// ```
/// use millstream_connectors::sink::Format;
/// use millstream_core::OperatorError;
///
/// #[derive(Clone)]
/// struct Little;
///
/// impl Format<u32> for Little {
///     fn write(&mut self, record: &u32, out: &mut Vec<u8>) -> Result<(), OperatorError> {
///         out.extend(record.to_le_bytes());
///         Ok(())
///     }
/// }
///
/// let mut out = Vec::new();
/// Little.write(&258, &mut out).unwrap();
/// assert_eq!(out, [2, 1, 0, 0]);
/// ```
pub trait Format<T>: Clone + Send + 'static {
    /// How the names of files of this format end.
    fn suffix(&self) -> &'static str {
        ""
    }

    /// Appends what stands at the begin of each file.
    fn begin(&mut self, _out: &mut Vec<u8>) {}

    /// Appends one record.
    fn write(&mut self, record: &T, out: &mut Vec<u8>) -> Result<(), OperatorError>;
}

/// A line per record, as [`Display`] shows it.
#[derive(Clone, Copy, Debug, Default)]
pub struct DisplayLines;

/// A line per record, as [`Debug`] shows it.
#[derive(Clone, Copy, Debug, Default)]
pub struct DebugLines;

/// A line of JSON per record.
#[derive(Clone, Copy, Debug, Default)]
pub struct JsonLines;

impl<T: Display> Format<T> for DisplayLines {
    fn write(&mut self, record: &T, out: &mut Vec<u8>) -> Result<(), OperatorError> {
        writeln!(out, "{record}").map_err(refused)
    }
}

impl<T: Debug> Format<T> for DebugLines {
    fn write(&mut self, record: &T, out: &mut Vec<u8>) -> Result<(), OperatorError> {
        writeln!(out, "{record:?}").map_err(refused)
    }
}

impl<T: Serialize> Format<T> for JsonLines {
    fn suffix(&self) -> &'static str {
        ".jsonl"
    }

    fn write(&mut self, record: &T, out: &mut Vec<u8>) -> Result<(), OperatorError> {
        serde_json::to_writer(&mut *out, record).map_err(refused)?;
        out.push(b'\n');
        Ok(())
    }
}

/// A vector takes all bytes: only the record's own implementation can fail.
pub(super) fn refused(error: impl Display) -> OperatorError {
    failure("format a record", error, "correct how the record is formatted")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check<T>(mut format: impl Format<T>, record: T, expected: &str) {
        let mut out = b"before\n".to_vec();
        format.write(&record, &mut out).expect("it can be formatted");
        assert_eq!(String::from_utf8_lossy(&out), format!("before\n{expected}\n"));
    }

    #[test]
    fn each_format_writes_one_line_per_record() {
        check(DisplayLines, "a b", "a b");
        check(DebugLines, ("a", 1), "(\"a\", 1)");
        check(JsonLines, ("a\n", Some(1.5)), "[\"a\\n\",1.5]");
    }

    #[test]
    fn a_record_that_serde_refuses_is_an_error() {
        let record = std::collections::BTreeMap::from([((1, 2), 3)]);
        let error = JsonLines.write(&record, &mut Vec::new()).expect_err("no such key in JSON");
        assert!(error.message.contains("key must be a string"), "{error}");
    }
}
