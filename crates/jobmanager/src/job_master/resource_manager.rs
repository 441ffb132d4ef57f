//! The connection to the resource manager, and the needs that are declared to it.
//!
//! The job goes on without a resource manager: a lost one is registered at again, at once but not
//! more often than every `error-delay`, so that two endpoints that cannot agree do not talk all day.
//!
//! A declaration is total and replaces the one before. The first is sent at once; needs that change
//! within `slot.request.max-interval` of it are sent together when that is over. Only what came of
//! the newest declaration counts.

use super::asks::Ask;
use super::{Context, JobMaster, JobMasterConfig, Leader, tell};
use millstream_core::ids::{FencingToken, ResourceId};
use millstream_core::time::Mono;
use millstream_rpc::heartbeat::Heartbeats;
use millstream_rpc::machine::AskId;
use millstream_rpc::protocol::resource::ResourceRequirement;
use millstream_rpc::protocol::resource_manager::{ResourceManagerAnswer, ToResourceManager};
use millstream_rpc::protocol::{Answer, AskError, Message, Refusal};
use millstream_rpc::registration::{Next, Outcome, Registration};

/// The connection to the resource manager.
#[derive(Debug)]
pub(super) struct ResourceManagerLink {
    /// Where it is and whom we believe to lead there; the token changes when it tells another.
    pub(super) leader: Leader,
    /// How the registration goes.
    registration: Registration,
    /// When the registration goes on, while it pauses.
    pub(super) wake: Option<Mono>,
    /// When we were registered last: bounds how soon we try again after a loss.
    registered_at: Option<Mono>,
    /// Watches the resource manager while we are registered.
    pub(super) heartbeats: Heartbeats<ResourceId>,
    /// What the resource manager has been told, as far as is known; nothing: unknown.
    declared: Option<Vec<ResourceRequirement>>,
    /// When it was told.
    declared_at: Option<Mono>,
    /// The newest declaration: answers to older ones do not count.
    newest: Option<AskId>,
    /// How many slots the resource manager says are all that we get for now.
    pub(super) shortage: Option<u32>,
}

impl ResourceManagerLink {
    pub(super) fn new(config: &JobMasterConfig, leader: Leader) -> Self {
        Self {
            leader,
            registration: Registration::new(config.registration),
            wake: None,
            registered_at: None,
            heartbeats: Heartbeats::new(config.heartbeat),
            declared: None,
            declared_at: None,
            newest: None,
            shortage: None,
        }
    }

    pub(super) fn is_registered(&self) -> bool {
        self.registration.is_registered()
    }

    /// Whether the resource manager may know of us.
    pub(super) fn was_begun(&self) -> bool {
        self.registration.attempt() > 0
    }

    pub(super) fn on_shortage(&mut self, acquired: &[ResourceRequirement]) {
        self.shortage = Some(acquired.iter().map(|has| has.count).sum());
    }

    /// When the needs may be declared, if they are not yet.
    pub(super) fn declare_at(
        &self,
        needs: &[ResourceRequirement],
        interval_ms: u64,
    ) -> Option<Mono> {
        let known = self.declared.as_deref() == Some(needs);
        let earliest = self.declared_at.map_or(Mono(0), |at| at + interval_ms);
        (self.is_registered() && !known).then_some(earliest)
    }
}

impl JobMaster {
    pub(super) fn connect_to_resource_manager(&mut self, cx: &mut Context<'_>) {
        self.link.wake = None;
        let next = self.link.registration.start();
        self.follow_registration(cx, next);
    }

    fn follow_registration(&mut self, cx: &mut Context<'_>, next: Next) {
        match next {
            Next::Ask { timeout_ms } => {
                let message = ToResourceManager::RegisterJobMaster {
                    job: self.job,
                    job_master: self.fence.token(),
                    address: self.surroundings.address.clone(),
                    resource: self.surroundings.resource.clone(),
                };
                let what = Ask::Register(self.link.registration.attempt());
                self.ask_resource_manager(cx, message, timeout_ms, what);
            }
            Next::WakeAt(at) => self.link.wake = Some(at),
            // The end of a registration is handled where its answer is; a job master is never
            // turned away for good.
            Next::Registered | Next::GiveUp | Next::Ignore => {}
        }
    }

    fn ask_resource_manager(
        &mut self,
        cx: &mut Context<'_>,
        message: ToResourceManager,
        timeout_ms: u64,
        what: Ask,
    ) -> AskId {
        let to = (self.link.leader.address.clone(), Some(self.link.leader.token));
        self.ask(cx, to, Message::ResourceManager(message), timeout_ms, what)
    }

    pub(super) fn tell_resource_manager(&self, cx: &mut Context<'_>, message: ToResourceManager) {
        let leader = &self.link.leader;
        tell(cx, &leader.address, Some(leader.token), Message::ResourceManager(message));
    }

    pub(super) fn on_registration_answer(
        &mut self,
        cx: &mut Context<'_>,
        attempt: u64,
        result: Result<Answer, AskError>,
    ) {
        use ResourceManagerAnswer::JobMasterRegistered;
        let outcome = match result {
            Ok(Answer::ResourceManager(JobMasterRegistered { resource_manager, token })) => {
                return self.on_registered(cx, attempt, resource_manager, token);
            }
            Ok(Answer::Refused(Refusal::Fenced { expected: Some(token), .. }))
                if token != self.link.leader.token
                    && attempt == self.link.registration.attempt() =>
            {
                // Another one leads there by now; it is the one that we want.
                self.link.leader.token = token;
                return self.connect_to_resource_manager(cx);
            }
            Ok(Answer::Refused(_)) => Outcome::Refused,
            Ok(_) => Outcome::Error,
            Err(AskError::Timeout { .. }) => Outcome::Timeout,
            Err(_) => Outcome::Error,
        };
        let next = self.link.registration.on_outcome(attempt, outcome, cx.now);
        self.follow_registration(cx, next);
    }

    fn on_registered(
        &mut self,
        cx: &mut Context<'_>,
        attempt: u64,
        resource_manager: ResourceId,
        token: FencingToken,
    ) {
        let next = self.link.registration.on_outcome(attempt, Outcome::Success, cx.now);
        if next != Next::Registered {
            self.counters.stale_answers += 1;
            return;
        }
        self.link.leader.token = token;
        self.link.registered_at = Some(cx.now);
        self.link.heartbeats.monitor(resource_manager, cx.now);
        self.link.shortage = None;
        self.forget_declaration();
    }

    /// A pause of the registration is over.
    pub(super) fn on_registration_timer(&mut self, cx: &mut Context<'_>) {
        if self.link.wake.is_none_or(|at| cx.now < at) {
            return;
        }
        self.link.wake = None;
        match self.link.registration.on_wake(cx.now) {
            // It was given up when the resource manager was lost: a new endeavour begins.
            Next::Ignore => self.connect_to_resource_manager(cx),
            next => self.follow_registration(cx, next),
        }
    }

    /// The resource manager is lost; the job goes on, and we look for it again.
    pub(super) fn lose_resource_manager(&mut self, cx: &mut Context<'_>) {
        if !self.link.is_registered() {
            return;
        }
        self.link.registration.cancel();
        self.link.heartbeats = Heartbeats::new(self.config.heartbeat);
        self.forget_declaration();
        let registered_at = self.link.registered_at.unwrap_or_default();
        let again_at = registered_at + self.config.registration.error_delay_ms;
        if again_at <= cx.now {
            self.connect_to_resource_manager(cx);
        } else {
            self.link.wake = Some(again_at);
        }
    }

    fn forget_declaration(&mut self) {
        self.link.declared = None;
        self.link.declared_at = None;
        self.link.newest = None;
    }

    pub(super) fn on_resource_manager_disconnected(
        &mut self,
        cx: &mut Context<'_>,
        token: FencingToken,
    ) {
        if token == self.link.leader.token {
            self.lose_resource_manager(cx);
        } else {
            self.counters.strangers += 1;
        }
    }

    pub(super) fn on_resource_manager_heartbeat(
        &mut self,
        cx: &mut Context<'_>,
        resource_manager: &ResourceId,
    ) {
        if !self.link.heartbeats.heard(resource_manager, cx.now) {
            self.counters.strangers += 1;
            return;
        }
        let answer = ToResourceManager::HeartbeatFromJobMaster {
            job: self.job,
            job_master: self.fence.token(),
        };
        self.tell_resource_manager(cx, answer);
    }

    pub(super) fn on_resource_manager_timeout(&mut self, cx: &mut Context<'_>) {
        if !self.link.heartbeats.take_expired(cx.now).is_empty() {
            self.lose_resource_manager(cx);
        }
    }

    /// Declares what the job needs, if that is news and the last time was long enough ago.
    pub(super) fn declare(&mut self, cx: &mut Context<'_>) {
        let needs = self.pool.requirements();
        let interval_ms = self.config.slot_request_max_interval_ms;
        let due = self.link.declare_at(&needs, interval_ms);
        if due.is_none_or(|at| cx.now < at) {
            return;
        }
        let message = ToResourceManager::DeclareRequiredResources {
            job: self.job,
            job_master: self.fence.token(),
            requirements: needs.clone(),
        };
        let ask = self.ask_resource_manager(cx, message, self.config.ask_timeout_ms, Ask::Declare);
        self.link.declared = Some(needs);
        self.link.declared_at = Some(cx.now);
        self.link.newest = Some(ask);
    }

    pub(super) fn on_declaration_answer(
        &mut self,
        cx: &mut Context<'_>,
        ask: AskId,
        result: Result<Answer, AskError>,
    ) {
        if self.link.newest != Some(ask) {
            self.counters.stale_answers += 1;
            return;
        }
        match result {
            Ok(Answer::Ack) => {}
            // Nobody knows whether it was heard. Saying it again is harmless.
            Err(AskError::Timeout { .. }) => self.link.declared = None,
            // It does not know us, or is not there.
            Ok(_) | Err(_) => self.lose_resource_manager(cx),
        }
    }
}
