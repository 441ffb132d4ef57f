//! What to start.

use super::error::SpawnError;
use crate::log_file::LOG_BYTES_MIN;
use std::ffi::OsString;
use std::path::PathBuf;

/// One child to be.
#[derive(Clone, Debug)]
pub struct ChildSpec {
    /// The program. A relative path means this process's directory, not the child's.
    pub executable: PathBuf,
    /// Its arguments, without the program's name.
    pub arguments: Vec<OsString>,
    /// All that it finds in its environment, besides what the engine sets.
    pub environment: Vec<(OsString, OsString)>,
    /// Its own directory: made for it, so it may not be there unless empty; removed after its end
    /// with all that is in it.
    pub working_directory: PathBuf,
    /// Where its output goes.
    pub output: OutputSpec,
    /// How much sooner the kernel should kill it than this process when memory is short (−1000 to
    /// 1000). Job processes get [`OOM_SCORE_ADJ`].
    pub oom_score_adj: Option<i32>,
    /// How much memory it may have, if the machine can enforce it.
    pub memory_limit: Option<MemoryLimit>,
}

/// For job processes: the kernel never picks the TaskManager before them.
pub const OOM_SCORE_ADJ: i32 = 500;

/// Where the output of a child goes.
#[derive(Clone, Debug)]
pub struct OutputSpec {
    /// The directory; made if it is not there.
    pub directory: PathBuf,
    /// The files are `STEM.out` and `STEM.err`, or `STEM.log` for both.
    pub stem: String,
    /// Each file may grow to this; then it is kept once, as `STEM.out.1`, and begun again.
    pub bytes_max: u64,
    /// Into one file or two.
    pub streams: OutputStreams,
}

/// Into how many files the output goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputStreams {
    /// `STEM.out` and `STEM.err`.
    Separate,
    /// `STEM.log`, in the order in which it was written.
    Together,
}

/// A limit that the kernel enforces through a control group (version 2).
#[derive(Clone, Debug)]
pub struct MemoryLimit {
    /// How much, in bytes.
    pub bytes: u64,
    /// A group that was delegated to us: the child's own group is made in there.
    pub parent_group: PathBuf,
}

impl ChildSpec {
    /// Refuses what cannot be meant.
    pub(super) fn check(&self) -> Result<(), SpawnError> {
        let stem = &self.output.stem;
        if stem.is_empty() || stem.starts_with('.') || stem.contains(['/', '\0']) {
            return Err(SpawnError::BadSpec(format!("`{stem}` is no stem of a file name")));
        }
        if self.output.bytes_max < LOG_BYTES_MIN {
            let bytes_max = self.output.bytes_max;
            return Err(SpawnError::BadSpec(format!(
                "log files of {bytes_max} bytes are too small, at least {LOG_BYTES_MIN} are needed"
            )));
        }
        if let Some(score) = self.oom_score_adj
            && !(-1000..=1000).contains(&score)
        {
            return Err(SpawnError::BadSpec(format!("oom_score_adj {score} is out of range")));
        }
        for (name, _) in &self.environment {
            let name = name.to_string_lossy();
            if name.is_empty() || name.contains(['=', '\0']) {
                return Err(SpawnError::BadSpec(format!("`{name}` is no name of a variable")));
            }
        }
        Ok(())
    }
}
