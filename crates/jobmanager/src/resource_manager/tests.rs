//! Scenarios, with effects as short lines: `w1: slot 0 for A` is an ask, `A: has 1` tells job A that
//! it is short and has one slot. Timers and answers are looked at separately.

use super::*;
use crate::slot_manager::SlotCounts;
use crate::test_driver::{Driver, TOKEN, timeout, unreachable};
use millstream_core::ids::{AllocationId, FencingToken, InstanceId, JobId, ResourceId};
use millstream_core::status::JobStatus;
use millstream_core::time::Mono;
use millstream_rpc::machine::{AskId, Effect, Input, Rng};
use millstream_rpc::protocol::details::ClusterResources;
use millstream_rpc::protocol::job_master::ToJobMaster;
use millstream_rpc::protocol::resource::{
    ResourceProfile, ResourceRequirement, SlotReport, SlotStatus,
};
use millstream_rpc::protocol::resource_manager::{
    ResourceManagerAnswer, TaskExecutorRegistration, ToResourceManager,
};
use millstream_rpc::protocol::task_executor::{TaskExecutorAnswer, ToTaskExecutor};
use millstream_rpc::protocol::{Address, Answer, EndpointName, Message, Refusal};

type Effects = crate::test_driver::Effects<ResourceManager>;

const A: JobId = JobId(0xA);
const B: JobId = JobId(0xB);

fn worker_id(name: &str) -> ResourceId {
    ResourceId(name.to_owned())
}

fn registration(name: &str, slots: u32) -> TaskExecutorRegistration {
    TaskExecutorRegistration {
        address: Address { process: format!("{name}:6122"), endpoint: EndpointName::TaskExecutor },
        resource: worker_id(name),
        data_address: format!("{name}:6121"),
        hardware: Default::default(),
        memory: Default::default(),
        default_slot: ResourceProfile::ANY,
        total: ResourceProfile::ANY,
        slots,
    }
}

/// Held slots as `(index, allocation, job)`, the others free.
fn report(slots: u32, held: &[(u32, u128, JobId)]) -> SlotReport {
    let status = |index: u32| {
        let holder = held.iter().find(|(at, ..)| *at == index);
        let allocation = holder.map(|(_, allocation, job)| (AllocationId(*allocation), *job));
        let profile = ResourceProfile::ANY;
        (index, SlotStatus { profile, allocation })
    };
    SlotReport { slots: (0..slots).map(status).collect() }
}

/// The job master of `job` in its `term`-th term.
fn master(job: JobId, term: u128) -> FencingToken {
    FencingToken(job.0 << 8 | term)
}

fn requirements(count: u32) -> Vec<ResourceRequirement> {
    let profile = ResourceProfile::ANY;
    vec![ResourceRequirement { profile, count }]
}

fn to_rm(message: ToResourceManager) -> Message {
    Message::ResourceManager(message)
}

/// Effects as lines; timers and answers left out.
fn lines(effects: &Effects) -> Vec<String> {
    effects.iter().filter_map(line).collect()
}

fn line(effect: &Effect<ResourceManagerTimer, std::convert::Infallible>) -> Option<String> {
    let (to, message) = match effect {
        Effect::Tell { to, message, .. } | Effect::Ask { to, message, .. } => (to, message),
        Effect::Stopped => return Some("stopped".to_owned()),
        _ => return None,
    };
    let name = match to.endpoint {
        EndpointName::JobMaster(job) => format!("{:X}", job.0),
        _ => to.process.replace(":6122", ""),
    };
    let what = match message {
        Message::TaskExecutor(ToTaskExecutor::RequestSlot { slot, job, .. }) => {
            format!("slot {} for {:X}", slot.index, job.0)
        }
        Message::TaskExecutor(ToTaskExecutor::FreeInactiveSlots { job, .. }) => {
            format!("free slots of {:X}", job.0)
        }
        Message::TaskExecutor(ToTaskExecutor::HeartbeatFromResourceManager { .. })
        | Message::JobMaster(ToJobMaster::HeartbeatFromResourceManager { .. }) => {
            "heartbeat".to_owned()
        }
        Message::TaskExecutor(ToTaskExecutor::DisconnectResourceManager { .. })
        | Message::JobMaster(ToJobMaster::DisconnectResourceManager { .. }) => {
            "disconnect".to_owned()
        }
        Message::JobMaster(ToJobMaster::NotifyNotEnoughResources { acquired }) => {
            format!("has {}", acquired.iter().map(|r| r.count).sum::<u32>())
        }
        Message::JobMaster(ToJobMaster::DisconnectTaskExecutor { resource, .. }) => {
            format!("lost {resource}")
        }
        other => panic!("unexpected {other:?}"),
    };
    Some(format!("{name}: {what}"))
}

/// The asks among the effects, with their allocations.
fn asks(effects: &Effects) -> Vec<(AskId, AllocationId)> {
    let of_ask = |effect: &Effect<_, _>| match effect {
        Effect::Ask {
            ask,
            message: Message::TaskExecutor(ToTaskExecutor::RequestSlot { allocation, .. }),
            ..
        } => Some((*ask, *allocation)),
        _ => None,
    };
    effects.iter().filter_map(of_ask).collect()
}

fn timer_at(effects: &Effects, wanted: ResourceManagerTimer) -> Option<Mono> {
    effects.iter().find_map(|effect| match effect {
        Effect::SetTimer { timer, at } if *timer == wanted => Some(*at),
        _ => None,
    })
}

struct Cluster(Driver<ResourceManager>);

impl Cluster {
    fn new() -> Self {
        Self::with(ResourceManagerConfig::default())
    }

    fn with(config: ResourceManagerConfig) -> Self {
        let machine = ResourceManager::new(
            config,
            worker_id("jobmanager"),
            "jobmanager:6124".to_owned(),
            TOKEN,
        );
        let mut cluster = Self(Driver::new(machine));
        cluster.0.give(Input::Start);
        cluster
    }

    fn register(&mut self, registration: TaskExecutorRegistration) -> (InstanceId, Effects) {
        let message = ToResourceManager::RegisterTaskExecutor(Box::new(registration));
        match self.0.call(to_rm(message)) {
            (
                Answer::ResourceManager(ResourceManagerAnswer::TaskExecutorRegistered {
                    instance,
                    ..
                }),
                effects,
            ) => (instance, effects),
            (answer, _) => panic!("{answer:?}"),
        }
    }

    fn report(
        &mut self,
        name: &str,
        instance: InstanceId,
        report: SlotReport,
    ) -> (Answer, Effects) {
        self.0.call(to_rm(ToResourceManager::SendSlotReport {
            resource: worker_id(name),
            instance,
            report,
        }))
    }

    /// A registered worker with free slots.
    fn worker(&mut self, name: &str, slots: u32) -> (InstanceId, Effects) {
        let (instance, _) = self.register(registration(name, slots));
        let (answer, effects) = self.report(name, instance, report(slots, &[]));
        assert_eq!(answer, Answer::Ack);
        (instance, effects)
    }

    fn heartbeat(&mut self, name: &str, instance: InstanceId, report: SlotReport) -> Effects {
        self.0.tell(to_rm(ToResourceManager::HeartbeatFromTaskExecutor {
            resource: worker_id(name),
            instance,
            report,
        }))
    }

    fn register_master(&mut self, job: JobId, term: u128) -> Effects {
        let (answer, effects) = self.0.call(to_rm(ToResourceManager::RegisterJobMaster {
            job,
            job_master: master(job, term),
            address: Address {
                process: "jobmanager:6123".to_owned(),
                endpoint: EndpointName::JobMaster(job),
            },
            resource: worker_id("jobmanager"),
        }));
        let expected = ResourceManagerAnswer::JobMasterRegistered {
            resource_manager: worker_id("jobmanager"),
            token: TOKEN,
        };
        assert_eq!(answer, Answer::ResourceManager(expected));
        effects
    }

    fn declare(&mut self, job: JobId, term: u128, count: u32) -> (Answer, Effects) {
        self.0.call(to_rm(ToResourceManager::DeclareRequiredResources {
            job,
            job_master: master(job, term),
            requirements: requirements(count),
        }))
    }

    /// A job with a master that needs so many slots.
    fn job(&mut self, job: JobId, count: u32) -> Effects {
        self.register_master(job, 1);
        let (answer, effects) = self.declare(job, 1, count);
        assert_eq!(answer, Answer::Ack);
        effects
    }

    fn acknowledge_all(&mut self, effects: &Effects) {
        for (ask, _) in asks(effects) {
            assert!(self.0.answer(ask, Ok(Answer::Ack)).is_empty());
        }
    }

    /// The same some milliseconds later.
    fn after<T>(&mut self, millis: u64, then: impl FnOnce(&mut Self) -> T) -> T {
        self.0.wait(millis);
        then(self)
    }

    fn fire(&mut self, timer: ResourceManagerTimer) -> Effects {
        self.0.give(Input::Timer(timer))
    }

    fn counts(&self) -> (u32, u32, u32) {
        let SlotCounts { free, pending, allocated } = self.0.machine.slots().counts();
        (free, pending, allocated)
    }
}

/// One worker with one slot that is pending for job A.
fn with_pending_slot() -> (Cluster, InstanceId, AskId, AllocationId) {
    let mut cluster = Cluster::new();
    let (instance, _) = cluster.worker("w1", 1);
    let effects = cluster.job(A, 1);
    let (ask, allocation) = asks(&effects)[0];
    assert_eq!(cluster.counts(), (0, 1, 0));
    (cluster, instance, ask, allocation)
}

#[test]
fn needs_are_met_at_once_from_slots_that_are_there() {
    let mut cluster = Cluster::new();
    cluster.worker("w1", 2);
    cluster.worker("w2", 2);
    let effects = cluster.job(A, 3);
    let expected = ["w1: slot 0 for A", "w1: slot 1 for A", "w2: slot 0 for A"];
    assert_eq!(lines(&effects), expected);
    cluster.acknowledge_all(&effects);
    assert_eq!(cluster.counts(), (1, 0, 3));
}

#[test]
fn a_request_says_who_asks_and_where_the_slot_is_to_be_offered() {
    let mut cluster = Cluster::new();
    cluster.worker("w1", 1);
    let effects = cluster.job(A, 1);
    let request = effects.iter().find_map(|effect| match effect {
        Effect::Ask {
            token,
            message:
                Message::TaskExecutor(ToTaskExecutor::RequestSlot {
                    job_master, resource_manager, ..
                }),
            timeout_ms,
            ..
        } => Some((*token, job_master.to_string(), *resource_manager, *timeout_ms)),
        _ => None,
    });
    let job_master = format!("jobmaster_{A}@jobmanager:6123");
    assert_eq!(request, Some((None, job_master, TOKEN, 10_000)));
}

#[test]
fn the_first_worker_serves_waiting_jobs_at_once_and_a_burst_of_others_together() {
    let mut cluster = Cluster::new();
    cluster.job(A, 4);
    let (_, effects) = cluster.after(20, |c| c.worker("w1", 1));
    assert_eq!(lines(&effects), ["w1: slot 0 for A", "A: has 1"]);
    let (_, effects) = cluster.after(10, |c| c.worker("w2", 1));
    assert_eq!(lines(&effects), [""; 0]);
    let check = ResourceManagerTimer::RequirementCheck;
    assert_eq!(timer_at(&effects, check), Some(Mono(70)));
    let (_, effects) = cluster.after(10, |c| c.worker("w3", 1));
    assert_eq!(timer_at(&effects, check), None, "it is arranged already");
    cluster.0.wait(30);
    let expected = ["w2: slot 0 for A", "w3: slot 0 for A", "A: has 3"];
    assert_eq!(lines(&cluster.fire(check)), expected);
    assert!(cluster.fire(check).is_empty(), "a timer may fire twice");
}

#[test]
fn a_message_under_another_token_is_refused_or_dropped() {
    for token in [None, Some(FencingToken(0)), Some(FencingToken(!TOKEN.0))] {
        let mut cluster = Cluster::new();
        let message = to_rm(ToResourceManager::RequestClusterResources);
        let reply = millstream_rpc::machine::ReplyTo { process: String::new(), correlation: 1 };
        for reply in [None, Some(reply)] {
            let wanted = usize::from(reply.is_some());
            let message = message.clone();
            let effects = cluster.0.give(Input::Message { token, message, reply });
            assert_eq!(effects.len(), wanted);
            let expected = Refusal::Fenced { expected: Some(TOKEN), found: token };
            for effect in effects {
                let Effect::Reply { answer, .. } = effect else { panic!("{effect:?}") };
                assert_eq!(answer, Answer::Refused(expected.clone()));
            }
        }
        assert_eq!(cluster.0.machine.counters().fenced, 2);
    }
}

#[test]
fn nothing_is_served_before_the_start_and_after_the_end() {
    let config = ResourceManagerConfig::default();
    let machine = ResourceManager::new(config, worker_id("jm"), String::new(), TOKEN);
    let mut driver = Driver::new(machine);
    let message = || to_rm(ToResourceManager::RequestClusterResources);
    let not_ready = |answer| matches!(answer, Answer::Refused(Refusal::NotReady(_)));
    assert!(not_ready(driver.call(message()).0));
    driver.give(Input::Start);
    assert!(!not_ready(driver.call(message()).0));
    driver.give(Input::Stop);
    assert!(not_ready(driver.call(message()).0));
    assert!(driver.give(Input::Start).is_empty());
    assert!(driver.answer(AskId(1), Ok(Answer::Ack)).is_empty());
}

#[test]
fn a_message_for_another_endpoint_is_refused() {
    use millstream_rpc::protocol::dispatcher::ToDispatcher;
    let mut cluster = Cluster::new();
    let (answer, _) = cluster.0.call(Message::Dispatcher(ToDispatcher::ListJobs));
    assert!(matches!(answer, Answer::Refused(Refusal::Invalid(_))));
}

#[test]
fn whoever_registers_again_is_known_once_and_under_its_new_registration() {
    let (mut cluster, former, ask, allocation) = with_pending_slot();
    let (instance, effects) = cluster.register(registration("w1", 1));
    assert_ne!(instance, former);
    assert!(lines(&effects).is_empty(), "its tasks may run: nobody is told");
    let (answer, _) = cluster.report("w1", former, report(1, &[]));
    assert!(matches!(answer, Answer::Refused(Refusal::Unknown(_))));
    let held = report(1, &[(0, allocation.0, A)]);
    cluster.report("w1", instance, held);
    assert_eq!(cluster.counts(), (0, 0, 1));
    cluster.0.answer(ask, Ok(Answer::Ack));
    assert_eq!(cluster.counts(), (0, 0, 1));
}

#[test]
fn jobs_are_told_when_a_worker_comes_back_as_another_process() {
    let mut cluster = Cluster::new();
    cluster.worker("w1", 1);
    cluster.job(A, 1);
    let mut elsewhere = registration("w1", 1);
    elsewhere.address.process = "w1:7000".to_owned();
    let (_, effects) = cluster.register(elsewhere);
    assert_eq!(lines(&effects), ["A: lost w1"]);
}

#[test]
fn a_late_registration_that_the_worker_does_not_know_of_is_noticed() {
    let mut cluster = Cluster::new();
    let (former, _) = cluster.worker("w1", 1);
    // A copy of the first registration arrives: the worker ignores its answer.
    let (instance, _) = cluster.register(registration("w1", 1));
    let effects = cluster.heartbeat("w1", former, report(1, &[]));
    assert_eq!(lines(&effects), ["w1: disconnect"]);
    // Once the worker has used the new one, what comes under the former is merely old.
    cluster.heartbeat("w1", instance, report(1, &[]));
    let effects = cluster.heartbeat("w1", former, report(1, &[]));
    assert!(lines(&effects).is_empty());
}

#[test]
fn a_worker_beyond_the_bound_is_turned_away_for_good() {
    let mut cluster = Cluster::with(ResourceManagerConfig {
        slots_max: Some(3),
        ..ResourceManagerConfig::default()
    });
    cluster.worker("w1", 2);
    let message = |name, slots| {
        let registration = registration(name, slots);
        to_rm(ToResourceManager::RegisterTaskExecutor(Box::new(registration)))
    };
    let rejected = |answer: &Answer| {
        matches!(answer, Answer::ResourceManager(ResourceManagerAnswer::Rejected { .. }))
    };
    assert!(rejected(&cluster.0.call(message("w2", 2)).0));
    assert!(!rejected(&cluster.0.call(message("w2", 1)).0));
    assert!(!rejected(&cluster.0.call(message("w1", 2)).0), "it counts once");
}

/// What follows when the worker of job A's only slot is lost.
const WORKER_LOST: [&str; 3] = ["w1: disconnect", "A: lost w1", "A: has 0"];

#[test]
fn a_worker_whose_process_is_lost_is_lost_at_once() {
    let (mut cluster, _, ask, _) = with_pending_slot();
    cluster.0.answer(ask, Ok(Answer::Ack));
    let lost = |process: &str| Input::PeerLost {
        process: process.to_owned(),
        reason: "connection refused".to_owned(),
    };
    cluster.0.wait(60);
    assert!(cluster.0.give(lost("w2:6122")).is_empty());
    let effects = cluster.0.give(lost("w1:6122"));
    assert_eq!(lines(&effects), WORKER_LOST);
    assert_eq!(cluster.counts(), (0, 0, 0));
    assert!(cluster.0.give(lost("w1:6122")).is_empty(), "once");
}

#[test]
fn a_worker_that_is_silent_for_too_long_is_lost() {
    let mut cluster = Cluster::new();
    cluster.worker("w1", 1);
    let effects = cluster.after(30_000, |c| c.job(A, 1));
    cluster.acknowledge_all(&effects);
    let timer = ResourceManagerTimer::HeartbeatTimeout;
    let effects = cluster.after(19_999, |c| c.fire(timer));
    assert_eq!(timer_at(&effects, timer), Some(Mono(50_000)), "not yet");
    let effects = cluster.after(1, |c| c.fire(timer));
    assert_eq!(lines(&effects), WORKER_LOST);
}

#[test]
fn heartbeats_keep_workers_and_job_masters_alive() {
    let mut cluster = Cluster::new();
    let (instance, _) = cluster.worker("w1", 1);
    cluster.register_master(A, 1);
    for round in 1..=20 {
        cluster.0.now = Mono(round * 10_000);
        let effects = cluster.fire(ResourceManagerTimer::Heartbeat);
        assert_eq!(lines(&effects), ["w1: heartbeat", "A: heartbeat"]);
        cluster.heartbeat("w1", instance, report(1, &[]));
        cluster.0.tell(to_rm(ToResourceManager::HeartbeatFromJobMaster {
            job: A,
            job_master: master(A, 1),
        }));
        let effects = cluster.fire(ResourceManagerTimer::HeartbeatTimeout);
        assert!(lines(&effects).is_empty());
    }
}

#[test]
fn a_worker_that_says_goodbye_is_gone_and_its_jobs_go_on() {
    let mut cluster = Cluster::new();
    cluster.worker("w1", 1);
    cluster.worker("w2", 1);
    let effects = cluster.job(A, 1);
    cluster.acknowledge_all(&effects);
    let goodbye = || {
        to_rm(ToResourceManager::DisconnectTaskExecutor {
            resource: worker_id("w1"),
            cause: "shutdown".to_owned(),
        })
    };
    let effects = cluster.after(60, |c| c.0.tell(goodbye()));
    assert_eq!(lines(&effects), ["w2: slot 0 for A"]);
    assert!(cluster.0.tell(goodbye()).is_empty(), "it may say so twice");
}

#[test]
fn a_refused_slot_is_tried_again_later_and_others_first() {
    let mut cluster = Cluster::new();
    cluster.worker("w1", 1);
    let effects = cluster.job(A, 1);
    let refused = || Ok(Answer::Refused(Refusal::NotReady("no".to_owned())));
    let effects = cluster.0.answer(asks(&effects)[0].0, refused());
    let check = ResourceManagerTimer::RequirementCheck;
    assert_eq!(timer_at(&effects, check), Some(Mono(50)));
    cluster.worker("w2", 1);
    cluster.0.wait(50);
    assert_eq!(lines(&cluster.fire(check)), ["w2: slot 0 for A"]);
}

#[test]
fn an_occupied_slot_is_anothers_and_the_job_is_served_elsewhere() {
    let mut cluster = Cluster::new();
    cluster.worker("w1", 1);
    cluster.worker("w2", 1);
    let effects = cluster.job(A, 1);
    let occupied = TaskExecutorAnswer::SlotOccupied { allocation: AllocationId(5), job: B };
    let ask = asks(&effects)[0].0;
    cluster.0.wait(60);
    let effects = cluster.0.answer(ask, Ok(Answer::TaskExecutor(occupied)));
    assert_eq!(lines(&effects), ["w2: slot 0 for A"]);
    assert_eq!(cluster.counts(), (0, 1, 1));
}

#[test]
fn a_lost_acknowledgement_is_healed_by_a_report_that_is_asked_for() {
    let (mut cluster, instance, ask, allocation) = with_pending_slot();
    cluster.0.wait(10_000);
    let effects = cluster.0.answer(ask, Err(timeout()));
    assert_eq!(lines(&effects), ["w1: heartbeat", "A: has 0"]);
    assert_eq!(cluster.counts(), (0, 1, 0), "not given to anybody else");
    cluster.heartbeat("w1", instance, report(1, &[(0, allocation.0, A)]));
    assert_eq!(cluster.counts(), (0, 0, 1));
    assert_eq!(cluster.0.machine.open_asks(), 0);
}

#[test]
fn a_request_that_never_arrived_is_made_again_after_a_report() {
    let (mut cluster, instance, ask, _) = with_pending_slot();
    cluster.0.wait(10_000);
    cluster.0.answer(ask, Err(timeout()));
    let effects = cluster.heartbeat("w1", instance, report(1, &[]));
    assert_eq!(lines(&effects), ["w1: slot 0 for A"]);
}

#[test]
fn while_an_outcome_is_unknown_the_job_is_served_elsewhere() {
    let mut cluster = Cluster::new();
    cluster.worker("w1", 1);
    cluster.worker("w2", 1);
    let effects = cluster.job(A, 1);
    let ask = asks(&effects)[0].0;
    cluster.0.wait(10_000);
    let effects = cluster.0.answer(ask, Err(timeout()));
    assert_eq!(lines(&effects), ["w1: heartbeat", "w2: slot 0 for A"]);
}

#[test]
fn two_unreachable_asks_in_a_row_mean_that_the_worker_is_lost() {
    let mut cluster = Cluster::new();
    cluster.worker("w1", 2);
    let effects = cluster.job(A, 2);
    let asked = asks(&effects);
    cluster.0.answer(asked[0].0, Err(unreachable()));
    assert_eq!(cluster.counts(), (0, 2, 0));
    let effects = cluster.0.answer(asked[1].0, Err(unreachable()));
    assert!(lines(&effects).contains(&"A: lost w1".to_owned()));
    assert_eq!(cluster.counts(), (0, 0, 0));
}

#[test]
fn an_answer_that_nobody_waits_for_changes_nothing() {
    let (mut cluster, _, ask, _) = with_pending_slot();
    cluster.0.answer(ask, Ok(Answer::Ack));
    for stale in [ask, AskId(99)] {
        assert!(cluster.0.answer(stale, Err(timeout())).is_empty());
    }
    assert_eq!(cluster.counts(), (0, 0, 1));
    assert_eq!(cluster.0.machine.counters().stale, 2);
}

#[test]
fn an_acknowledgement_of_a_grant_that_was_given_up_makes_the_worker_tell() {
    let (mut cluster, instance, ask, allocation) = with_pending_slot();
    cluster.heartbeat("w1", instance, report(1, &[(0, 5, B)]));
    assert_eq!(cluster.counts(), (0, 0, 1));
    let effects = cluster.0.answer(ask, Ok(Answer::Ack));
    assert_eq!(lines(&effects), ["w1: heartbeat"]);
    cluster.heartbeat("w1", instance, report(1, &[(0, allocation.0, A)]));
    assert!(cluster.0.machine.slots().missing(A).is_empty());
}

#[test]
fn a_slot_that_becomes_free_goes_to_whoever_waits_for_one() {
    let mut cluster = Cluster::new();
    let (instance, _) = cluster.worker("w1", 1);
    let effects = cluster.job(A, 1);
    let allocation = asks(&effects)[0].1;
    cluster.acknowledge_all(&effects);
    cluster.0.wait(60);
    assert_eq!(lines(&cluster.job(B, 1)), ["B: has 0"]);
    cluster.declare(A, 1, 0);
    cluster.0.wait(60);
    let available = |instance, allocation| {
        to_rm(ToResourceManager::NotifySlotAvailable {
            resource: worker_id("w1"),
            instance,
            index: 0,
            allocation,
        })
    };
    for stale in [available(InstanceId(1), allocation), available(instance, AllocationId(1))] {
        assert!(cluster.0.tell(stale).is_empty());
    }
    let effects = cluster.0.tell(available(instance, allocation));
    assert_eq!(lines(&effects), ["w1: slot 0 for B"]);
}

#[test]
fn a_job_that_needs_less_gives_back_what_it_has_not_taken() {
    let mut cluster = Cluster::new();
    cluster.worker("w1", 1);
    cluster.worker("w2", 1);
    cluster.job(A, 2);
    let (_, effects) = cluster.declare(A, 1, 2);
    assert!(lines(&effects).is_empty());
    for count in [1, 0] {
        let (_, effects) = cluster.declare(A, 1, count);
        let expected = ["w1: free slots of A", "w2: free slots of A"];
        assert_eq!(lines(&effects), expected);
    }
}

#[test]
fn only_the_registered_job_master_declares() {
    let mut cluster = Cluster::new();
    cluster.worker("w1", 1);
    let refused = |answer| matches!(answer, Answer::Refused(Refusal::Unknown(_)));
    assert!(refused(cluster.declare(A, 1, 1).0));
    cluster.register_master(A, 1);
    assert!(refused(cluster.declare(A, 2, 1).0));
    let effects = cluster.register_master(A, 2);
    assert_eq!(lines(&effects), ["A: disconnect"], "the former is told");
    assert!(refused(cluster.declare(A, 1, 1).0));
    let (answer, effects) = cluster.declare(A, 2, 1);
    assert_eq!(answer, Answer::Ack);
    assert_eq!(lines(&effects), ["w1: slot 0 for A"]);
}

#[test]
fn a_lost_job_master_keeps_its_slots_and_comes_back_to_them() {
    let mut cluster = Cluster::new();
    cluster.worker("w1", 1);
    let effects = cluster.job(A, 1);
    cluster.acknowledge_all(&effects);
    cluster.0.wait(50_000);
    let effects = cluster.fire(ResourceManagerTimer::HeartbeatTimeout);
    assert!(lines(&effects).contains(&"A: disconnect".to_owned()));
    let timer = ResourceManagerTimer::JobTimeout(A);
    assert_eq!(timer_at(&effects, timer), Some(Mono(350_000)));
    cluster.register_master(A, 2);
    cluster.0.wait(400_000);
    assert!(cluster.fire(timer).is_empty(), "a stale timer does nothing");
    let (answer, _) = cluster.declare(A, 2, 1);
    assert_eq!(answer, Answer::Ack);
}

#[test]
fn a_job_without_master_is_forgotten_in_the_end_and_its_slots_are_called_back() {
    let mut cluster = Cluster::new();
    let (instance, _) = cluster.worker("w1", 1);
    let effects = cluster.job(A, 1);
    let allocation = asks(&effects)[0].1.0;
    cluster.acknowledge_all(&effects);
    cluster.0.tell(to_rm(ToResourceManager::DisconnectJobMaster {
        job: A,
        status: JobStatus::Suspended,
        cause: "leadership lost".to_owned(),
    }));
    for _ in 0..30 {
        cluster.0.wait(10_000);
        cluster.heartbeat("w1", instance, report(1, &[(0, allocation, A)]));
    }
    let timer = ResourceManagerTimer::JobTimeout(A);
    assert_eq!(lines(&cluster.fire(timer)), ["w1: free slots of A"]);
    assert!(cluster.fire(timer).is_empty());
}

#[test]
fn a_terminal_job_is_forgotten_at_once() {
    for status in [JobStatus::Finished, JobStatus::Canceled, JobStatus::Failed] {
        let mut cluster = Cluster::new();
        cluster.worker("w1", 1);
        let effects = cluster.job(A, 1);
        cluster.acknowledge_all(&effects);
        let ended = || {
            to_rm(ToResourceManager::DisconnectJobMaster {
                job: A,
                status,
                cause: "it ended".to_owned(),
            })
        };
        assert_eq!(lines(&cluster.0.tell(ended())), ["w1: free slots of A"]);
        assert!(lines(&cluster.0.tell(ended())).is_empty());
        cluster.0.wait(10_000);
        let effects = cluster.fire(ResourceManagerTimer::Heartbeat);
        assert_eq!(lines(&effects), ["w1: heartbeat"]);
    }
}

#[test]
fn a_waiting_job_hears_early_what_it_has_and_after_the_grace_at_every_check() {
    let mut cluster = Cluster::new();
    assert_eq!(lines(&cluster.job(A, 3)), ["A: has 0"]);
    let (_, effects) = cluster.declare(A, 1, 3);
    assert!(lines(&effects).is_empty(), "no news");
    let effects = cluster.fire(ResourceManagerTimer::Heartbeat);
    assert_eq!(lines(&effects), ["A: heartbeat", "A: has 0"], "in case it was lost");
    cluster.0.wait(60);
    let (_, effects) = cluster.worker("w1", 1);
    assert_eq!(lines(&effects), ["w1: slot 0 for A", "A: has 1"]);
    let effects = cluster.fire(ResourceManagerTimer::StartupGrace);
    assert_eq!(lines(&effects), ["A: has 1"]);
    cluster.0.wait(60);
    assert_eq!(lines(&cluster.declare(A, 1, 3).1), ["A: has 1"]);
    assert_eq!(lines(&cluster.declare(A, 1, 1).1), [""; 0]);
}

#[test]
fn a_new_resource_manager_learns_from_reports_who_has_what() {
    let mut cluster = Cluster::new();
    let (instance, _) = cluster.register(registration("w1", 2));
    cluster.report("w1", instance, report(2, &[(0, 7, A), (1, 8, A)]));
    assert!(lines(&cluster.job(A, 2)).is_empty(), "it has what it needs");
    assert_eq!(cluster.counts(), (0, 0, 2));
}

#[test]
fn people_see_workers_and_slots() {
    let mut cluster = Cluster::new();
    cluster.worker("w1", 2);
    cluster.job(A, 1);
    let (answer, _) = cluster.0.call(to_rm(ToResourceManager::RequestClusterResources));
    let expected = ClusterResources { task_managers: 1, slots_total: 2, slots_free: 1 };
    let expected = ResourceManagerAnswer::ClusterResources(expected);
    assert_eq!(answer, Answer::ResourceManager(expected));

    let one = |name| {
        let resource = worker_id(name);
        to_rm(ToResourceManager::RequestTaskManager { resource })
    };
    let (answer, _) = cluster.0.call(one("w2"));
    let unknown = Refusal::Unknown("task manager w2".to_owned());
    assert_eq!(answer, Answer::Refused(unknown));
    let (of_one, _) = cluster.0.call(one("w1"));
    let (of_all, _) = cluster.0.call(to_rm(ToResourceManager::RequestTaskManagers));
    assert_eq!(of_one, of_all);
    let Answer::ResourceManager(ResourceManagerAnswer::TaskManagers(workers)) = of_all else {
        panic!("{of_all:?}")
    };
    assert!(workers[0].slots.slots[&0].allocation.is_some());
    assert!(workers[0].slots.slots[&1].allocation.is_none());
}

#[test]
fn everybody_is_told_when_it_stops() {
    let mut cluster = Cluster::new();
    cluster.worker("w1", 1);
    cluster.register_master(A, 1);
    let effects = cluster.0.give(Input::Stop);
    assert_eq!(lines(&effects), ["w1: disconnect", "A: disconnect", "stopped"]);
}

/// Any sequence of messages, answers and timers keeps the invariants.
#[test]
fn the_invariants_hold_whatever_happens() {
    for seed in 0..300 {
        let mut rng = Rng::new(seed);
        let mut cluster = Cluster::with(ResourceManagerConfig {
            slots_max: Some(7),
            ..ResourceManagerConfig::default()
        });
        let mut instances = vec![InstanceId(0)];
        for _ in 0..150 {
            cluster.0.wait(rng.below(3_000));
            disturb(&mut cluster, &mut rng, &mut instances);
        }
        cluster.0.wait(1_000_000);
        cluster.fire(ResourceManagerTimer::HeartbeatTimeout);
        assert_eq!(cluster.counts(), (0, 0, 0), "silence outlives everybody");
    }
}

fn disturb(cluster: &mut Cluster, rng: &mut Rng, instances: &mut Vec<InstanceId>) {
    let job = [A, B][rng.below(2) as usize];
    let name = ["w1", "w2", "w3"][rng.below(3) as usize];
    let ask = AskId(cluster.0.machine.asks_made.saturating_sub(rng.below(6)));
    let instance =
        instances[instances.len() - 1 - rng.below(instances.len().min(3) as u64) as usize];
    let term = u128::from(rng.below(2));
    let allocations: Vec<AllocationId> =
        cluster.0.machine.asks.values().map(|a| a.allocation).collect();
    let allocation = allocations.first().copied().unwrap_or_default();
    let held = [(rng.below(3) as u32, allocation.0, job)];
    let report = report(3, if rng.one_in_thousand(500) { &held } else { &[] });
    match rng.below(14) {
        0 => {
            let message = ToResourceManager::RegisterTaskExecutor(Box::new(registration(name, 3)));
            if let (
                Answer::ResourceManager(ResourceManagerAnswer::TaskExecutorRegistered {
                    instance,
                    ..
                }),
                _,
            ) = cluster.0.call(to_rm(message))
            {
                instances.push(instance);
                cluster.report(name, instance, report);
            }
        }
        1 => drop(cluster.report(name, instance, report)),
        2 => drop(cluster.heartbeat(name, instance, report)),
        3 => drop(cluster.register_master(job, term)),
        4 | 5 => drop(cluster.declare(job, term, rng.below(5) as u32)),
        6 => drop(cluster.0.answer(ask, Err(timeout()))),
        7 => drop(cluster.0.answer(ask, Err(unreachable()))),
        8 => drop(cluster.0.answer(ask, Ok(Answer::Ack))),
        9 => drop(cluster.0.answer(ask, Ok(Answer::Refused(Refusal::NotReady(String::new()))))),
        10 => {
            let occupied = TaskExecutorAnswer::SlotOccupied { allocation, job };
            cluster.0.answer(ask, Ok(Answer::TaskExecutor(occupied)));
        }
        11 => {
            let timers = [
                ResourceManagerTimer::HeartbeatTimeout,
                ResourceManagerTimer::Heartbeat,
                ResourceManagerTimer::RequirementCheck,
                ResourceManagerTimer::JobTimeout(job),
            ];
            cluster.fire(timers[rng.below(4) as usize]);
        }
        12 => {
            cluster.0.tell(to_rm(ToResourceManager::DisconnectTaskExecutor {
                resource: worker_id(name),
                cause: String::new(),
            }));
        }
        _ => {
            let status = [JobStatus::Suspended, JobStatus::Failed][rng.below(2) as usize];
            cluster.0.tell(to_rm(ToResourceManager::DisconnectJobMaster {
                job,
                status,
                cause: String::new(),
            }));
        }
    }
}

#[cfg(feature = "mutants")]
mod mutants {
    use super::*;

    /// Runs a scenario that a sound machine survives, then with the bug planted.
    fn is_caught(name: &'static str, scenario: fn()) {
        scenario();
        crate::mutant::set(Some(name));
        let caught = std::panic::catch_unwind(scenario).is_err();
        crate::mutant::set(None);
        assert!(caught, "{name} was not caught");
    }

    #[test]
    fn an_open_door_is_caught() {
        is_caught("skip_fencing_check_rm", || {
            let mut cluster = Cluster::new();
            cluster.0.give(Input::Message {
                token: None,
                message: to_rm(ToResourceManager::RequestClusterResources),
                reply: None,
            });
        });
    }

    #[test]
    fn obedience_to_a_former_registration_is_caught() {
        is_caught("forget_stale_instance_check", || {
            let mut cluster = Cluster::new();
            cluster.worker("w1", 1);
            cluster.heartbeat("w1", InstanceId(1), report(1, &[(0, 5, A)]));
        });
    }

    #[test]
    fn obedience_to_a_former_job_master_is_caught() {
        is_caught("forget_job_master_check", || {
            let mut cluster = Cluster::new();
            cluster.register_master(A, 2);
            cluster.declare(A, 1, 1);
        });
    }

    #[test]
    fn a_slot_that_leaks_with_a_lost_answer_is_caught() {
        is_caught("leak_slot_on_lost_ack", || {
            let (mut cluster, _, ask, _) = with_pending_slot();
            cluster.0.answer(ask, Err(timeout()));
        });
    }

    #[test]
    fn a_free_slot_that_nobody_offers_is_caught() {
        is_caught("freed_slot_is_not_rechecked", || {
            let mut cluster = Cluster::new();
            let (instance, _) = cluster.register(registration("w1", 1));
            cluster.report("w1", instance, report(1, &[(0, 5, B)]));
            cluster.job(A, 1);
            cluster.0.tell(to_rm(ToResourceManager::NotifySlotAvailable {
                resource: worker_id("w1"),
                instance,
                index: 0,
                allocation: AllocationId(5),
            }));
        });
    }

    #[test]
    fn a_slot_that_is_granted_twice_is_caught() {
        is_caught("double_grant_pending_slot", || {
            let (mut cluster, ..) = with_pending_slot();
            cluster.0.wait(60);
            cluster.job(B, 1);
        });
    }

    #[test]
    fn an_older_report_that_frees_a_pending_slot_is_caught() {
        is_caught("old_report_frees_pending_slot", || {
            let (mut cluster, instance, ..) = with_pending_slot();
            cluster.heartbeat("w1", instance, report(1, &[]));
        });
    }

    #[test]
    fn an_old_notice_that_frees_a_slot_is_caught() {
        is_caught("stale_availability_frees_slot", || {
            let (mut cluster, instance, ..) = with_pending_slot();
            cluster.0.tell(to_rm(ToResourceManager::NotifySlotAvailable {
                resource: worker_id("w1"),
                instance,
                index: 0,
                allocation: AllocationId(5),
            }));
        });
    }
}
