//! The ids that everything is said with: few of them, and many learnt from the machine itself.

use crate::families::jobs::{JobShape, draw_graph};
use millstream_core::ids::{
    AllocationId, ExecutionAttemptId, ExecutionGraphId, FencingToken, InstanceId, JobId,
    JobVertexId, ResourceId,
};
use millstream_core::job_graph::JobGraph;
use millstream_core::key_group::MaxParallelism;
use millstream_rpc::machine::Rng;
use millstream_rpc::protocol::deployment::TaskDeploymentDescriptor;
use millstream_rpc::protocol::job_master::ToJobMaster;
use millstream_rpc::protocol::resource_manager::ResourceManagerAnswer;
use millstream_rpc::protocol::task_executor::ToTaskExecutor;
use millstream_rpc::protocol::{Address, Answer, EndpointName, Message};
use std::collections::BTreeSet;

/// The term of whoever leads.
pub const TOKEN: FencingToken = FencingToken(7);
/// The process that whoever leads is in.
pub const MASTER_PROCESS: &str = "jm:6123";

/// Few ids of each kind.
#[derive(Debug)]
pub struct Pool {
    /// What chooses.
    pub rng: Rng,
    /// Jobs; the first is the job master's.
    pub jobs: Vec<JobId>,
    /// What jobs run.
    pub graph: JobGraph,
    /// The newest incarnation of a child.
    pub incarnation: u64,
    allocations: Vec<AllocationId>,
    /// Grants that a job master believes to have; for heartbeats that mostly agree.
    instances: Vec<InstanceId>,
    attempts: Vec<ExecutionAttemptId>,
    descriptors: Vec<TaskDeploymentDescriptor>,
}

impl Pool {
    /// The ids of a seed.
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0xE7E2_7E7E);
        let shape = JobShape {
            parallelism_max: 2,
            blocking: seed.is_multiple_of(3),
            endless: false,
            slow: false,
        };
        let graph = draw_graph(&mut rng, shape);
        Self {
            graph,
            jobs: (1..4).map(JobId).collect(),
            incarnation: 1,
            allocations: (1..4).map(AllocationId).collect(),
            instances: (1..3).map(InstanceId).collect(),
            attempts: Vec::new(),
            descriptors: Vec::new(),
            rng,
        }
    }

    /// One of these.
    pub fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.rng.below(from.len() as u64) as usize].clone()
    }

    /// One of the newest of these: what is old rarely fits.
    fn pick_new<T: Clone>(&mut self, from: &[T]) -> T {
        let reach = from.len().min(6) as u64;
        from[from.len() - 1 - self.rng.below(reach) as usize].clone()
    }

    /// Mostly true.
    pub fn mostly(&mut self) -> bool {
        self.rng.below(8) > 0
    }

    /// A job; mostly the first.
    pub fn job(&mut self) -> JobId {
        let jobs = self.jobs.clone();
        if self.mostly() { jobs[0] } else { self.pick(&jobs) }
    }

    /// A term; mostly the one that leads.
    pub fn token(&mut self) -> FencingToken {
        let others = [FencingToken(0), FencingToken(8), TOKEN];
        if self.mostly() { TOKEN } else { self.pick(&others) }
    }

    /// The worker that a task executor is.
    pub fn resource_here(&self) -> ResourceId {
        ResourceId("tm1-1".to_owned())
    }

    /// A worker.
    pub fn resource(&mut self) -> ResourceId {
        let known = ["tm1-1", "tm1-1", "tm1-1", "tm1-2", "tm2-1"];
        ResourceId(self.pick(&known).to_owned())
    }

    /// Where that worker is.
    pub fn worker_address(&mut self, resource: &ResourceId) -> Address {
        let host = resource.0.split('-').next().unwrap_or_default();
        Address { process: format!("{host}:6122"), endpoint: EndpointName::TaskExecutor }
    }

    /// A process.
    pub fn process(&mut self) -> String {
        let known = [MASTER_PROCESS, "tm1:6122", "tm2:6122", "client:1", "nowhere:1"];
        self.pick(&known).to_owned()
    }

    /// An address of that endpoint; mostly where it is.
    pub fn address(&mut self, endpoint: EndpointName) -> Address {
        let process = if self.mostly() { MASTER_PROCESS.to_owned() } else { self.process() };
        Address { process, endpoint }
    }

    /// A grant.
    pub fn allocation(&mut self) -> AllocationId {
        let known = self.allocations.clone();
        self.pick_new(&known)
    }

    /// Some grants; mostly nearly all of the newest.
    pub fn allocations(&mut self) -> BTreeSet<AllocationId> {
        let newest: Vec<_> = self.allocations.iter().rev().take(6).copied().collect();
        newest.into_iter().filter(|_| self.mostly()).collect()
    }

    /// A grant that nobody has heard of.
    pub fn fresh_allocation(&mut self) -> AllocationId {
        let fresh = AllocationId(100 + self.allocations.len() as u128);
        self.allocations.push(fresh);
        fresh
    }

    /// A registration.
    pub fn instance(&mut self) -> InstanceId {
        let known = self.instances.clone();
        let newest = known[known.len() - 1];
        if self.mostly() { newest } else { self.pick_new(&known) }
    }

    /// An attempt.
    pub fn attempt(&mut self) -> ExecutionAttemptId {
        if self.attempts.is_empty() || self.rng.below(20) == 0 {
            return ExecutionAttemptId {
                graph: ExecutionGraphId(1),
                vertex: JobVertexId(100),
                subtask: self.rng.below(2) as u32,
                attempt: self.rng.below(3) as u32,
            };
        }
        let known = self.attempts.clone();
        self.pick_new(&known)
    }

    /// Some attempts; mostly nearly all of the newest.
    pub fn attempts(&mut self) -> BTreeSet<ExecutionAttemptId> {
        let newest: Vec<_> = self.attempts.iter().rev().take(8).copied().collect();
        newest.into_iter().filter(|_| self.mostly()).collect()
    }

    /// What is to be run: something new, or something again.
    pub fn descriptor(&mut self) -> TaskDeploymentDescriptor {
        if !self.descriptors.is_empty() && self.rng.below(5) == 0 {
            let known = self.descriptors.clone();
            return self.pick_new(&known);
        }
        let attempt = ExecutionAttemptId {
            graph: ExecutionGraphId(1 + u128::from(self.rng.below(2))),
            vertex: JobVertexId(100 + u128::from(self.rng.below(2))),
            subtask: self.rng.below(2) as u32,
            attempt: self.descriptors.len() as u32 / 2,
        };
        let descriptor = TaskDeploymentDescriptor {
            job: self.job(),
            attempt,
            task_name: "map".to_owned(),
            allocation: self.allocation(),
            parallelism: 2,
            max_parallelism: MaxParallelism::default_for(2),
            partitions: Vec::new(),
            gates: Vec::new(),
            checkpointing: None,
            restore: None,
        };
        self.attempts.push(attempt);
        self.descriptors.push(descriptor.clone());
        descriptor
    }

    /// The machine has said this: it names ids.
    pub fn learn(&mut self, message: &Message) {
        match message {
            Message::TaskExecutor(ToTaskExecutor::RequestSlot { allocation, .. }) => {
                self.allocations.push(*allocation);
            }
            Message::TaskExecutor(ToTaskExecutor::SubmitTask { descriptor, .. }) => {
                self.attempts.push(descriptor.attempt);
            }
            Message::JobMaster(ToJobMaster::UpdateTaskExecutionState(update)) => {
                self.attempts.push(update.attempt);
            }
            _ => (),
        }
    }

    /// The machine has answered this: it names ids.
    pub fn learn_answer(&mut self, answer: &Answer) {
        if let Answer::ResourceManager(ResourceManagerAnswer::TaskExecutorRegistered {
            instance,
            ..
        }) = answer
        {
            self.instances.push(*instance);
        }
    }
}
