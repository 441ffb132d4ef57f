//! The endpoint of a TaskManager: joins slot table, job table and children, and speaks with the
//! resource manager and the job masters. Pure.
//!
//! It is not fenced: it compares the ids inside each message with its own connections. Both sides
//! of every relation may forget the other at any time; what keeps them honest:
//! - the resource manager is sent all slots after every registration and with every heartbeat;
//! - a job master tells its slots with every heartbeat, and they are compared with ours;
//! - we tell a job master with every heartbeat which attempts exist here.
//!
//! In reading order: [`resource_manager`], [`slots`] (held, offered, freed), [`job_master`] (the
//! connections), [`tasks`] (submitted, cancelled, told), [`splits`], [`checkpoints`] (passed through),
//! [`children`], [`memory`] (who goes when there is too little), [`check`].
//!
//! [`Input::PeerLost`] means: the shell has dialled (again), and was refused, found another process,
//! or heard nothing for long. Whoever was connected there is lost now, and we try anew at once. A
//! reset that was healed by dialling is not told.
//!
//! What one process says and what it answers come over different connections, so nothing keeps an
//! order between the two: a submission may overtake the answer to the offer of its slot, a heartbeat
//! may be older than an answer that came before it.

mod check;
mod checkpoints;
mod children;
mod job_master;
mod memory;
mod resource_manager;
mod slots;
mod splits;
mod tasks;

use crate::child::ChildTimerKind;
use crate::config::TaskExecutorConfig;
use crate::job_table::JobTable;
use crate::op::{Done, NO_ANSWER, Op};
use crate::slot_table::{SlotTable, Ticket};
use millstream_core::ids::{AllocationId, ExecutionAttemptId, FencingToken, InstanceId, JobId};
use millstream_core::time::Mono;
use millstream_rpc::heartbeat::Heartbeats;
use millstream_rpc::machine::{AskId, Cx, Effect, Input, Machine, OpId, ReplyTo};
use millstream_rpc::protocol::job_link::ToJobProcess;
use millstream_rpc::protocol::task_executor::{TaskExecutorAnswer, ToTaskExecutor};
use millstream_rpc::protocol::{Address, Answer, AskError, Message, Refusal};
use resource_manager::ResourceManagerConnection;
use std::collections::{BTreeMap, BTreeSet};

/// The context of a step.
type Context<'a> = Cx<'a, TaskExecutor>;

/// What can run out for a task executor. Where a wait can be given up and begun anew, the name
/// holds what distinguishes the two, so that the timer of the former does nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// The pause before the next attempt to register at the resource manager.
    ResourceManagerRegistration,
    /// The time that may pass without a resource manager, for the n-th such time.
    RegistrationTimeout {
        /// n.
        period: u64,
    },
    /// Somebody may have been silent for too long.
    Heartbeat,
    /// A slot's job master has not taken it.
    Slot {
        /// Which.
        allocation: AllocationId,
        /// Which wait.
        ticket: Ticket,
    },
    /// The pause before the next attempt to register at a job master.
    JobMasterRegistration {
        /// Whose.
        job: JobId,
        /// Over which connection.
        session: u64,
    },
    /// The pause before the slots of a job are offered again.
    Offer {
        /// Whose.
        job: JobId,
        /// Over which connection.
        session: u64,
    },
    /// The pause before an attempt's state is told again.
    Tell {
        /// Whose.
        job: JobId,
        /// Which.
        attempt: ExecutionAttemptId,
    },
    /// The pause before a split is asked for again.
    Split {
        /// Whose.
        job: JobId,
        /// Which.
        attempt: ExecutionAttemptId,
    },
    /// An attempt was told to end long ago.
    Cancellation {
        /// Whose.
        job: JobId,
        /// Which.
        attempt: ExecutionAttemptId,
    },
    /// Of a job process.
    Child {
        /// Whose.
        job: JobId,
        /// Which start of it.
        incarnation: u64,
        /// What runs out.
        kind: ChildTimerKind,
    },
    /// Children should have ended by now, since the process is to end.
    Stop,
}

/// What an ask was about.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Pending {
    RegisterAtResourceManager { registration: u64 },
    SlotReport { instance: InstanceId },
    RegisterAtJobMaster { job: JobId, session: u64, registration: u64 },
    Offer { job: JobId, session: u64, offer: u64, slots: BTreeSet<AllocationId> },
    Tell { job: JobId, attempt: ExecutionAttemptId },
    Split { job: JobId, attempt: ExecutionAttemptId },
}

/// What a piece of work was about.
#[derive(Clone, Debug)]
enum Work {
    Start { job: JobId, incarnation: u64 },
    Kill { job: JobId, incarnation: u64 },
    ReadLog { reply: ReplyTo },
}

/// How often something arrived that no longer counted. For metrics and tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Answers to asks that were given up, or that nobody had asked.
    pub stale_answers: u64,
    /// Ends of work, and events of children, that are past.
    pub stale_events: u64,
    /// Timers of waits that are over.
    pub stale_timers: u64,
    /// Messages of somebody who does not lead here, or for another endpoint.
    pub refused_messages: u64,
}

/// On whose word a step has acted: what it named, and what it had to name. The check after the step
/// compares them on its own, so that a door that forgets to look is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Admitted {
    /// A message of the resource manager, by its token.
    ResourceManager { found: FencingToken, expected: FencingToken },
    /// A message of a job master, by its token.
    JobMaster { found: FencingToken, expected: FencingToken },
    /// The answer to an offer, by its connection and number.
    Offer { found: (u64, Option<u64>), expected: (u64, Option<u64>) },
}

/// The endpoint of a TaskManager.
#[derive(Debug)]
pub struct TaskExecutor {
    /// What it was told at the start. Never changes.
    config: TaskExecutorConfig,
    /// The connection to the resource manager, or the endeavour to have one.
    resource_manager: ResourceManagerConnection,
    /// The resource manager, watched while we are registered there; its token names it.
    resource_manager_heartbeat: Heartbeats<FencingToken>,
    /// Job masters at which we are registered.
    job_master_heartbeats: Heartbeats<JobId>,
    /// When [`Timer::Heartbeat`] is set to fire. It is only moved when it fires too late.
    heartbeat_timer: Option<Mono>,
    /// Who has which slot.
    slots: SlotTable,
    /// The jobs that have something here.
    jobs: JobTable,
    /// Asks that are on their way.
    asks: BTreeMap<AskId, Pending>,
    /// Work that is on its way.
    work: BTreeMap<OpId, Work>,
    /// The number of the last ask, piece of work, connection or offer: one counter, so that no two
    /// things are ever called the same.
    last_number: u64,
    /// What no longer counted.
    counters: Counters,
    /// On whose word this step has acted; emptied at the beginning of each.
    admitted: Option<Admitted>,
    /// It has begun; a second beginning does nothing.
    started: bool,
    /// The process is to end: children are being killed, everything is refused.
    stopping: bool,
    /// It has said so, once.
    stopped: bool,
}

impl TaskExecutor {
    /// A task executor that has not begun; [`Input::Start`] begins it.
    pub fn new(config: TaskExecutorConfig) -> Self {
        Self {
            resource_manager: ResourceManagerConnection::new(&config),
            resource_manager_heartbeat: Heartbeats::new(config.heartbeat),
            job_master_heartbeats: Heartbeats::new(config.heartbeat),
            heartbeat_timer: None,
            slots: SlotTable::new(config.slots, config.slot_profile),
            jobs: JobTable::new(),
            asks: BTreeMap::new(),
            work: BTreeMap::new(),
            last_number: 0,
            counters: Counters::default(),
            admitted: None,
            started: false,
            stopping: false,
            stopped: false,
            config,
        }
    }

    /// What it was told at the start.
    pub fn config(&self) -> &TaskExecutorConfig {
        &self.config
    }

    /// Who has which slot.
    pub fn slots(&self) -> &SlotTable {
        &self.slots
    }

    /// The jobs that have something here.
    pub fn jobs(&self) -> &JobTable {
        &self.jobs
    }

    /// The registration at the resource manager, if there is one.
    pub fn instance(&self) -> Option<InstanceId> {
        self.resource_manager.established().map(|it| it.instance)
    }

    /// Where the resource manager serves blobs, as long as we are registered there.
    pub fn blob_server(&self) -> Option<&str> {
        let established = self.resource_manager.established();
        established.map(|it| it.blob_server.as_str())
    }

    /// How many asks wait for their answer.
    pub fn pending_asks(&self) -> usize {
        self.asks.len()
    }

    /// What no longer counted.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    fn start(&mut self, cx: &mut Context<'_>) {
        if self.started || self.stopping {
            self.counters.stale_events += 1;
            return;
        }
        self.started = true;
        self.start_to_register(cx);
    }

    fn on_message(&mut self, cx: &mut Context<'_>, message: Message, reply: Option<ReplyTo>) {
        let Message::TaskExecutor(message) = message else {
            let refusal = Refusal::Invalid("this is a task executor".to_owned());
            return self.refuse(cx, reply, refusal);
        };
        if self.stopping {
            let refusal = Refusal::NotReady("the task manager is shutting down".to_owned());
            return self.refuse(cx, reply, refusal);
        }
        let answer = match message {
            ToTaskExecutor::RequestLog { job, bytes_max } => {
                return self.on_request_log(cx, job, bytes_max, reply);
            }
            ToTaskExecutor::RequestSlot { .. }
            | ToTaskExecutor::FreeInactiveSlots { .. }
            | ToTaskExecutor::HeartbeatFromResourceManager { .. }
            | ToTaskExecutor::DisconnectResourceManager { .. } => {
                self.on_resource_manager_message(cx, message)
            }
            _ => self.on_job_master_message(cx, message),
        };
        self.answer(cx, reply, answer);
    }

    fn on_resource_manager_message(
        &mut self,
        cx: &mut Context<'_>,
        message: ToTaskExecutor,
    ) -> Result<Answer, Refusal> {
        match message {
            ToTaskExecutor::RequestSlot {
                slot,
                job,
                allocation,
                profile,
                job_master,
                resource_manager,
            } => {
                self.require_resource_manager(resource_manager)?;
                self.on_request_slot(cx, slot, job, allocation, profile, job_master)
            }
            ToTaskExecutor::FreeInactiveSlots { job, resource_manager } => {
                self.require_resource_manager(resource_manager)?;
                self.free_inactive_slots(cx, job);
                Ok(Answer::Ack)
            }
            ToTaskExecutor::HeartbeatFromResourceManager { resource_manager } => {
                self.require_resource_manager(resource_manager)?;
                self.on_resource_manager_heartbeat(cx);
                Ok(Answer::Ack)
            }
            ToTaskExecutor::DisconnectResourceManager { resource_manager, .. } => {
                self.require_resource_manager(resource_manager)?;
                self.lose_resource_manager(cx);
                Ok(Answer::Ack)
            }
            _ => Err(Refusal::Invalid("not of a resource manager".to_owned())),
        }
    }

    fn on_job_master_message(
        &mut self,
        cx: &mut Context<'_>,
        message: ToTaskExecutor,
    ) -> Result<Answer, Refusal> {
        match message {
            ToTaskExecutor::SubmitTask { descriptor, job, job_master } => {
                self.on_submit_task(cx, descriptor, &job, job_master)
            }
            ToTaskExecutor::CancelTask { attempt, job_master } => {
                self.on_cancel_task(cx, attempt, job_master)
            }
            ToTaskExecutor::UpdatePartitions { attempt, channels } => {
                self.on_update_partitions(cx, attempt, channels)
            }
            ToTaskExecutor::TriggerCheckpoint { attempt, barrier, job_master } => {
                self.on_trigger_checkpoint(cx, attempt, barrier, job_master)
            }
            ToTaskExecutor::NotifyCheckpointCompleted { attempt, checkpoint, job_master } => {
                let notice = checkpoints::notice(attempt, checkpoint, true);
                self.on_checkpoint_notice(cx, attempt, job_master, notice)
            }
            ToTaskExecutor::NotifyCheckpointAborted { attempt, checkpoint, job_master } => {
                let notice = checkpoints::notice(attempt, checkpoint, false);
                self.on_checkpoint_notice(cx, attempt, job_master, notice)
            }
            ToTaskExecutor::ReleasePartitions { job, partitions, job_master } => {
                self.require_job_master(job, job_master)?;
                let (op, what) = (NO_ANSWER, Op::ReleasePartitions { job, partitions });
                cx.out.push(Effect::Op { op, what });
                Ok(Answer::Ack)
            }
            ToTaskExecutor::AlignWatermark { attempt, group, watermark, job_master } => {
                let notice = ToJobProcess::AlignWatermark { attempt, group, watermark };
                self.on_checkpoint_notice(cx, attempt, job_master, notice)
            }
            ToTaskExecutor::FreeSlot { allocation, cause } => {
                self.release_slot(cx, allocation, &cause);
                Ok(Answer::Ack)
            }
            ToTaskExecutor::HeartbeatFromJobMaster { job, job_master, allocations } => {
                self.on_job_master_heartbeat(cx, job, job_master, &allocations)
            }
            ToTaskExecutor::DisconnectJobMaster { job, job_master, status, cause } => {
                self.require_job_master(job, job_master)?;
                match status.is_globally_terminal() {
                    true => self.retire_job(cx, job, &cause),
                    false => self.lose_job_master(cx, job, &cause),
                }
                Ok(Answer::Ack)
            }
            _ => Err(Refusal::Invalid("not of a job master".to_owned())),
        }
    }

    fn on_answered(&mut self, cx: &mut Context<'_>, ask: AskId, result: Result<Answer, AskError>) {
        let Some(pending) = self.asks.remove(&ask) else {
            self.counters.stale_answers += 1;
            return;
        };
        match pending {
            Pending::RegisterAtResourceManager { registration } => {
                self.on_resource_manager_answer(cx, registration, result);
            }
            Pending::SlotReport { instance } => self.on_slot_report_answer(cx, instance, &result),
            Pending::RegisterAtJobMaster { job, session, registration } => {
                self.on_job_master_answer(cx, job, session, registration, result);
            }
            Pending::Offer { job, session, offer, slots } => {
                self.on_offer_answer(cx, (job, session, offer), &slots, result);
            }
            Pending::Tell { job, attempt } => self.on_told(cx, job, attempt, ask, &result),
            Pending::Split { job, attempt } => self.on_split(cx, job, attempt, ask, result),
        }
    }

    fn on_timer(&mut self, cx: &mut Context<'_>, timer: Timer) {
        match timer {
            Timer::ResourceManagerRegistration => self.on_resource_manager_wake(cx),
            Timer::RegistrationTimeout { period } => self.on_registration_timeout(cx, period),
            Timer::Heartbeat => self.on_heartbeat_timer(cx),
            Timer::Slot { allocation, ticket } => self.on_slot_timeout(cx, allocation, ticket),
            Timer::JobMasterRegistration { job, session } => {
                self.on_job_master_wake(cx, job, session);
            }
            Timer::Offer { job, session } => self.on_offer_timer(cx, job, session),
            Timer::Tell { job, attempt } => self.tell_next(cx, job, attempt),
            Timer::Split { job, attempt } => self.ask_for_split(cx, job, attempt),
            Timer::Cancellation { job, attempt } => {
                self.on_cancellation_timeout(cx, job, attempt);
            }
            Timer::Child { job, incarnation, kind } => {
                self.on_child_timer(cx, job, incarnation, kind);
            }
            Timer::Stop => self.on_stop_timeout(cx),
        }
    }

    fn on_done(&mut self, cx: &mut Context<'_>, op: OpId, result: Done) {
        match (self.work.remove(&op), result) {
            (Some(Work::Start { job, incarnation }), Done::Started(result)) => {
                self.on_child_started(cx, job, incarnation, result);
            }
            (Some(Work::Kill { job, incarnation }), Done::Killed(result)) => {
                self.on_child_killed(cx, job, incarnation, result);
            }
            (Some(Work::ReadLog { reply }), Done::Log(result)) => {
                let answer = result
                    .map(|text| Answer::TaskExecutor(TaskExecutorAnswer::Log(text)))
                    .map_err(Refusal::Unknown);
                self.answer(cx, Some(reply), answer);
            }
            (_, Done::Child { job, incarnation, event }) => {
                self.on_child_event(cx, job, incarnation, event);
            }
            (_, Done::ResourceManagerLeader(leader)) => {
                self.on_resource_manager_leader(cx, leader);
            }
            (_, Done::Started(_) | Done::Killed(_) | Done::Log(_)) => {
                self.counters.stale_events += 1;
            }
        }
    }

    fn on_peer_lost(&mut self, cx: &mut Context<'_>, process: &str, reason: &str) {
        if self.resource_manager.is_established_at(process) {
            self.lose_resource_manager(cx);
        }
        let lost: Vec<JobId> = self
            .jobs
            .iter()
            .filter(|(_, job)| {
                job.connected().is_some_and(|link| link.leader.address.process == process)
            })
            .map(|(id, _)| *id)
            .collect();
        for job in lost {
            self.lose_job_master(cx, job, &format!("the job manager is gone: {reason}"));
        }
    }

    fn on_request_log(
        &mut self,
        cx: &mut Context<'_>,
        job: Option<JobId>,
        bytes_max: u32,
        reply: Option<ReplyTo>,
    ) {
        let Some(reply) = reply else {
            self.counters.refused_messages += 1;
            return; // Nobody wants the answer.
        };
        self.work_on(cx, Work::ReadLog { reply }, Op::ReadLog { job, bytes_max });
    }
}

/// What all rooms need: to ask, to tell, to answer, to have something done.
impl TaskExecutor {
    fn draw_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    fn ask(
        &mut self,
        cx: &mut Context<'_>,
        (to, token): (Address, FencingToken),
        message: Message,
        timeout_ms: u64,
        pending: Pending,
    ) -> AskId {
        let ask = AskId(self.draw_number());
        self.asks.insert(ask, pending);
        cx.out.push(Effect::Ask { ask, to, token: Some(token), message, timeout_ms });
        ask
    }

    fn work_on(&mut self, cx: &mut Context<'_>, work: Work, what: Op) {
        let op = OpId(self.draw_number());
        self.work.insert(op, work);
        cx.out.push(Effect::Op { op, what });
    }

    fn answer(
        &mut self,
        cx: &mut Context<'_>,
        reply: Option<ReplyTo>,
        answer: Result<Answer, Refusal>,
    ) {
        match answer {
            Err(refusal) => self.refuse(cx, reply, refusal),
            Ok(answer) => {
                if let Some(to) = reply {
                    cx.out.push(Effect::Reply { to, answer });
                }
            }
        }
    }

    fn refuse(&mut self, cx: &mut Context<'_>, reply: Option<ReplyTo>, refusal: Refusal) {
        self.counters.refused_messages += 1;
        if let Some(to) = reply {
            let answer = Answer::Refused(refusal);
            cx.out.push(Effect::Reply { to, answer });
        }
    }

    /// Sees to it that [`Timer::Heartbeat`] fires when the next silence may have lasted too long.
    fn arm_heartbeat_timer(&mut self, cx: &mut Context<'_>) {
        let next = [
            self.resource_manager_heartbeat.next_deadline(),
            self.job_master_heartbeats.next_deadline(),
        ];
        let Some(at) = next.into_iter().flatten().min() else {
            return;
        };
        // It only fires too early as deadlines move on; then it is set again.
        if self.heartbeat_timer.is_none_or(|set| at < set) {
            self.heartbeat_timer = Some(at);
            let timer = Timer::Heartbeat;
            cx.out.push(Effect::SetTimer { timer, at });
        }
    }

    fn on_heartbeat_timer(&mut self, cx: &mut Context<'_>) {
        self.heartbeat_timer = None;
        for _ in self.resource_manager_heartbeat.take_expired(cx.now) {
            self.lose_resource_manager(cx);
        }
        for job in self.job_master_heartbeats.take_expired(cx.now) {
            let waited = self.config.heartbeat.timeout_ms;
            let cause = format!("the job master was silent for {waited} ms");
            self.lose_job_master(cx, job, &cause);
        }
    }
}

impl Machine for TaskExecutor {
    type Timer = Timer;
    type Op = Op;
    type Done = Done;

    fn step(&mut self, cx: &mut Cx<'_, Self>, input: Input<Timer, Done>) {
        self.admitted = None;
        match input {
            Input::Start => self.start(cx),
            Input::Message { message, reply, .. } => self.on_message(cx, message, reply),
            Input::Answered { ask, result } => self.on_answered(cx, ask, result),
            Input::Timer(timer) => self.on_timer(cx, timer),
            Input::Done { op, result } => self.on_done(cx, op, result),
            Input::PeerLost { process, reason } => self.on_peer_lost(cx, &process, &reason),
            Input::Stop => self.stop(cx),
        }
        self.arm_heartbeat_timer(cx);
    }

    fn check(&self) {
        self.check_all();
    }
}

#[cfg(test)]
mod tests;
