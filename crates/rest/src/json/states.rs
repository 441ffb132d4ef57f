//! Maps from states to numbers: every state has its entry, with the names of REST.

use millstream_core::status::{ExecutionState, JobStatus};
use std::collections::BTreeMap;

/// A state of Flink's that we have no counterpart for; its number is 0.
const RECONCILING: &str = "RECONCILING";

/// `{"CREATED": …, "RUNNING": …, …}`
pub(crate) fn by_execution_state<T: Default>(
    value: impl Fn(ExecutionState) -> T,
) -> BTreeMap<String, T> {
    let ours = ExecutionState::ALL.into_iter().map(|state| (state.to_string(), value(state)));
    ours.chain([(RECONCILING.to_owned(), T::default())]).collect()
}

/// `{"INITIALIZING": …, "RUNNING": …, …}`
pub(crate) fn by_job_status<T>(value: impl Fn(JobStatus) -> T) -> BTreeMap<String, T> {
    JobStatus::ALL.into_iter().map(|status| (status.to_string(), value(status))).collect()
}

/// `{"total": …, "created": …, "running": …, …}`: the counters of a job in a list.
pub(crate) fn task_counters(tasks: &BTreeMap<ExecutionState, u32>) -> BTreeMap<String, u32> {
    let counted = by_execution_state(|state| tasks.get(&state).copied().unwrap_or(0));
    let total = counted.values().sum();
    let lower = counted.into_iter().map(|(state, count)| (state.to_ascii_lowercase(), count));
    lower.chain([("total".to_owned(), total)]).collect()
}
