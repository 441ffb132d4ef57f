//! What is said: every message and every answer, with ids of the pool.

use super::pool::{MASTER_PROCESS, Pool};
use crate::families::jobs::{JobShape, draw_graph};
use millstream_checkpoint::handle::TaskState;
use millstream_core::checkpoint::CheckpointId;
use millstream_core::ids::{JobId, ResourceId, TriggerId};
use millstream_core::job_graph::SourceSplit;
use millstream_core::status::{ExecutionState, JobStatus};
use millstream_rpc::protocol::details::{ExecutionGraphDetails, JobSummary};
use millstream_rpc::protocol::dispatcher::{DispatcherAnswer, ToDispatcher};
use millstream_rpc::protocol::job_link::{FromJobProcess, JobInformation};
use millstream_rpc::protocol::job_master::{
    Drain, JobMasterAnswer, SnapshotMetrics, TaskExecutionState, TaskFailure, TaskFailureKind,
    TaskMetrics, ToJobMaster, WatermarkReport,
};
use millstream_rpc::protocol::resource::{
    ResourceProfile, ResourceRequirement, SlotId, SlotOffer, SlotReport, SlotStatus,
};
use millstream_rpc::protocol::resource_manager::{
    HardwareDescription, MemoryConfiguration, ResourceManagerAnswer, TaskExecutorRegistration,
    ToResourceManager,
};
use millstream_rpc::protocol::task_executor::{TaskExecutorAnswer, ToTaskExecutor};
use millstream_rpc::protocol::{Answer, AskError, EndpointName, Message, Refusal};
use std::collections::BTreeMap;

/// Everything that can be said.
pub trait Messages {
    /// To a task executor.
    fn to_task_executor(&mut self) -> ToTaskExecutor;
    /// To a resource manager.
    fn to_resource_manager(&mut self) -> ToResourceManager;
    /// To a job master.
    fn to_job_master(&mut self) -> ToJobMaster;
    /// To a dispatcher.
    fn to_dispatcher(&mut self) -> ToDispatcher;
    /// Of a job process.
    fn of_job_process(&mut self) -> FromJobProcess;
    /// What may come back for an ask: mostly what fits.
    fn result_of(&mut self, ask: Option<&Message>) -> Result<Answer, AskError>;
}

impl Messages for Pool {
    fn to_task_executor(&mut self) -> ToTaskExecutor {
        let job_master = self.token();
        let resource_manager = self.token();
        let cause = "a cause".to_owned();
        match self.rng.below(22) {
            0..=3 => ToTaskExecutor::RequestSlot {
                slot: SlotId {
                    resource: if self.mostly() { self.resource_here() } else { self.resource() },
                    index: self.rng.below(3) as u32,
                },
                job: self.job(),
                allocation: if self.rng.below(3) > 0 {
                    self.fresh_allocation()
                } else {
                    self.allocation()
                },
                profile: ResourceProfile::ANY,
                job_master: {
                    let job = self.job();
                    self.address(EndpointName::JobMaster(job))
                },
                resource_manager,
            },
            4 => ToTaskExecutor::FreeInactiveSlots { job: self.job(), resource_manager },
            5 => ToTaskExecutor::HeartbeatFromResourceManager { resource_manager },
            6 => ToTaskExecutor::DisconnectResourceManager { resource_manager, cause },
            7..=12 => {
                let descriptor = self.descriptor();
                let job = if self.mostly() { descriptor.job } else { self.job() };
                let graph = self.graph.clone();
                ToTaskExecutor::SubmitTask {
                    descriptor: Box::new(descriptor),
                    job: Box::new(JobInformation { job, graph }),
                    job_master,
                }
            }
            13 | 14 => ToTaskExecutor::CancelTask { attempt: self.attempt(), job_master },
            15 => {
                ToTaskExecutor::UpdatePartitions { attempt: self.attempt(), channels: Vec::new() }
            }
            16 => ToTaskExecutor::FreeSlot { allocation: self.allocation(), cause },
            17 | 18 => ToTaskExecutor::HeartbeatFromJobMaster {
                job: self.job(),
                job_master,
                allocations: self.allocations(),
            },
            19 => {
                let (job, status) = (self.job(), self.pick(&JobStatus::ALL));
                ToTaskExecutor::DisconnectJobMaster { job, job_master, status, cause }
            }
            _ => ToTaskExecutor::RequestLog { job: Some(self.job()), bytes_max: 10 },
        }
    }

    fn to_resource_manager(&mut self) -> ToResourceManager {
        let resource = self.resource();
        let instance = self.instance();
        let cause = "a cause".to_owned();
        match self.rng.below(20) {
            0..=2 => ToResourceManager::RegisterTaskExecutor(Box::new(registration(self))),
            3..=5 => ToResourceManager::SendSlotReport { resource, instance, report: report(self) },
            6 | 7 => ToResourceManager::NotifySlotAvailable {
                resource,
                instance,
                index: self.rng.below(3) as u32,
                allocation: self.allocation(),
            },
            8 => ToResourceManager::HeartbeatFromTaskExecutor {
                resource,
                instance,
                report: report(self),
            },
            9 => ToResourceManager::DisconnectTaskExecutor { resource, cause },
            10..=12 => {
                let job = self.job();
                ToResourceManager::RegisterJobMaster {
                    job,
                    job_master: self.token(),
                    address: self.address(EndpointName::JobMaster(job)),
                    resource: ResourceId("jm-1".to_owned()),
                }
            }
            13..=15 => ToResourceManager::DeclareRequiredResources {
                job: self.job(),
                job_master: self.token(),
                requirements: requirements(self),
            },
            16 => ToResourceManager::HeartbeatFromJobMaster {
                job: self.job(),
                job_master: self.token(),
            },
            17 => ToResourceManager::DisconnectJobMaster {
                job: self.job(),
                status: self.pick(&JobStatus::ALL),
                cause,
            },
            18 => ToResourceManager::RequestClusterResources,
            _ => ToResourceManager::RequestTaskManagers,
        }
    }

    fn to_job_master(&mut self) -> ToJobMaster {
        let resource = self.resource();
        let cause = "a cause".to_owned();
        match self.rng.below(29) {
            0..=2 => ToJobMaster::RegisterTaskExecutor {
                job: self.job(),
                address: self.worker_address(&resource),
                data_address: format!("{resource}:9"),
                resource,
            },
            3..=6 => ToJobMaster::OfferSlots {
                resource,
                slots: (0..=self.rng.below(2)).map(|_| offer(self)).collect(),
            },
            7 => ToJobMaster::FailSlot { resource, allocation: self.allocation(), cause },
            8..=13 => ToJobMaster::UpdateTaskExecutionState(Box::new(task_state(self))),
            14 | 15 => {
                let attempt = self.attempt();
                let vertex = attempt.vertex;
                ToJobMaster::RequestNextSplit { vertex, attempt }
            }
            16..=18 => ToJobMaster::HeartbeatFromTaskExecutor {
                resource,
                executions: self.attempts(),
                metrics: BTreeMap::new(),
            },
            19 => ToJobMaster::HeartbeatFromResourceManager {
                resource_manager: ResourceId("jm-1".to_owned()),
            },
            20 => ToJobMaster::NotifyNotEnoughResources { acquired: requirements(self) },
            21 => ToJobMaster::DisconnectTaskExecutor { resource, cause },
            22 if self.rng.below(6) == 0 => ToJobMaster::Cancel,
            23..=27 => checkpoint_message(self),
            22 => ToJobMaster::DisconnectResourceManager { token: self.token(), cause },
            _ => ToJobMaster::RequestDetails,
        }
    }

    fn to_dispatcher(&mut self) -> ToDispatcher {
        let jobs = self.jobs.clone();
        let job = self.pick(&jobs);
        match self.rng.below(20) {
            0..=5 => ToDispatcher::SubmitJob { job, graph: Box::new(self.graph.clone()) },
            6 | 7 => ToDispatcher::CancelJob { job },
            8 => ToDispatcher::ListJobs,
            9 | 10 => ToDispatcher::RequestJobDetails { job },
            11..=13 => ToDispatcher::AwaitJobEnd { job },
            14 if self.rng.below(10) == 0 => ToDispatcher::Shutdown,
            _ => ToDispatcher::JobEnded { job, details: Box::new(details(self, job)) },
        }
    }

    fn of_job_process(&mut self) -> FromJobProcess {
        match self.rng.below(12) {
            0 | 1 => FromJobProcess::Hello { version: if self.mostly() { 1 } else { 9 }, pid: 42 },
            2 | 3 => FromJobProcess::Ready,
            4 if self.rng.below(4) == 0 => {
                FromJobProcess::Unfit { reason: "plans differ".to_owned() }
            }
            5 => {
                let attempt = self.attempt();
                let vertex = attempt.vertex;
                FromJobProcess::RequestNextSplit { vertex, attempt }
            }
            6 => FromJobProcess::Metrics(
                [(self.attempt(), TaskMetrics::default())].into_iter().collect(),
            ),
            _ => FromJobProcess::TaskState(Box::new(task_state(self))),
        }
    }

    fn result_of(&mut self, ask: Option<&Message>) -> Result<Answer, AskError> {
        let to = "somebody".to_owned();
        let reason = "reset".to_owned();
        match self.rng.below(20) {
            0 => Err(AskError::Timeout { to, timeout_ms: 10 }),
            1 => Err(AskError::Unreachable { to, reason }),
            2 => Err(AskError::Unreadable { to, reason }),
            3 => Ok(Answer::Refused(refusal(self))),
            4 => Ok(other_answer(self)),
            _ => Ok(fitting_answer(self, ask)),
        }
    }
}

fn registration(pool: &mut Pool) -> TaskExecutorRegistration {
    let resource = pool.resource();
    TaskExecutorRegistration {
        address: pool.worker_address(&resource),
        resource,
        data_address: "tm:9".to_owned(),
        hardware: HardwareDescription::default(),
        memory: MemoryConfiguration::default(),
        default_slot: ResourceProfile::ANY,
        total: ResourceProfile::ANY,
        slots: 2,
    }
}

fn report(pool: &mut Pool) -> SlotReport {
    let slots = (0..2).map(|index| {
        let held = pool.rng.below(2) == 0;
        let allocation = held.then(|| (pool.allocation(), pool.job()));
        let status = SlotStatus { profile: ResourceProfile::ANY, allocation };
        (index, status)
    });
    SlotReport { slots: slots.collect() }
}

fn requirements(pool: &mut Pool) -> Vec<ResourceRequirement> {
    let profile = ResourceProfile::ANY;
    let count = pool.rng.below(4) as u32;
    if count == 0 { Vec::new() } else { vec![ResourceRequirement { profile, count }] }
}

fn offer(pool: &mut Pool) -> SlotOffer {
    let fresh = pool.rng.below(2) == 0;
    SlotOffer {
        allocation: if fresh { pool.fresh_allocation() } else { pool.allocation() },
        index: pool.rng.below(3) as u32,
        profile: ResourceProfile::ANY,
    }
}

fn task_state(pool: &mut Pool) -> TaskExecutionState {
    let state = pool.pick(&[
        ExecutionState::Initializing,
        ExecutionState::Initializing,
        ExecutionState::Running,
        ExecutionState::Running,
        ExecutionState::Finished,
        ExecutionState::Canceled,
        ExecutionState::Failed,
        ExecutionState::Canceling,
        ExecutionState::Scheduled,
    ]);
    let failed = state == ExecutionState::Failed && pool.mostly();
    TaskExecutionState {
        attempt: pool.attempt(),
        state,
        failure: failed.then(|| TaskFailure {
            kind: TaskFailureKind::Recoverable,
            message: "a user function has failed".to_owned(),
            fingerprint: pool.rng.next_u64(),
        }),
        metrics: TaskMetrics::default(),
    }
}

fn details(pool: &mut Pool, job: JobId) -> ExecutionGraphDetails {
    let status = pool.pick(&[
        JobStatus::Finished,
        JobStatus::Failed,
        JobStatus::Canceled,
        JobStatus::Suspended,
        JobStatus::Running,
    ]);
    let shape = JobShape { parallelism_max: 1, blocking: false, endless: false, slow: false };
    ExecutionGraphDetails {
        summary: JobSummary {
            job,
            name: "a job".to_owned(),
            status,
            started: 0,
            ended: Some(1),
            last_modified: 1,
            tasks: BTreeMap::new(),
        },
        status_times: BTreeMap::new(),
        graph: draw_graph(&mut pool.rng, shape),
        vertices: Vec::new(),
        root_failure: None,
        failures: Vec::new(),
        waiting_for: None,
        restarts: 0,
        checkpoints: None,
    }
}

fn refusal(pool: &mut Pool) -> Refusal {
    match pool.rng.below(4) {
        0 => Refusal::Fenced { expected: Some(pool.token()), found: Some(pool.token()) },
        1 => Refusal::Unknown("something".to_owned()),
        2 => Refusal::NotReady("a while".to_owned()),
        _ => Refusal::Invalid("nonsense".to_owned()),
    }
}

/// An answer that fits some ask, but maybe not this one.
fn other_answer(pool: &mut Pool) -> Answer {
    match pool.rng.below(6) {
        0 => Answer::Ack,
        1 => Answer::TaskExecutor(TaskExecutorAnswer::Log("log".to_owned())),
        2 => Answer::Dispatcher(DispatcherAnswer::Jobs(Vec::new())),
        3 => Answer::JobMaster(JobMasterAnswer::Rejected { cause: "no".to_owned() }),
        4 => Answer::JobMaster(JobMasterAnswer::NextSplit(None)),
        _ => Answer::TaskExecutor(TaskExecutorAnswer::SlotOccupied {
            allocation: pool.allocation(),
            job: pool.job(),
        }),
    }
}

fn fitting_answer(pool: &mut Pool, ask: Option<&Message>) -> Answer {
    match ask {
        Some(Message::ResourceManager(ToResourceManager::RegisterTaskExecutor(_))) => {
            Answer::ResourceManager(ResourceManagerAnswer::TaskExecutorRegistered {
                instance: pool.instance(),
                resource_manager: ResourceId("jm-1".to_owned()),
                blob_server: "jm:6124".to_owned(),
            })
        }
        Some(Message::ResourceManager(ToResourceManager::RegisterJobMaster { .. })) => {
            Answer::ResourceManager(ResourceManagerAnswer::JobMasterRegistered {
                resource_manager: ResourceId("jm-1".to_owned()),
                token: pool.token(),
            })
        }
        Some(Message::JobMaster(ToJobMaster::RegisterTaskExecutor { .. })) => {
            let job_master = ResourceId(MASTER_PROCESS.to_owned());
            Answer::JobMaster(JobMasterAnswer::TaskExecutorRegistered { job_master })
        }
        Some(Message::JobMaster(ToJobMaster::OfferSlots { slots, .. })) => {
            let offered = slots.iter().map(|slot| slot.allocation);
            let accepted = offered.filter(|_| pool.mostly()).collect();
            Answer::JobMaster(JobMasterAnswer::SlotsAccepted(accepted))
        }
        Some(Message::JobMaster(ToJobMaster::RequestNextSplit { .. })) => {
            let split = pool.mostly().then(|| SourceSplit(vec![1]));
            Answer::JobMaster(JobMasterAnswer::NextSplit(split))
        }
        Some(Message::JobMaster(ToJobMaster::RequestDetails)) => {
            let job = pool.job();
            Answer::JobMaster(JobMasterAnswer::Details(Box::new(details(pool, job))))
        }
        _ => Answer::Ack,
    }
}

/// Something about checkpoints, which may or may not exist.
fn checkpoint_message(pool: &mut Pool) -> ToJobMaster {
    let attempt = pool.attempt();
    let checkpoint = CheckpointId(1 + pool.rng.below(4));
    let trigger = TriggerId(u128::from(pool.rng.below(4)));
    let directory = (pool.rng.below(2) == 0).then(|| "/savepoints".to_owned());
    match pool.rng.below(8) {
        7 => {
            let (group, drift_ms) = (format!("group {}", pool.rng.below(2)), 100);
            let watermark = (pool.rng.below(3) > 0).then(|| pool.rng.below(1_000) as i64);
            ToJobMaster::ReportWatermark(WatermarkReport { attempt, group, drift_ms, watermark })
        }
        0..=2 => {
            let finished = pool.rng.below(4) == 0;
            let state = TaskState { finished, ..TaskState::default() };
            let (state, metrics) = (Box::new(state), SnapshotMetrics::default());
            ToJobMaster::AcknowledgeCheckpoint { attempt, checkpoint, state, metrics }
        }
        3 => {
            let cause = "a cause".to_owned();
            ToJobMaster::DeclineCheckpoint { attempt, checkpoint, cause }
        }
        4 => ToJobMaster::EndOfData { attempt },
        5 => {
            let stop = (pool.rng.below(3) == 0).then_some(Drain::No);
            ToJobMaster::TriggerSavepoint { trigger, directory, stop }
        }
        _ => ToJobMaster::RequestSnapshotProgress { trigger },
    }
}
