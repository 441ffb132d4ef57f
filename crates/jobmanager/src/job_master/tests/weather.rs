//! The job master in random weather: every input in every state, in any order, doubled and late.
//!
//! No answer is required to be sensible here; the invariants after each step are the judge. After
//! the weather clears, the job must come to its end.

use super::{Rig, worker};
use crate::test_driver::{timeout, unreachable};
use millstream_core::ids::{AllocationId, FencingToken};
use millstream_core::status::ExecutionState;
use millstream_rpc::machine::{AskId, Input, Rng};
use millstream_rpc::protocol::job_master::{TaskFailure, TaskFailureKind, ToJobMaster};
use millstream_rpc::protocol::resource::{ResourceProfile, ResourceRequirement};
use millstream_rpc::protocol::{Answer, Refusal};

const PLANS: [&str; 6] = [
    "a:2*5 b:2 a~hash~b",
    "a:3*4 b:3 a~forward~b",
    "a:2*3 b:2 c:1 a=hash=b b~hash~c",
    "a:2@x b:2@y c:2 a=forward=b b=hash=c",
    "a:1 b:1 c:1 a=hash=b a~hash~c c~hash~b",
    "a:2 b:1 c:2 d:1 a=rebalance=b b=broadcast=c c~hash~d",
];
const OPTIONS: [&[(&str, &str)]; 4] = [
    &[],
    &[("restart-strategy.type", "none")],
    &[
        ("restart-strategy.type", "fixed-delay"),
        ("restart-strategy.fixed-delay.attempts", "1000"),
        ("restart-strategy.fixed-delay.delay", "0"),
        ("restart-strategy.repeat-limit", "0"),
    ],
    &[
        ("jobmanager.execution.failover-strategy", "full"),
        ("restart-strategy.type", "fixed-delay"),
        ("restart-strategy.fixed-delay.attempts", "1000"),
        ("restart-strategy.repeat-limit", "0"),
    ],
];

/// A seed's storm, then sunshine until the end.
pub(super) fn live_through(seed: u64) {
    let mut rng = Rng::new(seed);
    let plan = PLANS[rng.below(PLANS.len() as u64) as usize];
    let options = OPTIONS[rng.below(OPTIONS.len() as u64) as usize];
    let mut rig = Rig::new(plan, options);
    let mut attempts = Vec::new();
    for _ in 0..rng.below(150) {
        let graph = rig.driver.machine.scheduler().graph();
        attempts.extend(graph.ids().map(|id| graph.attempt_id(id)));
        attempts.dedup();
        rig.healthy = rng.one_in_thousand(600);
        if rig.ended.is_some() {
            break;
        }
        gust(&mut rig, &mut rng, &attempts);
    }
    clear_up(&mut rig, seed);
}

fn any_worker(rng: &mut Rng) -> String {
    format!("tm{}", rng.below(3))
}

fn gust(rig: &mut Rig, rng: &mut Rng, attempts: &[millstream_core::ids::ExecutionAttemptId]) {
    let attempt = attempts[rng.below(attempts.len() as u64) as usize];
    let name = any_worker(rng);
    match rng.below(19) {
        0 => rig.register(&name),
        1 | 2 => {
            rig.register(&name);
            let first = u128::from(rng.below(30));
            rig.offer(&name, &[first, first + 1, first + 2]);
        }
        3 => rig.offer(&name, &[u128::from(rng.below(40))]),
        4 | 5 => {
            let state = ExecutionState::ALL[rng.below(9) as usize];
            let failure = (state == ExecutionState::Failed).then(|| any_failure(rng, attempt));
            rig.report(attempt, state, failure);
        }
        6 => {
            let late = AskId(rng.below(60));
            rig.give(Input::Answered { ask: late, result: any_result(rng) });
        }
        7 => {
            if let Some((ask, _, _)) = rig.open.first() {
                let result = any_result(rng);
                rig.answer(*ask, result);
            }
        }
        8 => rig.pass(rng.below(70_000)),
        9 => rig.pass(rng.below(3_000)),
        10 => {
            let listed = rng.below(attempts.len() as u64) as usize;
            rig.heartbeat(&name, &attempts[listed..]);
        }
        11 => rig
            .give(Input::PeerLost { process: format!("{name}:6122"), reason: "reset".to_owned() }),
        12 => {
            rig.say(ToJobMaster::RequestNextSplit { vertex: attempt.vertex, attempt });
        }
        13 => any_timer(rig, rng),
        14 => any_word(rig, rng, &name),
        15 | 16 => finish_one(rig, rng),
        17 => {
            rig.healthy = true;
            rig.register(&name);
        }
        _ => rig.say_as(ToJobMaster::Cancel, Some(FencingToken(0)), None),
    }
}

/// A task comes to its proper end, so that storms get beyond the first region.
fn finish_one(rig: &mut Rig, rng: &mut Rng) {
    let graph = rig.driver.machine.scheduler().graph();
    let running: Vec<_> = graph
        .executions()
        .filter(|(_, execution)| execution.is_running())
        .map(|(id, _)| graph.attempt_id(id))
        .collect();
    if !running.is_empty() {
        let attempt = running[rng.below(running.len() as u64) as usize];
        rig.report(attempt, ExecutionState::Finished, None);
    }
}

fn any_failure(rng: &mut Rng, attempt: millstream_core::ids::ExecutionAttemptId) -> TaskFailure {
    let partition = millstream_core::ids::PartitionId {
        data_set: millstream_core::ids::DataSetId(1),
        producer: attempt,
    };
    let kind = match rng.below(20) {
        0 => TaskFailureKind::NonRecoverable,
        1..6 => TaskFailureKind::PartitionUnavailable(partition),
        _ => TaskFailureKind::Recoverable,
    };
    TaskFailure { kind, message: "storm".to_owned(), fingerprint: rng.below(4) }
}

fn any_result(rng: &mut Rng) -> Result<Answer, millstream_rpc::protocol::AskError> {
    match rng.below(6) {
        0 => Err(timeout()),
        1 => Err(unreachable()),
        2 => Ok(Answer::Refused(Refusal::NotReady(String::new()))),
        3 => Ok(Answer::Refused(Refusal::Unknown(String::new()))),
        4 => Ok(super::registered()),
        _ => Ok(Answer::Ack),
    }
}

fn any_timer(rig: &mut Rig, rng: &mut Rng) {
    use crate::job_master::JobMasterTimer as Timer;
    let timers = [
        Timer::Registration,
        Timer::HeartbeatRound,
        Timer::WorkerTimeout,
        Timer::ResourceManagerTimeout,
        Timer::Declaration,
        Timer::SlotRequestTimeout,
        Timer::SlotIdle,
        Timer::Restart(crate::scheduler::pending::RestartId(rng.below(9))),
    ];
    let timer = timers[rng.below(timers.len() as u64) as usize];
    rig.timers.remove(&timer);
    rig.give(Input::Timer(timer));
}

fn any_word(rig: &mut Rig, rng: &mut Rng, name: &str) {
    let cause = String::new();
    let resource = worker(name);
    let count = rng.below(4) as u32;
    rig.say(match rng.below(20) {
        0..5 => ToJobMaster::FailSlot {
            resource,
            allocation: AllocationId(u128::from(rng.below(40))),
            cause,
        },
        5..9 => ToJobMaster::HeartbeatFromResourceManager { resource_manager: worker("rm") },
        9..12 => ToJobMaster::NotifyNotEnoughResources {
            acquired: vec![ResourceRequirement { profile: ResourceProfile::ANY, count }],
        },
        12..16 => ToJobMaster::DisconnectTaskExecutor { resource, cause },
        16..19 => {
            ToJobMaster::DisconnectResourceManager { token: crate::test_driver::TOKEN, cause }
        }
        _ => ToJobMaster::Cancel,
    });
}

/// Everything works from now on: within a while, the job is over.
fn clear_up(rig: &mut Rig, seed: u64) {
    rig.healthy = true;
    // Whatever was asked in the storm is answered now, late or not.
    while let Some((ask, _, _)) = rig.open.first() {
        rig.answer(*ask, Err(timeout()));
    }
    for round in 0..2_000_u128 {
        if rig.ended.is_some() {
            return;
        }
        for name in ["tm7", "tm8"] {
            rig.register(name);
            let first = 1_000 + round * 20 + u128::from(name == "tm8") * 10;
            rig.offer(name, &(first..first + 8).collect::<Vec<_>>());
            sunny_heartbeat(rig, name);
        }
        rig.say(ToJobMaster::HeartbeatFromResourceManager { resource_manager: worker("rm") });
        let graph = rig.driver.machine.scheduler().graph();
        let attempts: Vec<_> = graph
            .executions()
            .filter(|(_, execution)| execution.is_running())
            .map(|(id, _)| graph.attempt_id(id))
            .collect();
        for attempt in attempts {
            rig.report(attempt, ExecutionState::Finished, None);
        }
        rig.pass(2_000);
    }
    let status = rig.status();
    panic!("seed {seed}: the job is still {status}: {:?}", rig.details().waiting_for);
}

/// The worker has what we believe it to have.
fn sunny_heartbeat(rig: &mut Rig, name: &str) {
    let graph = rig.driver.machine.scheduler().graph();
    let there: Vec<_> = graph
        .executions()
        .filter(|(_, e)| e.is_on_worker())
        .filter(|(_, e)| e.place().is_some_and(|place| place.resource == worker(name)))
        .map(|(id, _)| graph.attempt_id(id))
        .collect();
    rig.heartbeat(name, &there);
}

#[test]
fn invariants_hold_in_any_weather_and_the_job_ends_when_it_clears() {
    for seed in 0..400 {
        live_through(seed);
    }
}

#[test]
fn the_same_seed_gives_the_same_life() {
    let life = |seed| {
        let mut rig = Rig::new(PLANS[2], OPTIONS[0]);
        let mut rng = Rng::new(seed);
        for _ in 0..80 {
            let graph = rig.driver.machine.scheduler().graph();
            let attempts: Vec<_> = graph.ids().map(|id| graph.attempt_id(id)).collect();
            gust(&mut rig, &mut rng, &attempts);
        }
        rig.log()
    };
    assert_eq!(life(3), life(3));
}
