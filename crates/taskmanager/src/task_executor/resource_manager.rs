//! The connection to the resource manager: registration, slot report, heartbeats, and what happens
//! when it is lost. Tasks never notice.

use super::{Admitted, Context, Pending, TaskExecutor, Timer};
use crate::config::{Leader, TaskExecutorConfig};
use crate::mutant;
use crate::slot_table::Freed;
use millstream_core::ids::{FencingToken, InstanceId};
use millstream_core::time::Mono;
use millstream_rpc::machine::Effect;
use millstream_rpc::protocol::resource_manager::{ResourceManagerAnswer, ToResourceManager};
use millstream_rpc::protocol::{Answer, AskError, Message, Refusal};
use millstream_rpc::registration::{Next, Outcome, Registration};

/// The connection to the resource manager, or the endeavour to have one.
#[derive(Debug)]
pub(super) struct ResourceManagerConnection {
    /// Who it is, if anybody leads. Changed by the shell's word only.
    leader: Option<Leader>,
    /// How we become known to it.
    registration: Registration,
    /// We are registered.
    established: Option<Established>,
    /// Counts the times without a registration; names the timer that ends the process. `None` in
    /// the second place: we are registered and no such timer runs.
    waiting: (u64, Option<Mono>),
}

/// A registration at the resource manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Established {
    /// What it calls the registration.
    pub(super) instance: InstanceId,
    /// Where it serves blobs.
    pub(super) blob_server: String,
}

impl ResourceManagerConnection {
    pub(super) fn new(config: &TaskExecutorConfig) -> Self {
        Self {
            leader: config.resource_manager.clone(),
            registration: Registration::new(config.registration),
            established: None,
            waiting: (0, None),
        }
    }

    pub(super) fn established(&self) -> Option<&Established> {
        self.established.as_ref()
    }

    pub(super) fn is_established_at(&self, process: &str) -> bool {
        let there = self.leader.as_ref();
        self.established.is_some() && there.is_some_and(|it| it.address.process == process)
    }

    /// The token of the resource manager at which we are registered.
    pub(super) fn token(&self) -> Option<FencingToken> {
        let leader = self.leader.as_ref().filter(|_| self.established.is_some());
        leader.map(|leader| leader.token)
    }

    /// Panics where the connection contradicts itself.
    pub(super) fn check(&self) {
        if self.established.is_some() {
            assert!(self.leader.is_some(), "registered at nobody");
            assert!(self.registration.is_registered(), "registered and yet registering");
        }
    }
}

impl TaskExecutor {
    /// Begins (anew) to become known to the resource manager. The first time without one starts the
    /// clock that ends the process.
    pub(super) fn start_to_register(&mut self, cx: &mut Context<'_>) {
        self.start_waiting(cx);
        let connection = &mut self.resource_manager;
        if connection.leader.is_some() {
            let next = connection.registration.start();
            self.register_next(cx, next);
        }
    }

    fn start_waiting(&mut self, cx: &mut Context<'_>) {
        let connection = &mut self.resource_manager;
        if connection.waiting.1.is_some() {
            return; // The clock runs since an earlier loss.
        }
        let period = connection.waiting.0 + 1;
        let at = cx.now + self.config.registration_timeout_ms;
        connection.waiting = (period, Some(at));
        let timer = Timer::RegistrationTimeout { period };
        cx.out.push(Effect::SetTimer { timer, at });
    }

    fn register_next(&mut self, cx: &mut Context<'_>, next: Next) {
        let Some(leader) = self.resource_manager.leader.clone() else {
            return;
        };
        match next {
            Next::Ask { timeout_ms } => {
                let registration = self.config.registration_message();
                let message = ToResourceManager::RegisterTaskExecutor(Box::new(registration));
                let pending = Pending::RegisterAtResourceManager {
                    registration: self.resource_manager.registration.attempt(),
                };
                let to = (leader.address, leader.token);
                let message = Message::ResourceManager(message);
                self.ask(cx, to, message, timeout_ms, pending);
            }
            Next::WakeAt(at) => {
                let timer = Timer::ResourceManagerRegistration;
                cx.out.push(Effect::SetTimer { timer, at });
            }
            // The two ends are handled where the answer is; a stale input does nothing.
            Next::Registered | Next::GiveUp | Next::Ignore => (),
        }
    }

    pub(super) fn on_resource_manager_wake(&mut self, cx: &mut Context<'_>) {
        let next = self.resource_manager.registration.on_wake(cx.now);
        if next == Next::Ignore {
            self.counters.stale_timers += 1;
        }
        self.register_next(cx, next);
    }

    pub(super) fn on_resource_manager_answer(
        &mut self,
        cx: &mut Context<'_>,
        attempt: u64,
        result: Result<Answer, AskError>,
    ) {
        let (outcome, registered, cause) = read_answer(result);
        let connection = &mut self.resource_manager;
        let next = connection.registration.on_outcome(attempt, outcome, cx.now);
        match (next, registered) {
            (Next::Registered, Some(established)) => self.establish(cx, established),
            (Next::GiveUp, _) => cx.out.push(Effect::Fatal(format!(
                "the resource manager does not want this task manager: {cause}"
            ))),
            (Next::Ignore, _) => self.counters.stale_answers += 1,
            (next, _) => self.register_next(cx, next),
        }
    }

    fn establish(&mut self, cx: &mut Context<'_>, established: Established) {
        let instance = established.instance;
        let connection = &mut self.resource_manager;
        connection.established = Some(established);
        let (period, _) = connection.waiting;
        connection.waiting.1 = None;
        let timer = Timer::RegistrationTimeout { period };
        cx.out.push(Effect::ClearTimer { timer });
        if let Some(leader) = connection.leader.clone() {
            self.resource_manager_heartbeat.monitor(leader.token, cx.now);
            let report = ToResourceManager::SendSlotReport {
                resource: self.config.resource.clone(),
                instance,
                report: self.slots.report(),
            };
            let to = (leader.address, leader.token);
            let timeout_ms = self.config.ask_timeout_ms;
            let message = Message::ResourceManager(report);
            self.ask(cx, to, message, timeout_ms, Pending::SlotReport { instance });
        }
    }

    /// Whether the resource manager has our slots. If not, the registration is worth nothing.
    pub(super) fn on_slot_report_answer(
        &mut self,
        cx: &mut Context<'_>,
        instance: InstanceId,
        result: &Result<Answer, AskError>,
    ) {
        if self.instance() != Some(instance) {
            self.counters.stale_answers += 1;
            return;
        }
        match result {
            Ok(Answer::Ack) => (),
            Err(AskError::Timeout { .. }) => self.lose_resource_manager(cx),
            _ => self.lose_resource_manager_and_pause(cx),
        }
    }

    /// The resource manager is gone for us: begin anew at once. Slots and tasks stay as they are.
    pub(super) fn lose_resource_manager(&mut self, cx: &mut Context<'_>) {
        self.forget_resource_manager();
        self.start_to_register(cx);
    }

    /// The same after a refusal, which would come again at once: begin anew after a pause.
    fn lose_resource_manager_and_pause(&mut self, cx: &mut Context<'_>) {
        self.forget_resource_manager();
        let registration = &mut self.resource_manager.registration;
        registration.start();
        let attempt = registration.attempt();
        let next = registration.on_outcome(attempt, Outcome::Error, cx.now);
        self.start_waiting(cx);
        self.register_next(cx, next);
    }

    /// No resource manager any more, and none wanted: the process is to end.
    pub(super) fn abandon_resource_manager(&mut self) {
        self.forget_resource_manager();
        let connection = &mut self.resource_manager;
        connection.registration.cancel();
        connection.leader = None;
        connection.waiting.1 = None;
    }

    fn forget_resource_manager(&mut self) {
        if let Some(leader) = &self.resource_manager.leader {
            self.resource_manager_heartbeat.unmonitor(&leader.token);
        }
        self.resource_manager.established = None;
    }

    /// Another resource manager leads, or none does at the moment.
    pub(super) fn on_resource_manager_leader(
        &mut self,
        cx: &mut Context<'_>,
        leader: Option<Leader>,
    ) {
        if self.stopping || leader == self.resource_manager.leader {
            return; // The same news twice.
        }
        self.forget_resource_manager();
        self.resource_manager.registration.cancel();
        self.resource_manager.leader = leader;
        self.start_to_register(cx);
    }

    pub(super) fn on_registration_timeout(&mut self, cx: &mut Context<'_>, period: u64) {
        let (current, deadline) = self.resource_manager.waiting;
        if period != current || deadline.is_none_or(|at| cx.now < at) {
            self.counters.stale_timers += 1;
            return;
        }
        let waited = self.config.registration_timeout_ms;
        cx.out.push(Effect::Fatal(format!(
            "no resource manager has registered this task manager for {waited} ms \
             (taskmanager.registration.timeout)"
        )));
    }

    pub(super) fn on_resource_manager_heartbeat(&mut self, cx: &mut Context<'_>) {
        let (Some(leader), Some(instance)) =
            (self.resource_manager.leader.clone(), self.instance())
        else {
            return;
        };
        self.resource_manager_heartbeat.heard(&leader.token, cx.now);
        let answer = ToResourceManager::HeartbeatFromTaskExecutor {
            resource: self.config.resource.clone(),
            instance,
            report: self.slots.report(),
        };
        self.tell_resource_manager(cx, answer);
    }

    /// Whether the message comes from the resource manager at which we are registered.
    pub(super) fn require_resource_manager(&mut self, found: FencingToken) -> Result<(), Refusal> {
        let Some(expected) = self.resource_manager.token() else {
            let text = "not registered at a resource manager".to_owned();
            return Err(Refusal::NotReady(text));
        };
        if expected == found || mutant::on("skip_resource_manager_id_check") {
            self.admitted = Some(Admitted::ResourceManager { found, expected });
            return Ok(());
        }
        Err(Refusal::Fenced { expected: Some(expected), found: Some(found) })
    }

    /// A slot has become free. Who is not registered need not say so: its next report does.
    pub(super) fn tell_slot_available(&mut self, cx: &mut Context<'_>, freed: Freed) {
        if let Some(instance) = self.instance() {
            let news = ToResourceManager::NotifySlotAvailable {
                resource: self.config.resource.clone(),
                instance,
                index: freed.index,
                allocation: freed.allocation,
            };
            self.tell_resource_manager(cx, news);
        }
    }

    pub(super) fn tell_resource_manager(
        &mut self,
        cx: &mut Context<'_>,
        message: ToResourceManager,
    ) {
        if let Some(leader) = &self.resource_manager.leader {
            cx.out.push(Effect::Tell {
                to: leader.address.clone(),
                token: Some(leader.token),
                message: Message::ResourceManager(message),
            });
        }
    }
}

/// What an answer to a registration means; the registration, if it succeeded; the cause, if not.
fn read_answer(result: Result<Answer, AskError>) -> (Outcome, Option<Established>, String) {
    match result {
        Ok(Answer::ResourceManager(ResourceManagerAnswer::TaskExecutorRegistered {
            instance,
            blob_server,
            ..
        })) => {
            let established = Established { instance, blob_server };
            (Outcome::Success, Some(established), String::new())
        }
        Ok(Answer::ResourceManager(ResourceManagerAnswer::Rejected { cause })) => {
            (Outcome::Rejected, None, cause)
        }
        Ok(Answer::Refused(refusal)) => (Outcome::Refused, None, refusal.to_string()),
        Ok(_) => (Outcome::Error, None, "an answer to something else".to_owned()),
        Err(error @ AskError::Timeout { .. }) => (Outcome::Timeout, None, error.to_string()),
        Err(error) => (Outcome::Error, None, error.to_string()),
    }
}
