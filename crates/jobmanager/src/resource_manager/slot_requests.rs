//! Grants and what comes of them; telling jobs that they are short.
//!
//! A worker is asked for each slot that is granted. Its answer may be lost: then nobody knows
//! whether it holds the slot, and instead of guessing it is asked how its slots stand, by a
//! heartbeat out of turn. Meanwhile the job is served from elsewhere if that is possible.

use super::config::ResourceManagerTimer;
use super::known::SlotRequest;
use super::machine::{ResourceManager, Target, tell_job_master};
use super::pacing::Pace;
use crate::mutant;
use crate::slot_manager::{Grant, GrantedSlot};
use millstream_core::ids::JobId;
use millstream_rpc::machine::{AskId, Cx, Effect};
use millstream_rpc::protocol::job_master::ToJobMaster;
use millstream_rpc::protocol::task_executor::{TaskExecutorAnswer, ToTaskExecutor};
use millstream_rpc::protocol::{Answer, AskError, Message};

impl ResourceManager {
    /// Needs or slots have changed.
    pub(super) fn request_check(&mut self, cx: &mut Cx<'_, Self>) {
        let pace = self.pacing.request(cx.now);
        self.follow(cx, pace);
    }

    /// Slots have vanished that will probably be reported again in a moment.
    pub(super) fn request_check_later(&mut self, cx: &mut Cx<'_, Self>) {
        let pace = self.pacing.request_later(cx.now);
        self.follow(cx, pace);
    }

    fn follow(&mut self, cx: &mut Cx<'_, Self>, pace: Pace) {
        match pace {
            Pace::Now => self.check_requirements(cx),
            Pace::At(at) => {
                cx.out.push(Effect::SetTimer { timer: ResourceManagerTimer::RequirementCheck, at });
            }
            Pace::Arranged => {}
        }
    }

    /// Compares needs and slots, and asks workers for what jobs lack.
    pub(super) fn check_requirements(&mut self, cx: &mut Cx<'_, Self>) {
        let jobs = &self.jobs;
        let is_ready = |job: JobId| {
            let known = jobs.get(&job);
            known.is_some_and(|known| known.ready_master().is_some())
        };
        let granted = self.slots.grant_missing(is_ready, cx.rng);
        self.pacing.checked(cx.now, !granted.is_empty());
        for slot in granted {
            self.ask_for_slot(cx, slot);
        }
        self.tell_shortages(cx);
    }

    fn ask_for_slot(&mut self, cx: &mut Cx<'_, Self>, granted: GrantedSlot) {
        let GrantedSlot { slot, grant, profile } = granted;
        let worker = &self.task_executors[&slot.resource];
        let job_master = self.jobs[&grant.job].ready_master();
        let job_master = job_master.expect("only a ready job is granted a slot");
        self.asks_made += 1;
        let ask = AskId(self.asks_made);
        cx.out.push(Effect::Ask {
            ask,
            to: worker.registration.address.clone(),
            token: None,
            message: Message::TaskExecutor(ToTaskExecutor::RequestSlot {
                slot: slot.clone(),
                job: grant.job,
                allocation: grant.allocation,
                profile,
                job_master: job_master.address.clone(),
                resource_manager: self.fence.token(),
            }),
            timeout_ms: self.config.ask_timeout_ms,
        });
        let allocation = grant.allocation;
        self.asks.insert(ask, SlotRequest { slot, allocation });
    }

    pub(super) fn on_answered(
        &mut self,
        cx: &mut Cx<'_, Self>,
        ask: AskId,
        result: Result<Answer, AskError>,
    ) {
        let Some(request) = self.asks.remove(&ask) else {
            self.counters.stale += 1;
            return;
        };
        match result {
            Ok(Answer::Ack) => self.on_slot_acknowledged(cx, &request),
            Ok(Answer::TaskExecutor(TaskExecutorAnswer::SlotOccupied { allocation, job })) => {
                self.on_slot_occupied(cx, &request, Grant { allocation, job });
            }
            Ok(Answer::Refused(_)) => self.on_slot_refused(cx, &request),
            // An answer of another kind says as little as none.
            Ok(_) | Err(AskError::Timeout { .. } | AskError::Unreadable { .. }) => {
                self.on_slot_unknown(cx, &request);
            }
            // Also when nobody is there now, somebody may have been when the ask arrived.
            Err(AskError::Unreachable { reason, .. }) => {
                self.on_slot_unknown(cx, &request);
                self.on_unreachable(cx, &request, &reason);
            }
        }
    }

    fn on_slot_acknowledged(&mut self, cx: &mut Cx<'_, Self>, request: &SlotRequest) {
        if !self.slots.acknowledged(&request.slot, request.allocation) {
            // The worker holds a grant that we have given up: let it say how things stand.
            self.counters.stale += 1;
            self.probe(cx, request);
        }
    }

    fn on_slot_occupied(&mut self, cx: &mut Cx<'_, Self>, request: &SlotRequest, holder: Grant) {
        if holder.allocation == request.allocation {
            return self.on_slot_acknowledged(cx, request);
        }
        let news = self.slots.occupied(&request.slot, request.allocation, holder);
        if news {
            self.request_check(cx);
        } else {
            self.counters.stale += 1;
        }
    }

    fn on_slot_refused(&mut self, cx: &mut Cx<'_, Self>, request: &SlotRequest) {
        match self.slots.refused(&request.slot, request.allocation) {
            Some(refusals) => {
                let pace = self.pacing.request_retry(cx.now, refusals);
                self.follow(cx, pace);
            }
            None => self.counters.stale += 1,
        }
    }

    /// Whether the worker holds the slot is unknown: it is asked how its slots stand, and the job
    /// need not wait for that.
    fn on_slot_unknown(&mut self, cx: &mut Cx<'_, Self>, request: &SlotRequest) {
        if mutant::on("leak_slot_on_lost_ack") {
            return;
        }
        let open = self.slots.outcome_unknown(&request.slot, request.allocation);
        if open {
            self.probe(cx, request);
            self.request_check(cx);
        }
    }

    fn on_unreachable(&mut self, cx: &mut Cx<'_, Self>, request: &SlotRequest, reason: &str) {
        let resource = &request.slot.resource;
        let target = Target::TaskExecutor(resource.clone());
        if self.heartbeats.unreachable(&target) {
            self.lose_task_executor(cx, resource, reason);
        }
    }

    /// Asks the worker for a heartbeat out of turn: with it comes a slot report.
    fn probe(&self, cx: &mut Cx<'_, Self>, request: &SlotRequest) {
        if let Some(worker) = self.task_executors.get(&request.slot.resource) {
            self.request_heartbeat_of_task_executor(cx, worker);
        }
    }

    /// Tells jobs that are short of slots what they have, so that they can say what they wait for.
    /// During the start-up grace a job hears it when it changes, after that whenever slots were
    /// compared. It is for the job to decide when it has waited long enough.
    pub(super) fn tell_shortages(&mut self, cx: &mut Cx<'_, Self>) {
        for (id, job) in &mut self.jobs {
            let Some(master) = job.ready_master() else {
                continue;
            };
            if self.slots.missing(*id).is_empty() {
                job.told = None;
                continue;
            }
            let acquired = self.slots.acquired(*id);
            if !self.grace_over && job.told.as_ref() == Some(&acquired) {
                continue;
            }
            let message = ToJobMaster::NotifyNotEnoughResources { acquired: acquired.clone() };
            tell_job_master(cx, &master.address, master.token, message);
            job.told = Some(acquired);
        }
    }
}
