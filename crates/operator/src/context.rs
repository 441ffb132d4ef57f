//! What an operator knows of its place: its task, its subtask, its job.

use crate::accumulators::Accumulators;
use crate::asynchronous::runtime::AsyncRuntime;
use crate::clock::ProcessingClock;
use crate::metrics::MetricGroup;
use crate::watermark::AlignmentGroups;
use millstream_core::OperatorError;
use millstream_core::checkpoint::CheckpointId;
use millstream_core::error::Location;
use millstream_core::ids::JobId;
use millstream_core::job_graph::RuntimeMode;
use millstream_core::key_group::MaxParallelism;
use millstream_shuffle::wake::Wake;
use millstream_state::backend::Backing;
pub use millstream_state::backend::StateBackend;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The place of one task. Cheap to clone.
#[derive(Clone)]
pub struct TaskContext {
    /// The job: the same through all its restarts.
    pub job: JobId,
    /// What the user called the job.
    pub job_name: Arc<str>,
    /// The names of the chain's operators.
    pub task_name: Arc<str>,
    /// Which of the parallel instances this is, from 0.
    pub subtask: u32,
    /// How many there are.
    pub parallelism: u32,
    /// How many key groups there are.
    pub max_parallelism: MaxParallelism,
    /// Counts the attempts of this subtask, from 0.
    pub attempt: u32,
    /// Tells this execution from others of the same job: names of temporary files.
    pub execution: Arc<str>,
    /// How bounded input is treated.
    pub mode: RuntimeMode,
    /// The job takes checkpoints: what is final at the end of the input is so with the last one.
    pub checkpointing: bool,
    /// The checkpoint that the task goes on from; nothing for a task that begins afresh.
    pub restored: Option<CheckpointId>,
    /// The job's configuration.
    pub configuration: Arc<BTreeMap<String, String>>,
    /// Where keyed state is; nothing: on the heap.
    pub state_backend: Option<Arc<dyn StateBackend>>,
    /// Tells processing time.
    pub clock: ProcessingClock,
    /// Numbers that functions add up; shared by all operators of the task.
    pub accumulators: Accumulators,
    /// What the operator's functions show while they work.
    pub metrics: MetricGroup,
    /// Files that the program registered, by their names.
    pub cached_files: Arc<BTreeMap<String, PathBuf>>,
    /// The alignment groups of the task's event time.
    pub alignment: AlignmentGroups,
    /// Makes the calls of asynchronous operators.
    pub async_runtime: AsyncRuntime,
    /// Wakes the task's thread: for threads that fetch on behalf of an operator.
    pub wake: Wake,
}

/// An operator's name and where the user declared it: told with every failure.
#[derive(Clone, Debug)]
pub struct OperatorLabel {
    /// The name.
    pub name: Arc<str>,
    /// The line.
    pub declared_at: Location,
}

/// A user's function that routes records to an operator: told with every failure of it. It runs in
/// the task before the operator.
#[derive(Clone, Debug)]
pub struct RoutingLabel {
    /// The operator that the records are for.
    pub operator: OperatorLabel,
    /// What the function is and where it was declared.
    pub function: RoutingFunction,
}

/// A user's function that chooses where records go.
#[derive(Clone, Debug)]
pub struct RoutingFunction {
    /// What it is, for people: a key selector, a partitioner.
    pub what: &'static str,
    /// The line.
    pub declared_at: Location,
}

impl TaskContext {
    /// Where the tables of an operator of this task are, if not on the heap.
    pub fn backing(&self) -> Option<Backing> {
        let backend = self.state_backend.clone()?;
        Some(Backing { backend, max: self.max_parallelism })
    }

    /// Where the file, or directory, is that the program registered under this name with
    /// `env.register_cached_file`. It is there as long as the task is; it is not to be written to.
    pub fn cached_file(&self, name: &str) -> Result<&Path, OperatorError> {
        self.cached_files.get(name).map(PathBuf::as_path).ok_or_else(|| {
            let known: Vec<String> =
                self.cached_files.keys().map(|name| format!("`{name}`")).collect();
            let known = match known.is_empty() {
                true => "there is none".to_owned(),
                false => format!("there are {}", known.join(", ")),
            };
            OperatorError::new(format!(
                "no cached file has the name `{name}`: {known}; register it before `execute` with \
                 `env.register_cached_file(path, \"{name}\")`"
            ))
        })
    }

    /// The place of one of its operators: metrics have the operator's name.
    pub fn of_operator(&self, name: &str) -> Self {
        Self { metrics: self.metrics.add_group(name), ..self.clone() }
    }

    /// A task alone, for tests and harnesses.
    pub fn alone() -> Self {
        Self {
            job: JobId::default(),
            job_name: "job".into(),
            task_name: "task".into(),
            subtask: 0,
            parallelism: 1,
            max_parallelism: MaxParallelism::default_for(1),
            attempt: 0,
            execution: "0".into(),
            mode: RuntimeMode::Streaming,
            checkpointing: false,
            restored: None,
            configuration: Arc::default(),
            state_backend: None,
            clock: ProcessingClock::system(),
            accumulators: Accumulators::new(),
            metrics: MetricGroup::of_task(ProcessingClock::system()),
            cached_files: Arc::default(),
            alignment: AlignmentGroups::default(),
            async_runtime: AsyncRuntime::none(),
            wake: Wake::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_for_a_file_that_is_not_there_is_told_those_that_are() {
        let mut context = TaskContext::alone();
        let ask = |context: &TaskContext| match context.cached_file("modle") {
            Ok(path) => panic!("it is at {}", path.display()),
            Err(error) => error.message,
        };
        assert!(ask(&context).contains("`modle`: there is none; register it"));
        let files = ["model", "words"].map(|name| (name.to_owned(), PathBuf::from("x")));
        context.cached_files = Arc::new(files.into());
        assert!(ask(&context).contains("`modle`: there are `model`, `words`; register it"));
        assert!(context.cached_file("model").is_ok());
    }
}
