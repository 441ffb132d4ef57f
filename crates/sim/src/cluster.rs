//! Ready-made clusters, and what must hold in them whatever happens.
//!
//! Process 0 is the JobManager, process 1 its standby (which never runs in most clusters), then come
//! the TaskManagers, then the client if there are jobs.

use crate::net::ProcId;
use crate::nodes::Node;
use crate::nodes::client::{Client, JobPlan};
use crate::nodes::job_manager::{JobManager, JobManagerConfig};
use crate::nodes::job_process::UNFIT;
use crate::nodes::task_manager::TaskManager;
use crate::plan::{Fault, Group, Plan, PlanSpec};
use crate::trace::Trace;
use crate::world::World;
use millstream_core::ids::{AllocationId, FencingToken, JobId, ResourceId};
use millstream_core::status::JobStatus;
use millstream_jobmanager::dispatcher::DispatcherConfig;
use millstream_jobmanager::job_master::{JobMaster, JobMasterConfig};
use millstream_jobmanager::resource_manager::ResourceManagerConfig;
use millstream_rpc::heartbeat::HeartbeatConfig;
use millstream_rpc::machine::Rng;
use millstream_rpc::protocol::{Address, EndpointName};
use millstream_rpc::registration::RegistrationConfig;
use millstream_taskmanager::config::ChildConfig;
use millstream_taskmanager::{Leader, TaskExecutorConfig};
use std::collections::BTreeMap;

/// The JobManager that leads at first.
pub const MASTER: ProcId = 0;

/// The JobManager that may lead later.
pub const STANDBY: ProcId = 1;

const MASTERS: [&str; 2] = ["jm:6123", "standby:6123"];

/// How patient everybody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timing {
    /// Everything about ten times faster than Flink's defaults: more happens in a virtual minute.
    Fast,
    /// Flink's defaults.
    Flink,
}

/// What a cluster consists of.
#[derive(Clone, Debug)]
pub struct Setup {
    /// How many TaskManagers.
    pub workers: usize,
    /// How many slots each has.
    pub slots: u32,
    /// What is submitted.
    pub jobs: Vec<JobPlan>,
    /// How patient everybody is.
    pub timing: Timing,
    /// Job processes are task hosts inside the worker.
    pub embedded: bool,
    /// A second JobManager waits for its turn to lead.
    pub standby: bool,
}

impl Timing {
    /// `heartbeat.*`.
    pub fn heartbeat(self) -> HeartbeatConfig {
        match self {
            Timing::Fast => {
                HeartbeatConfig { interval_ms: 1_000, timeout_ms: 5_000, failures_max: Some(2) }
            }
            Timing::Flink => HeartbeatConfig::default(),
        }
    }

    /// `cluster.registration.*`.
    pub fn registration(self) -> RegistrationConfig {
        match self {
            Timing::Fast => RegistrationConfig {
                initial_timeout_ms: 100,
                max_timeout_ms: 3_000,
                error_delay_ms: 1_000,
                refused_delay_ms: 2_000,
            },
            Timing::Flink => RegistrationConfig::default(),
        }
    }

    /// `pekko.ask.timeout`.
    pub fn ask_timeout_ms(self) -> u64 {
        match self {
            Timing::Fast => 2_000,
            Timing::Flink => 10_000,
        }
    }

    fn task_executor(self, config: &mut TaskExecutorConfig) {
        config.heartbeat = self.heartbeat();
        config.registration = self.registration();
        config.ask_timeout_ms = self.ask_timeout_ms();
        if self == Timing::Fast {
            config.registration_timeout_ms = 30_000;
            config.slot_timeout_ms = 3_000;
            config.retry_delay_ms = 200;
            config.task_cancellation_timeout_ms = 4_000;
            config.child = ChildConfig {
                start_timeout_ms: 3_000,
                linger_ms: 2_000,
                dismiss_timeout_ms: 1_000,
                kill_timeout_ms: 2_000,
            };
        }
    }

    fn dispatcher(self) -> DispatcherConfig {
        let mut config = DispatcherConfig {
            ask_timeout_ms: self.ask_timeout_ms(),
            ..DispatcherConfig::default()
        };
        if self == Timing::Fast {
            config.cancel_retry_ms = 200;
            config.retry_initial_ms = 100;
            config.retry_max_ms = 2_000;
            config.shutdown_timeout_ms = 3_000;
        }
        config
    }

    fn job_master(self) -> JobMasterConfig {
        let mut config = JobMasterConfig {
            heartbeat: self.heartbeat(),
            registration: self.registration(),
            ask_timeout_ms: self.ask_timeout_ms(),
            ..JobMasterConfig::default()
        };
        // A job that gives up waiting for slots would end without showing whether it can get them.
        config.slot_request_timeout_ms = 100_000_000;
        if self == Timing::Fast {
            config.slot_idle_timeout_ms = 3_000;
        }
        config
    }

    fn resource_manager(self) -> ResourceManagerConfig {
        let mut config = ResourceManagerConfig {
            heartbeat: self.heartbeat(),
            ask_timeout_ms: self.ask_timeout_ms(),
            ..ResourceManagerConfig::default()
        };
        if self == Timing::Fast {
            config.startup_grace_ms = 10_000;
            config.job_timeout_ms = 20_000;
        }
        config
    }
}

impl Setup {
    fn masters(&self) -> Vec<ProcId> {
        if self.standby { vec![MASTER, STANDBY] } else { vec![MASTER] }
    }

    /// What a plan for this cluster is drawn from.
    pub fn plan_spec(&self, groups: &'static [Group], end_at_ms: u64, faults_max: u64) -> PlanSpec {
        PlanSpec {
            groups,
            end_at_ms,
            timeout_ms: self.timing.heartbeat().timeout_ms,
            masters: self.masters(),
            workers: (1..=self.workers).map(|number| STANDBY + number).collect(),
            faults_max,
        }
    }
}

/// A cluster in a run.
pub struct Cluster {
    /// Its processes.
    pub world: World,
    /// What it consists of.
    pub setup: Setup,
    /// Jobs that a dispatcher called ended: in which process and life of it, and how.
    ended: BTreeMap<(ProcId, u64, JobId), JobStatus>,
}

impl Cluster {
    /// Puts a cluster together. The JobManager starts first, or somewhat later than its workers.
    pub fn new(setup: Setup, plan: Plan, trace: Trace) -> Self {
        let seed = plan.seed;
        let mut rng = Rng::new(seed ^ 0xC105_7E20);
        let token = FencingToken(rng.next_u128());
        // With high availability each life is a term of its own; without, all are one.
        let terms = setup.standby || rng.below(2) == 0;
        let mut world = World::new(plan, trace);
        let timing = setup.timing;
        world.elect_among(vec![MASTER, STANDBY]);
        let start_at_ms = rng.below(2) * rng.below(3_000);
        for (number, name) in MASTERS.into_iter().enumerate() {
            let factory = Box::new(move |life: u64| {
                let term = u128::from(life - 1) << 1 | number as u128;
                let config = JobManagerConfig {
                    process: name.to_owned(),
                    token: FencingToken(token.0 ^ if terms { term } else { 0 }),
                    dispatcher: timing.dispatcher(),
                    resource_manager: timing.resource_manager(),
                    job_master: timing.job_master(),
                };
                let seed = seed ^ (number as u64) << 40;
                Node::JobManager(Box::new(JobManager::new(&config, seed, life)))
            });
            world.add(name, start_at_ms, factory);
        }
        for number in 1..=setup.workers {
            let name = format!("tm{number}:6122");
            let (slots, embedded) = (setup.slots, setup.embedded);
            let factory_name = name.clone();
            let factory = Box::new(move |life| {
                let config = worker_config(&factory_name, life, slots, timing, token);
                let seed = seed ^ life << 32 ^ (number as u64) << 48;
                Node::TaskManager(Box::new(TaskManager::new(config, seed, embedded)))
            });
            world.add(&name, rng.below(2) * rng.below(3_000), factory);
        }
        if !setup.jobs.is_empty() {
            let jobs = setup.jobs.clone();
            let factory = Box::new(move |_| {
                Node::Client(Box::new(Client::new("jm:6123", token, jobs.clone())))
            });
            world.add("client:1", 0, factory);
        }
        let ended = BTreeMap::new();
        Self { world, setup, ended }
    }

    /// The JobManager that leads, if it lives.
    pub fn master(&self) -> Option<&JobManager> {
        self.world.node(self.world.leading())?.as_job_manager()
    }

    /// The TaskManagers that live.
    pub fn workers(&self) -> impl Iterator<Item = &TaskManager> {
        self.world.nodes().filter_map(|(_, node)| node.as_task_manager())
    }

    /// The client, if there are jobs.
    pub fn client(&self) -> Option<&Client> {
        self.world.nodes().find_map(|(_, node)| node.as_client())
    }

    /// What holds at any moment, seen from outside.
    pub fn check(&mut self) {
        self.check_grants();
        self.check_ends();
        let timeout_ms = self.setup.timing.heartbeat().timeout_ms;
        if self.world.now_ms() > self.world.plan().heal_at_ms + 2 * timeout_ms {
            self.check_no_twins();
        }
    }

    /// I4: a grant lives in one slot of the cluster, and is for one job.
    fn check_grants(&self) {
        let mut seen: BTreeMap<AllocationId, (&ResourceId, JobId)> = BTreeMap::new();
        for worker in self.workers() {
            let executor = &worker.host.machine;
            for (allocation, slot) in executor.slots().iter() {
                let here = (&executor.config().resource, slot.job);
                if let Some(there) = seen.insert(*allocation, here) {
                    panic!("allocation {allocation} lives at {there:?} and at {here:?}");
                }
            }
        }
        let masters = self.master().into_iter().flat_map(|master| &master.job_masters);
        for (job, master) in masters {
            for (allocation, slot) in master.machine.slots().iter() {
                let here = (&slot.resource, *job);
                // It may be here before its worker hears that, and after its worker gave it back.
                let there = seen.insert(allocation, here);
                let same = there.is_none_or(|there| there == here);
                assert!(same, "allocation {allocation} is of {there:?} and of {here:?}");
            }
        }
    }

    /// I10: an end is final.
    fn check_ends(&mut self) {
        let leading = self.world.leading();
        let Some(master) = self.world.node(leading).and_then(Node::as_job_manager) else {
            return;
        };
        let Some(client) = self.client() else {
            return;
        };
        let life = self.world.life(leading);
        let jobs = client.jobs().map(|plan| plan.job);
        let status = |job| master.dispatcher.machine.status(job);
        let ends = jobs.filter_map(|job| Some((job, status(job)?)));
        let ends = ends.filter(|(_, status)| status.is_globally_terminal());
        for (job, status) in ends.collect::<Vec<_>>() {
            let former = self.ended.insert((leading, life, job), status);
            let same = former.is_none_or(|former| former == status);
            assert!(same, "job {job} was {former:?} and is {status:?}");
        }
    }

    /// Once everything has been healed for a while, no subtask runs twice, wherever it is.
    fn check_no_twins(&self) {
        let mut seen = BTreeMap::new();
        let children = self.workers().flat_map(TaskManager::children);
        for child in children.filter(|child| !child.kill_asked) {
            for attempt in child.active() {
                let subtask = (child.job, attempt.vertex, attempt.subtask);
                if let Some(twin) = seen.insert(subtask, attempt) {
                    panic!("{attempt} runs beside {twin}");
                }
            }
        }
    }

    /// After healing, with jobs: all have ended, and the cluster is as empty as at its start.
    pub fn check_at_rest(&self) {
        self.check_jobs_have_ended();
        self.check_workers_are_registered();
        self.check_everything_is_free();
        self.check_no_ask_is_open();
    }

    /// After healing: every worker is registered, and both sides agree on it and on its slots.
    pub fn check_workers_are_registered(&self) {
        let master = self.master().expect("the JobManager lives after healing");
        let slots = master.resource_manager.machine.slots();
        let mut workers = 0;
        for worker in self.workers() {
            workers += 1;
            let executor = &worker.host.machine;
            let resource = &executor.config().resource;
            let ours = executor.instance();
            assert!(ours.is_some(), "{resource} is not registered");
            assert_eq!(ours, slots.instance(resource), "{resource} and its registration");
            assert_eq!(slots.describe(resource), executor.slots().report(), "{resource}");
        }
        assert_eq!(workers, self.setup.workers, "a worker did not come back");
        let total = self.setup.workers as u32 * self.setup.slots;
        let counts = slots.counts();
        assert_eq!(counts.total(), total, "ghosts of former workers: {counts:?}");
    }

    /// After the last job: nobody holds anything.
    pub fn check_everything_is_free(&self) {
        let master = self.master().expect("the JobManager lives after healing");
        let counts = master.resource_manager.machine.slots().counts();
        assert_eq!(counts.free, counts.total(), "slots have leaked: {counts:?}");
        for worker in self.workers() {
            let executor = &worker.host.machine;
            let resource = &executor.config().resource;
            let counts = executor.slots().counts();
            assert_eq!(counts.free, self.setup.slots, "{resource} still holds {counts:?}");
            assert!(executor.jobs().is_empty(), "{resource} still serves {:?}", executor.jobs());
            let children: Vec<_> = worker.children().collect();
            assert!(children.is_empty(), "{resource} still runs {children:?}");
        }
    }

    /// I13: no ask is left without an end.
    pub fn check_no_ask_is_open(&self) {
        assert_eq!(self.world.open_asks(), 0, "asks without an end");
        for worker in self.workers() {
            let executor = &worker.host.machine;
            assert_eq!(executor.pending_asks(), 0, "{}", executor.config().resource);
        }
        if let Some(master) = self.master() {
            assert_eq!(master.resource_manager.machine.open_asks(), 0, "resource manager");
            assert_eq!(master.dispatcher.machine.open_ends(), (0, 0), "dispatcher");
        }
    }

    /// I10, I14: every job has ended, once, as its client was told, and its master is gone.
    pub fn check_jobs_have_ended(&self) {
        let master = self.master().expect("the JobManager lives after healing");
        let client = self.client().expect("a client with jobs");
        for plan in client.jobs() {
            let job = plan.job;
            let end = client.ended().get(&job);
            let there = master.dispatcher.machine.status(job);
            let stands = master.job_masters.get(&job).map(|it| describe(&it.machine));
            assert!(
                end.is_some(),
                "job {job} has not ended: {there:?}, {}",
                stands.unwrap_or_default()
            );
            assert!(there.is_none() || there.as_ref() == end, "{job}: {there:?} or {end:?}?");
            match end {
                Some(JobStatus::Failed) if plan.graph.name == UNFIT => (),
                Some(JobStatus::Finished) => assert_ne!(plan.graph.name, UNFIT, "it cannot run"),
                Some(JobStatus::Canceled) => assert!(
                    plan.cancel_at_ms.is_some() || master_was_stopped(&self.world),
                    "job {job} was cancelled by nobody"
                ),
                end => panic!("job {job} ended as {end:?}: {:?}", client.failure(job)),
            }
        }
        assert!(master.job_masters.is_empty(), "job masters without jobs");
    }
}

/// What a job master thinks, for a failure's message.
fn describe(master: &JobMaster) -> String {
    let scheduler = master.scheduler();
    let graph = scheduler.graph();
    let executions = graph.executions().map(|(id, execution)| {
        let place = execution.place().map(|place| place.resource.to_string());
        format!("  {} {:?} at {place:?}", graph.attempt_id(id), execution.state())
    });
    let slots = scheduler.slots();
    format!(
        "job master {:?}, {} of {} slots, restarts {:?}, executions:\n{}",
        master.status(),
        slots.placed(),
        slots.needed(),
        scheduler.restarts(),
        executions.collect::<Vec<_>>().join("\n")
    )
}

/// Whether the JobManager was asked to end: without high availability it cancels its jobs then.
fn master_was_stopped(world: &World) -> bool {
    let faults = world.plan().faults.iter();
    let stopped = |process: ProcId| process == MASTER || process == STANDBY;
    faults
        .into_iter()
        .any(|(_, fault)| matches!(fault, Fault::Stop { process, .. } if stopped(*process)))
}

fn worker_config(
    name: &str,
    life: u64,
    slots: u32,
    timing: Timing,
    token: FencingToken,
) -> TaskExecutorConfig {
    let address = Address { process: name.to_owned(), endpoint: EndpointName::TaskExecutor };
    let resource = ResourceId(format!("{name}-{life}"));
    let data_address = format!("{name}9");
    let mut config = TaskExecutorConfig::new(resource, address, data_address, slots);
    config.resource_manager = Some(Leader {
        address: Address { process: "jm:6123".to_owned(), endpoint: EndpointName::ResourceManager },
        token,
    });
    timing.task_executor(&mut config);
    config
}
