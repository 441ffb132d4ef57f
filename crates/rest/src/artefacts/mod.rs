//! Uploaded programs ("jars"): what REST needs of whoever keeps and starts them.
//!
//! An artefact is known by the hash of its content, and that is also its only name on disk. The
//! file name that a client gives is shown to people and used for nothing else.
//!
//! - [`Artefacts`]: the contract;
//! - `upload`: a request's body as a reader;
//! - `name`: a client's file name, made harmless;
//! - `work`: the right to have one thing done, on a thread where that may block.

pub(crate) mod name;
pub(crate) mod upload;
pub(crate) mod work;

use millstream_core::ids::{ContentHash, JobId};
use millstream_core::job_graph::JobGraph;
use millstream_core::time::Timestamp;
use std::collections::BTreeMap;
use std::io::Read;

/// Keeps uploaded programs, plans them and submits their jobs. Every method may block: each is
/// called on a thread where that is allowed, and at most 16 at a time.
pub trait Artefacts: Send + Sync {
    /// Takes an upload. If reading its content fails, the client has gone away or has sent too much:
    /// what has been written is removed and the error handed on. The same content again is the same
    /// artefact.
    fn store(&self, upload: Upload<'_>) -> Result<Artefact, ArtefactError>;

    /// All artefacts, newest first.
    fn list(&self) -> Result<Vec<Artefact>, ArtefactError>;

    /// Forgets an artefact. Jobs that run it are not touched.
    fn delete(&self, id: ContentHash) -> Result<(), ArtefactError>;

    /// Runs the program up to its first `execute`, in a process of its own, and submits the job.
    fn run(&self, id: ContentHash, launch: Launch) -> Result<JobId, ArtefactError>;

    /// Runs the program up to its first `execute`, in a process of its own.
    fn plan(&self, id: ContentHash, launch: Launch) -> Result<JobGraph, ArtefactError>;
}

/// An executable on its way in.
pub struct Upload<'a> {
    /// For people; without directories and control characters. Never to be used as a path.
    pub display_name: &'a str,
    /// The bytes, as they arrive; never more than the configured limit.
    pub content: &'a mut dyn Read,
}

/// An uploaded program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artefact {
    /// The hash of its content.
    pub id: ContentHash,
    /// The file name that the client gave, for people.
    pub display_name: String,
    /// When it was uploaded.
    pub uploaded: Timestamp,
}

/// How a program is to be run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Launch {
    /// Its arguments, without the program itself.
    pub arguments: Vec<String>,
    /// The default parallelism; above 0.
    pub parallelism: Option<u32>,
    /// Keys that win over those of the cluster.
    pub configuration: BTreeMap<String, String>,
    /// The id that the client wants the job to have.
    pub job: Option<JobId>,
    /// The state to start from. Whoever cannot restore it must refuse: a job that silently starts
    /// empty is worse.
    pub restore: Option<Restore>,
}

/// The state that a job starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restore {
    /// Where the savepoint or checkpoint is.
    pub savepoint_path: String,
    /// Whether state that no operator asks for is dropped.
    pub allow_non_restored_state: bool,
    /// `CLAIM`, `NO_CLAIM` or `LEGACY`; nothing: the cluster's default.
    pub claim_mode: Option<String>,
}

/// Why an artefact could not be kept, planned or run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArtefactError {
    /// Who has to act.
    pub kind: ArtefactErrorKind,
    /// What was attempted, why it failed, what to do: in a sentence or two.
    pub message: String,
}

/// Who has to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArtefactErrorKind {
    /// No artefact has this id.
    Unknown,
    /// The program or the request is at fault: wrong machine, not executable, planning failed.
    Invalid,
    /// It would fit another state of things: a job with this id is already there.
    Conflict,
    /// There is no room for it, by size or by quota.
    TooLarge,
    /// The same request may succeed later.
    Unavailable,
    /// A fault of the server: disk, permissions, a bug.
    Internal,
}

impl From<std::io::Error> for ArtefactError {
    fn from(error: std::io::Error) -> Self {
        Self { kind: ArtefactErrorKind::Internal, message: error.to_string() }
    }
}
