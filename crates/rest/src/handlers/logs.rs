//! Logs of workers, and the output of a job, as text. Nothing here opens a file: the worker that
//! has the log is asked for its end.

use crate::app::App;
use crate::error::ApiError;
use crate::gateway::Gateway;
use crate::reply::Text;
use crate::request::{PathParameters, Query};
use axum::extract::State;
use millstream_core::ids::{JobId, ResourceId};
use millstream_rpc::protocol::Address;
use millstream_rpc::protocol::details::ExecutionGraphDetails;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::task::JoinSet;

/// The end of a log that is sent unless asked otherwise, and the most that can be asked for: a
/// message between processes is bounded.
const BYTES: u32 = 1 << 20;
const BYTES_MAX: u32 = 16 << 20;

/// `GET /taskmanagers/:taskmanagerid/log`; ours: `?bytes=N` from the end.
pub(crate) async fn of_task_manager(
    State(app): State<Arc<App>>,
    path: PathParameters,
    query: Query,
) -> Result<Text, ApiError> {
    let (resource, bytes) = (path.task_manager()?, bytes(&query)?);
    let worker = app.gateway.task_manager(&resource).await?;
    app.gateway.log(&worker.registration.address, None, bytes).await.map(Text)
}

/// `GET /jobs/:jobid/logs`, ours: the output of a job on each of its workers, at most `?bytes=N`
/// from the end of each. With several workers each part has a line above it; a worker that cannot
/// be asked is named there.
pub(crate) async fn of_job(
    State(app): State<Arc<App>>,
    path: PathParameters,
    query: Query,
) -> Result<Text, ApiError> {
    let (job, bytes) = (path.job()?, bytes(&query)?);
    let details = app.gateway.job(job).await?;
    let workers = workers_of(&details);
    let addresses = addresses(&app.gateway).await?;
    let parts = collect(&app.gateway, job, &workers, &addresses, bytes).await;
    Ok(Text(joined(&parts)))
}

fn bytes(query: &Query) -> Result<u32, ApiError> {
    Ok(query.parse("bytes")?.unwrap_or(BYTES).min(BYTES_MAX))
}

/// Where the job's current attempts are or were, and where it failed.
fn workers_of(details: &ExecutionGraphDetails) -> BTreeSet<ResourceId> {
    let attempts = details.vertices.iter().flat_map(|vertex| &vertex.subtasks);
    let places = attempts.filter_map(|attempt| Some(attempt.place.as_ref()?.0.clone()));
    let failed = details.failures.iter().chain(&details.root_failure);
    places.chain(failed.filter_map(|failure| failure.resource.clone())).collect()
}

async fn addresses(gateway: &Gateway) -> Result<BTreeMap<ResourceId, Address>, ApiError> {
    let registered = gateway.task_managers().await?.into_iter();
    Ok(registered.map(|one| (one.registration.resource, one.registration.address)).collect())
}

/// What each worker says; in place of an output that it cannot give, why.
async fn collect(
    gateway: &Gateway,
    job: JobId,
    workers: &BTreeSet<ResourceId>,
    addresses: &BTreeMap<ResourceId, Address>,
    bytes: u32,
) -> BTreeMap<ResourceId, Result<String, String>> {
    let mut asked = JoinSet::new();
    let mut parts = BTreeMap::new();
    for worker in workers {
        let Some(address) = addresses.get(worker).cloned() else {
            let gone = "it is not registered any more".to_owned();
            parts.insert(worker.clone(), Err(gone));
            continue;
        };
        let (gateway, worker) = (gateway.clone(), worker.clone());
        asked.spawn(async move {
            let log = gateway.log(&address, Some(job), bytes).await;
            (worker, log.map_err(|error| error.message))
        });
    }
    parts.extend(asked.join_all().await);
    parts
}

fn joined(parts: &BTreeMap<ResourceId, Result<String, String>>) -> String {
    let mut text = String::new();
    for (worker, part) in parts {
        match part {
            Ok(output) if parts.len() == 1 => text.push_str(output),
            Ok(output) => {
                text.push_str(&format!("==> {worker} <==\n{output}"));
                let complete = output.is_empty() || output.ends_with('\n');
                text.push_str(if complete { "" } else { "\n" });
            }
            Err(why) => text.push_str(&format!("==> {worker}: no output, {why} <==\n")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(parts: &[(&str, Result<&str, &str>)], expected: &str) {
        let owned = parts.iter().map(|(worker, part)| {
            let part = part.map(str::to_owned).map_err(str::to_owned);
            (ResourceId((*worker).to_owned()), part)
        });
        assert_eq!(joined(&owned.collect()), expected);
    }

    #[test]
    fn the_output_of_one_worker_stands_alone_and_several_have_headings() {
        check(&[], "");
        check(&[("a", Ok("x\ny"))], "x\ny");
        check(&[("a", Ok("x")), ("b", Ok("y\n"))], "==> a <==\nx\n==> b <==\ny\n");
        check(&[("a", Err("it is gone"))], "==> a: no output, it is gone <==\n");
    }
}
