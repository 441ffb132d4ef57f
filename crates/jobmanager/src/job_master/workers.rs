//! The connections to workers: registration, heartbeats, loss.
//!
//! A worker is lost when it is silent for too long, when its process cannot be reached, when
//! another instance answers in its place, or when it says so. With it go its slots and what ran in
//! them. A worker that registers again is not lost: its answer went missing, or it lost us for a
//! while; what became of its tasks is asked at once.

use super::asks::Ask;
use super::{Context, JobMaster, moment, tell};
use crate::scheduler::Failure;
use millstream_core::ids::{JobId, ResourceId};
use millstream_core::time::Mono;
use millstream_rpc::heartbeat::{HeartbeatConfig, Heartbeats};
use millstream_rpc::protocol::job_master::JobMasterAnswer;
use millstream_rpc::protocol::task_executor::ToTaskExecutor;
use millstream_rpc::protocol::{Address, Answer, Message};
use std::collections::BTreeMap;

/// A worker that is registered here.
#[derive(Clone, Debug)]
pub(super) struct Worker {
    /// Where it is.
    pub(super) address: Address,
    /// `host:port` of its data port.
    pub(super) data_address: String,
    /// When it was last asked what it has: only what it had for sure by then can be missing from
    /// its answer.
    pub(super) asked_at: Mono,
}

/// All workers that are registered here.
#[derive(Debug)]
pub(super) struct Workers {
    pub(super) by_id: BTreeMap<ResourceId, Worker>,
    /// Watches each of them.
    pub(super) heartbeats: Heartbeats<ResourceId>,
    /// When all of them are asked next; nothing while there are none.
    pub(super) next_round: Option<Mono>,
}

impl Workers {
    pub(super) fn new(heartbeat: HeartbeatConfig) -> Self {
        Self { by_id: BTreeMap::new(), heartbeats: Heartbeats::new(heartbeat), next_round: None }
    }

    pub(super) fn get(&self, resource: &ResourceId) -> Option<&Worker> {
        self.by_id.get(resource)
    }

    fn in_process<'a>(&'a self, process: &'a str) -> impl Iterator<Item = &'a ResourceId> {
        let there = self.by_id.iter().filter(move |(_, w)| w.address.process == process);
        there.map(|(resource, _)| resource)
    }
}

impl JobMaster {
    pub(super) fn register_worker(
        &mut self,
        cx: &mut Context<'_>,
        job: JobId,
        resource: ResourceId,
        address: Address,
        data_address: String,
    ) -> Answer {
        if job != self.job {
            let cause = format!("this is the job master of job {}, not of {job}", self.job);
            return Answer::JobMaster(JobMasterAnswer::Rejected { cause });
        }
        let replaced: Vec<ResourceId> = self
            .workers
            .in_process(&address.process)
            .filter(|known| **known != resource)
            .cloned()
            .collect();
        for former in replaced {
            self.lose_worker(cx, &former, "another worker answers at its address");
        }
        let known = self.workers.get(&resource).is_some();
        let worker = Worker { address, data_address, asked_at: cx.now };
        self.workers.by_id.insert(resource.clone(), worker);
        self.workers.heartbeats.monitor(resource.clone(), cx.now);
        let interval_ms = self.config.heartbeat.interval_ms;
        self.workers.next_round.get_or_insert(cx.now + interval_ms);
        if known {
            self.ask_for_heartbeat(cx, &resource);
        }
        let job_master = self.surroundings.resource.clone();
        Answer::JobMaster(JobMasterAnswer::TaskExecutorRegistered { job_master })
    }

    /// Asks every worker whether it is there and holds what we believe it to hold.
    pub(super) fn on_heartbeat_round(&mut self, cx: &mut Context<'_>) {
        if self.workers.next_round.is_none_or(|at| cx.now < at) {
            return;
        }
        let all: Vec<ResourceId> = self.workers.by_id.keys().cloned().collect();
        for resource in &all {
            self.ask_for_heartbeat(cx, resource);
        }
        let next = cx.now + self.config.heartbeat.interval_ms;
        self.workers.next_round = (!all.is_empty()).then_some(next);
    }

    fn ask_for_heartbeat(&mut self, cx: &mut Context<'_>, resource: &ResourceId) {
        let allocations = self.pool.allocations_on(resource);
        let message = ToTaskExecutor::HeartbeatFromJobMaster {
            job: self.job,
            job_master: self.fence.token(),
            allocations,
        };
        if let Some(worker) = self.workers.by_id.get_mut(resource) {
            worker.asked_at = cx.now;
            tell(cx, &worker.address, None, Message::TaskExecutor(message));
        }
    }

    pub(super) fn on_worker_timeout(&mut self, cx: &mut Context<'_>) {
        let silence_ms = self.config.heartbeat.timeout_ms;
        for resource in self.workers.heartbeats.take_expired(cx.now) {
            let cause = format!("it was silent for {silence_ms} ms (heartbeat.timeout)");
            self.lose_worker(cx, &resource, &cause);
        }
    }

    /// An ask found nobody at the worker's address.
    pub(super) fn on_worker_unreachable(&mut self, cx: &mut Context<'_>, resource: &ResourceId) {
        if self.workers.heartbeats.unreachable(resource) {
            self.lose_worker(cx, resource, "it could not be reached several times in a row");
        }
    }

    pub(super) fn on_worker_disconnected(
        &mut self,
        cx: &mut Context<'_>,
        resource: &ResourceId,
        cause: &str,
    ) {
        if self.workers.get(resource).is_some() {
            // The news may be the resource manager's, and the worker alive.
            self.lose_worker(cx, resource, &format!("it has left: {cause}"));
        } else {
            self.counters.strangers += 1;
        }
    }

    pub(super) fn on_worker_process_lost(
        &mut self,
        cx: &mut Context<'_>,
        process: &str,
        reason: &str,
    ) {
        let lost: Vec<ResourceId> = self.workers.in_process(process).cloned().collect();
        for resource in lost {
            self.lose_worker(cx, &resource, &format!("its process cannot be reached: {reason}"));
        }
    }

    /// The worker does not know yet that we take it for lost: should it live, it is told.
    fn lose_worker(&mut self, cx: &mut Context<'_>, resource: &ResourceId, cause: &str) {
        self.disconnect_worker(cx, resource, cause);
        self.forget_worker(cx, resource, cause);
    }

    pub(super) fn disconnect_worker(
        &self,
        cx: &mut Context<'_>,
        resource: &ResourceId,
        cause: &str,
    ) {
        if let Some(worker) = self.workers.get(resource) {
            let message = ToTaskExecutor::DisconnectJobMaster {
                job: self.job,
                job_master: self.fence.token(),
                status: self.life.status(),
                cause: cause.to_owned(),
            };
            tell(cx, &worker.address, None, Message::TaskExecutor(message));
        }
    }

    /// The worker is gone, and its slots, and what ran in them.
    fn forget_worker(&mut self, cx: &mut Context<'_>, resource: &ResourceId, cause: &str) {
        self.workers.heartbeats.unmonitor(resource);
        let Some(worker) = self.workers.by_id.remove(resource) else {
            return;
        };
        let lost = self.pool.remove_worker(resource);
        let place = &worker.address.process;
        let failure = Failure::of_cluster(format!("worker {resource} ({place}) is lost: {cause}"));
        let failure = failure.on_worker(resource);
        self.scheduler.on_slots_lost(&lost, Some(resource), failure, moment(cx), cx.rng);
    }

    /// Asks a worker that is registered here; whether it is.
    pub(super) fn ask_worker(
        &mut self,
        cx: &mut Context<'_>,
        resource: &ResourceId,
        message: ToTaskExecutor,
        what: Ask,
    ) -> bool {
        let Some(worker) = self.workers.get(resource) else {
            return false;
        };
        let to = (worker.address.clone(), None);
        let timeout_ms = self.config.ask_timeout_ms;
        self.ask(cx, to, Message::TaskExecutor(message), timeout_ms, what);
        true
    }
}
