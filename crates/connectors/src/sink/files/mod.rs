//! Sinks that write files: a directory with one part per subtask.
//!
//! Parts appear under their names only when the subtask has written all its records, and whole (see
//! [`part`](super::part)). Parts that are there already belong to an earlier job: mixing the two
//! would go unnoticed, so it is refused before anything is written, unless the user says
//! [`Files::overwrite`]. Each subtask answers for its own part, and all of them for parts of
//! subtasks that this job does not have.
//!
//! A subtask that runs again after its part was committed (because another one failed) replaces the
//! part: the sink remembers which parts this process committed. After the loss of the process
//! itself it cannot tell such a part from an earlier job's, and refuses.

use super::csv::Csv;
use super::format::{DisplayLines, Format, JsonLines};
use super::part::{Part, create_directory, names_in, remove_file, sync_directory};
use crate::failure::failure;
use millstream_core::OperatorError;
use millstream_operator::context::TaskContext;
use millstream_operator::sink::{Sink, SinkWriter};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// How the names of parts begin.
const PREFIX: &str = "part-";

/// Files in a directory. Made by [`text_files`], [`csv`], [`json_lines`] and [`files`].
#[derive(Clone, Debug)]
pub struct Files<F> {
    directory: PathBuf,
    format: F,
    suffix: Option<String>,
    overwrite: bool,
    /// The parts that this process has committed for this sink.
    committed: Arc<Mutex<BTreeSet<String>>>,
}

/// Writes each record as a line, as `{}` shows it, to `part-0`, `part-1`, ... in a directory: one
/// file per subtask.
///
/// A file has its name only when it is whole, which is when the input has ended; until then it is
/// hidden (`.part-0-<execution>.inprogress`), and it is removed if the job fails or is cancelled.
/// The directory is made if it is not there. If it has parts already, the job fails and leaves them
/// as they are: see [`Files::overwrite`].
///
/// ```
/// use millstream_connectors::harness::write_all;
/// use millstream_connectors::sink::text_files;
///
/// let directory = std::env::temp_dir().join(format!("example-{}", std::process::id()));
/// write_all(&text_files(&directory), ["to", "be"])?;
/// assert_eq!(std::fs::read_to_string(directory.join("part-0"))?, "to\nbe\n");
/// # std::fs::remove_dir_all(directory)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn text_files(directory: impl Into<PathBuf>) -> Files<DisplayLines> {
    files(directory, DisplayLines)
}

/// Writes each record as a line of comma-separated values to `part-0.csv`, `part-1.csv`, ... in a
/// directory. Otherwise as [`text_files`]; see [`Csv`].
///
/// ```no_run
/// use millstream_connectors::sink::csv;
///
/// let counts = csv("/data/counts").header(["word", "count"]).overwrite();
/// ```
pub fn csv(directory: impl Into<PathBuf>) -> Files<Csv> {
    files(directory, Csv::new())
}

/// Writes each record as a line of JSON to `part-0.jsonl`, `part-1.jsonl`, ... in a directory.
/// Otherwise as [`text_files`].
///
/// ```no_run
/// use millstream_connectors::sink::json_lines;
///
/// let orders = json_lines("/data/orders").suffix(".json");
/// ```
pub fn json_lines(directory: impl Into<PathBuf>) -> Files<JsonLines> {
    files(directory, JsonLines)
}

/// Writes records in any format to `part-0`, `part-1`, ... in a directory. Otherwise as
/// [`text_files`].
pub fn files<F>(directory: impl Into<PathBuf>, format: F) -> Files<F> {
    Files {
        directory: directory.into(),
        format,
        suffix: None,
        overwrite: false,
        committed: Arc::default(),
    }
}

impl<F> Files<F> {
    /// Replaces parts that are there. They stay until the new ones are whole; then those of subtasks
    /// that this job does not have are removed. Other files are never touched.
    pub fn overwrite(self) -> Self {
        Self { overwrite: true, ..self }
    }

    /// Ends the names of parts like this, instead of as the format says.
    ///
    /// # Panics
    /// If it has a `/` in it.
    pub fn suffix(self, suffix: impl Into<String>) -> Self {
        let suffix = suffix.into();
        assert!(!suffix.contains('/'), "`{suffix}` cannot end the name of a file");
        Self { suffix: Some(suffix), ..self }
    }
}

impl Files<Csv> {
    /// Begins each file with these names.
    pub fn header(self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { format: self.format.header(names), ..self }
    }

    /// Separates values by this ASCII character. See [`Csv::delimiter`].
    pub fn delimiter(self, delimiter: char) -> Self {
        Self { format: self.format.delimiter(delimiter), ..self }
    }
}

impl<T, F: Format<T>> Sink<T> for Files<F> {
    fn writer(&self, context: &TaskContext) -> Result<Box<dyn SinkWriter<T>>, OperatorError> {
        let mut format = self.format.clone();
        let suffix = self.suffix.clone().unwrap_or_else(|| format.suffix().to_owned());
        let name = format!("{PREFIX}{}{suffix}", context.subtask);
        let committed = Committed { names: Arc::clone(&self.committed), name };
        create_directory(&self.directory)?;
        if !self.overwrite {
            refuse_others(&self.directory, context, &suffix, &committed)?;
        }
        let mut part = Part::create(&self.directory, &committed.name, &context.execution)?;
        format.begin(part.buffer());
        let surplus = (self.overwrite && context.subtask == 0).then(|| Surplus {
            directory: self.directory.clone(),
            suffix,
            parallelism: context.parallelism,
        });
        Ok(Box::new(Writer { format, part: Some(part), committed, surplus }))
    }
}

/// Parts of another job must not be mixed with those of this one.
fn refuse_others(
    directory: &Path,
    context: &TaskContext,
    suffix: &str,
    committed: &Committed,
) -> Result<(), OperatorError> {
    for name in names_in(directory)? {
        let Some(subtask) = subtask_of(&name, suffix) else { continue };
        let is_own = subtask == u64::from(context.subtask) && !committed.contains();
        if is_own || subtask >= u64::from(context.parallelism) {
            return Err(failure(
                format_args!("write `{}`", directory.join(&committed.name).display()),
                format_args!("`{name}` is there already, from an earlier job"),
                "choose another directory, remove the files, or say `.overwrite()`",
            ));
        }
    }
    Ok(())
}

/// The subtask that wrote the part of this name.
fn subtask_of(name: &str, suffix: &str) -> Option<u64> {
    let number = name.strip_prefix(PREFIX)?.strip_suffix(suffix)?;
    number.bytes().all(|byte| byte.is_ascii_digit()).then(|| number.parse().ok())?
}

/// Remembers, for later attempts, whose the part is.
struct Committed {
    names: Arc<Mutex<BTreeSet<String>>>,
    name: String,
}

impl Committed {
    fn contains(&self) -> bool {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).contains(&self.name)
    }

    fn insert(&self) {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).insert(self.name.clone());
    }
}

/// Parts of subtasks that this job does not have.
struct Surplus {
    directory: PathBuf,
    suffix: String,
    parallelism: u32,
}

impl Surplus {
    fn remove(&self) -> Result<(), OperatorError> {
        for name in names_in(&self.directory)? {
            let subtask = subtask_of(&name, &self.suffix);
            if subtask.is_some_and(|subtask| subtask >= u64::from(self.parallelism)) {
                remove_file(&self.directory.join(name))?;
            }
        }
        sync_directory(&self.directory)
    }
}

struct Writer<F> {
    format: F,
    /// Nothing once it has been committed or given up.
    part: Option<Part>,
    committed: Committed,
    /// What the first subtask removes when it overwrites.
    surplus: Option<Surplus>,
}

impl<T, F: Format<T>> SinkWriter<T> for Writer<F> {
    fn write(&mut self, records: &mut Vec<T>) -> Result<(), OperatorError> {
        let part = self.part.as_mut().expect("nothing is written after the end");
        for record in records.iter() {
            self.format.write(record, part.buffer())?;
            part.written()?;
        }
        records.clear();
        Ok(())
    }

    fn finish(&mut self) -> Result<(), OperatorError> {
        let Some(part) = self.part.take() else { return Ok(()) };
        part.commit()?;
        self.committed.insert();
        self.surplus.take().map_or(Ok(()), |surplus| surplus.remove())
    }

    fn close(&mut self, _completed: bool) -> Result<(), OperatorError> {
        // What was not committed goes with it.
        self.part = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::{context, write_all};
    use crate::scratch::Scratch;
    use std::fs;

    fn content(scratch: &Scratch, name: &str) -> String {
        fs::read_to_string(scratch.path().join(name)).expect("the part is there")
    }

    #[test]
    fn each_format_has_its_part_and_they_share_a_directory() {
        let scratch = Scratch::new();
        let records = || [("to", 2), ("b,e", 1)];
        write_all(&text_files(scratch.path()), ["to", "be"]).expect("it can be written");
        write_all(&csv(scratch.path()).header(["word", "count"]), records()).expect("it can");
        write_all(&json_lines(scratch.path()), records()).expect("it can");
        assert_eq!(scratch.names(), ["part-0", "part-0.csv", "part-0.jsonl"]);
        assert_eq!(content(&scratch, "part-0"), "to\nbe\n");
        assert_eq!(content(&scratch, "part-0.csv"), "word,count\nto,2\n\"b,e\",1\n");
        assert_eq!(content(&scratch, "part-0.jsonl"), "[\"to\",2]\n[\"b,e\",1]\n");
    }

    #[test]
    fn subtasks_write_parts_of_their_own_and_the_directory_is_made() {
        let scratch = Scratch::new();
        let sink = text_files(scratch.path().join("a/b")).suffix(".txt");
        for subtask in [2, 0, 1] {
            let mut writer = sink.writer(&context(subtask, 3)).expect("it can be written");
            writer.write(&mut vec![subtask]).expect("it can be written");
            writer.finish().expect("it can be written");
            writer.close(true).expect("it can be closed");
        }
        for subtask in 0..3 {
            let text = content(&scratch, &format!("a/b/part-{subtask}.txt"));
            assert_eq!(text, format!("{subtask}\n"));
        }
    }

    #[test]
    fn no_part_has_its_name_before_it_is_whole() {
        let scratch = Scratch::new();
        let sink = text_files(scratch.path());
        let mut writer = sink.writer(&context(0, 1)).expect("it can be written");
        for _ in 0..3 {
            writer.write(&mut (0..100_000).collect()).expect("it can be written");
            writer.flush().expect("it can be written");
            assert_eq!(scratch.names(), [".part-0-test_0.inprogress"]);
        }
        writer.finish().expect("it can be written");
        assert_eq!(scratch.names(), ["part-0"]);
        assert_eq!(content(&scratch, "part-0").lines().count(), 300_000);
    }

    #[test]
    fn nothing_is_left_of_a_part_that_was_closed_early_or_dropped() {
        let scratch = Scratch::new();
        let sink = text_files(scratch.path());
        for is_closed in [true, false] {
            let mut writer = sink.writer(&context(0, 1)).expect("it can be written");
            writer.write(&mut vec!["half"]).expect("it can be written");
            if is_closed {
                writer.close(false).expect("it can be closed");
            } else {
                drop(writer);
            }
            assert!(scratch.names().is_empty(), "{:?}", scratch.names());
        }
    }

    #[test]
    fn what_a_killed_attempt_left_is_removed_by_the_next_one() {
        let scratch = Scratch::new();
        scratch.write(".part-0-earlier.inprogress", "half");
        let others = [".part-0-x-earlier.inprogress", ".part-01-earlier.inprogress"];
        for other in others {
            scratch.write(other, "half");
        }
        write_all(&text_files(scratch.path()), ["whole"]).expect("it can be written");
        assert_eq!(scratch.names(), [others[0], others[1], "part-0"]);
    }

    #[test]
    fn an_attempt_that_was_replaced_cannot_commit() {
        let scratch = Scratch::new();
        let sink = text_files(scratch.path());
        let mut old = sink.writer(&context(0, 1)).expect("it can be written");
        old.write(&mut vec!["old"]).expect("it can be written");
        let place = TaskContext { execution: "next".into(), ..context(0, 1) };
        let mut new = sink.writer(&place).expect("it can be written");
        let error = old.finish().expect_err("it was replaced");
        assert!(error.message.contains("another attempt or job"), "{error}");
        new.write(&mut vec!["new"]).expect("it can be written");
        new.finish().expect("it can be written");
        assert_eq!(content(&scratch, "part-0"), "new\n");
    }

    #[test]
    fn an_attempt_after_the_commit_replaces_the_part() {
        let scratch = Scratch::new();
        let sink = text_files(scratch.path());
        for record in ["first", "second"] {
            write_all(&sink, [record]).expect("the part is this job's");
        }
        assert_eq!(content(&scratch, "part-0"), "second\n");
    }

    #[test]
    fn parts_of_an_earlier_job_are_neither_replaced_nor_mixed() {
        for there in ["part-0", "part-1", "part-77"] {
            let scratch = Scratch::new();
            scratch.write(there, "earlier\n");
            let error = write_all(&text_files(scratch.path()), ["new"]).expect_err("refused");
            assert!(error.message.contains(&format!("`{there}` is there already")), "{error}");
            assert!(error.message.contains("`.overwrite()`"), "{error}");
            assert_eq!(scratch.names(), [there]);
        }
    }

    #[test]
    fn overwriting_replaces_all_parts_and_nothing_else() {
        let scratch = Scratch::new();
        let others = ["part-0.csv", "part-x", "part-", "readme"];
        for name in others.iter().chain(&["part-0", "part-1", "part-12"]) {
            scratch.write(name, "earlier\n");
        }
        let sink = text_files(scratch.path()).overwrite();
        write_all(&sink, ["new"]).expect("it can be written");
        assert_eq!(scratch.names(), ["part-", "part-0", "part-0.csv", "part-x", "readme"]);
        assert_eq!(content(&scratch, "part-0"), "new\n");
    }

    #[test]
    fn overwriting_keeps_the_earlier_parts_until_the_new_ones_are_whole() {
        let scratch = Scratch::new();
        scratch.write("part-0", "earlier\n");
        let sink = text_files(scratch.path()).overwrite();
        let mut writer = sink.writer(&context(0, 1)).expect("it can be written");
        writer.write(&mut vec!["half"]).expect("it can be written");
        writer.close(false).expect("it can be closed");
        assert_eq!(content(&scratch, "part-0"), "earlier\n");
    }

    #[track_caller]
    fn check_refused(directory: &Path, expected: &[&str]) {
        let error = write_all(&text_files(directory), [1]).expect_err("it cannot be written");
        for part in expected {
            assert!(error.message.contains(part), "{error}");
        }
    }

    #[test]
    fn what_cannot_be_written_is_told_with_path_reason_and_advice() {
        let scratch = Scratch::new();
        let file = scratch.write("file", "");
        check_refused(&file, &["file`: it is a file, not a directory", "name a directory"]);
        check_refused(&file.join("below"), &["file/below`", "Not a directory"]);
        check_refused(Path::new("/proc/self/no"), &["create directory `/proc/self/no`"]);
    }
}
