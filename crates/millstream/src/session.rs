//! The client's side of a cluster: submits jobs, asks after them, cancels them, waits for them.

use crate::process::ha::retrieval::find_leader;
use crate::process::job_manager::STANDALONE_TOKEN;
use millstream_api::error::{Error, ErrorCode, Result};
use millstream_api::executor::{JobHandle, JobResult};
use millstream_checkpoint::coordinator::SnapshotProgress;
use millstream_checkpoint::pointer::ConditionalStore;
use millstream_core::ids::{FencingToken, JobId, TriggerId};
use millstream_core::job_graph::JobGraph;
use millstream_core::status::JobStatus;
use millstream_rpc::protocol::details::ExecutionGraphDetails;
use millstream_rpc::protocol::dispatcher::{DispatcherAnswer, ToDispatcher};
use millstream_rpc::protocol::job_master::{Drain, JobMasterAnswer};
use millstream_rpc::protocol::{Address, Answer, AskError, EndpointName, Message, Refusal};
use millstream_rpc::shell::RpcSystem;
use millstream_rpc::shell::system::random_u128;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// How long the dispatcher may take to answer, submissions included.
const ASK_TIMEOUT: Duration = Duration::from_secs(30);

/// A job may run for as long as it likes.
const JOB_TIMEOUT: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// How long a client waits for a new leader.
const LEADER_PATIENCE: Duration = Duration::from_secs(300);

/// How often it looks for one.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How long a savepoint may take before the job that it is to end is cancelled instead.
const SAVEPOINT_TIMEOUT: Duration = Duration::from_secs(60);

/// How often it is asked after.
const SAVEPOINT_POLL: Duration = Duration::from_millis(5);

/// Speaks to the dispatcher of a cluster. Cheap to clone.
#[derive(Clone)]
pub struct ClusterClient {
    rpc: RpcSystem,
    /// Who leads, as far as is known.
    leader: Arc<Mutex<(Address, FencingToken)>>,
    /// Where to find out who leads now; nothing: there is only one JobManager.
    high_availability: Option<Arc<dyn ConditionalStore>>,
}

impl ClusterClient {
    /// Speaks to the dispatcher in the process at `job_manager` (`host:port`).
    pub fn new(rpc: RpcSystem, job_manager: String) -> Self {
        Self::of_leader(rpc, job_manager, STANDALONE_TOKEN, None)
    }

    /// Speaks to the dispatcher that leads in this term in the process at `job_manager`
    /// (`host:port`), and after it to whoever leads according to the records of high availability.
    pub fn of_leader(
        rpc: RpcSystem,
        job_manager: String,
        token: FencingToken,
        high_availability: Option<Arc<dyn ConditionalStore>>,
    ) -> Self {
        let dispatcher = Address { process: job_manager, endpoint: EndpointName::Dispatcher };
        let leader = Arc::new(Mutex::new((dispatcher, token)));
        Self { rpc, leader, high_availability }
    }

    /// Who leads, as far as can be found out.
    async fn leader(&self) -> (Address, FencingToken) {
        let mut found = None;
        if let Some(records) = self.high_availability.clone() {
            let looked = tokio::task::spawn_blocking(move || find_leader(&*records)).await;
            // Records that cannot be read here leave whoever was named at the begin.
            found = looked.ok().and_then(|found| found.ok().flatten());
        }
        let mut known = self.leader.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = found {
            let endpoint = EndpointName::Dispatcher;
            *known = (Address { process: found.rpc, endpoint }, found.token);
        }
        known.clone()
    }

    async fn ask_leader(
        &self,
        message: ToDispatcher,
        timeout: Duration,
    ) -> std::result::Result<Answer, AskError> {
        let (dispatcher, token) = self.leader().await;
        self.rpc.ask(&dispatcher, Some(token), Message::Dispatcher(message), timeout).await
    }

    /// Waits for the end of a job, under whichever leader it comes.
    async fn await_end(&self, job: JobId) -> Result<ExecutionGraphDetails> {
        let mut silent_since = Instant::now();
        loop {
            let answer = self.ask_leader(ToDispatcher::AwaitJobEnd { job }, JOB_TIMEOUT).await;
            let changes = match &answer {
                Ok(Answer::Dispatcher(DispatcherAnswer::Details(details))) => {
                    silent_since = Instant::now();
                    details.summary.status == JobStatus::Suspended
                }
                Ok(Answer::Refused(Refusal::NotReady(_) | Refusal::Fenced { .. })) => true,
                Err(_) => true,
                Ok(_) => false,
            };
            let patient = silent_since.elapsed() < LEADER_PATIENCE;
            if !(changes && patient && self.high_availability.is_some()) {
                return details(self.accept(answer)?);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Asks the dispatcher.
    pub async fn ask(&self, message: ToDispatcher, timeout: Duration) -> Result<Answer> {
        let answer = self.ask_leader(message, timeout).await;
        self.accept(answer)
    }

    fn accept(&self, answer: std::result::Result<Answer, AskError>) -> Result<Answer> {
        match answer {
            Ok(Answer::Refused(refusal)) => {
                Err(Error::new(ErrorCode::Refused, "the cluster refused").why(refusal.to_string()))
            }
            Ok(answer) => Ok(answer),
            Err(error @ AskError::Unreachable { .. }) => {
                let at = &self.leader.lock().unwrap_or_else(PoisonError::into_inner).0.process;
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

impl SubmittedJob {
    /// Ends the job with a savepoint in the configured directory; where it is.
    pub(crate) fn stop_with_savepoint(&self) -> Result<String> {
        let (job, trigger) = (self.job, TriggerId(random_u128()));
        let stop = Some(Drain::No);
        let message = ToDispatcher::TriggerSavepoint { job, trigger, directory: None, stop };
        self.runtime.block_on(self.client.ask(message, ASK_TIMEOUT))?;
        let deadline = Instant::now() + SAVEPOINT_TIMEOUT;
        loop {
            let question = ToDispatcher::RequestSnapshotProgress { job, trigger };
            let progress = match self.runtime.block_on(self.client.ask(question, ASK_TIMEOUT)) {
                Ok(Answer::JobMaster(JobMasterAnswer::SnapshotProgress(progress))) => progress,
                Ok(other) => return Err(no_savepoint(format!("{other:?}"))),
                // The job ends this very moment, by the savepoint perhaps: who asks again is told.
                Err(error) if error.code == ErrorCode::Refused => SnapshotProgress::InProgress,
                Err(error) => return Err(error),
            };
            match progress {
                SnapshotProgress::Completed { path, .. } => return Ok(path),
                SnapshotProgress::Failed { cause } => return Err(no_savepoint(cause)),
                SnapshotProgress::InProgress if Instant::now() > deadline => {
                    return Err(no_savepoint(format!("not within {SAVEPOINT_TIMEOUT:?}")));
                }
                SnapshotProgress::InProgress => std::thread::sleep(SAVEPOINT_POLL),
            }
        }
    }
}

fn no_savepoint(why: String) -> Error {
    Error::new(ErrorCode::Refused, "no savepoint was taken").why(why)
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

    fn stop_with_savepoint(&self) -> Result<String> {
        SubmittedJob::stop_with_savepoint(self)
    }

    fn wait(&mut self) -> Result<JobResult> {
        let details = self.runtime.block_on(self.client.await_end(self.job))?;
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
            Ok(JobResult { job: summary.job, runtime, accumulators: details.accumulators() })
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
