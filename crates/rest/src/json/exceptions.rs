//! `JobExceptionsInfoWithHistory`.

use crate::json::attempt::UNASSIGNED;
use millstream_core::ids::ResourceId;
use millstream_core::time::Timestamp;
use millstream_rpc::protocol::details::{ExecutionGraphDetails, FailureDetails};
use serde::Serialize;
use std::collections::BTreeMap;

/// What went wrong in a job, newest first.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct JobExceptions {
    exception_history: History,
}

#[derive(Default, Serialize)]
struct History {
    entries: Vec<Entry>,
    truncated: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    /// The first line: what dashboards show in a list.
    exception_name: String,
    stacktrace: String,
    timestamp: Timestamp,
    failure_labels: BTreeMap<String, String>,
    task_name: String,
    endpoint: String,
    task_manager_id: String,
    concurrent_exceptions: [(); 0],
}

impl JobExceptions {
    /// At most `max` of them.
    pub(crate) fn of(details: &ExecutionGraphDetails, max: usize) -> Self {
        let root = details.root_failure.iter().filter(|root| !details.failures.contains(root));
        let all: Vec<_> = root.chain(&details.failures).collect();
        let entries = all.iter().take(max).map(|failure| Entry::of(failure, details)).collect();
        Self { exception_history: History { entries, truncated: all.len() > max } }
    }
}

impl Entry {
    fn of(failure: &FailureDetails, details: &ExecutionGraphDetails) -> Self {
        let worker = failure.resource.as_ref();
        let endpoint = worker.and_then(|worker| endpoint_of(worker, details));
        Self {
            exception_name: first_line(&failure.message).to_owned(),
            stacktrace: failure.message.clone(),
            timestamp: failure.at,
            failure_labels: BTreeMap::new(),
            task_name: failure.task.clone().unwrap_or_default(),
            endpoint: endpoint.unwrap_or(UNASSIGNED).to_owned(),
            task_manager_id: worker.map_or(UNASSIGNED, |worker| &worker.0).to_owned(),
            concurrent_exceptions: [],
        }
    }
}

pub(crate) fn first_line(message: &str) -> &str {
    message.lines().next().unwrap_or_default()
}

/// Where the worker is, if one of the job's current attempts is there as well.
fn endpoint_of<'a>(worker: &ResourceId, details: &'a ExecutionGraphDetails) -> Option<&'a str> {
    let mut attempts = details.vertices.iter().flat_map(|vertex| &vertex.subtasks);
    let there = attempts.find(|a| a.place.as_ref().is_some_and(|(at, _)| at == worker))?;
    there.endpoint.as_deref()
}
