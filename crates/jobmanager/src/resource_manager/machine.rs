//! The endpoint: its state, what reaches it, the door.

use super::config::{ResourceManagerConfig, ResourceManagerTimer};
use super::known::{Job, SlotRequest, TaskExecutor};
use super::pacing::Pacing;
use crate::fence::Fence;
use crate::slot_manager::SlotManager;
use millstream_core::ids::{FencingToken, InstanceId, JobId, ResourceId};
use millstream_core::time::Mono;
use millstream_rpc::heartbeat::Heartbeats;
use millstream_rpc::machine::{AskId, Cx, Effect, Input, Machine, ReplyTo};
use millstream_rpc::protocol::job_master::ToJobMaster;
use millstream_rpc::protocol::resource_manager::ToResourceManager;
use millstream_rpc::protocol::task_executor::ToTaskExecutor;
use millstream_rpc::protocol::{Address, Answer, Message, Refusal};
use std::collections::BTreeMap;
use std::convert::Infallible;

/// The resource manager in one term of leadership; a new term gets a new value.
#[derive(Debug)]
pub struct ResourceManager {
    pub(super) config: ResourceManagerConfig,
    /// The process that it is in; told to whoever registers.
    pub(super) resource: ResourceId,
    /// `host:port` of the blob server; told to task executors.
    pub(super) blob_server: String,
    /// Lets in what carries our token.
    pub(super) fence: Fence,
    /// Messages are served between `Start` and `Stop` only.
    pub(super) phase: Phase,
    /// Registered workers. Changed by registration and loss; mirrored in `slots` and `heartbeats`.
    pub(super) task_executors: BTreeMap<ResourceId, TaskExecutor>,
    /// Jobs that have, or recently had, a job master here.
    pub(super) jobs: BTreeMap<JobId, Job>,
    /// Who has which slot and who is short of slots.
    pub(super) slots: SlotManager,
    /// Watches every registered worker and job master.
    pub(super) heartbeats: Heartbeats<Target>,
    /// When the timer for silent targets fires; never later than the first deadline.
    pub(super) heartbeat_timeout_at: Option<Mono>,
    /// Workers that have been asked for a slot and have not answered.
    pub(super) asks: BTreeMap<AskId, SlotRequest>,
    /// Counts asks: each gets an id of its own.
    pub(super) asks_made: u64,
    /// When needs and slots are compared.
    pub(super) pacing: Pacing,
    /// Whether workers should have registered by now.
    pub(super) grace_over: bool,
    /// Counts steps, so that the full check runs now and then.
    pub(super) steps: u64,
    /// On whose behalf this step has acted: `check` compares it with what is registered.
    pub(super) served: Option<Served>,
    pub(super) counters: Counters,
}

/// Who is watched.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    /// A worker.
    TaskExecutor(ResourceId),
    /// The job master of a job.
    JobMaster(JobId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Created,
    Running,
    Stopped,
}

/// A sender whose message has been obeyed because it named a current registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Served {
    TaskExecutor(ResourceId, InstanceId),
    JobMaster(JobId, FencingToken),
}

/// What was dropped, for metrics and tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages under another token.
    pub fenced: u64,
    /// Messages of a former registration, of strangers, and answers that nobody waits for.
    pub stale: u64,
}

impl ResourceManager {
    /// A resource manager that has not begun. `resource` is the process it is in, `blob_server`
    /// the `host:port` that workers fetch artefacts from, `token` its term of leadership.
    pub fn new(
        config: ResourceManagerConfig,
        resource: ResourceId,
        blob_server: String,
        token: FencingToken,
    ) -> Self {
        Self {
            config,
            resource,
            blob_server,
            fence: Fence::new(token),
            phase: Phase::Created,
            task_executors: BTreeMap::new(),
            jobs: BTreeMap::new(),
            slots: SlotManager::new(config.load_balance),
            heartbeats: Heartbeats::new(config.heartbeat),
            heartbeat_timeout_at: None,
            asks: BTreeMap::new(),
            asks_made: 0,
            pacing: Pacing::new(config.requirement_check_delay_ms),
            grace_over: false,
            steps: 0,
            served: None,
            counters: Counters::default(),
        }
    }

    /// Its term of leadership.
    pub fn token(&self) -> FencingToken {
        self.fence.token()
    }

    /// What was dropped.
    pub fn counters(&self) -> Counters {
        Counters { fenced: self.fence.refused(), ..self.counters }
    }

    /// All slots as it knows them: for metrics, and for the simulator's own checks.
    pub fn slots(&self) -> &SlotManager {
        &self.slots
    }

    /// Asks that have not been answered: for the simulator's own checks.
    pub fn open_asks(&self) -> usize {
        self.asks.len()
    }

    fn start(&mut self, cx: &mut Cx<'_, Self>) {
        if self.phase != Phase::Created {
            return;
        }
        self.phase = Phase::Running;
        self.set_heartbeat_timer(cx);
        cx.out.push(Effect::SetTimer {
            timer: ResourceManagerTimer::StartupGrace,
            at: cx.now + self.config.startup_grace_ms,
        });
    }

    /// Tells everybody, so that they look for the next resource manager at once.
    fn stop(&mut self, cx: &mut Cx<'_, Self>) {
        let cause = "the resource manager stops";
        for worker in self.task_executors.values() {
            self.close_task_executor(cx, &worker.registration.address, cause);
        }
        for master in self.jobs.values().filter_map(|job| job.master.as_ref()) {
            self.close_job_master(cx, master, cause);
        }
        self.phase = Phase::Stopped;
        cx.out.push(Effect::Stopped);
    }

    fn on_message(
        &mut self,
        cx: &mut Cx<'_, Self>,
        token: Option<FencingToken>,
        message: Message,
        to: Option<ReplyTo>,
    ) {
        if self.phase != Phase::Running {
            let refusal = Refusal::NotReady("the resource manager is not running".to_owned());
            return reply(cx, to, Answer::Refused(refusal));
        }
        if let Err(refusal) = self.fence.admit(token, "skip_fencing_check_rm") {
            return reply(cx, to, Answer::Refused(refusal));
        }
        let Message::ResourceManager(message) = message else {
            self.counters.stale += 1;
            let refusal = Refusal::Invalid("not a message to the resource manager".to_owned());
            return reply(cx, to, Answer::Refused(refusal));
        };
        // A tell has no answer to give.
        if let Some(answer) = self.serve(cx, message) {
            reply(cx, to, answer);
        }
    }

    fn serve(&mut self, cx: &mut Cx<'_, Self>, message: ToResourceManager) -> Option<Answer> {
        use ToResourceManager as To;
        match message {
            To::RegisterTaskExecutor(registration) => {
                Some(self.register_task_executor(cx, *registration))
            }
            To::SendSlotReport { resource, instance, report } => {
                Some(self.send_slot_report(cx, &resource, instance, &report))
            }
            To::NotifySlotAvailable { resource, instance, index, allocation } => {
                self.notify_slot_available(cx, resource, instance, index, allocation)
            }
            To::HeartbeatFromTaskExecutor { resource, instance, report } => {
                self.heartbeat_from_task_executor(cx, &resource, instance, &report)
            }
            To::DisconnectTaskExecutor { resource, .. } => {
                self.disconnect_task_executor(cx, &resource)
            }
            To::RegisterJobMaster { job, job_master, address, .. } => {
                Some(self.register_job_master(cx, job, job_master, address))
            }
            To::DeclareRequiredResources { job, job_master, requirements } => {
                Some(self.declare_required_resources(cx, job, job_master, &requirements))
            }
            To::HeartbeatFromJobMaster { job, job_master } => {
                self.heartbeat_from_job_master(cx, job, job_master)
            }
            To::DisconnectJobMaster { job, status, .. } => {
                self.disconnect_job_master(cx, job, status)
            }
            To::RequestClusterResources => Some(self.cluster_resources()),
            To::RequestTaskManagers => Some(self.task_managers()),
            To::RequestTaskManager { resource } => Some(self.task_manager(&resource)),
        }
    }

    fn on_timer(&mut self, cx: &mut Cx<'_, Self>, timer: ResourceManagerTimer) {
        match timer {
            ResourceManagerTimer::Heartbeat => self.request_heartbeats(cx),
            ResourceManagerTimer::HeartbeatTimeout => self.expire_heartbeats(cx),
            ResourceManagerTimer::RequirementCheck => {
                if self.pacing.is_due(cx.now) {
                    self.check_requirements(cx);
                }
            }
            ResourceManagerTimer::StartupGrace => {
                self.grace_over = true;
                self.tell_shortages(cx);
            }
            ResourceManagerTimer::JobTimeout(job) => self.on_job_timeout(cx, job),
        }
    }
}

impl Machine for ResourceManager {
    type Timer = ResourceManagerTimer;
    type Op = Infallible;
    type Done = Infallible;

    fn step(&mut self, cx: &mut Cx<'_, Self>, input: Input<Self::Timer, Self::Done>) {
        self.served = None;
        self.steps += 1;
        match input {
            Input::Message { token, message, reply } => self.on_message(cx, token, message, reply),
            Input::Start => self.start(cx),
            // Timers and answers of a machine that does not run concern nobody.
            _ if self.phase != Phase::Running => self.counters.stale += 1,
            Input::Answered { ask, result } => self.on_answered(cx, ask, result),
            Input::Timer(timer) => self.on_timer(cx, timer),
            Input::PeerLost { process, reason } => self.on_peer_lost(cx, &process, &reason),
            Input::Stop => self.stop(cx),
            Input::Done { result, .. } => match result {},
        }
    }

    fn check(&self) {
        self.check_invariants();
    }
}

/// Answers an ask; a tell needs no answer.
fn reply(cx: &mut Cx<'_, ResourceManager>, to: Option<ReplyTo>, answer: Answer) {
    if let Some(to) = to {
        cx.out.push(Effect::Reply { to, answer });
    }
}

/// Says something to a task executor: it is not fenced and checks the ids inside.
pub(super) fn tell_task_executor(
    cx: &mut Cx<'_, ResourceManager>,
    to: &Address,
    message: ToTaskExecutor,
) {
    cx.out.push(Effect::Tell {
        to: to.clone(),
        token: None,
        message: Message::TaskExecutor(message),
    });
}

/// Says something to a job master under its own token.
pub(super) fn tell_job_master(
    cx: &mut Cx<'_, ResourceManager>,
    to: &Address,
    token: FencingToken,
    message: ToJobMaster,
) {
    cx.out.push(Effect::Tell {
        to: to.clone(),
        token: Some(token),
        message: Message::JobMaster(message),
    });
}
