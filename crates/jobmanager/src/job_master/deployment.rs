//! Carries out what the scheduler commands: sends tasks to workers, cancels them, tells them of
//! their producers.

use super::asks::{Ask, problem};
use super::{Context, JobMaster, moment, tell};
use crate::execution_graph::ExecutionVertexId;
use crate::scheduler::Command;
use millstream_core::ids::{ExecutionAttemptId, ResourceId};
use millstream_core::status::ExecutionState;
use millstream_rpc::protocol::job_link::JobInformation;
use millstream_rpc::protocol::task_executor::ToTaskExecutor;
use millstream_rpc::protocol::{Answer, AskError, Message, Refusal};

/// How often a worker is asked in vain to stop a task before its end is taken for granted: once,
/// and three times again.
const CANCEL_TRIES_MAX: u32 = 4;

impl JobMaster {
    pub(super) fn carry_out(&mut self, cx: &mut Context<'_>) {
        for command in self.scheduler.take_commands() {
            match command {
                Command::Deploy(attempts) => self.deploy(cx, &attempts),
                Command::Cancel(attempt) => self.cancel_task(cx, attempt, 1),
                Command::Free(allocation) => self.pool.free(allocation, cx.now),
                Command::Release(attempt) => self.release_partitions(cx, attempt),
            }
        }
    }

    /// A worker that does not hear it keeps the partitions until it has nothing of the job any more.
    fn release_partitions(&mut self, cx: &mut Context<'_>, attempt: ExecutionAttemptId) {
        let graph = self.scheduler.graph();
        let Some(id) = graph.find(attempt) else {
            return;
        };
        let Some(place) = graph.execution(id).place() else {
            return;
        };
        let (partitions, resource) = (graph.blocking_partitions(id), place.resource.clone());
        let (job, job_master) = (graph.job(), self.fence.token());
        let message = ToTaskExecutor::ReleasePartitions { job, partitions, job_master };
        if let Some(worker) = self.workers.get(&resource) {
            tell(cx, &worker.address, None, Message::TaskExecutor(message));
        }
    }

    fn deploy(&mut self, cx: &mut Context<'_>, attempts: &[ExecutionAttemptId]) {
        let mut deployed: Vec<ExecutionVertexId> = Vec::with_capacity(attempts.len());
        for attempt in attempts {
            let found = self.scheduler.graph().find(*attempt);
            let waits = |id: &ExecutionVertexId| {
                self.scheduler.graph().state(*id) == ExecutionState::Deploying
            };
            if let Some(id) = found.filter(waits) {
                self.submit(cx, id, *attempt);
                deployed.push(id);
            }
        }
        self.update_consumers(cx, &deployed);
    }

    fn submit(&mut self, cx: &mut Context<'_>, id: ExecutionVertexId, attempt: ExecutionAttemptId) {
        let graph = self.scheduler.graph_mut();
        let Some(resource) = graph.execution(id).place().map(|place| place.resource.clone()) else {
            return;
        };
        let Some(mut descriptor) = graph.descriptor(id) else {
            return;
        };
        descriptor.checkpointing = self.checkpoints.setup();
        descriptor.restore = self.checkpoints.restore(id);
        let information = JobInformation { job: self.job, graph: graph.graph().clone() };
        let message = ToTaskExecutor::SubmitTask {
            descriptor: Box::new(descriptor),
            job: Box::new(information),
            job_master: self.fence.token(),
        };
        self.ask_worker(cx, &resource.clone(), message, Ask::Submit(attempt, resource));
    }

    /// Consumers that run already learn where their producers are now.
    fn update_consumers(&mut self, cx: &mut Context<'_>, producers: &[ExecutionVertexId]) {
        for update in self.scheduler.graph_mut().partition_updates(producers) {
            let place = self.scheduler.graph().execution(update.consumer).place();
            let Some(resource) = place.map(|place| place.resource.clone()) else {
                continue;
            };
            let what = Ask::UpdatePartitions(update.attempt, resource.clone());
            let message = ToTaskExecutor::UpdatePartitions {
                attempt: update.attempt,
                channels: update.channels,
            };
            self.ask_worker(cx, &resource, message, what);
        }
    }

    pub(super) fn on_submit_answer(
        &mut self,
        cx: &mut Context<'_>,
        attempt: ExecutionAttemptId,
        worker: &ResourceId,
        result: Result<Answer, AskError>,
    ) {
        let Some(problem) = problem(&result) else {
            return self.scheduler.on_submitted(attempt, moment(cx));
        };
        let surely = matches!(result, Ok(Answer::Refused(_)));
        let reason = format!("worker {worker} did not take the task: {problem}");
        self.scheduler.on_submit_failed(attempt, surely, reason, moment(cx), cx.rng);
        if !surely {
            // It may be there all the same.
            self.cancel_stranger(cx, attempt, worker);
        }
    }

    pub(super) fn on_update_answer(
        &mut self,
        cx: &mut Context<'_>,
        attempt: ExecutionAttemptId,
        worker: &ResourceId,
        result: Result<Answer, AskError>,
    ) {
        if let Some(problem) = problem(&result) {
            let reason = format!("worker {worker} could not be told of new producers: {problem}");
            self.scheduler.on_update_failed(attempt, reason, moment(cx), cx.rng);
        }
    }

    fn cancel_task(&mut self, cx: &mut Context<'_>, attempt: ExecutionAttemptId, tries: u32) {
        let graph = self.scheduler.graph();
        let Some(id) =
            graph.find(attempt).filter(|id| graph.state(*id) == ExecutionState::Canceling)
        else {
            return;
        };
        let Some(resource) = graph.execution(id).place().map(|place| place.resource.clone()) else {
            return;
        };
        let message = ToTaskExecutor::CancelTask { attempt, job_master: self.fence.token() };
        self.ask_worker(cx, &resource.clone(), message, Ask::Cancel(attempt, resource, tries));
    }

    pub(super) fn on_cancel_answer(
        &mut self,
        cx: &mut Context<'_>,
        attempt: ExecutionAttemptId,
        worker: ResourceId,
        tries: u32,
        result: Result<Answer, AskError>,
    ) {
        match result {
            // It is there, and its end will be reported.
            Ok(Answer::Ack) => self.scheduler.on_submitted(attempt, moment(cx)),
            Ok(Answer::Refused(Refusal::Unknown(_))) => {
                self.scheduler.on_cancel_unknown(attempt, moment(cx));
            }
            Ok(_) | Err(_) if tries < CANCEL_TRIES_MAX && self.workers.get(&worker).is_some() => {
                self.cancel_task(cx, attempt, tries + 1);
            }
            Ok(_) | Err(_) => self.scheduler.on_cancel_failed(attempt, moment(cx)),
        }
    }

    /// An attempt that does not count may run somewhere: it must not.
    pub(super) fn cancel_stranger(
        &mut self,
        cx: &mut Context<'_>,
        attempt: ExecutionAttemptId,
        worker: &ResourceId,
    ) {
        let graph = self.scheduler.graph();
        let counts = graph.find(attempt).is_some_and(|id| graph.execution(id).is_on_worker());
        if !counts {
            let message = ToTaskExecutor::CancelTask { attempt, job_master: self.fence.token() };
            self.ask_worker(cx, worker, message, Ask::CancelStranger(worker.clone()));
        }
    }
}
