//! The connections to job masters: registration, heartbeats, loss.

use super::{Admitted, Context, Pending, TaskExecutor, Timer};
use crate::mutant;
use crate::op::{NO_ANSWER, Op};
use crate::slot_table::SlotState;
use millstream_core::ids::{AllocationId, ExecutionAttemptId, FencingToken, JobId, ResourceId};
use millstream_rpc::machine::Effect;
use millstream_rpc::protocol::job_master::{JobMasterAnswer, ToJobMaster};
use millstream_rpc::protocol::{Answer, AskError, Message, Refusal};
use millstream_rpc::registration::{Next, Outcome};
use std::collections::BTreeSet;

/// What an answer to a registration means.
struct Read {
    outcome: Outcome,
    /// The master's process, if we are registered.
    master: Option<ResourceId>,
    /// The master's term, if the answer names another one than we believed in. It is the one at the
    /// address that the resource manager gave us, so it is the one we want; and we only learn whom
    /// to speak to, the master checks everything itself.
    token: Option<FencingToken>,
    /// Why not.
    cause: String,
}

impl TaskExecutor {
    /// Begins (anew) to become known to the job's master.
    pub(super) fn register_at_job_master(&mut self, cx: &mut Context<'_>, id: JobId) {
        let link = self.jobs.get_mut(&id).and_then(|job| job.link.as_mut());
        if let Some(link) = link {
            let next = link.registration.start();
            self.register_at_job_master_next(cx, id, next);
        }
    }

    fn register_at_job_master_next(&mut self, cx: &mut Context<'_>, id: JobId, next: Next) {
        let Some(link) = self.jobs.get(&id).and_then(|job| job.link.as_ref()) else {
            return;
        };
        let session = link.session;
        match next {
            Next::Ask { timeout_ms } => {
                let pending = Pending::RegisterAtJobMaster {
                    job: id,
                    session,
                    registration: link.registration.attempt(),
                };
                let to = (link.leader.address.clone(), link.leader.token);
                let message = Message::JobMaster(ToJobMaster::RegisterTaskExecutor {
                    job: id,
                    resource: self.config.resource.clone(),
                    address: self.config.address.clone(),
                    data_address: self.config.data_address.clone(),
                });
                self.ask(cx, to, message, timeout_ms, pending);
            }
            Next::WakeAt(at) => {
                let timer = Timer::JobMasterRegistration { job: id, session };
                cx.out.push(Effect::SetTimer { timer, at });
            }
            // The two ends are handled where the answer is; a stale input does nothing.
            Next::Registered | Next::GiveUp | Next::Ignore => (),
        }
    }

    pub(super) fn on_job_master_wake(&mut self, cx: &mut Context<'_>, id: JobId, session: u64) {
        let link = self.jobs.get_mut(&id).and_then(|job| job.link.as_mut());
        let Some(link) = link.filter(|link| link.session == session) else {
            self.counters.stale_timers += 1;
            return;
        };
        let next = link.registration.on_wake(cx.now);
        self.register_at_job_master_next(cx, id, next);
    }

    pub(super) fn on_job_master_answer(
        &mut self,
        cx: &mut Context<'_>,
        id: JobId,
        session: u64,
        attempt: u64,
        result: Result<Answer, AskError>,
    ) {
        let link = self.jobs.get_mut(&id).and_then(|job| job.link.as_mut());
        let Some(link) = link.filter(|link| link.session == session) else {
            self.counters.stale_answers += 1;
            return;
        };
        let read = read_answer(result);
        let news = read.token.filter(|token| *token != link.leader.token);
        if let Some(token) = news.filter(|_| link.registration.attempt() == attempt) {
            link.leader.token = token;
            return self.register_at_job_master(cx, id);
        }
        match link.registration.on_outcome(attempt, read.outcome, cx.now) {
            Next::Registered => {
                link.master = read.master;
                self.on_job_master_connected(cx, id);
            }
            Next::GiveUp => {
                let cause = format!("the job master does not want it: {}", read.cause);
                self.release_slots_of(cx, id, &cause);
                self.tidy_job(cx, id);
            }
            Next::Ignore => self.counters.stale_answers += 1,
            next => self.register_at_job_master_next(cx, id, next),
        }
    }

    fn on_job_master_connected(&mut self, cx: &mut Context<'_>, id: JobId) {
        self.job_master_heartbeats.monitor(id, cx.now);
        self.offer_slots(cx, id);
        // Ends of attempts that nobody could be told while there was no connection.
        let attempts: Vec<ExecutionAttemptId> = match self.jobs.get(&id) {
            Some(job) => job.tasks.keys().copied().collect(),
            None => Vec::new(),
        };
        for attempt in attempts {
            self.tell_next(cx, id, attempt);
        }
        self.tidy_job(cx, id);
    }

    /// Whether the message comes from the master at which we are registered for the job.
    pub(super) fn require_job_master(
        &mut self,
        id: JobId,
        found: FencingToken,
    ) -> Result<(), Refusal> {
        let Some(link) = self.jobs.get(&id).and_then(|job| job.connected()) else {
            let text = format!("not registered at the master of job {id}");
            return Err(Refusal::NotReady(text));
        };
        let expected = link.leader.token;
        if expected == found || mutant::on("job_master_id_not_checked") {
            self.admitted = Some(Admitted::JobMaster { found, expected });
            return Ok(());
        }
        Err(Refusal::Fenced { expected: Some(expected), found: Some(found) })
    }

    /// The master's heartbeat: both sides compare what they hold.
    pub(super) fn on_job_master_heartbeat(
        &mut self,
        cx: &mut Context<'_>,
        id: JobId,
        token: FencingToken,
        believed: &BTreeSet<AllocationId>,
    ) -> Result<Answer, Refusal> {
        self.require_job_master(id, token)?;
        self.job_master_heartbeats.heard(&id, cx.now);
        self.answer_heartbeat(cx, id);
        let held: BTreeSet<AllocationId> = self
            .slots
            .of_job(id)
            .filter(|(_, slot)| slot.state != SlotState::Releasing)
            .map(|(allocation, _)| *allocation)
            .collect();
        for allocation in believed.difference(&held) {
            self.tell_slot_failed(cx, id, *allocation, "the task manager does not hold the slot");
        }
        for allocation in self.unlisted_twice(id, believed) {
            self.release_slot(cx, allocation, "the job master does not list it any more");
        }
        Ok(Answer::Ack)
    }

    /// Active slots that neither this heartbeat of the master lists nor the one before. One alone
    /// may be older than the master's acceptance of the slot, which comes over another connection;
    /// for the same reason slots that still wait are not looked at.
    fn unlisted_twice(
        &mut self,
        id: JobId,
        believed: &BTreeSet<AllocationId>,
    ) -> Vec<AllocationId> {
        let active = self.slots.of_job(id).filter(|(_, slot)| slot.state == SlotState::Active);
        let unlisted = active.map(|(allocation, _)| *allocation);
        let unlisted: BTreeSet<_> = unlisted.filter(|it| !believed.contains(it)).collect();
        let Some(job) = self.jobs.get_mut(&id) else {
            return Vec::new();
        };
        let before = std::mem::replace(&mut job.unlisted, unlisted.clone());
        unlisted.intersection(&before).copied().collect()
    }

    fn answer_heartbeat(&mut self, cx: &mut Context<'_>, id: JobId) {
        let Some(job) = self.jobs.get(&id) else {
            return;
        };
        // An attempt whose end has not been confirmed is still listed: a master that misses it
        // would take a finished task for a lost one.
        let executions = job.tasks.keys().copied().collect();
        let metrics = job.tasks.iter().map(|(id, task)| (*id, task.metrics.clone()));
        let answer = ToJobMaster::HeartbeatFromTaskExecutor {
            resource: self.config.resource.clone(),
            executions,
            metrics: metrics.collect(),
        };
        self.tell_job_master(cx, id, answer);
    }

    pub(super) fn tell_slot_failed(
        &mut self,
        cx: &mut Context<'_>,
        job: JobId,
        allocation: AllocationId,
        cause: &str,
    ) {
        let news = ToJobMaster::FailSlot {
            resource: self.config.resource.clone(),
            allocation,
            cause: cause.to_owned(),
        };
        self.tell_job_master(cx, job, news);
    }

    /// Tells the master, if we are registered there.
    pub(super) fn tell_job_master(
        &mut self,
        cx: &mut Context<'_>,
        id: JobId,
        message: ToJobMaster,
    ) {
        if let Some(link) = self.jobs.get(&id).and_then(|job| job.connected()) {
            cx.out.push(Effect::Tell {
                to: link.leader.address.clone(),
                token: Some(link.leader.token),
                message: Message::JobMaster(message),
            });
        }
    }

    /// Tells the master that we leave, also if it has not answered our registration yet: it may
    /// have taken it.
    pub(super) fn say_farewell(&mut self, cx: &mut Context<'_>, id: JobId, cause: &str) {
        let link = self.jobs.get(&id).and_then(|job| job.link.as_ref());
        if let Some(link) = link {
            cx.out.push(Effect::Tell {
                to: link.leader.address.clone(),
                token: Some(link.leader.token),
                message: Message::JobMaster(ToJobMaster::DisconnectTaskExecutor {
                    resource: self.config.resource.clone(),
                    cause: cause.to_owned(),
                }),
            });
        }
    }

    /// The master is gone for us: its tasks fail, its slots wait for its return, and we try to
    /// become known to it again at once.
    pub(super) fn lose_job_master(&mut self, cx: &mut Context<'_>, id: JobId, cause: &str) {
        if self.fail_all_of_job_master(cx, id, cause) {
            if self.slots.of_job(id).next().is_some() {
                self.register_at_job_master(cx, id);
            }
            self.tidy_job(cx, id);
        }
    }

    /// The job has ended for good: its master is gone and nobody comes after it. Its slots are free,
    /// its process is not kept for a restart.
    pub(super) fn retire_job(&mut self, cx: &mut Context<'_>, id: JobId, cause: &str) {
        self.disconnect_job_master(id);
        let mut actions = Vec::new();
        if let Some(job) = self.jobs.get_mut(&id) {
            job.child.retire(cx.now, &mut actions);
        }
        self.perform(cx, id, actions);
        self.release_slots_of(cx, id, cause);
        self.tidy_job(cx, id);
    }

    /// What the loss of the master means for its tasks and slots; false if we were not registered
    /// there.
    pub(super) fn fail_all_of_job_master(
        &mut self,
        cx: &mut Context<'_>,
        id: JobId,
        cause: &str,
    ) -> bool {
        if !self.disconnect_job_master(id) {
            return false;
        }
        let Some(job) = self.jobs.get(&id) else {
            return false;
        };
        let live: Vec<_> = job.live_tasks().map(|(attempt, _)| *attempt).collect();
        for attempt in live {
            let message = format!("the job master was lost: {cause}");
            self.fail_task(cx, attempt, message);
        }
        let active = self.slots.of_job(id).map(|(allocation, _)| *allocation);
        for allocation in active.collect::<Vec<_>>() {
            self.deactivate_slot(cx, allocation);
        }
        true
    }

    /// Ends the connection on our side, and with it whatever is on its way over it; whether there
    /// was one.
    pub(super) fn disconnect_job_master(&mut self, id: JobId) -> bool {
        self.job_master_heartbeats.unmonitor(&id);
        let session = self.draw_number();
        let Some(job) = self.jobs.get_mut(&id) else {
            return false;
        };
        let Some(link) = job.link.as_mut() else {
            return false;
        };
        let was_connected = link.master.take().is_some();
        if was_connected {
            link.session = session;
            link.offer = None;
            job.unlisted.clear();
            for task in job.tasks.values_mut() {
                task.telling = None;
                task.split.asked = None;
            }
        }
        was_connected
    }

    /// Takes away what the job does not need here any more: the connection to its master when
    /// nothing is left to tell, the entry when its child is gone too.
    pub(super) fn tidy_job(&mut self, cx: &mut Context<'_>, id: JobId) {
        if self.slots.of_job(id).next().is_some() {
            return;
        }
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        if job.connected().is_none() {
            // Nobody is there to be told, and nobody will be: we only connect for slots.
            job.tasks.retain(|_, task| task.is_live());
        }
        if !job.tasks.is_empty() {
            return;
        }
        if job.link.is_some() {
            self.say_farewell(cx, id, "the job has no slot here any more");
            self.disconnect_job_master(id);
        }
        if let Some(job) = self.jobs.get_mut(&id) {
            job.link = None;
            if job.child.is_absent() {
                self.jobs.remove(&id);
                let (op, what) = (NO_ANSWER, Op::ReleaseJob { job: id });
                cx.out.push(Effect::Op { op, what });
            }
        }
    }
}

fn read_answer(result: Result<Answer, AskError>) -> Read {
    let read = |outcome, cause: String| Read { outcome, master: None, token: None, cause };
    match result {
        Ok(Answer::JobMaster(JobMasterAnswer::TaskExecutorRegistered { job_master })) => {
            Read { master: Some(job_master), ..read(Outcome::Success, String::new()) }
        }
        Ok(Answer::JobMaster(JobMasterAnswer::Rejected { cause })) => {
            read(Outcome::Rejected, cause)
        }
        Ok(Answer::Refused(Refusal::Fenced { expected, found })) => Read {
            token: expected,
            ..read(Outcome::Refused, format!("fenced: {expected:?}, {found:?}"))
        },
        Ok(Answer::Refused(refusal)) => read(Outcome::Refused, refusal.to_string()),
        Ok(_) => read(Outcome::Error, "an answer to something else".to_owned()),
        Err(error @ AskError::Timeout { .. }) => read(Outcome::Timeout, error.to_string()),
        Err(error) => read(Outcome::Error, error.to_string()),
    }
}
