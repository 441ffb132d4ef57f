//! Job masters: registration, declared needs, the loss of a job master.
//!
//! A job whose master is lost keeps its needs for a while: the master comes back and finds its
//! slots. Only a globally terminal end, or a long absence, lets the job be forgotten.

use super::config::ResourceManagerTimer;
use super::known::{Job, JobMaster};
use super::machine::{ResourceManager, Served, Target, tell_job_master, tell_task_executor};
use crate::mutant;
use millstream_core::ids::{FencingToken, JobId};
use millstream_core::status::JobStatus;
use millstream_rpc::machine::{Cx, Effect};
use millstream_rpc::protocol::job_master::ToJobMaster;
use millstream_rpc::protocol::resource::ResourceRequirement;
use millstream_rpc::protocol::resource_manager::ResourceManagerAnswer;
use millstream_rpc::protocol::task_executor::ToTaskExecutor;
use millstream_rpc::protocol::{Address, Answer, Refusal};

impl ResourceManager {
    /// Without high availability there is nobody else to ask who leads the job: the newest
    /// registration is believed.
    pub(super) fn register_job_master(
        &mut self,
        cx: &mut Cx<'_, Self>,
        job: JobId,
        token: FencingToken,
        address: Address,
    ) -> Answer {
        let former = self.jobs.get_mut(&job).and_then(|job| job.master.take());
        let same = former.as_ref().is_some_and(|master| master.token == token);
        if let Some(former) = former.as_ref().filter(|_| !same) {
            self.close_job_master(cx, former, "another job master leads the job");
        }
        let master = JobMaster {
            token,
            address,
            // The same master again: its answer was lost or came late, its needs stand.
            declared: same && former.is_some_and(|master| master.declared),
        };
        let known = Job { master: Some(master), forget_at: None, told: None };
        self.jobs.insert(job, known);
        self.watch(cx, Target::JobMaster(job));
        cx.out.push(Effect::ClearTimer { timer: ResourceManagerTimer::JobTimeout(job) });
        Answer::ResourceManager(ResourceManagerAnswer::JobMasterRegistered {
            resource_manager: self.resource.clone(),
            token: self.fence.token(),
        })
    }

    pub(super) fn declare_required_resources(
        &mut self,
        cx: &mut Cx<'_, Self>,
        job: JobId,
        token: FencingToken,
        required: &[ResourceRequirement],
    ) -> Answer {
        if !self.serves_job_master(job, token) {
            let who = format!("registration of job master {token} of job {job}");
            return Answer::Refused(Refusal::Unknown(who));
        }
        if let Some(master) = self.jobs.get_mut(&job).and_then(|job| job.master.as_mut()) {
            master.declared = true;
        }
        if self.slots.declare(job, required) {
            self.reclaim_slots(cx, job);
        }
        self.request_check(cx);
        Answer::Ack
    }

    pub(super) fn heartbeat_from_job_master(
        &mut self,
        cx: &mut Cx<'_, Self>,
        job: JobId,
        token: FencingToken,
    ) -> Option<Answer> {
        if self.serves_job_master(job, token) {
            self.heartbeats.heard(&Target::JobMaster(job), cx.now);
        }
        None
    }

    pub(super) fn disconnect_job_master(
        &mut self,
        cx: &mut Cx<'_, Self>,
        job: JobId,
        status: JobStatus,
    ) -> Option<Answer> {
        if status.is_globally_terminal() {
            self.forget_job(cx, job);
        } else if self.release_job_master(cx, job).is_none() {
            self.counters.stale += 1;
        }
        None
    }

    /// The job master is lost.
    pub(super) fn lose_job_master(&mut self, cx: &mut Cx<'_, Self>, job: JobId, cause: &str) {
        if let Some(master) = self.release_job_master(cx, job) {
            // In case it lives: so that it registers again at once.
            self.close_job_master(cx, &master, cause);
        }
    }

    /// The job has no master from now on; it keeps what it has and what was declared for it.
    fn release_job_master(&mut self, cx: &mut Cx<'_, Self>, job: JobId) -> Option<JobMaster> {
        let known = self.jobs.get_mut(&job)?;
        let master = known.master.take()?;
        let forget_at = cx.now + self.config.job_timeout_ms;
        known.forget_at = Some(forget_at);
        known.told = None;
        self.heartbeats.unmonitor(&Target::JobMaster(job));
        cx.out
            .push(Effect::SetTimer { timer: ResourceManagerTimer::JobTimeout(job), at: forget_at });
        Some(master)
    }

    pub(super) fn on_job_timeout(&mut self, cx: &mut Cx<'_, Self>, job: JobId) {
        let forget_at = self.jobs.get(&job).and_then(|known| known.forget_at);
        if forget_at.is_some_and(|at| at <= cx.now) {
            self.forget_job(cx, job);
        }
    }

    /// The job needs nothing any more. Slots that it still holds come back with their worker's
    /// word.
    fn forget_job(&mut self, cx: &mut Cx<'_, Self>, job: JobId) {
        if self.jobs.remove(&job).is_none() {
            self.counters.stale += 1;
            return;
        }
        self.heartbeats.unmonitor(&Target::JobMaster(job));
        cx.out.push(Effect::ClearTimer { timer: ResourceManagerTimer::JobTimeout(job) });
        if self.slots.declare(job, &[]) {
            self.reclaim_slots(cx, job);
        }
    }

    /// The job has more than it needs: its workers free what it has not taken into use. Slots that
    /// it still needs and had not yet taken may go too; they are granted anew.
    fn reclaim_slots(&self, cx: &mut Cx<'_, Self>, job: JobId) {
        for resource in self.slots.workers_of(job) {
            let Some(worker) = self.task_executors.get(&resource) else {
                continue;
            };
            let message =
                ToTaskExecutor::FreeInactiveSlots { job, resource_manager: self.fence.token() };
            tell_task_executor(cx, &worker.registration.address, message);
        }
    }

    pub(super) fn close_job_master(&self, cx: &mut Cx<'_, Self>, master: &JobMaster, cause: &str) {
        let message = ToJobMaster::DisconnectResourceManager {
            token: self.fence.token(),
            cause: cause.to_owned(),
        };
        tell_job_master(cx, &master.address, master.token, message);
    }

    /// Whether this is the job's registered master.
    fn serves_job_master(&mut self, job: JobId, token: FencingToken) -> bool {
        let master = self.jobs.get(&job).and_then(|job| job.master.as_ref());
        let current = master.is_some_and(|master| master.token == token);
        let blind = master.is_some() && mutant::on("forget_job_master_check");
        if !current && !blind {
            self.counters.stale += 1;
            return false;
        }
        self.served = Some(Served::JobMaster(job, token));
        true
    }
}
