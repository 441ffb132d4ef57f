//! One row of a table: a program and its arguments.

/// Stands for the path of the generated text in a contestant's arguments.
pub(crate) const TEXT: &str = "<text>";
/// Stands for a folder that holds the same text in two files.
pub(crate) const TEXT_HALVES: &str = "<text-halves>";

/// Stands for the file of Nexmark events as JSON.
pub(crate) const EVENTS: &str = "<events>";
/// Stands for the folder of that file as Flink's job wants it.
pub(crate) const EVENTS_FOLDER: &str = "<events-folder>";
/// Stands for the folder of Flink's SQL queries.
pub(crate) const SQL_FOLDER: &str = "<sql-folder>";

/// Somebody who does the job.
pub(crate) struct Contestant {
    pub(crate) name: String,
    pub(crate) how: How,
    /// Name of the program, or of the job class.
    pub(crate) program: String,
    /// Separated by blanks, with `TEXT` and `TEXT_HALVES` for paths that may hold some.
    pub(crate) arguments: String,
    /// Records of the job, where they are not those of the reference.
    pub(crate) records: Option<u64>,
}

/// Where a contestant lives.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// A program of this workspace.
    Rival,
    /// An example of the engine.
    Ours,
    /// An example of the engine, on a cluster of two workers with one slot each.
    OursOnCluster,
    /// A job class on a running Flink cluster.
    Flink,
}

impl Contestant {
    pub(crate) fn new(name: &str, how: How, program: &str, arguments: String) -> Self {
        Self { name: name.to_owned(), how, program: program.to_owned(), arguments, records: None }
    }

    pub(crate) fn of_records(self, records: u64) -> Self {
        Self { records: Some(records), ..self }
    }

    /// Runs that are not counted: a JVM compiles during the first one.
    pub(crate) fn warmup_runs(&self) -> usize {
        match self.how {
            How::Rival | How::Ours | How::OursOnCluster => 0,
            How::Flink => 1,
        }
    }
}

/// Why a contestant has no figures.
pub(crate) enum Absence {
    /// It is not on this machine.
    Missing(String),
    /// It ran and failed.
    Failed(String),
}

impl<E: Into<Box<dyn std::error::Error + Send + Sync>>> From<E> for Absence {
    fn from(error: E) -> Self {
        Self::Failed(error.into().to_string())
    }
}
