//! The task executor driven message by message.

use super::*;
use crate::config::Leader;
use crate::op::{ChildEvent, ChildExit, ExitStatus, UNSOLICITED};
use millstream_core::ids::{ExecutionGraphId, JobVertexId, ResourceId};
use millstream_core::job_graph::{JobGraph, PlanSignature, RuntimeMode, SourceSplit};
use millstream_core::key_group::MaxParallelism;
use millstream_core::status::{ExecutionState, JobStatus};
use millstream_rpc::machine::Rng;
use millstream_rpc::protocol::EndpointName;
use millstream_rpc::protocol::deployment::TaskDeploymentDescriptor;
use millstream_rpc::protocol::job_link::{
    FromJobProcess, JOB_LINK_VERSION, JobInformation, ToJobProcess,
};
use millstream_rpc::protocol::job_master::{
    JobMasterAnswer, TaskExecutionState, TaskMetrics, ToJobMaster,
};
use millstream_rpc::protocol::resource::{ResourceProfile, SlotId};
use millstream_rpc::protocol::resource_manager::{ResourceManagerAnswer, ToResourceManager};

const JOB: JobId = JobId(7);
const RM: FencingToken = FencingToken(1);
const JM: FencingToken = FencingToken(2);

fn resource() -> ResourceId {
    ResourceId("tm-1".to_owned())
}

fn address(process: &str, endpoint: EndpointName) -> Address {
    Address { process: process.to_owned(), endpoint }
}

fn attempt(subtask: u32, attempt: u32) -> ExecutionAttemptId {
    ExecutionAttemptId { graph: ExecutionGraphId(1), vertex: JobVertexId(2), subtask, attempt }
}

fn unreachable_peer() -> AskError {
    AskError::Unreachable { to: "somebody".to_owned(), reason: "refused".to_owned() }
}

fn timed_out() -> AskError {
    AskError::Timeout { to: "somebody".to_owned(), timeout_ms: 1 }
}

/// A task executor with two slots, alone with a test that plays everybody else.
struct Bench {
    te: TaskExecutor,
    now: Mono,
    rng: Rng,
    /// Effects of the last step.
    out: Vec<Effect<Timer, Op>>,
    /// The timers that are set.
    timers: BTreeMap<Timer, Mono>,
    last_reply: u64,
}

impl Bench {
    fn new() -> Self {
        Self::with_memory(0)
    }

    /// With so many bytes for the whole worker.
    fn with_memory(bytes: u64) -> Self {
        let here = address("tm:1", EndpointName::TaskExecutor);
        let mut config = TaskExecutorConfig::new(resource(), here, "tm:2".to_owned(), 2);
        config.resource_manager =
            Some(Leader { address: address("jm:1", EndpointName::ResourceManager), token: RM });
        config.memory.process = bytes;
        let mut bench = Self {
            te: TaskExecutor::new(config),
            now: Mono(0),
            rng: Rng::new(1),
            out: Vec::new(),
            timers: BTreeMap::new(),
            last_reply: 0,
        };
        bench.step(Input::Start);
        bench
    }

    /// Registered at the resource manager under instance 5.
    fn registered() -> Self {
        Self::new().register()
    }

    fn register(mut self) -> Self {
        let bench = &mut self;
        bench.answer(register_answer(5));
        bench.answer(Ok(Answer::Ack));
        self
    }

    /// Connected to the job's master, with slot 0 active under allocation 0xA.
    fn connected() -> Self {
        Self::registered().connect()
    }

    fn connect(mut self) -> Self {
        let bench = &mut self;
        bench.request_slot(0, 0xA);
        bench.answer(fenced_by_jm());
        bench.answer(job_master_answer());
        bench.answer(accept(&[0xA]));
        self
    }

    /// And with attempt 0 of subtask 0 running in child 1.
    fn running() -> Self {
        Self::connected().run()
    }

    fn run(mut self) -> Self {
        let bench = &mut self;
        bench.submit(attempt(0, 0), 0xA);
        bench.child(1, say_hello());
        bench.child(1, ChildEvent::Message(FromJobProcess::Ready));
        for state in [ExecutionState::Initializing, ExecutionState::Running] {
            bench.child(1, state_of(attempt(0, 0), state));
            bench.answer(Ok(Answer::Ack));
        }
        self
    }

    fn step(&mut self, input: Input<Timer, Done>) {
        self.out.clear();
        let mut cx = Cx { now: self.now, wall: 0, rng: &mut self.rng, out: &mut self.out };
        self.te.step(&mut cx, input);
        self.te.check();
        for effect in &self.out {
            match effect {
                Effect::SetTimer { timer, at } => {
                    self.timers.insert(timer.clone(), *at);
                }
                Effect::ClearTimer { timer } => {
                    self.timers.remove(timer);
                }
                _ => (),
            }
        }
    }

    /// Lets time pass; timers fire in order.
    fn pass(&mut self, ms: u64) {
        let until = self.now + ms;
        let mut effects = Vec::new();
        while let Some((timer, at)) = self.timers.iter().min_by_key(|(_, at)| **at) {
            let (timer, at) = (timer.clone(), *at);
            if at > until {
                break;
            }
            self.timers.remove(&timer);
            self.now = self.now.max(at);
            self.step(Input::Timer(timer));
            effects.append(&mut self.out);
        }
        self.now = until;
        self.out = effects;
    }

    fn tell(&mut self, message: ToTaskExecutor) {
        self.step(Input::Message {
            token: None,
            message: Message::TaskExecutor(message),
            reply: None,
        });
    }

    /// Asks it something, and gives its answer.
    #[track_caller]
    fn ask(&mut self, message: ToTaskExecutor) -> Answer {
        self.last_reply += 1;
        self.step(Input::Message {
            token: None,
            message: Message::TaskExecutor(message),
            reply: Some(ReplyTo { process: "jm:1".to_owned(), correlation: self.last_reply }),
        });
        let answers = self.out.iter().filter_map(|effect| match effect {
            Effect::Reply { answer, .. } => Some(answer.clone()),
            _ => None,
        });
        let answers: Vec<_> = answers.collect();
        assert_eq!(answers.len(), 1, "every ask has one answer");
        answers[0].clone()
    }

    /// The asks that the last step sent.
    fn asked(&self) -> Vec<(AskId, Message)> {
        let asks = self.out.iter().filter_map(|effect| match effect {
            Effect::Ask { ask, message, .. } => Some((*ask, message.clone())),
            _ => None,
        });
        asks.collect()
    }

    /// Answers the only ask that the last step sent.
    #[track_caller]
    fn answer(&mut self, result: Result<Answer, AskError>) {
        let asked = self.asked();
        assert_eq!(asked.len(), 1, "{asked:?}");
        let ask = asked[0].0;
        self.step(Input::Answered { ask, result });
    }

    fn told(&self) -> Vec<Message> {
        let tells = self.out.iter().filter_map(|effect| match effect {
            Effect::Tell { message, .. } => Some(message.clone()),
            _ => None,
        });
        tells.collect()
    }

    fn ops(&self) -> Vec<String> {
        let ops = self.out.iter().filter_map(|effect| match effect {
            Effect::Op { what, .. } => Some(show_op(what)),
            _ => None,
        });
        ops.collect()
    }

    fn request_slot(&mut self, index: u32, allocation: u128) -> Answer {
        self.request_slot_of(RM, index, allocation)
    }

    fn request_slot_of(&mut self, token: FencingToken, index: u32, allocation: u128) -> Answer {
        self.ask(ToTaskExecutor::RequestSlot {
            slot: SlotId { resource: resource(), index },
            job: JOB,
            allocation: AllocationId(allocation),
            profile: ResourceProfile::ANY,
            job_master: address("jm:1", EndpointName::JobMaster(JOB)),
            resource_manager: token,
        })
    }

    fn submit(&mut self, attempt: ExecutionAttemptId, allocation: u128) -> Answer {
        let (descriptor, job) = submission(attempt, allocation);
        self.ask(ToTaskExecutor::SubmitTask { descriptor, job, job_master: JM })
    }

    fn child(&mut self, incarnation: u64, event: ChildEvent) {
        self.step(Input::Done {
            op: UNSOLICITED,
            result: Done::Child { job: JOB, incarnation, event },
        });
    }

    /// The master's heartbeat, with the slots that it believes to have here.
    fn heartbeat(&mut self, allocations: &[u128]) {
        self.tell(ToTaskExecutor::HeartbeatFromJobMaster {
            job: JOB,
            job_master: JM,
            allocations: allocations.iter().copied().map(AllocationId).collect(),
        });
    }

    /// The states that the last step told the job master.
    fn states_told(&self) -> Vec<ExecutionState> {
        let asks = self.asked().into_iter().filter_map(|(_, message)| match message {
            Message::JobMaster(ToJobMaster::UpdateTaskExecutionState(update)) => Some(update.state),
            _ => None,
        });
        asks.collect()
    }
}

fn submission(
    attempt: ExecutionAttemptId,
    allocation: u128,
) -> (Box<TaskDeploymentDescriptor>, Box<JobInformation>) {
    let descriptor = TaskDeploymentDescriptor {
        job: JOB,
        attempt,
        task_name: "map".to_owned(),
        allocation: AllocationId(allocation),
        parallelism: 2,
        max_parallelism: MaxParallelism::default_for(2),
        partitions: Vec::new(),
        gates: Vec::new(),
        checkpointing: None,
        restore: None,
    };
    let graph = JobGraph {
        name: "job".to_owned(),
        vertices: Vec::new(),
        edges: Vec::new(),
        mode: RuntimeMode::Streaming,
        configuration: BTreeMap::from([("task.cancellation.timeout".into(), "30 s".into())]),
        signature: PlanSignature::default(),
        program: None,
    };
    (Box::new(descriptor), Box::new(JobInformation { job: JOB, graph }))
}

fn register_answer(instance: u128) -> Result<Answer, AskError> {
    Ok(Answer::ResourceManager(ResourceManagerAnswer::TaskExecutorRegistered {
        instance: InstanceId(instance),
        resource_manager: ResourceId("jm".to_owned()),
        blob_server: "jm:3".to_owned(),
    }))
}

/// The master's answer to somebody who believes that its token is the resource manager's.
fn fenced_by_jm() -> Result<Answer, AskError> {
    Ok(Answer::Refused(Refusal::Fenced { expected: Some(JM), found: Some(RM) }))
}

/// The master's answer to a registration.
fn job_master_answer() -> Result<Answer, AskError> {
    Ok(Answer::JobMaster(JobMasterAnswer::TaskExecutorRegistered {
        job_master: ResourceId("jm".to_owned()),
    }))
}

fn accept(allocations: &[u128]) -> Result<Answer, AskError> {
    let allocations = allocations.iter().copied().map(AllocationId).collect();
    Ok(Answer::JobMaster(JobMasterAnswer::SlotsAccepted(allocations)))
}

fn say_hello() -> ChildEvent {
    ChildEvent::Message(FromJobProcess::Hello { version: JOB_LINK_VERSION, pid: 42 })
}

fn state_of(attempt: ExecutionAttemptId, state: ExecutionState) -> ChildEvent {
    ChildEvent::Message(FromJobProcess::TaskState(Box::new(TaskExecutionState {
        attempt,
        state,
        failure: None,
        metrics: TaskMetrics::default(),
    })))
}

fn exited(status: ExitStatus) -> ChildEvent {
    ChildEvent::Exited(ChildExit { status, last_lines: "thread 'map' panicked".to_owned() })
}

fn show_op(op: &Op) -> String {
    match op {
        Op::StartChild { incarnation, .. } => format!("start {incarnation}"),
        Op::KillChild { incarnation, .. } => format!("kill {incarnation}"),
        Op::ReadLog { .. } => "read log".to_owned(),
        Op::ReleasePartitions { partitions, .. } => format!("release {}", partitions.len()),
        Op::ReleaseJob { .. } => "release job".to_owned(),
        Op::SendToChild { message, .. } => match message {
            ToJobProcess::Start { .. } => "be".to_owned(),
            ToJobProcess::Deploy(descriptor) => format!("deploy {}", descriptor.attempt.attempt),
            ToJobProcess::Cancel { attempt } => format!("cancel {}", attempt.attempt),
            ToJobProcess::NextSplit { split, .. } => format!("split {split:?}"),
            ToJobProcess::UpdatePartitions { .. } => "update partitions".to_owned(),
            ToJobProcess::TriggerCheckpoint { barrier, .. } => {
                format!("trigger {}", barrier.checkpoint)
            }
            ToJobProcess::CheckpointCompleted { checkpoint, .. } => {
                format!("completed {checkpoint}")
            }
            ToJobProcess::CheckpointAborted { checkpoint, .. } => format!("aborted {checkpoint}"),
            ToJobProcess::Dismiss => "dismiss".to_owned(),
            ToJobProcess::AlignWatermark { watermark, .. } => format!("align {watermark}"),
        },
    }
}

mod memory;

mod resource_manager {
    use super::*;

    #[test]
    fn it_registers_then_reports_its_slots_under_the_new_instance() {
        let mut bench = Bench::new();
        bench.answer(Err(timed_out()));
        bench.answer(register_answer(5));
        let [(_, Message::ResourceManager(ToResourceManager::SendSlotReport { instance, .. }))] =
            &bench.asked()[..]
        else {
            panic!("{:?}", bench.out)
        };
        assert_eq!(*instance, InstanceId(5));
    }

    #[test]
    fn a_rejection_ends_the_process() {
        let mut bench = Bench::new();
        let cause = "full".to_owned();
        bench.answer(Ok(Answer::ResourceManager(ResourceManagerAnswer::Rejected { cause })));
        assert!(matches!(&bench.out[..], [Effect::Fatal(reason)] if reason.ends_with("full")));
    }

    #[test]
    fn five_minutes_without_registration_end_the_process() {
        let mut bench = Bench::new();
        bench.answer(Err(unreachable_peer()));
        bench.pass(299_999);
        assert!(!bench.out.iter().any(|effect| matches!(effect, Effect::Fatal(_))));
        bench.pass(1);
        assert!(bench.out.iter().any(|effect| matches!(effect, Effect::Fatal(_))));
    }

    #[test]
    fn a_registration_timeout_of_former_days_does_nothing() {
        let mut bench = Bench::registered();
        bench.step(Input::PeerLost { process: "jm:1".to_owned(), reason: "reset".to_owned() });
        bench.now = Mono(300_001);
        bench.step(Input::Timer(Timer::RegistrationTimeout { period: 1 }));
        assert!(!bench.out.iter().any(|effect| matches!(effect, Effect::Fatal(_))));
    }

    #[test]
    fn its_loss_leads_to_a_new_registration_at_once_and_tasks_go_on() {
        let mut bench = Bench::running();
        bench.step(Input::PeerLost { process: "another:1".to_owned(), reason: "reset".to_owned() });
        assert!(bench.out.is_empty());
        bench.tell(ToTaskExecutor::DisconnectResourceManager {
            resource_manager: RM,
            cause: "restart".to_owned(),
        });
        assert!(matches!(
            &bench.asked()[..],
            [(_, Message::ResourceManager(ToResourceManager::RegisterTaskExecutor(_)))]
        ));
        assert!(bench.ops().is_empty());
        assert_eq!(bench.te.slots().counts().active, 1);
    }

    #[test]
    fn silence_means_lost() {
        let mut bench = Bench::registered();
        bench.pass(40_000);
        bench.tell(ToTaskExecutor::HeartbeatFromResourceManager { resource_manager: RM });
        assert!(matches!(
            &bench.told()[..],
            [Message::ResourceManager(ToResourceManager::HeartbeatFromTaskExecutor { .. })]
        ));
        bench.pass(49_999);
        assert_eq!(bench.te.instance(), Some(InstanceId(5)));
        bench.pass(1);
        assert_eq!(bench.te.instance(), None);
        assert_eq!(bench.asked().len(), 1);
    }

    #[test]
    fn another_resource_manager_cannot_have_slots() {
        let mut bench = Bench::registered();
        let answer = bench.request_slot_of(FencingToken(99), 0, 0xA);
        assert!(matches!(answer, Answer::Refused(Refusal::Fenced { .. })), "{answer:?}");
        assert_eq!(bench.te.slots().counts().free, 2);
    }

    #[test]
    fn a_late_success_of_a_former_registration_is_ignored() {
        let mut bench = Bench::registered();
        let lost = |process: &str| Input::PeerLost {
            process: process.to_owned(),
            reason: "reset".to_owned(),
        };
        bench.step(lost("jm:1"));
        let first = bench.asked()[0].0;
        bench.step(Input::Done {
            op: UNSOLICITED,
            result: Done::ResourceManagerLeader(Some(Leader {
                address: address("jm:9", EndpointName::ResourceManager),
                token: FencingToken(9),
            })),
        });
        let result = register_answer(6);
        bench.step(Input::Answered { ask: first, result });
        assert_eq!(bench.te.instance(), None);
    }
}

mod slots {
    use super::*;

    #[test]
    fn a_requested_slot_is_offered_once_its_master_is_known() {
        let mut bench = Bench::registered();
        assert_eq!(bench.request_slot(0, 0xA), Answer::Ack);
        bench.answer(job_master_answer());
        assert!(matches!(
            &bench.asked()[..],
            [(_, Message::JobMaster(ToJobMaster::OfferSlots { slots, .. }))] if slots.len() == 1
        ));
        bench.answer(accept(&[0xA]));
        assert_eq!(bench.te.slots().counts().active, 1);
    }

    #[test]
    fn the_masters_token_is_learnt_when_it_fences_the_first_registration() {
        let mut bench = Bench::registered();
        bench.request_slot(0, 0xA);
        bench.answer(fenced_by_jm());
        let Some(Effect::Ask { token, .. }) =
            bench.out.iter().find(|effect| matches!(effect, Effect::Ask { .. }))
        else {
            panic!("it registers again at once")
        };
        assert_eq!(*token, Some(JM));
    }

    #[test]
    fn a_slot_that_nobody_takes_times_out_and_the_resource_manager_hears() {
        let mut bench = Bench::registered();
        bench.request_slot(0, 0xA);
        bench.answer(Err(unreachable_peer()));
        bench.pass(10_000);
        assert!(bench.told().iter().any(|told| matches!(
            told,
            Message::ResourceManager(ToResourceManager::NotifySlotAvailable { index: 0, .. })
        )));
        assert!(bench.te.jobs().is_empty());
    }

    #[test]
    fn only_the_answer_to_the_newest_offer_counts() {
        let mut bench = Bench::registered();
        bench.request_slot(0, 0xA);
        bench.answer(job_master_answer());
        let first = bench.asked()[0].0;
        bench.request_slot(1, 0xB);
        let second = bench.asked()[0].0;
        let result = accept(&[]);
        bench.step(Input::Answered { ask: first, result });
        assert_eq!(bench.te.slots().counts().allocated, 2, "the first offer is overtaken");
        let result = accept(&[0xB]);
        bench.step(Input::Answered { ask: second, result });
        assert_eq!(bench.te.slots().counts().active, 1);
        assert_eq!(bench.te.slots().counts().free, 1);
    }

    #[test]
    fn an_offer_without_answer_is_repeated() {
        let mut bench = Bench::registered();
        bench.request_slot(0, 0xA);
        bench.answer(job_master_answer());
        bench.answer(Err(timed_out()));
        bench.answer(accept(&[0xA]));
        assert_eq!(bench.te.slots().counts().active, 1);
    }

    #[test]
    fn an_occupied_slot_names_its_holder() {
        let mut bench = Bench::connected();
        let occupied = TaskExecutorAnswer::SlotOccupied { allocation: AllocationId(0xA), job: JOB };
        assert_eq!(bench.request_slot(0, 0xB), Answer::TaskExecutor(occupied));
        assert_eq!(bench.request_slot(0, 0xA), Answer::Ack);
    }

    #[test]
    fn what_heartbeats_disagree_on_is_put_right() {
        let mut bench = Bench::connected();
        bench.request_slot(1, 0xB);
        bench.heartbeat(&[0xC]);
        let failed = bench.told().into_iter().filter_map(|told| match told {
            Message::JobMaster(ToJobMaster::FailSlot { allocation, .. }) => Some(allocation),
            _ => None,
        });
        assert_eq!(failed.collect::<Vec<_>>(), [AllocationId(0xC)]);
        assert_eq!(bench.te.slots().counts().active, 1, "one heartbeat may be an old one");
        bench.heartbeat(&[]);
        let held: Vec<_> = bench.te.slots().iter().map(|(id, _)| *id).collect();
        assert_eq!(held, [AllocationId(0xB)], "the active one goes, the waiting one stays");
    }

    #[test]
    fn a_slot_that_one_heartbeat_misses_stays() {
        let mut bench = Bench::connected();
        for listed in [&[][..], &[0xA], &[]] {
            bench.heartbeat(listed);
        }
        assert_eq!(bench.te.slots().counts().active, 1);
    }
}

mod tasks {
    use super::*;

    impl Bench {
        fn cancel(&mut self, attempt: ExecutionAttemptId) -> Answer {
            self.ask(ToTaskExecutor::CancelTask { attempt, job_master: JM })
        }
    }

    #[test]
    fn a_submission_may_overtake_the_answer_to_the_offer() {
        let mut bench = Bench::registered();
        bench.request_slot(0, 0xA);
        bench.answer(fenced_by_jm());
        bench.answer(job_master_answer());
        let offer = bench.asked()[0].0;
        assert_eq!(bench.submit(attempt(0, 0), 0xA), Answer::Ack);
        assert_eq!(bench.te.slots().counts().active, 1);
        let result = accept(&[0xA]);
        bench.step(Input::Answered { ask: offer, result });
        assert_eq!(bench.te.slots().counts().active, 1);
    }

    #[test]
    fn a_submission_of_another_master_is_refused() {
        let mut bench = Bench::connected();
        let (descriptor, job) = submission(attempt(0, 0), 0xA);
        let answer =
            bench.ask(ToTaskExecutor::SubmitTask { descriptor, job, job_master: FencingToken(99) });
        assert!(matches!(answer, Answer::Refused(Refusal::Fenced { .. })), "{answer:?}");
    }

    #[test]
    fn an_attempt_does_not_run_twice() {
        let mut bench = Bench::running();
        assert_eq!(bench.submit(attempt(0, 0), 0xA), Answer::Ack);
        assert!(bench.ops().is_empty());
        bench.child(1, state_of(attempt(0, 0), ExecutionState::Finished));
        bench.answer(Ok(Answer::Ack));
        let answer = bench.submit(attempt(0, 0), 0xA);
        assert!(matches!(answer, Answer::Refused(Refusal::Invalid(_))), "{answer:?}");
    }

    #[test]
    fn changes_are_told_in_order_and_again_until_confirmed() {
        let mut bench = Bench::connected();
        bench.submit(attempt(0, 0), 0xA);
        bench.child(1, say_hello());
        bench.child(1, ChildEvent::Message(FromJobProcess::Ready));
        bench.child(1, state_of(attempt(0, 0), ExecutionState::Initializing));
        let first = bench.asked()[0].0;
        bench.child(1, state_of(attempt(0, 0), ExecutionState::Running));
        assert!(bench.asked().is_empty(), "one at a time");
        let result = Err(timed_out());
        bench.step(Input::Answered { ask: first, result });
        assert_eq!(bench.states_told(), [ExecutionState::Initializing]);
        bench.answer(Ok(Answer::Ack));
        assert_eq!(bench.states_told(), [ExecutionState::Running]);
    }

    #[test]
    fn a_cancelled_task_that_never_left_is_cancelled_at_once() {
        let mut bench = Bench::connected();
        bench.submit(attempt(0, 0), 0xA);
        assert_eq!(bench.ops(), ["start 1"]);
        assert_eq!(bench.cancel(attempt(0, 0)), Answer::Ack);
        assert_eq!(bench.states_told(), [ExecutionState::Canceled]);
        bench.child(1, say_hello());
        bench.child(1, ChildEvent::Message(FromJobProcess::Ready));
        assert!(bench.ops().is_empty(), "nothing is deployed");
    }

    #[test]
    fn a_task_that_does_not_stop_costs_its_process_and_not_the_worker() {
        let mut bench = Bench::running();
        bench.cancel(attempt(0, 0));
        assert_eq!(bench.ops(), ["cancel 0"]);
        bench.pass(30_000 - 1);
        assert!(!bench.ops().contains(&"kill 1".to_owned()));
        bench.pass(1);
        assert_eq!(bench.ops(), ["kill 1"]);
        bench.child(1, exited(ExitStatus::Signal("SIGKILL".to_owned())));
        assert_eq!(bench.states_told(), [ExecutionState::Canceled]);
    }

    #[test]
    fn the_end_of_a_process_is_told_with_its_last_lines() {
        let mut bench = Bench::running();
        bench.child(1, exited(ExitStatus::Signal("SIGSEGV".to_owned())));
        let [(_, Message::JobMaster(ToJobMaster::UpdateTaskExecutionState(update)))] =
            &bench.asked()[..]
        else {
            panic!("{:?}", bench.out)
        };
        let failure = update.failure.as_ref().expect("a failed task says why");
        assert_eq!(
            failure.message,
            "job process 1 (pid 42) was killed by SIGSEGV; its last lines:\nthread 'map' panicked"
        );
    }

    #[test]
    fn the_loss_of_the_master_fails_its_tasks_and_its_slots_wait() {
        let mut bench = Bench::running();
        bench.tell(ToTaskExecutor::DisconnectJobMaster {
            job: JOB,
            job_master: JM,
            status: JobStatus::Running,
            cause: "bye".to_owned(),
        });
        assert_eq!(bench.ops(), ["cancel 0"]);
        assert_eq!(bench.te.slots().counts().allocated, 1);
        bench.answer(job_master_answer());
        bench.answer(accept(&[0xA]));
        bench.child(1, state_of(attempt(0, 0), ExecutionState::Canceled));
        assert_eq!(bench.states_told(), [ExecutionState::Failed], "a failure, not a wish");
    }

    #[test]
    fn a_worker_that_stops_starts_no_next_child() {
        let mut bench = Bench::running();
        bench.child(1, ChildEvent::LinkLost { reason: "end of file".to_owned() });
        assert_eq!(bench.submit(attempt(0, 1), 0xA), Answer::Ack);
        bench.step(Input::Stop);
        bench.child(1, exited(ExitStatus::Signal("SIGKILL".to_owned())));
        assert!(bench.ops().is_empty(), "{:?}", bench.ops());
        assert!(bench.out.iter().any(|effect| matches!(effect, Effect::Stopped)));
    }

    #[test]
    fn a_newer_attempt_ends_the_former_one() {
        let mut bench = Bench::running();
        assert_eq!(bench.submit(attempt(0, 1), 0xA), Answer::Ack);
        assert_eq!(bench.ops(), ["cancel 0", "deploy 1"]);
    }

    #[test]
    fn a_freed_slot_is_free_when_its_tasks_have_ended() {
        let mut bench = Bench::running();
        let answer = bench.ask(ToTaskExecutor::FreeSlot {
            allocation: AllocationId(0xA),
            cause: "done".to_owned(),
        });
        assert_eq!(answer, Answer::Ack);
        assert_eq!(bench.te.slots().counts().releasing, 1);
        bench.child(1, state_of(attempt(0, 0), ExecutionState::Canceled));
        assert_eq!(bench.te.slots().counts().free, 2);
        assert!(matches!(
            &bench.told()[..],
            [Message::ResourceManager(ToResourceManager::NotifySlotAvailable { .. })]
        ));
        bench.answer(Ok(Answer::Ack));
        assert!(matches!(
            &bench.told()[..],
            [Message::JobMaster(ToJobMaster::DisconnectTaskExecutor { .. })]
        ));
        bench.pass(10_000);
        assert_eq!(bench.ops(), ["dismiss"]);
        bench.child(1, exited(ExitStatus::Code(0)));
        assert_eq!(bench.ops(), ["release job"]);
        assert!(bench.te.jobs().is_empty());
    }

    fn leave(status: JobStatus) -> ToTaskExecutor {
        let cause = "the job has ended".to_owned();
        ToTaskExecutor::DisconnectJobMaster { job: JOB, job_master: JM, status, cause }
    }

    #[test]
    fn the_process_of_a_job_that_has_ended_for_good_is_dismissed_at_once() {
        let mut bench = Bench::running();
        bench.child(1, state_of(attempt(0, 0), ExecutionState::Canceled));
        bench.tell(leave(JobStatus::Canceled));
        assert_eq!(bench.ops(), ["dismiss"]);
        assert_eq!(bench.te.slots().counts().free, 2);
        bench.child(1, exited(ExitStatus::Code(0)));
        assert_eq!(bench.ops(), ["release job"]);
        assert!(bench.te.jobs().is_empty());
    }

    #[test]
    fn a_task_that_is_left_when_its_job_has_ended_is_stopped_before_its_process() {
        let mut bench = Bench::running();
        bench.tell(leave(JobStatus::Failed));
        assert_eq!(bench.ops(), ["cancel 0"]);
        bench.child(1, state_of(attempt(0, 0), ExecutionState::Canceled));
        assert_eq!(bench.ops(), ["dismiss"]);
        assert!(bench.asked().is_empty(), "nobody is there to be told");
    }

    #[test]
    fn the_process_of_a_suspended_job_lingers_for_its_next_master() {
        let mut bench = Bench::running();
        bench.child(1, state_of(attempt(0, 0), ExecutionState::Canceled));
        bench.tell(leave(JobStatus::Suspended));
        assert!(bench.ops().is_empty(), "{:?}", bench.ops());
        assert_eq!(bench.te.slots().counts().allocated, 1);
        bench.pass(10_000);
        assert_eq!(bench.te.slots().counts().free, 2, "the slot waited for a master");
        bench.pass(10_000);
        assert_eq!(bench.ops(), ["dismiss"]);
    }

    #[test]
    fn an_attempt_that_its_master_does_not_know_is_ended() {
        let mut bench = Bench::connected();
        bench.submit(attempt(0, 0), 0xA);
        bench.child(1, say_hello());
        bench.child(1, ChildEvent::Message(FromJobProcess::Ready));
        bench.child(1, state_of(attempt(0, 0), ExecutionState::Initializing));
        bench.answer(Ok(Answer::Refused(Refusal::Unknown("attempt".to_owned()))));
        assert_eq!(bench.ops(), ["cancel 0"]);
        bench.child(1, state_of(attempt(0, 0), ExecutionState::Canceled));
        assert!(bench.asked().is_empty(), "nobody wants to know");
    }

    #[test]
    fn a_finished_task_is_listed_until_its_master_knows() {
        let mut bench = Bench::running();
        bench.child(1, state_of(attempt(0, 0), ExecutionState::Finished));
        let told = bench.asked()[0].0;
        let listed = |bench: &mut Bench| {
            bench.heartbeat(&[0xA]);
            match &bench.told()[..] {
                [
                    Message::JobMaster(ToJobMaster::HeartbeatFromTaskExecutor {
                        executions, ..
                    }),
                ] => executions.len(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(listed(&mut bench), 1);
        let result = Ok(Answer::Ack);
        bench.step(Input::Answered { ask: told, result });
        assert_eq!(listed(&mut bench), 0);
    }

    #[test]
    fn a_split_goes_to_its_source_and_a_lost_answer_fails_it() {
        let mut bench = Bench::running();
        let wish = || {
            ChildEvent::Message(FromJobProcess::RequestNextSplit {
                vertex: JobVertexId(2),
                attempt: attempt(0, 0),
            })
        };
        let split = SourceSplit(vec![1]);
        let answer = Answer::JobMaster(JobMasterAnswer::NextSplit(Some(split.clone())));
        bench.child(1, wish());
        bench.answer(Ok(answer));
        assert_eq!(bench.ops(), [format!("split {:?}", Some(split))]);
        bench.child(1, wish());
        bench.answer(Err(timed_out()));
        assert_eq!(bench.ops(), ["cancel 0"], "the lost answer may have held a split");
    }

    #[test]
    fn what_a_former_process_says_does_not_count() {
        let mut bench = Bench::running();
        bench.child(1, exited(ExitStatus::Code(1)));
        bench.answer(Ok(Answer::Ack));
        assert_eq!(bench.submit(attempt(0, 1), 0xA), Answer::Ack);
        assert_eq!(bench.ops(), ["start 2"]);
        bench.child(1, exited(ExitStatus::Code(1)));
        assert!(bench.out.is_empty());
        assert_eq!(bench.te.counters().stale_events, 1);
    }

    #[test]
    fn a_worker_that_is_asked_to_stop_ends_its_children_first() {
        let mut bench = Bench::running();
        bench.step(Input::Stop);
        assert_eq!(bench.ops(), ["cancel 0", "kill 1"]);
        assert_eq!(bench.told().len(), 2, "both managers hear of it");
        assert!(!bench.out.iter().any(|effect| matches!(effect, Effect::Stopped)));
        bench.child(1, exited(ExitStatus::Signal("SIGKILL".to_owned())));
        assert!(bench.out.iter().any(|effect| matches!(effect, Effect::Stopped)));
    }
}
