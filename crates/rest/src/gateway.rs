//! The questions that REST asks of dispatcher, resource manager and task executors.

use crate::error::ApiError;
use hyper::StatusCode;
use millstream_checkpoint::coordinator::SnapshotProgress;
use millstream_core::ids::{FencingToken, JobId, ResourceId, TriggerId};
use millstream_core::status::JobStatus;
use millstream_rpc::protocol::details::{
    ClusterResources, ExecutionGraphDetails, JobSummary, TaskManagerDetails,
};
use millstream_rpc::protocol::dispatcher::{DispatcherAnswer, ToDispatcher};
use millstream_rpc::protocol::job_master::{Drain, JobMasterAnswer};
use millstream_rpc::protocol::resource_manager::{ResourceManagerAnswer, ToResourceManager};
use millstream_rpc::protocol::task_executor::{TaskExecutorAnswer, ToTaskExecutor};
use millstream_rpc::protocol::{Address, Answer, AskError, EndpointName, Message, Refusal};
use millstream_rpc::shell::RpcSystem;
use std::time::Duration;

/// Asks the cluster. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Gateway {
    rpc: RpcSystem,
    dispatcher: Address,
    resource_manager: Address,
    token: FencingToken,
    timeout: Duration,
}

impl Gateway {
    pub(crate) fn new(
        rpc: RpcSystem,
        process: String,
        token: FencingToken,
        timeout: Duration,
    ) -> Self {
        let dispatcher = Address { process: process.clone(), endpoint: EndpointName::Dispatcher };
        let resource_manager = Address { process, endpoint: EndpointName::ResourceManager };
        Self { rpc, dispatcher, resource_manager, token, timeout }
    }

    /// All jobs, running and ended.
    pub(crate) async fn jobs(&self) -> Result<Vec<JobSummary>, ApiError> {
        match self.ask_dispatcher(ToDispatcher::ListJobs).await?? {
            Answer::Dispatcher(DispatcherAnswer::Jobs(jobs)) => Ok(jobs),
            other => Err(unexpected(&self.dispatcher, &other)),
        }
    }

    /// How everything of a job stands.
    pub(crate) async fn job(&self, job: JobId) -> Result<Box<ExecutionGraphDetails>, ApiError> {
        let answer = self.ask_dispatcher(ToDispatcher::RequestJobDetails { job }).await?;
        self.details(job, answer)
    }

    /// Waits for the end of a job; nothing if it has not come in time.
    pub(crate) async fn job_end(
        &self,
        job: JobId,
        wait: Duration,
    ) -> Result<Option<Box<ExecutionGraphDetails>>, ApiError> {
        let message = Message::Dispatcher(ToDispatcher::AwaitJobEnd { job });
        match self.rpc.ask(&self.dispatcher, Some(self.token), message, wait).await {
            Err(AskError::Timeout { .. }) => Ok(None),
            // Too many wait: the client asks again.
            Ok(Answer::Refused(Refusal::NotReady(_))) => Ok(None),
            Ok(answer) => self.details(job, accept(answer)).map(Some),
            Err(error) => Err(error.into()),
        }
    }

    /// Ends a job.
    pub(crate) async fn cancel(&self, job: JobId) -> Result<(), ApiError> {
        match self.ask_dispatcher(ToDispatcher::CancelJob { job }).await? {
            Ok(Answer::Ack) => Ok(()),
            Ok(other) => Err(unexpected(&self.dispatcher, &other)),
            Err(Refusal::Unknown(_)) => Err(ApiError::job_not_found(job)),
            Err(Refusal::Invalid(why)) => self.cancel_of_ended(job, &why).await,
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// Whoever cancels a job twice gets what he wants. Flink's words.
    async fn cancel_of_ended(&self, job: JobId, why: &str) -> Result<(), ApiError> {
        match self.job(job).await.map(|details| details.summary.status) {
            Ok(JobStatus::Canceled) => Ok(()),
            Ok(status) if status.is_globally_terminal() => Err(ApiError::conflict(format!(
                "Job cancellation failed because the job has already reached another \
                 terminal state ({status})."
            ))),
            _ => Err(ApiError::conflict(why)),
        }
    }

    /// Takes a savepoint, or ends the job with one; [`Gateway::snapshot_progress`] tells the result.
    pub(crate) async fn savepoint(
        &self,
        job: JobId,
        trigger: TriggerId,
        directory: Option<String>,
        stop: Option<Drain>,
    ) -> Result<(), ApiError> {
        let message = ToDispatcher::TriggerSavepoint { job, trigger, directory, stop };
        self.trigger(job, message).await
    }

    /// Takes a checkpoint now; [`Gateway::snapshot_progress`] tells the result.
    pub(crate) async fn checkpoint(
        &self,
        job: JobId,
        trigger: TriggerId,
        full: bool,
    ) -> Result<(), ApiError> {
        self.trigger(job, ToDispatcher::TriggerCheckpoint { job, trigger, full }).await
    }

    async fn trigger(&self, job: JobId, message: ToDispatcher) -> Result<(), ApiError> {
        match self.ask_dispatcher(message).await? {
            Ok(Answer::Ack) => Ok(()),
            Ok(other) => Err(unexpected(&self.dispatcher, &other)),
            Err(Refusal::Unknown(_)) => Err(ApiError::job_not_found(job)),
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// What has become of a savepoint or checkpoint that was asked for.
    pub(crate) async fn snapshot_progress(
        &self,
        job: JobId,
        trigger: TriggerId,
    ) -> Result<SnapshotProgress, ApiError> {
        let message = ToDispatcher::RequestSnapshotProgress { job, trigger };
        match self.ask_dispatcher(message).await? {
            Ok(Answer::JobMaster(JobMasterAnswer::SnapshotProgress(progress))) => Ok(progress),
            Ok(other) => Err(unexpected(&self.dispatcher, &other)),
            // The job ends this very moment, by the savepoint perhaps: who asks again is told.
            Err(Refusal::NotReady(_) | Refusal::Invalid(_)) => Ok(SnapshotProgress::InProgress),
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// Ends the cluster.
    pub(crate) async fn shut_down(&self) -> Result<(), ApiError> {
        match self.ask_dispatcher(ToDispatcher::Shutdown).await?? {
            Answer::Ack => Ok(()),
            other => Err(unexpected(&self.dispatcher, &other)),
        }
    }

    /// How many workers and slots there are.
    pub(crate) async fn cluster_resources(&self) -> Result<ClusterResources, ApiError> {
        let message = ToResourceManager::RequestClusterResources;
        match self.ask_resource_manager(message).await?? {
            Answer::ResourceManager(ResourceManagerAnswer::ClusterResources(found)) => Ok(found),
            other => Err(unexpected(&self.resource_manager, &other)),
        }
    }

    /// All workers.
    pub(crate) async fn task_managers(&self) -> Result<Vec<TaskManagerDetails>, ApiError> {
        match self.ask_resource_manager(ToResourceManager::RequestTaskManagers).await?? {
            Answer::ResourceManager(ResourceManagerAnswer::TaskManagers(all)) => Ok(all),
            other => Err(unexpected(&self.resource_manager, &other)),
        }
    }

    /// One worker.
    pub(crate) async fn task_manager(
        &self,
        resource: &ResourceId,
    ) -> Result<TaskManagerDetails, ApiError> {
        let unknown =
            || ApiError::not_found(format!("No TaskExecutor registered under {resource}."));
        let message = ToResourceManager::RequestTaskManager { resource: resource.clone() };
        match self.ask_resource_manager(message).await? {
            Ok(Answer::ResourceManager(ResourceManagerAnswer::TaskManagers(mut found))) => {
                found.pop().ok_or_else(unknown)
            }
            Ok(other) => Err(unexpected(&self.resource_manager, &other)),
            Err(Refusal::Unknown(_)) => Err(unknown()),
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// The end of a worker's own log, or of a job's output there.
    pub(crate) async fn log(
        &self,
        task_executor: &Address,
        job: Option<JobId>,
        bytes_max: u32,
    ) -> Result<String, ApiError> {
        let message = Message::TaskExecutor(ToTaskExecutor::RequestLog { job, bytes_max });
        // A task executor is not fenced.
        let answer = self.rpc.ask(task_executor, None, message, self.timeout).await?;
        match accept(answer)? {
            Answer::TaskExecutor(TaskExecutorAnswer::Log(text)) => Ok(text),
            other => Err(unexpected(task_executor, &other)),
        }
    }

    async fn ask_dispatcher(
        &self,
        message: ToDispatcher,
    ) -> Result<Result<Answer, Refusal>, ApiError> {
        let message = Message::Dispatcher(message);
        let answer = self.rpc.ask(&self.dispatcher, Some(self.token), message, self.timeout);
        Ok(accept(answer.await?))
    }

    async fn ask_resource_manager(
        &self,
        message: ToResourceManager,
    ) -> Result<Result<Answer, Refusal>, ApiError> {
        let message = Message::ResourceManager(message);
        let answer = self.rpc.ask(&self.resource_manager, Some(self.token), message, self.timeout);
        Ok(accept(answer.await?))
    }

    fn details(
        &self,
        job: JobId,
        answer: Result<Answer, Refusal>,
    ) -> Result<Box<ExecutionGraphDetails>, ApiError> {
        match answer {
            Ok(Answer::Dispatcher(DispatcherAnswer::Details(details))) => Ok(details),
            Ok(other) => Err(unexpected(&self.dispatcher, &other)),
            Err(Refusal::Unknown(_)) => Err(ApiError::job_not_found(job)),
            Err(refusal) => Err(refusal.into()),
        }
    }
}

fn accept(answer: Answer) -> Result<Answer, Refusal> {
    match answer {
        Answer::Refused(refusal) => Err(refusal),
        answer => Ok(answer),
    }
}

fn unexpected(whom: &Address, answer: &Answer) -> ApiError {
    let kind = match answer {
        Answer::Ack => "an acknowledgement",
        Answer::Refused(_) => "a refusal",
        Answer::Dispatcher(_) => "a dispatcher's answer",
        Answer::ResourceManager(_) => "a resource manager's answer",
        Answer::JobMaster(_) => "a job master's answer",
        Answer::TaskExecutor(_) => "a task executor's answer",
    };
    ApiError::new(StatusCode::BAD_GATEWAY, format!("{whom} gave {kind} to another question"))
}
