//! Sinks that write files: a directory with parts of each subtask, each record exactly once.
//!
//! A part is written under a hidden name. When a barrier passes, the next one is begun, and that one is made
//! durable and sealed, beside the task; when
//! that checkpoint is complete, it gets its visible name, and the subtask goes on with the next part.
//! Without checkpoints all that happens once, at the end. So what is visible is whole, never changes,
//! and is never written again.
//!
//! Parts that are there already belong to an earlier job: mixing the two would go unnoticed, so it is
//! refused before anything is written, unless the user says [`Files::overwrite`]. Each subtask answers
//! for its own parts, and all of them for parts of subtasks that this job does not have. A job that
//! goes on from a checkpoint knows from its state that the parts in its directory are its own. Without
//! checkpoints, the sink remembers which parts this process committed, and replaces those; after the
//! loss of the process itself it cannot tell them from an earlier job's, and refuses.
//!
//! In reading order:
//! - [`writer`]: what a subtask does;
//! - [`place`]: what it finds in the directory when it begins;
//! - [`part`]: a part on its way; [`name`]: what parts are called; [`commit`]: how they become visible;
//! - [`directory`]: names in a directory;
//! - [`partitioned`]: directories in a directory.

mod commit;
mod directory;
mod name;
mod part;
mod partitioned;
mod place;
mod writer;

pub use partitioned::PartitionedFiles;

use super::csv::Csv;
use super::format::{DisplayLines, Format, JsonLines};
use crate::failure::file_failure;
use millstream_core::OperatorError;
use millstream_operator::context::TaskContext;
use millstream_operator::sink::{Sink, SinkWriter};
use name::Names;
use place::Place;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use writer::Writer;

/// A part of so many bytes is long enough, unless the user says otherwise.
const PART_BYTES_MAX: u64 = 128 << 20;

/// Files in a directory. Made by [`text_files`], [`csv`], [`json_lines`] and [`files`].
#[derive(Clone, Debug)]
pub struct Files<F> {
    directory: PathBuf,
    format: F,
    suffix: Option<String>,
    overwrite: bool,
    part_bytes_max: u64,
    /// The parts that this process has committed for this sink at the end of a job.
    committed: Arc<Mutex<BTreeSet<String>>>,
}

/// Writes each record as a line, as `{}` shows it, to files in a directory, exactly once.
///
/// With checkpoints, subtask 3 gives what it wrote before checkpoint 7 as `part-3-7` when that is
/// complete, and nothing if it wrote nothing; without them, all it wrote as `part-3` when the input has
/// ended. A part that has become long ([`Files::part_bytes`]) is followed by others (`part-3-7-1`). A
/// file has its name only when it is whole, and never changes then: readers may take it away. Until
/// then it is hidden (`.part-3-<job>-...`), and it is removed if the job fails or is cancelled, except
/// that what waits for a checkpoint stays, for that may be complete.
///
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

/// Writes each record as a line of comma-separated values to `part-0.csv`, ... in a directory. Otherwise as [`text_files`]; see [`Csv`].
///
/// ```no_run
/// use millstream_connectors::sink::csv;
///
/// let counts = csv("/data/counts").header(["word", "count"]).overwrite();
/// ```
pub fn csv(directory: impl Into<PathBuf>) -> Files<Csv> {
    files(directory, Csv::new())
}

/// Writes each record as a line of JSON to `part-0.jsonl`, ... in a directory.
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

/// Writes records in any format to files in a directory. Otherwise as
/// [`text_files`].
pub fn files<F>(directory: impl Into<PathBuf>, format: F) -> Files<F> {
    Files {
        directory: directory.into(),
        format,
        suffix: None,
        overwrite: false,
        part_bytes_max: PART_BYTES_MAX,
        committed: Arc::default(),
    }
}

impl<F> Files<F> {
    /// Replaces parts that are there. They stay until the subtask's first new ones become visible, which
    /// is with the first checkpoint or at the end of the input. Other files are never touched.
    pub fn overwrite(self) -> Self {
        Self { overwrite: true, ..self }
    }

    /// Begins another part when one has about so many bytes: 128 MiB, if nothing is said. Parts end
    /// with records, and with each checkpoint.
    ///
    /// # Panics
    /// If that is 0.
    pub fn part_bytes(self, bytes_max: u64) -> Self {
        assert!(bytes_max > 0, "a part holds at least one byte");
        Self { part_bytes_max: bytes_max, ..self }
    }

    /// Ends the names of parts like this, instead of as the format says.
    ///
    /// # Panics
    /// If it has a `/` in it, or begins with a `-` or a digit: numbers come before it.
    pub fn suffix(self, suffix: impl Into<String>) -> Self {
        let suffix = suffix.into();
        let is_number = suffix.starts_with(|first: char| first == '-' || first.is_ascii_digit());
        let is_valid = !is_number && !suffix.contains(['/', '\0']);
        assert!(is_valid, "`{suffix}` cannot end the name of a part: write `.suffix(\".txt\")`");
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

impl<F> Files<F> {
    /// Where a subtask writes.
    fn place<T>(&self, context: &TaskContext) -> Result<Place, OperatorError>
    where
        F: Format<T>,
    {
        let directory = std::path::absolute(&self.directory)
            .map_err(|error| file_failure("find directory", &self.directory, &error))?;
        let suffix = self.suffix.clone().unwrap_or_else(|| self.format.suffix().to_owned());
        Ok(Place {
            directory,
            names: Names { job: context.job, suffix },
            subtask: context.subtask,
            parallelism: context.parallelism,
            execution: context.execution.replace(|c: char| !c.is_ascii_alphanumeric(), "_"),
            restored: context.restored,
            overwrite: self.overwrite,
            committed: Arc::clone(&self.committed),
        })
    }
}

impl<T: 'static, F: Format<T>> Sink<T> for Files<F> {
    fn writer(&self, context: &TaskContext) -> Result<Box<dyn SinkWriter<T>>, OperatorError> {
        let place = self.place(context)?;
        let writer = Writer::new(place, self.format.clone(), self.part_bytes_max)?;
        Ok(Box::new(writer))
    }
}

#[cfg(test)]
mod tests;
