//! What a program and its command line set for a job.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// How bounded input is treated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RuntimeExecutionMode {
    /// Aggregates emit as they change.
    #[default]
    Streaming,
    /// All sources are bounded; aggregates emit once, at the end.
    Batch,
    /// BATCH if all sources are bounded, else STREAMING.
    Automatic,
}

/// What the program has set.
#[derive(Clone, Default)]
pub struct Settings {
    /// The parallelism of operators that set none.
    pub parallelism: Option<u32>,
    /// The max parallelism of operators that set none.
    pub max_parallelism: Option<u32>,
    /// How bounded input is treated, if the program says so.
    pub mode: Option<RuntimeExecutionMode>,
    /// Whether operators may share tasks at all.
    pub chaining_disabled: bool,
    /// Flink's keys, from the command line and from the program.
    pub configuration: BTreeMap<String, String>,
    /// Values that were computed once, by name.
    pub plan_values: BTreeMap<String, Vec<u8>>,
    /// Files that functions ask for by name.
    pub cached_files: BTreeMap<String, PathBuf>,
}
