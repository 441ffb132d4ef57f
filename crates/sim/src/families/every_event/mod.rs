//! Every machine alone, against somebody who says anything at any moment: messages of any sender in
//! any state, answers that are wrong, late or nobody's, work that fails, timers that are stale.
//!
//! What is said is drawn from few ids, many of them learnt from the machine itself, so that much of
//! it nearly fits. After every step the machine's own invariants hold; and no ask is answered more
//! often than it was made.
//!
//! In reading order: [`pool`] holds the ids, [`messages`] is what is said, [`driver`] says it.

pub mod driver;
pub mod messages;
pub mod pool;

use crate::family::{Family, Scenario};
use crate::trace::Trace;
use driver::{Driver, Subject};
use messages::Messages;
use millstream_core::ids::{FencingToken, ResourceId};
use millstream_jobmanager::dispatcher::{
    Dispatcher, DispatcherConfig, DispatcherDone, DispatcherOp,
};
use millstream_jobmanager::job_master::{
    JobMaster, JobMasterConfig, JobMasterDone, JobMasterOp, Surroundings,
};
use millstream_jobmanager::resource_manager::{ResourceManager, ResourceManagerConfig};
use millstream_rpc::machine::OpId;
use millstream_rpc::protocol::{Address, EndpointName, Message};
use millstream_taskmanager::op::{NO_ANSWER, UNSOLICITED};
use millstream_taskmanager::{
    ChildEvent, ChildExit, Done, ExitStatus, Leader, Op, StartFailure, TaskExecutor,
    TaskExecutorConfig,
};
use pool::{MASTER_PROCESS, Pool, TOKEN};
use std::convert::Infallible;

/// Every event in every state.
pub const EVERY_EVENT: Family =
    Family { name: "sim_every_event_in_every_state", scenario: Scenario::Play(play) };

const STEPS: u32 = 400;

fn play(seed: u64, trace: &mut Trace) {
    match seed % 4 {
        0 => Driver::new(seed, TaskExecutorSubject).play(trace, STEPS),
        1 => Driver::new(seed, ResourceManagerSubject).play(trace, STEPS),
        2 => Driver::new(seed, DispatcherSubject).play(trace, STEPS),
        _ => Driver::new(seed, JobMasterSubject).play(trace, STEPS),
    }
}

struct TaskExecutorSubject;
/// What the worker may use; job processes use any part of it.
const MEMORY: u64 = 1 << 30;

struct ResourceManagerSubject;
struct DispatcherSubject;
struct JobMasterSubject;

impl Subject for TaskExecutorSubject {
    type Machine = TaskExecutor;

    fn machine(&self, pool: &mut Pool) -> TaskExecutor {
        let address =
            Address { process: "tm1:6122".to_owned(), endpoint: EndpointName::TaskExecutor };
        let data_address = "tm1:9".to_owned();
        let mut config = TaskExecutorConfig::new(pool.resource_here(), address, data_address, 2);
        config.memory.process = MEMORY;
        config.resource_manager = Some(Leader {
            address: Address {
                process: MASTER_PROCESS.to_owned(),
                endpoint: EndpointName::ResourceManager,
            },
            token: TOKEN,
        });
        TaskExecutor::new(config)
    }

    fn message(&self, pool: &mut Pool) -> Message {
        Message::TaskExecutor(pool.to_task_executor())
    }

    fn done(&self, pool: &mut Pool, op: Option<(OpId, Op)>) -> Option<(OpId, Done)> {
        match op {
            Some((NO_ANSWER, _)) => None,
            Some((id, Op::StartChild { .. })) => Some((id, Done::Started(started(pool)))),
            Some((id, Op::KillChild { .. })) => Some((id, Done::Killed(killed(pool)))),
            Some((id, Op::ReadLog { .. })) => Some((id, Done::Log(Ok("log".to_owned())))),
            Some((id, _)) => Some((id, Done::Log(Err("what log?".to_owned())))),
            None => Some(unsolicited(pool)),
        }
    }

    fn learn(&self, pool: &mut Pool, op: &Op) {
        if let Op::StartChild { incarnation, .. } = op {
            pool.incarnation = (*incarnation).max(pool.incarnation);
        }
    }
}

fn started(pool: &mut Pool) -> Result<(), StartFailure> {
    match pool.rng.below(5) {
        0 => Err(StartFailure {
            message: "no such program".to_owned(),
            permanent: pool.rng.below(2) == 0,
        }),
        _ => Ok(()),
    }
}

fn killed(pool: &mut Pool) -> Result<(), String> {
    match pool.rng.below(4) {
        0 => Err("it lives here".to_owned()),
        _ => Ok(()),
    }
}

fn unsolicited(pool: &mut Pool) -> (OpId, Done) {
    if pool.rng.below(40) == 0 {
        let leader = (pool.rng.below(3) > 0).then(|| Leader {
            address: pool.address(EndpointName::ResourceManager),
            token: pool.token(),
        });
        return (UNSOLICITED, Done::ResourceManagerLeader(leader));
    }
    let event = match pool.rng.below(13) {
        0 => ChildEvent::LinkLost { reason: "end of file".to_owned() },
        1 => {
            ChildEvent::Exited(ChildExit { status: ExitStatus::Code(1), last_lines: String::new() })
        }
        2 => ChildEvent::Memory { bytes: pool.rng.below(2 * MEMORY) },
        _ => ChildEvent::Message(pool.of_job_process()),
    };
    let back = if pool.rng.below(5) == 0 { pool.rng.below(3) } else { 0 };
    let result =
        Done::Child { job: pool.job(), incarnation: pool.incarnation.saturating_sub(back), event };
    (UNSOLICITED, result)
}

impl Subject for ResourceManagerSubject {
    type Machine = ResourceManager;

    fn machine(&self, _: &mut Pool) -> ResourceManager {
        let resource = ResourceId("jm-1".to_owned());
        let config = ResourceManagerConfig::default();
        ResourceManager::new(config, resource, "jm:6124".to_owned(), TOKEN)
    }

    fn message(&self, pool: &mut Pool) -> Message {
        Message::ResourceManager(pool.to_resource_manager())
    }

    fn done(&self, _: &mut Pool, _: Option<(OpId, Infallible)>) -> Option<(OpId, Infallible)> {
        None
    }

    fn learn(&self, _: &mut Pool, _: &Infallible) {}
}

impl Subject for DispatcherSubject {
    type Machine = Dispatcher;

    fn machine(&self, pool: &mut Pool) -> Dispatcher {
        let config = DispatcherConfig {
            waiters_max: 4,
            ended_jobs_max: 2,
            plans_survive: pool.rng.below(2) == 0,
            ..DispatcherConfig::default()
        };
        Dispatcher::new(config, MASTER_PROCESS.to_owned(), TOKEN)
    }

    fn message(&self, pool: &mut Pool) -> Message {
        Message::Dispatcher(pool.to_dispatcher())
    }

    fn done(
        &self,
        pool: &mut Pool,
        op: Option<(OpId, DispatcherOp)>,
    ) -> Option<(OpId, DispatcherDone)> {
        let id = op.map_or(OpId(pool.rng.below(20)), |(id, _)| id);
        let reason = "the store is ill".to_owned();
        let result = match pool.rng.below(6) {
            0 => DispatcherDone::Failed { reason },
            1 => DispatcherDone::Unknown { reason },
            _ => DispatcherDone::Done,
        };
        Some((id, result))
    }

    fn learn(&self, _: &mut Pool, _: &DispatcherOp) {}
}

impl Subject for JobMasterSubject {
    type Machine = JobMaster;

    fn machine(&self, pool: &mut Pool) -> JobMaster {
        let job = pool.jobs[0];
        let resource = ResourceId("jm-1".to_owned());
        let surroundings = Surroundings::in_process(MASTER_PROCESS, resource, job, TOKEN);
        let graph = pool.graph.clone();
        let mut config = JobMasterConfig::default();
        if pool.rng.below(2) == 0 {
            config.defaults.set("execution.checkpointing.dir", "/checkpoints");
        }
        JobMaster::new(config, surroundings, job, graph, 0)
    }

    fn message(&self, pool: &mut Pool) -> Message {
        Message::JobMaster(pool.to_job_master())
    }

    fn done(
        &self,
        pool: &mut Pool,
        op: Option<(OpId, JobMasterOp)>,
    ) -> Option<(OpId, JobMasterDone)> {
        let id = op.map_or(OpId(pool.rng.below(20)), |(id, _)| id);
        let reason = "the store is ill".to_owned();
        let result = match pool.rng.below(6) {
            0 => JobMasterDone::Failed { reason },
            1 => JobMasterDone::Unknown { reason },
            2 => JobMasterDone::Missing,
            3 => JobMasterDone::Read { bytes: vec![7; 40] },
            4 => JobMasterDone::Listed { paths: vec!["chk-1/a".to_owned()] },
            _ => JobMasterDone::Done,
        };
        Some((id, result))
    }

    fn learn(&self, _: &mut Pool, _: &JobMasterOp) {}
}

/// The token that a message to the machine carries: mostly the right one.
pub(crate) fn token_of(pool: &mut Pool) -> Option<FencingToken> {
    match pool.rng.below(20) {
        0 => None,
        1 => Some(pool.token()),
        _ => Some(TOKEN),
    }
}
