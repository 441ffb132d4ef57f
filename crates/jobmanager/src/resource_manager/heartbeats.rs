//! Who is still there. The resource manager is the active side towards workers and job masters.

use super::config::ResourceManagerTimer;
use super::known::TaskExecutor;
use super::machine::{ResourceManager, Target, tell_job_master, tell_task_executor};
use millstream_rpc::machine::{Cx, Effect};
use millstream_rpc::protocol::job_master::ToJobMaster;
use millstream_rpc::protocol::task_executor::ToTaskExecutor;

impl ResourceManager {
    /// Begins to watch somebody who has just registered.
    pub(super) fn watch(&mut self, cx: &mut Cx<'_, Self>, target: Target) {
        self.heartbeats.monitor(target, cx.now);
        self.arm_heartbeat_timeout(cx);
    }

    /// Asks everybody, and arranges to do so again.
    pub(super) fn request_heartbeats(&mut self, cx: &mut Cx<'_, Self>) {
        for worker in self.task_executors.values() {
            self.request_heartbeat_of_task_executor(cx, worker);
        }
        for master in self.jobs.values().filter_map(|job| job.master.as_ref()) {
            let message = ToJobMaster::HeartbeatFromResourceManager {
                resource_manager: self.resource.clone(),
            };
            tell_job_master(cx, &master.address, master.token, message);
        }
        self.repeat_shortages(cx);
        self.set_heartbeat_timer(cx);
    }

    pub(super) fn request_heartbeat_of_task_executor(
        &self,
        cx: &mut Cx<'_, Self>,
        worker: &TaskExecutor,
    ) {
        let message =
            ToTaskExecutor::HeartbeatFromResourceManager { resource_manager: self.fence.token() };
        tell_task_executor(cx, &worker.registration.address, message);
    }

    /// Takes leave of those who were silent for too long.
    pub(super) fn expire_heartbeats(&mut self, cx: &mut Cx<'_, Self>) {
        self.heartbeat_timeout_at = None;
        let silence = self.config.heartbeat.timeout_ms;
        let cause = format!("no heartbeat for {silence} ms");
        for target in self.heartbeats.take_expired(cx.now) {
            self.lose(cx, &target, &cause);
        }
        self.arm_heartbeat_timeout(cx);
    }

    /// Nobody answers at that process, or somebody else does: all who lived there are lost.
    pub(super) fn on_peer_lost(&mut self, cx: &mut Cx<'_, Self>, process: &str, reason: &str) {
        let workers = self.task_executors.iter();
        let workers = workers
            .filter(|(_, worker)| worker.registration.address.process == process)
            .map(|(resource, _)| Target::TaskExecutor(resource.clone()));
        let masters = self.jobs.iter().filter_map(|(job, known)| {
            let master = known.master.as_ref()?;
            (master.address.process == process).then_some(Target::JobMaster(*job))
        });
        let lost: Vec<Target> = workers.chain(masters).collect();
        let cause = format!("connection to {process} lost: {reason}");
        for target in lost {
            self.lose(cx, &target, &cause);
        }
    }

    pub(super) fn set_heartbeat_timer(&self, cx: &mut Cx<'_, Self>) {
        cx.out.push(Effect::SetTimer {
            timer: ResourceManagerTimer::Heartbeat,
            at: cx.now + self.config.heartbeat.interval_ms,
        });
    }

    fn lose(&mut self, cx: &mut Cx<'_, Self>, target: &Target, cause: &str) {
        match target {
            Target::TaskExecutor(resource) => self.lose_task_executor(cx, resource, cause),
            Target::JobMaster(job) => self.lose_job_master(cx, *job, cause),
        }
    }

    /// What is told may be lost: with each round of heartbeats it is told again.
    fn repeat_shortages(&mut self, cx: &mut Cx<'_, Self>) {
        for job in self.jobs.values_mut() {
            job.told = None;
        }
        self.tell_shortages(cx);
    }

    /// Deadlines only move back, so a timer at the earliest one is never late; when it fires too
    /// early, it is set anew.
    fn arm_heartbeat_timeout(&mut self, cx: &mut Cx<'_, Self>) {
        let Some(at) = self.heartbeats.next_deadline() else {
            return;
        };
        if self.heartbeat_timeout_at.is_some_and(|armed| armed <= at) {
            return;
        }
        self.heartbeat_timeout_at = Some(at);
        cx.out.push(Effect::SetTimer { timer: ResourceManagerTimer::HeartbeatTimeout, at });
    }
}
