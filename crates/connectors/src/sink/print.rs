//! A sink to standard output.

use super::format::{DebugLines, DisplayLines, Format, JsonLines};
use crate::failure::failure;
use millstream_core::OperatorError;
use millstream_operator::context::TaskContext;
use millstream_operator::sink::{Sink, SinkWriter};
use std::io::{self, Write};

/// Prints records. Made by [`print()`].
#[derive(Clone, Copy, Debug)]
pub struct Print<F> {
    format: F,
}

/// Prints each record on a line of standard output, as `{:?}` does. With several subtasks the
/// number of the subtask, from 1, stands before it: `2> ("to", 5)`. After a failure records are printed
/// again.
///
/// ```
/// use millstream_connectors::harness::write_all;
/// use millstream_connectors::sink::print;
///
/// write_all(&print(), [("to", 2), ("be", 2)]).unwrap(); // ("to", 2) and ("be", 2)
/// write_all(&print().display(), ["to", "be"]).unwrap(); // to and be
/// ```
pub fn print() -> Print<DebugLines> {
    Print { format: DebugLines }
}

impl<F> Print<F> {
    /// Prints as `{}` does.
    pub fn display(self) -> Print<DisplayLines> {
        self.format(DisplayLines)
    }

    /// Prints JSON.
    pub fn json(self) -> Print<JsonLines> {
        self.format(JsonLines)
    }

    /// Prints in this format.
    pub fn format<G>(self, format: G) -> Print<G> {
        Print { format }
    }
}

impl<T, F: Format<T>> Sink<T> for Print<F> {
    fn writer(&self, context: &TaskContext) -> Result<Box<dyn SinkWriter<T>>, OperatorError> {
        Ok(Box::new(Writer::new::<T>(self.format.clone(), context, io::stdout())))
    }
}

struct Writer<F, W> {
    format: F,
    prefix: String,
    /// The lines of one batch: written under one lock, so that those of subtasks do not mix.
    lines: Vec<u8>,
    out: W,
}

impl<F, W> Writer<F, W> {
    fn new<T>(format: F, context: &TaskContext, out: W) -> Self
    where
        F: Format<T>,
    {
        let several = context.parallelism > 1;
        let prefix = if several { format!("{}> ", context.subtask + 1) } else { String::new() };
        let (mut format, mut lines) = (format, Vec::new());
        format.begin(&mut lines);
        Self { format, prefix, lines, out }
    }
}

impl<T, F: Format<T>, W: Write> SinkWriter<T> for Writer<F, W> {
    fn write(&mut self, records: &mut Vec<T>) -> Result<(), OperatorError> {
        for record in records.iter() {
            self.lines.extend_from_slice(self.prefix.as_bytes());
            self.format.write(record, &mut self.lines)?;
        }
        records.clear();
        let written = self.out.write_all(&self.lines).and_then(|()| self.out.flush());
        self.lines.clear();
        written.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => failure(
                "print a record",
                "whoever read standard output has closed it",
                "keep the reader running, or write to files",
            ),
            _ => failure("print a record", error, "check where standard output goes"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::context;

    #[track_caller]
    fn check<T>(format: impl Format<T>, context: &TaskContext, records: Vec<T>, expected: &str) {
        let (mut records, mut out) = (records, Vec::new());
        let mut writer = Writer::new::<T>(format, context, &mut out);
        writer.write(&mut records).expect("a vector takes all");
        assert!(records.is_empty());
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }

    #[test]
    fn one_subtask_prints_records_alone() {
        check(DebugLines, &context(0, 1), vec![("a", 1), ("b", 2)], "(\"a\", 1)\n(\"b\", 2)\n");
        check(DisplayLines, &context(0, 1), vec!["a", "b"], "a\nb\n");
    }

    #[test]
    fn several_subtasks_print_their_number() {
        check(DisplayLines, &context(2, 4), vec!["a", "b"], "3> a\n3> b\n");
    }

    #[test]
    fn a_closed_pipe_is_told_as_that() {
        let (reader, pipe) = io::pipe().expect("there are descriptors left");
        drop(reader);
        let mut writer = Writer::new::<&str>(DisplayLines, &context(0, 1), pipe);
        let error = writer.write(&mut vec!["a"]).expect_err("nobody reads");
        assert!(error.message.contains("has closed it"), "{error}");
    }
}
