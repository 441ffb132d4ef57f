//! A JobManager process: dispatcher, resource manager, and a job master per job.
//!
//! Its shell stores nothing: without high availability there is nothing to store, and all jobs are
//! gone with the process. In bad weather its stores nevertheless fail, so that the dispatcher's
//! handling of that is seen.

use super::{Later, NodeInput, no_endpoint};
use crate::host::{Env, Host, HostId, Out};
use millstream_core::ids::{FencingToken, JobId, ResourceId};
use millstream_core::job_graph::JobGraph;
use millstream_core::time::Timestamp;
use millstream_jobmanager::dispatcher::{
    Dispatcher, DispatcherConfig, DispatcherDone, DispatcherOp, DispatcherTimer,
};
use millstream_jobmanager::job_master::{JobMaster, JobMasterConfig, Surroundings};
use millstream_jobmanager::resource_manager::{ResourceManager, ResourceManagerConfig};
use millstream_rpc::machine::{Input, OpId, ReplyTo};
use millstream_rpc::protocol::{EndpointName, Message};
use std::collections::BTreeMap;

/// What a JobManager process is made with.
#[derive(Clone, Debug)]
pub struct JobManagerConfig {
    /// `host:port`.
    pub process: String,
    /// The term of all its endpoints.
    pub token: FencingToken,
    /// Of the dispatcher.
    pub dispatcher: DispatcherConfig,
    /// Of the resource manager.
    pub resource_manager: ResourceManagerConfig,
    /// Of each job master.
    pub job_master: JobMasterConfig,
}

/// Something that the process has arranged for itself.
#[derive(Debug)]
pub enum Event {
    /// An operation of the dispatcher is carried out.
    Work(OpId, DispatcherOp),
}

/// A JobManager process.
#[derive(Debug)]
pub struct JobManager {
    config: JobManagerConfig,
    seed: u64,
    /// Its process, in this life.
    resource: ResourceId,
    /// The dispatcher.
    pub dispatcher: Host<Dispatcher>,
    /// The resource manager.
    pub resource_manager: Host<ResourceManager>,
    /// The job masters that exist, also those that are done.
    pub job_masters: BTreeMap<JobId, Host<JobMaster>>,
    last_host: HostId,
}

const DISPATCHER: HostId = 1;
const RESOURCE_MANAGER: HostId = 2;

impl JobManager {
    /// A process that has not begun, in its `life`-th life.
    pub fn new(config: &JobManagerConfig, seed: u64, life: u64) -> Self {
        let seed = seed ^ life << 32;
        let resource = ResourceId(format!("{}-{life}", config.process));
        let resource_manager = ResourceManager::new(
            config.resource_manager,
            resource.clone(),
            "jm:6124".to_owned(),
            config.token,
        );
        let dispatcher = Dispatcher::new(config.dispatcher, config.process.clone(), config.token);
        Self {
            config: config.clone(),
            seed,
            resource,
            dispatcher: Host::new(DISPATCHER, dispatcher, seed),
            resource_manager: Host::new(RESOURCE_MANAGER, resource_manager, seed),
            job_masters: BTreeMap::new(),
            last_host: RESOURCE_MANAGER,
        }
    }

    /// Handles one thing.
    pub fn handle(&mut self, env: &mut Env<'_>, input: NodeInput) {
        match input {
            NodeInput::Start => {
                env.out.push(Out::Announce(self.config.token));
                self.resource_manager.step(env, Input::Start);
                self.feed_dispatcher(env, Input::Start);
            }
            NodeInput::Stop => self.feed_dispatcher(env, Input::Stop),
            NodeInput::Message { to, token, message, reply } => {
                self.on_message(env, to, token, message, reply);
            }
            NodeInput::Answered { host, ask, result } => match host {
                DISPATCHER => self.feed_dispatcher(env, Input::Answered { ask, result }),
                RESOURCE_MANAGER => {
                    self.resource_manager.step(env, Input::Answered { ask, result });
                }
                _ => {
                    if let Some(master) = self.job_master(host) {
                        master.step(env, Input::Answered { ask, result });
                    }
                }
            },
            NodeInput::Timer { host, key } => self.on_timer(env, host, key),
            NodeInput::PeerLost { process, reason } => self.on_peer_lost(env, &process, &reason),
            NodeInput::Later(Later::Master(Event::Work(op, what))) => self.work(env, op, what),
            NodeInput::Later(_) | NodeInput::CrashChild => (),
        }
    }

    fn job_master(&mut self, host: HostId) -> Option<&mut Host<JobMaster>> {
        self.job_masters.values_mut().find(|master| master.id == host)
    }

    fn on_message(
        &mut self,
        env: &mut Env<'_>,
        to: EndpointName,
        token: Option<FencingToken>,
        message: Message,
        reply: Option<ReplyTo>,
    ) {
        match to {
            EndpointName::Dispatcher => {
                let input = Input::Message { token, message, reply };
                self.feed_dispatcher(env, input);
            }
            EndpointName::ResourceManager => {
                let input = Input::Message { token, message, reply };
                self.resource_manager.step(env, input);
            }
            EndpointName::JobMaster(job) => match self.job_masters.get_mut(&job) {
                Some(master) if !master.ended => {
                    let input = Input::Message { token, message, reply };
                    master.step(env, input);
                }
                _ => no_endpoint(env, reply),
            },
            EndpointName::TaskExecutor | EndpointName::LeaderElection => no_endpoint(env, reply),
        }
    }

    fn on_timer(&mut self, env: &mut Env<'_>, host: HostId, key: u64) {
        match host {
            DISPATCHER => {
                if let Some(timer) = self.dispatcher.due(key) {
                    self.feed_dispatcher(env, Input::Timer(timer));
                }
            }
            RESOURCE_MANAGER => {
                if let Some(timer) = self.resource_manager.due(key) {
                    self.resource_manager.step(env, Input::Timer(timer));
                }
            }
            _ => {
                if let Some(master) = self.job_master(host)
                    && let Some(timer) = master.due(key)
                {
                    master.step(env, Input::Timer(timer));
                }
            }
        }
    }

    fn on_peer_lost(&mut self, env: &mut Env<'_>, process: &str, reason: &str) {
        let (process, reason) = (process.to_owned(), reason.to_owned());
        let lost = |process: &String, reason: &String| (process.clone(), reason.clone());
        for master in self.job_masters.values_mut() {
            let (process, reason) = lost(&process, &reason);
            master.step(env, Input::PeerLost { process, reason });
        }
        let (process_2, reason_2) = lost(&process, &reason);
        let input = Input::PeerLost { process: process_2, reason: reason_2 };
        self.resource_manager.step(env, input);
        self.feed_dispatcher(env, Input::PeerLost { process, reason });
    }

    fn feed_dispatcher(
        &mut self,
        env: &mut Env<'_>,
        input: Input<DispatcherTimer, DispatcherDone>,
    ) {
        let ops = self.dispatcher.step(env, input);
        for (op, what) in ops {
            let delay_us = 50 + env.rng.below(20_000);
            env.later(delay_us, Later::Master(Event::Work(op, what)));
        }
        if self.dispatcher.ended {
            for master in self.job_masters.values_mut() {
                master.step(env, Input::Stop);
            }
            self.resource_manager.step(env, Input::Stop);
            let reason = "stopped as asked".to_owned();
            env.out.push(Out::Exit { reason });
        }
    }

    /// Carries an operation out, or not, and says so, or not.
    fn work(&mut self, env: &mut Env<'_>, op: OpId, what: DispatcherOp) {
        let faulty = env.chance(env.weather.store_faults);
        let reason = "the store is ill".to_owned();
        let result = match env.rng.below(3) {
            0 if faulty => DispatcherDone::Failed { reason },
            1 if faulty => DispatcherDone::Unknown { reason },
            luck => {
                self.carry_out(env, what);
                match luck {
                    2 if faulty => DispatcherDone::Unknown { reason },
                    _ => DispatcherDone::Done,
                }
            }
        };
        self.feed_dispatcher(env, Input::Done { op, result });
    }

    fn carry_out(&mut self, env: &mut Env<'_>, what: DispatcherOp) {
        match what {
            DispatcherOp::PersistGraph { .. }
            | DispatcherOp::RecordResult { .. }
            | DispatcherOp::CleanUpJob { .. } => (),
            DispatcherOp::StartJobMaster { job, graph, token, submitted } => {
                self.start_job_master(env, job, (*graph).clone(), token, submitted);
            }
            DispatcherOp::StopJobMaster { job } => {
                if let Some(master) = self.job_masters.get_mut(&job) {
                    master.step(env, Input::Stop);
                    assert!(master.ended, "job master of {job} does not stop");
                    self.job_masters.remove(&job);
                }
            }
        }
    }

    fn start_job_master(
        &mut self,
        env: &mut Env<'_>,
        job: JobId,
        graph: JobGraph,
        token: FencingToken,
        submitted: Timestamp,
    ) {
        let process = &self.config.process;
        let resource = self.resource.clone();
        let mut surroundings = Surroundings::in_process(process, resource, job, self.config.token);
        surroundings.token = token;
        let machine =
            JobMaster::new(self.config.job_master.clone(), surroundings, job, graph, submitted);
        self.last_host += 1;
        let mut master = Host::new(self.last_host, machine, self.seed);
        master.step(env, Input::Start);
        let former = self.job_masters.insert(job, master);
        assert!(former.is_none(), "two job masters of {job}");
    }
}
