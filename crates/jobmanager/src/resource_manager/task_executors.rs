//! Task executors: registration, slot reports, the loss of a worker.
//!
//! Each registration has an instance id, and what a worker says counts only under the newest one.
//! A registration may arrive twice or long after it was sent: it then takes the place of one that
//! the worker believes in. That is noticed when the worker speaks under its former id before
//! anything came under the new one, and it is asked to register again.

use super::known::TaskExecutor;
use super::machine::{ResourceManager, Served, Target, tell_job_master, tell_task_executor};
use crate::mutant;
use millstream_core::ids::{AllocationId, InstanceId, ResourceId};
use millstream_rpc::machine::Cx;
use millstream_rpc::protocol::job_master::ToJobMaster;
use millstream_rpc::protocol::resource::{SlotId, SlotReport};
use millstream_rpc::protocol::resource_manager::{ResourceManagerAnswer, TaskExecutorRegistration};
use millstream_rpc::protocol::task_executor::ToTaskExecutor;
use millstream_rpc::protocol::{Address, Answer, Refusal};

impl ResourceManager {
    pub(super) fn register_task_executor(
        &mut self,
        cx: &mut Cx<'_, Self>,
        registration: TaskExecutorRegistration,
    ) -> Answer {
        let resource = registration.resource.clone();
        self.drop_former_registration(cx, &registration);
        if let Some(cause) = self.turn_away(&registration) {
            return Answer::ResourceManager(ResourceManagerAnswer::Rejected { cause });
        }
        let instance = InstanceId(cx.rng.next_u128());
        self.slots.register_worker(resource.clone(), instance);
        let worker =
            TaskExecutor { registration, instance, confirmed: false, last_heartbeat: cx.wall };
        self.task_executors.insert(resource.clone(), worker);
        self.watch(cx, Target::TaskExecutor(resource));
        Answer::ResourceManager(ResourceManagerAnswer::TaskExecutorRegistered {
            instance,
            resource_manager: self.resource.clone(),
            blob_server: self.blob_server.clone(),
        })
    }

    /// The same worker again: what was known of it ends here. Its tasks may well be running, so
    /// jobs are told only if it is now somewhere else, that is: another process.
    fn drop_former_registration(
        &mut self,
        cx: &mut Cx<'_, Self>,
        registration: &TaskExecutorRegistration,
    ) {
        let Some(former) = self.forget_task_executor(&registration.resource) else {
            return;
        };
        if former.registration.address != registration.address {
            let cause = format!("it has registered again from {}", registration.address);
            self.tell_loss_to_jobs(cx, &registration.resource, &cause);
        }
        // Its report says in a moment which slots jobs still have there.
        self.request_check_later(cx);
    }

    /// Why the cluster does not want this worker.
    fn turn_away(&self, registration: &TaskExecutorRegistration) -> Option<String> {
        let max = self.config.slots_max?;
        let known = self.task_executors.values();
        let offered: u64 = known.map(|w| u64::from(w.registration.slots)).sum();
        let slots = u64::from(registration.slots);
        (offered + slots > u64::from(max)).then(|| {
            format!(
                "the cluster has {offered} slots and may have {max} \
                 (`slotmanager.number-of-slots.max`): no room for {slots} more"
            )
        })
    }

    pub(super) fn send_slot_report(
        &mut self,
        cx: &mut Cx<'_, Self>,
        resource: &ResourceId,
        instance: InstanceId,
        report: &SlotReport,
    ) -> Answer {
        if !self.serves_task_executor(resource, instance) {
            let who = format!("registration {instance} of task executor {resource}");
            return Answer::Refused(Refusal::Unknown(who));
        }
        self.heard_task_executor(cx, resource, report);
        Answer::Ack
    }

    pub(super) fn heartbeat_from_task_executor(
        &mut self,
        cx: &mut Cx<'_, Self>,
        resource: &ResourceId,
        instance: InstanceId,
        report: &SlotReport,
    ) -> Option<Answer> {
        if self.serves_task_executor(resource, instance) {
            self.heard_task_executor(cx, resource, report);
        } else if let Some(worker) = self.task_executors.get(resource)
            && !worker.confirmed
        {
            let cause = format!("registration {instance} was replaced by {}", worker.instance);
            self.close_task_executor(cx, &worker.registration.address, &cause);
        }
        None
    }

    fn heard_task_executor(
        &mut self,
        cx: &mut Cx<'_, Self>,
        resource: &ResourceId,
        report: &SlotReport,
    ) {
        self.heartbeats.heard(&Target::TaskExecutor(resource.clone()), cx.now);
        if let Some(worker) = self.task_executors.get_mut(resource) {
            worker.confirmed = true;
            worker.last_heartbeat = cx.wall;
        }
        if self.slots.report(resource, report) {
            self.request_check(cx);
        }
    }

    pub(super) fn notify_slot_available(
        &mut self,
        cx: &mut Cx<'_, Self>,
        resource: ResourceId,
        instance: InstanceId,
        index: u32,
        allocation: AllocationId,
    ) -> Option<Answer> {
        let serves = self.serves_task_executor(&resource, instance);
        let slot = SlotId { resource, index };
        if !serves || !self.slots.slot_available(&slot, allocation) {
            self.counters.stale += 1;
        } else if !mutant::on("freed_slot_is_not_rechecked") {
            self.request_check(cx);
        }
        None
    }

    /// The worker says that it goes. It tells its job masters itself, if it goes for good: it also
    /// says so when it merely lost sight of us, and then its tasks run on. Nothing is said in
    /// return: a worker that leaves in order to register anew would take it for the new end.
    pub(super) fn disconnect_task_executor(
        &mut self,
        cx: &mut Cx<'_, Self>,
        resource: &ResourceId,
    ) -> Option<Answer> {
        match self.forget_task_executor(resource) {
            Some(_) => self.request_check(cx),
            None => self.counters.stale += 1,
        }
        None
    }

    /// The worker is lost: its slots are gone, all jobs are told.
    pub(super) fn lose_task_executor(
        &mut self,
        cx: &mut Cx<'_, Self>,
        resource: &ResourceId,
        cause: &str,
    ) {
        let Some(worker) = self.forget_task_executor(resource) else {
            return;
        };
        // In case it lives: so that it registers again at once and not after its own timeout.
        self.close_task_executor(cx, &worker.registration.address, cause);
        self.tell_loss_to_jobs(cx, resource, cause);
        self.request_check(cx);
    }

    fn forget_task_executor(&mut self, resource: &ResourceId) -> Option<TaskExecutor> {
        let worker = self.task_executors.remove(resource)?;
        self.slots.unregister_worker(resource);
        self.heartbeats.unmonitor(&Target::TaskExecutor(resource.clone()));
        Some(worker)
    }

    fn tell_loss_to_jobs(&self, cx: &mut Cx<'_, Self>, resource: &ResourceId, cause: &str) {
        for master in self.jobs.values().filter_map(|job| job.master.as_ref()) {
            let message = ToJobMaster::DisconnectTaskExecutor {
                resource: resource.clone(),
                cause: cause.to_owned(),
            };
            tell_job_master(cx, &master.address, master.token, message);
        }
    }

    pub(super) fn close_task_executor(&self, cx: &mut Cx<'_, Self>, to: &Address, cause: &str) {
        let message = ToTaskExecutor::DisconnectResourceManager {
            resource_manager: self.fence.token(),
            cause: cause.to_owned(),
        };
        tell_task_executor(cx, to, message);
    }

    /// Whether this is the worker's current registration.
    fn serves_task_executor(&mut self, resource: &ResourceId, instance: InstanceId) -> bool {
        let known = self.task_executors.get(resource);
        let current = known.is_some_and(|worker| worker.instance == instance);
        let blind = known.is_some() && mutant::on("forget_stale_instance_check");
        if !current && !blind {
            self.counters.stale += 1;
            return false;
        }
        self.served = Some(Served::TaskExecutor(resource.clone(), instance));
        true
    }
}
