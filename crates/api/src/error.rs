//! Errors for people: what was attempted, where, why, and what to do next.

use millstream_core::error::Location;
use std::fmt;

/// The result of everything a user calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong. Prints as a short report; `main` may return it.
#[derive(Clone, PartialEq, Eq)]
pub struct Error(Box<Report>);

/// The parts of an [`Error`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Stable, to be searched for.
    pub code: ErrorCode,
    /// In one line.
    pub summary: String,
    /// What was attempted.
    pub attempted: Option<String>,
    /// Source line, operator, file or worker.
    pub place: Option<String>,
    /// The causes.
    pub why: Option<String>,
    /// What to do about it.
    pub next: Option<String>,
}

/// Stable codes. The first digit tells the kind: 1 plan, 2 arguments and configuration, 3 job,
/// 4 cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ErrorCode {
    /// E0101: two operators have the same identity.
    DuplicateOperator,
    /// E0102: a parallelism that cannot be.
    Parallelism,
    /// E0103: BATCH mode with a source that never ends.
    UnboundedInBatch,
    /// E0104: nothing to run.
    EmptyPlan,
    /// E0105: a source cannot say what there is to read.
    Source,
    /// E0106: the program's plan is not the submitted one.
    PlanMismatch,
    /// E0107: a side output that cannot be.
    SideOutput,
    /// E0108: two states of an operator have the same name.
    DuplicateState,
    /// E0201: an argument that is missing, unknown or malformed.
    Argument,
    /// E0202: a configuration value that cannot be read.
    Configuration,
    /// E0301: the job has failed.
    JobFailed,
    /// E0302: the job was cancelled.
    JobCanceled,
    /// E0303: the program cannot read what the job is to go on from.
    CannotResume,
    /// E0401: the cluster cannot be reached.
    Unreachable,
    /// E0402: the cluster refused.
    Refused,
    /// E0403: this process cannot do what it was started for.
    Process,
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DuplicateOperator => "E0101",
            Self::Parallelism => "E0102",
            Self::UnboundedInBatch => "E0103",
            Self::EmptyPlan => "E0104",
            Self::Source => "E0105",
            Self::PlanMismatch => "E0106",
            Self::SideOutput => "E0107",
            Self::DuplicateState => "E0108",
            Self::Argument => "E0201",
            Self::Configuration => "E0202",
            Self::JobFailed => "E0301",
            Self::JobCanceled => "E0302",
            Self::CannotResume => "E0303",
            Self::Unreachable => "E0401",
            Self::Refused => "E0402",
            Self::Process => "E0403",
        })
    }
}

impl Error {
    /// An error with its summary alone.
    pub fn new(code: ErrorCode, summary: impl Into<String>) -> Self {
        let summary = summary.into();
        let (attempted, place, why, next) = (None, None, None, None);
        Self(Box::new(Report { code, summary, attempted, place, why, next }))
    }

    /// A program's own complaint about its arguments.
    pub fn argument(summary: impl Into<String>) -> Self {
        Self::new(ErrorCode::Argument, summary)
    }

    /// The same error, with what was attempted.
    pub fn attempted(mut self, what: impl Into<String>) -> Self {
        self.0.attempted = Some(what.into());
        self
    }

    /// The same error, with its place.
    pub fn at(mut self, place: impl Into<String>) -> Self {
        self.0.place = Some(place.into());
        self
    }

    /// The same error, with the operator it is about.
    pub fn at_operator(self, name: &str, declared_at: &Location) -> Self {
        self.at(format!("operator `{name}`, declared at {declared_at}"))
    }

    /// The same error, with its causes.
    pub fn why(mut self, why: impl Into<String>) -> Self {
        self.0.why = Some(why.into());
        self
    }

    /// The same error, with what to do next.
    pub fn next(mut self, next: impl Into<String>) -> Self {
        self.0.next = Some(next.into());
        self
    }
}

impl std::ops::Deref for Error {
    type Target = Report;

    fn deref(&self) -> &Report {
        &self.0
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error[{}]: {}", self.code, self.summary)?;
        let lines = [
            ("attempted", &self.attempted),
            ("where", &self.place),
            ("why", &self.why),
            ("next", &self.next),
        ];
        for (name, text) in lines {
            if let Some(text) = text {
                write!(f, "\n  {name:<10} {}", text.replace('\n', "\n             "))?;
            }
        }
        Ok(())
    }
}

/// As [`fmt::Display`]: `fn main() -> Result<()>` prints it.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {}
