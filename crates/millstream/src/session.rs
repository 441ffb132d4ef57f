//! The client's side of a cluster: submits jobs, asks after them, cancels them, waits for them.

use crate::process::job_manager::STANDALONE_TOKEN;
use millstream_api::error::{Error, ErrorCode, Result};
use millstream_api::executor::{JobHandle, JobResult};
use millstream_core::ids::JobId;
use millstream_core::job_graph::JobGraph;
use millstream_core::status::JobStatus;
use millstream_rpc::protocol::details::ExecutionGraphDetails;
use millstream_rpc::protocol::dispatcher::{DispatcherAnswer, ToDispatcher};
use millstream_rpc::protocol::{Address, Answer, AskError, EndpointName, Message};
use millstream_rpc::shell::RpcSystem;
use std::time::Duration;
use tokio::runtime::Handle;

/// How long the dispatcher may take to answer, submissions included.
const ASK_TIMEOUT: Duration = Duration::from_secs(30);

/// A job may run for as long as it likes.
const JOB_TIMEOUT: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Speaks to the dispatcher of a cluster. Cheap to clone.
#[derive(Clone)]
pub struct ClusterClient {
    rpc: RpcSystem,
    dispatcher: Address,
}

impl ClusterClient {
    /// Speaks to the dispatcher in the process at `job_manager` (`host:port`).
    pub fn new(rpc: RpcSystem, job_manager: String) -> Self {
        let dispatcher = Address { process: job_manager, endpoint: EndpointName::Dispatcher };
        Self { rpc, dispatcher }
    }

    /// Asks the dispatcher.
    pub async fn ask(&self, message: ToDispatcher, timeout: Duration) -> Result<Answer> {
        let message = Message::Dispatcher(message);
        let answer = self.rpc.ask(&self.dispatcher, Some(STANDALONE_TOKEN), message, timeout).await;
        match answer {
            Ok(Answer::Refused(refusal)) => {
                Err(Error::new(ErrorCode::Refused, "the cluster refused").why(refusal.to_string()))
            }
            Ok(answer) => Ok(answer),
            Err(error @ AskError::Unreachable { .. }) => {
                let at = &self.dispatcher.process;
                Err(Error::new(ErrorCode::Unreachable, format!("no JobManager answers at {at}"))
                    .why(error.to_string())
                    .next("start one with `millstream cluster start`, or name another with `-m`"))
            }
            Err(error) => Err(Error::new(ErrorCode::Unreachable, "the cluster did not answer")
                .why(error.to_string())),
        }
    }

    /// Submits a job under this id.
    pub fn submit(&self, runtime: &Handle, job: JobId, graph: JobGraph) -> Result<SubmittedJob> {
        let name = graph.name.clone();
        let submission = ToDispatcher::SubmitJob { job, graph: Box::new(graph) };
        runtime
            .block_on(self.ask(submission, ASK_TIMEOUT))
            .map_err(|error| error.attempted(format!("submit job `{name}`")))?;
        Ok(SubmittedJob { client: self.clone(), runtime: runtime.clone(), job })
    }
}

/// A job that was submitted. Cheap to clone.
#[derive(Clone)]
pub struct SubmittedJob {
    client: ClusterClient,
    runtime: Handle,
    job: JobId,
}

impl JobHandle for SubmittedJob {
    fn job(&self) -> JobId {
        self.job
    }

    fn status(&self) -> Result<JobStatus> {
        let ask = self.client.ask(ToDispatcher::RequestJobDetails { job: self.job }, ASK_TIMEOUT);
        Ok(details(self.runtime.block_on(ask)?)?.summary.status)
    }

    fn cancel(&self) -> Result<()> {
        let ask = self.client.ask(ToDispatcher::CancelJob { job: self.job }, ASK_TIMEOUT);
        self.runtime.block_on(ask).map(drop)
    }

    fn wait(&mut self) -> Result<JobResult> {
        let ask = self.client.ask(ToDispatcher::AwaitJobEnd { job: self.job }, JOB_TIMEOUT);
        let details = details(self.runtime.block_on(ask)?)?;
        result_of(&details)
    }
}

fn details(answer: Answer) -> Result<ExecutionGraphDetails> {
    match answer {
        Answer::Dispatcher(DispatcherAnswer::Details(details)) => Ok(*details),
        other => {
            let why = format!("{other:?}");
            Err(Error::new(ErrorCode::Refused, "the dispatcher gave an unexpected answer").why(why))
        }
    }
}

/// What a program gets of a job that has ended.
fn result_of(details: &ExecutionGraphDetails) -> Result<JobResult> {
    let summary = &details.summary;
    let attempted = format!("run job `{}` ({})", summary.name, summary.job);
    match summary.status {
        JobStatus::Finished => {
            let ended = summary.ended.unwrap_or(summary.last_modified);
            let runtime = Duration::from_millis((ended - summary.started).max(0) as u64);
            Ok(JobResult { job: summary.job, runtime })
        }
        JobStatus::Canceled => {
            Err(Error::new(ErrorCode::JobCanceled, "the job was cancelled").attempted(attempted))
        }
        status => {
            let error = Error::new(ErrorCode::JobFailed, format!("the job ended as {status}"));
            let error = error.attempted(attempted);
            Err(match &details.root_failure {
                None => error,
                Some(failure) => {
                    let error = error.why(&failure.message);
                    match &failure.task {
                        Some(task) => error.at(format!("task `{task}`")),
                        None => error,
                    }
                }
            })
        }
    }
}
