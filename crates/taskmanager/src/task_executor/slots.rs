//! Slots: held for a job when the resource manager asks, offered to its master, given back.

use super::{Admitted, Context, Pending, TaskExecutor, Timer};
use crate::child::Action;
use crate::config::Leader;
use crate::job_table::{Job, MasterLink};
use crate::mutant;
use crate::slot_table::{Allocation, Freed, Release, SlotState, Ticket};
use millstream_core::ids::{AllocationId, FencingToken, JobId};
use millstream_core::time::Mono;
use millstream_rpc::machine::Effect;
use millstream_rpc::protocol::job_master::{JobMasterAnswer, ToJobMaster};
use millstream_rpc::protocol::resource::{ResourceProfile, SlotId};
use millstream_rpc::protocol::task_executor::TaskExecutorAnswer;
use millstream_rpc::protocol::{Address, Answer, AskError, Message, Refusal};
use std::collections::BTreeSet;

impl TaskExecutor {
    /// The resource manager wants the slot held for the job. (That it is the right one was checked.)
    pub(super) fn on_request_slot(
        &mut self,
        cx: &mut Context<'_>,
        slot: SlotId,
        job: JobId,
        allocation: AllocationId,
        profile: ResourceProfile,
        job_master: Address,
    ) -> Result<Answer, Refusal> {
        if slot.resource != self.config.resource {
            // Our process has the address of one that was restarted.
            return Err(Refusal::Unknown(format!("slot {slot}")));
        }
        if !self.slots.profile().meets(&profile) {
            return Err(Refusal::Invalid(format!("slot {slot} has less than is required")));
        }
        let until = cx.now + self.config.slot_timeout_ms;
        match self.slots.allocate(slot.index, job, allocation, until) {
            Allocation::New(ticket) => {
                self.set_slot_timer(cx, allocation, ticket, until);
                let token = self.resource_manager.token().unwrap_or_default();
                self.serve_job(cx, job, job_master, token);
                self.offer_slots(cx, job);
                Ok(Answer::Ack)
            }
            Allocation::Known => Ok(Answer::Ack),
            Allocation::Occupied { allocation, job } => {
                Ok(Answer::TaskExecutor(TaskExecutorAnswer::SlotOccupied { allocation, job }))
            }
            Allocation::Elsewhere(index) => {
                Err(Refusal::Invalid(format!("allocation {allocation} lives in slot {index}")))
            }
            Allocation::NoSuchSlot => Err(Refusal::Unknown(format!("slot {slot}"))),
        }
    }

    /// A slot is held for the job: it has an entry and somebody who connects to its master.
    fn serve_job(
        &mut self,
        cx: &mut Context<'_>,
        id: JobId,
        address: Address,
        token: FencingToken,
    ) {
        let config = &self.config;
        let job = self.jobs.entry(id).or_insert_with(|| {
            let timeout_ms = config.task_cancellation_timeout_ms;
            Job::new(config.child, config.resource.clone(), timeout_ms)
        });
        let mut actions = Vec::new();
        job.child.become_busy(&mut actions);
        let known = job.link.as_ref().is_some_and(|link| link.leader.address == address);
        self.perform(cx, id, actions);
        if !known {
            // A master elsewhere takes the place of the one we knew: what that one had here fails.
            self.fail_all_of_job_master(cx, id, "another job master has taken its place");
            self.connect_to_job_master(cx, id, Leader { address, token });
        }
    }

    fn connect_to_job_master(&mut self, cx: &mut Context<'_>, id: JobId, leader: Leader) {
        let session = self.draw_number();
        let registration = self.config.registration;
        if let Some(job) = self.jobs.get_mut(&id) {
            job.link = Some(MasterLink::new(session, leader, registration));
            self.register_at_job_master(cx, id);
        }
    }

    fn set_slot_timer(
        &mut self,
        cx: &mut Context<'_>,
        allocation: AllocationId,
        ticket: Ticket,
        at: Mono,
    ) {
        let timer = Timer::Slot { allocation, ticket };
        cx.out.push(Effect::SetTimer { timer, at });
    }

    /// Offers all slots that wait for the job's master, under a number of its own: an answer to an
    /// earlier offer says nothing about the slots that came after it.
    pub(super) fn offer_slots(&mut self, cx: &mut Context<'_>, id: JobId) {
        let offers = self.slots.offers(id);
        let number = self.draw_number();
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        let Some(link) = job.link.as_mut().filter(|link| link.master.is_some()) else {
            return; // Offered when we are registered there.
        };
        if offers.is_empty() {
            link.offer = None;
            return;
        }
        link.offer = Some(number);
        let (session, leader) = (link.session, link.leader.clone());
        let pending = Pending::Offer {
            job: id,
            session,
            offer: number,
            slots: offers.iter().map(|offer| offer.allocation).collect(),
        };
        let message = Message::JobMaster(ToJobMaster::OfferSlots {
            resource: self.config.resource.clone(),
            slots: offers,
        });
        let timeout_ms = self.config.offer_timeout_ms();
        self.ask(cx, (leader.address, leader.token), message, timeout_ms, pending);
    }

    pub(super) fn on_offer_answer(
        &mut self,
        cx: &mut Context<'_>,
        (id, session, offer): (JobId, u64, u64),
        slots: &BTreeSet<AllocationId>,
        result: Result<Answer, AskError>,
    ) {
        let found = (session, Some(offer));
        let link = self.jobs.get_mut(&id).and_then(|job| job.link.as_mut());
        let counts = |link: &&mut MasterLink| {
            mutant::on("late_offer_answer_counts") || (link.session, link.offer) == found
        };
        let Some(link) = link.filter(counts) else {
            self.counters.stale_answers += 1;
            return;
        };
        let expected = (link.session, link.offer);
        self.admitted = Some(Admitted::Offer { found, expected });
        link.offer = None;
        match result {
            Ok(Answer::JobMaster(JobMasterAnswer::SlotsAccepted(accepted))) => {
                self.on_offer_accepted(cx, id, slots, &accepted);
            }
            // The master has forgotten us, or is another by now: what we are to it, we learn by
            // registering again.
            Ok(Answer::Refused(Refusal::Unknown(_) | Refusal::Fenced { .. })) => {
                self.lose_job_master(cx, id, "the job master does not know this task manager");
            }
            // Nobody knows whether it was taken. To ask again is harmless, and the slot's own
            // timeout bounds it.
            Err(AskError::Timeout { .. }) => self.offer_slots(cx, id),
            Err(_) | Ok(Answer::Refused(Refusal::NotReady(_))) => {
                let timer = Timer::Offer { job: id, session };
                let at = cx.now + self.config.retry_delay_ms;
                cx.out.push(Effect::SetTimer { timer, at });
            }
            Ok(_) => self.on_offer_accepted(cx, id, slots, &BTreeSet::new()),
        }
    }

    pub(super) fn on_offer_timer(&mut self, cx: &mut Context<'_>, id: JobId, session: u64) {
        let link = self.jobs.get(&id).and_then(|job| job.link.as_ref());
        if link.is_some_and(|link| link.session == session && link.offer.is_none()) {
            self.offer_slots(cx, id);
        } else {
            self.counters.stale_timers += 1;
        }
    }

    fn on_offer_accepted(
        &mut self,
        cx: &mut Context<'_>,
        id: JobId,
        offered: &BTreeSet<AllocationId>,
        accepted: &BTreeSet<AllocationId>,
    ) {
        for allocation in offered {
            let holder = self.slots.get(allocation).map(|slot| slot.job);
            if holder.is_some_and(|holder| holder != id) {
                continue; // The grant is another job's by now.
            }
            if !accepted.contains(allocation) {
                self.release_slot(cx, *allocation, "the job master does not need the slot");
            } else if !self.activate_slot(cx, *allocation) {
                // It timed out or was reclaimed meanwhile; the master must not deploy to it.
                self.tell_slot_failed(cx, id, *allocation, "the slot is no longer held");
            }
        }
    }

    /// The slot's master uses it: it does not time out any more. False if it is not held.
    pub(super) fn activate_slot(&mut self, cx: &mut Context<'_>, allocation: AllocationId) -> bool {
        let before = self.slots.get(&allocation).map(|slot| slot.state.clone());
        if let Some(SlotState::Allocated { ticket, .. }) = before {
            let timer = Timer::Slot { allocation, ticket };
            cx.out.push(Effect::ClearTimer { timer });
        }
        self.slots.activate(allocation)
    }

    /// The slot's master is gone: it waits again, for the next one.
    pub(super) fn deactivate_slot(&mut self, cx: &mut Context<'_>, allocation: AllocationId) {
        let until = cx.now + self.config.slot_timeout_ms;
        if let Some(ticket) = self.slots.deactivate(allocation, until) {
            self.set_slot_timer(cx, allocation, ticket, until);
        }
    }

    pub(super) fn on_slot_timeout(
        &mut self,
        cx: &mut Context<'_>,
        allocation: AllocationId,
        ticket: Ticket,
    ) {
        if !self.slots.has_timed_out(allocation, ticket, cx.now) {
            self.counters.stale_timers += 1;
            return;
        }
        let waited = self.config.slot_timeout_ms;
        let release = self.slots.expire(allocation, cx.now);
        let cause = format!("no job master has taken the slot for {waited} ms");
        self.after_release(cx, release, &cause);
    }

    /// The resource manager reclaims what the job does not use.
    pub(super) fn free_inactive_slots(&mut self, cx: &mut Context<'_>, job: JobId) {
        for offer in self.slots.offers(job) {
            let cause = "the resource manager reclaimed the unused slot";
            self.release_slot(cx, offer.allocation, cause);
        }
    }

    /// Gives the slot back; its tasks fail. What is not held is given back already.
    pub(super) fn release_slot(
        &mut self,
        cx: &mut Context<'_>,
        allocation: AllocationId,
        cause: &str,
    ) {
        let release = self.slots.release(allocation);
        self.after_release(cx, release, cause);
    }

    /// Gives back all slots of a job.
    pub(super) fn release_slots_of(&mut self, cx: &mut Context<'_>, job: JobId, cause: &str) {
        let all: Vec<_> = self.slots.of_job(job).map(|(id, _)| *id).collect();
        for allocation in all {
            self.release_slot(cx, allocation, cause);
        }
    }

    fn after_release(&mut self, cx: &mut Context<'_>, release: Release, cause: &str) {
        match release {
            Release::Freed(freed) => self.on_slot_freed(cx, freed),
            Release::Waiting(tasks) => {
                for attempt in tasks {
                    let message = format!("its slot was given back: {cause}");
                    self.fail_task(cx, attempt, message);
                }
            }
            Release::Unknown => (),
        }
    }

    /// The slot is empty: only now may the resource manager give it to others.
    pub(super) fn on_slot_freed(&mut self, cx: &mut Context<'_>, freed: Freed) {
        self.tell_slot_available(cx, freed);
        if self.slots.of_job(freed.job).next().is_none() {
            let mut actions: Vec<Action> = Vec::new();
            if let Some(job) = self.jobs.get_mut(&freed.job) {
                job.child.become_idle(cx.now, &mut actions);
            }
            self.perform(cx, freed.job, actions);
        }
        self.tidy_job(cx, freed.job);
    }
}
