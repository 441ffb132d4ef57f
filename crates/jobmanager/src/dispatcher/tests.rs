//! Scenarios, with effects as short lines: `persist A` is an operation, `A: cancel` an ask of job A's
//! master, `3: ack` the answer to the third asker. Timers are looked at separately.

use super::*;
use crate::test_driver::{Driver, TOKEN, timeout};
use millstream_core::ids::{FencingToken, JobId};
use millstream_core::job_graph::{JobGraph, PlanSignature, RuntimeMode};
use millstream_core::status::JobStatus;
use millstream_core::time::Mono;
use millstream_rpc::machine::{AskId, Effect, Input, OpId, ReplyTo};
use millstream_rpc::protocol::details::{ExecutionGraphDetails, JobSummary};
use millstream_rpc::protocol::dispatcher::{DispatcherAnswer, ToDispatcher};
use millstream_rpc::protocol::job_master::{JobMasterAnswer, ToJobMaster};
use millstream_rpc::protocol::{Answer, Message, Refusal};
use std::collections::BTreeMap;

type Effects = crate::test_driver::Effects<Dispatcher>;

pub(super) const A: JobId = JobId(0xA);
pub(super) const B: JobId = JobId(0xB);

pub(super) fn graph() -> JobGraph {
    JobGraph {
        name: "count".to_owned(),
        vertices: Vec::new(),
        edges: Vec::new(),
        mode: RuntimeMode::Streaming,
        configuration: BTreeMap::new(),
        signature: PlanSignature::default(),
        program: None,
    }
}

fn details(job: JobId, status: JobStatus) -> Box<ExecutionGraphDetails> {
    let summary = JobSummary {
        job,
        name: "count".to_owned(),
        status,
        started: 0,
        ended: Some(5),
        last_modified: 5,
        tasks: BTreeMap::new(),
    };
    Box::new(ExecutionGraphDetails {
        summary,
        status_times: BTreeMap::new(),
        graph: graph(),
        vertices: Vec::new(),
        root_failure: None,
        failures: Vec::new(),
        waiting_for: None,
        restarts: 7,
        checkpoints: None,
    })
}

pub(super) fn failed() -> DispatcherDone {
    let reason = "disk full".to_owned();
    DispatcherDone::Failed { reason }
}

pub(super) fn unknown() -> DispatcherDone {
    let reason = "no answer".to_owned();
    DispatcherDone::Unknown { reason }
}

/// Effects as lines; timers left out.
pub(super) fn lines(effects: &Effects) -> Vec<String> {
    effects.iter().filter_map(line).collect()
}

fn line(effect: &Effect<DispatcherTimer, DispatcherOp>) -> Option<String> {
    let name = |job: &JobId| format!("{:X}", job.0);
    Some(match effect {
        Effect::Op { what, .. } => match what {
            DispatcherOp::PersistGraph { job, epoch, .. } => {
                assert_eq!(*epoch, TOKEN);
                format!("persist {}", name(job))
            }
            DispatcherOp::StartJobMaster { job, .. } => format!("start {}", name(job)),
            DispatcherOp::RecordResult { job, result, .. } => {
                format!("record {} {}", name(job), result.status)
            }
            DispatcherOp::StopJobMaster { job } => format!("stop {}", name(job)),
            DispatcherOp::CleanUpJob { job, .. } => format!("clean up {}", name(job)),
        },
        Effect::Ask { to, message, .. } => {
            let what = match message {
                Message::JobMaster(ToJobMaster::Cancel) => "cancel",
                Message::JobMaster(ToJobMaster::RequestDetails) => "details",
                other => panic!("unexpected {other:?}"),
            };
            let address = to.to_string().replace("@jm:6123", "");
            let digits = address.trim_start_matches("jobmaster_").trim_start_matches('0');
            format!("{}: {what}", digits.to_uppercase())
        }
        Effect::Reply { to, answer } => format!("{}: {}", to.correlation, brief(answer)),
        Effect::Stopped => "stopped".to_owned(),
        Effect::SetTimer { .. } | Effect::ClearTimer { .. } => return None,
        other => panic!("unexpected {other:?}"),
    })
}

fn brief(answer: &Answer) -> String {
    match answer {
        Answer::Ack => "ack".to_owned(),
        Answer::Refused(Refusal::Invalid(_)) => "invalid".to_owned(),
        Answer::Refused(Refusal::NotReady(_)) => "not ready".to_owned(),
        Answer::Refused(Refusal::Unknown(_)) => "unknown".to_owned(),
        Answer::Dispatcher(DispatcherAnswer::Details(details)) => {
            // Our details of a job have no restarts, those of its master have seven.
            let source = if details.restarts == 7 { "master" } else { "own" };
            format!("{} by {source}", details.summary.status)
        }
        Answer::Dispatcher(DispatcherAnswer::Jobs(jobs)) => {
            let line = |job: &JobSummary| format!("{:X} {}", job.job.0, job.status);
            jobs.iter().map(line).collect::<Vec<_>>().join(", ")
        }
        other => panic!("unexpected {other:?}"),
    }
}

fn timer_at(effects: &Effects, wanted: DispatcherTimer) -> Option<Mono> {
    effects.iter().find_map(|effect| match effect {
        Effect::SetTimer { timer, at } if *timer == wanted => Some(*at),
        _ => None,
    })
}

fn ask_of(effects: &Effects) -> AskId {
    let of_ask = |effect: &Effect<_, _>| match effect {
        Effect::Ask { ask, .. } => Some(*ask),
        _ => None,
    };
    effects.iter().find_map(of_ask).expect("somebody is asked")
}

pub(super) struct Session {
    pub(super) driver: Driver<Dispatcher>,
    /// The operation of the last effects that had one.
    op: OpId,
}

impl Session {
    fn new() -> Self {
        Self::with(DispatcherConfig::default())
    }

    pub(super) fn with(config: DispatcherConfig) -> Self {
        let mut session = Self::unstarted(config, Recovered::default());
        session.driver.give(Input::Start);
        session
    }

    pub(super) fn unstarted(config: DispatcherConfig, recovered: Recovered) -> Self {
        let machine = Dispatcher::new(config, "jm:6123".to_owned(), TOKEN);
        Self { driver: Driver::new(machine.with_recovered(recovered)), op: OpId(0) }
    }

    /// The operations of these effects.
    pub(super) fn ops_of(&self, effects: &Effects) -> Vec<OpId> {
        let of_op = |effect: &Effect<_, _>| match effect {
            Effect::Op { op, .. } => Some(*op),
            _ => None,
        };
        effects.iter().filter_map(of_op).collect()
    }

    pub(super) fn remember(&mut self, effects: Effects) -> Effects {
        let of_op = |effect: &Effect<_, _>| match effect {
            Effect::Op { op, .. } => Some(*op),
            _ => None,
        };
        self.op = effects.iter().find_map(of_op).unwrap_or(self.op);
        effects
    }

    /// An ask; what came out of it.
    pub(super) fn ask(&mut self, message: ToDispatcher) -> Effects {
        let (effects, _) = self.driver.ask(Message::Dispatcher(message));
        self.remember(effects)
    }

    pub(super) fn submit(&mut self, job: JobId) -> Effects {
        let graph = Box::new(graph());
        self.ask(ToDispatcher::SubmitJob { job, graph })
    }

    pub(super) fn ended(&mut self, job: JobId, status: JobStatus) -> Effects {
        let details = details(job, status);
        let message = ToDispatcher::JobEnded { job, details };
        let effects = self.driver.tell(Message::Dispatcher(message));
        self.remember(effects)
    }

    /// The operation under way ends so.
    pub(super) fn done(&mut self, result: DispatcherDone) -> Effects {
        let effects = self.driver.done(self.op, result);
        self.remember(effects)
    }

    pub(super) fn fire(&mut self, timer: DispatcherTimer) -> Effects {
        let effects = self.driver.give(Input::Timer(timer));
        self.remember(effects)
    }

    /// A running job.
    pub(super) fn run(&mut self, job: JobId) {
        self.submit(job);
        self.done(DispatcherDone::Done);
        self.done(DispatcherDone::Done);
    }

    /// A job that has ended and left nothing.
    fn run_to_end(&mut self, job: JobId, status: JobStatus) {
        self.run(job);
        self.ended(job, status);
        for _ in 0..3 {
            self.done(DispatcherDone::Done);
        }
        assert_eq!(self.driver.machine.open_ends(), (0, 0));
    }
}

#[test]
fn a_job_goes_its_way_from_submission_to_nothing_left() {
    let mut session = Session::new();
    assert_eq!(lines(&session.submit(A)), ["persist A"]);
    assert_eq!(lines(&session.done(DispatcherDone::Done)), ["start A"]);
    assert_eq!(lines(&session.done(DispatcherDone::Done)), ["1: ack"]);
    let waits = session.ask(ToDispatcher::AwaitJobEnd { job: A });
    assert!(waits.is_empty());
    let effects = session.ended(A, JobStatus::Finished);
    assert_eq!(lines(&effects), ["record A FINISHED"]);
    let effects = session.done(DispatcherDone::Done);
    assert_eq!(lines(&effects), ["2: FINISHED by master", "stop A"]);
    assert_eq!(lines(&session.done(DispatcherDone::Done)), ["clean up A"]);
    assert!(session.done(DispatcherDone::Done).is_empty());
    let effects = session.ask(ToDispatcher::AwaitJobEnd { job: A });
    assert_eq!(lines(&effects), ["3: FINISHED by master"], "also afterwards");
}

#[test]
fn the_job_master_gets_the_session_of_the_process_and_the_time_of_submission() {
    let mut session = Session::new();
    session.submit(A);
    session.driver.wait(5);
    let effects = session.done(DispatcherDone::Done);
    let Effect::Op { what: DispatcherOp::StartJobMaster { token, submitted, .. }, .. } =
        &effects[0]
    else {
        panic!("{effects:?}")
    };
    assert_eq!(*token, TOKEN);
    assert_eq!(*submitted, 1_000_000);
    session.done(DispatcherDone::Done);
    let effects = session.ask(ToDispatcher::CancelJob { job: A });
    let carried = effects.iter().find_map(|effect| match effect {
        Effect::Ask { token, .. } => *token,
        _ => None,
    });
    assert_eq!(carried, Some(*token));
}

#[test]
fn a_known_job_is_refused_wherever_it_is_on_its_way() {
    let mut session = Session::new();
    session.submit(A);
    let refused = |session: &mut Session| {
        let effects = session.submit(A);
        assert_eq!(effects.len(), 1);
        assert!(lines(&effects)[0].ends_with("invalid"), "{effects:?}");
    };
    for _ in 0..3 {
        refused(&mut session);
        session.done(DispatcherDone::Done);
    }
    refused(&mut session);
    session.ended(A, JobStatus::Failed);
    for _ in 0..4 {
        refused(&mut session);
        session.done(DispatcherDone::Done);
    }
}

#[test]
fn a_message_under_another_token_is_refused() {
    for token in [None, Some(FencingToken(0))] {
        let mut session = Session::new();
        let reply = ReplyTo { process: String::new(), correlation: 1 };
        let effects = session.driver.give(Input::Message {
            token,
            message: Message::Dispatcher(ToDispatcher::ListJobs),
            reply: Some(reply),
        });
        let Effect::Reply { answer, .. } = &effects[0] else { panic!("{effects:?}") };
        assert!(matches!(answer, Answer::Refused(Refusal::Fenced { .. })));
        assert_eq!(session.driver.machine.counters().fenced, 1);
    }
}

#[test]
fn a_job_that_cannot_begin_is_refused_and_cleaned_up_and_may_be_submitted_again() {
    let refuse_plan: &[&str] = &["1: not ready", "clean up A"];
    let refuse_start: &[&str] = &["1: invalid", "clean up A"];
    let doubt_start: &[&str] = &["1: not ready", "stop A"];
    for (good_steps, bad, expected) in
        [(0, failed(), refuse_plan), (1, failed(), refuse_start), (1, unknown(), doubt_start)]
    {
        let mut session = Session::new();
        session.submit(A);
        for _ in 0..good_steps {
            session.done(DispatcherDone::Done);
        }
        assert_eq!(lines(&session.done(bad)), expected);
        while session.driver.machine.open_ends().1 > 0 {
            session.done(DispatcherDone::Done);
        }
        assert_eq!(lines(&session.submit(A)), ["persist A"]);
    }
}

#[test]
fn an_outcome_that_is_unknown_is_found_out_by_doing_it_again() {
    let mut session = Session::new();
    session.submit(A);
    let retry = DispatcherTimer::Retry(A);
    let effects = session.done(unknown());
    assert_eq!(timer_at(&effects, retry), Some(Mono(1_000)));
    assert!(session.fire(retry).is_empty(), "not yet");
    session.driver.wait(1_000);
    assert_eq!(lines(&session.fire(retry)), ["persist A"]);
    assert!(session.fire(retry).is_empty(), "once");
    assert_eq!(lines(&session.done(DispatcherDone::Done)), ["start A"]);
}

#[test]
fn nobody_is_told_of_an_end_before_it_is_on_record() {
    let mut session = Session::new();
    session.run(A);
    session.ask(ToDispatcher::AwaitJobEnd { job: A });
    session.ended(A, JobStatus::Finished);
    let retry = DispatcherTimer::Retry(A);
    for bad in [failed(), unknown()] {
        assert!(lines(&session.done(bad)).is_empty());
        session.driver.wait(10_000);
        assert_eq!(lines(&session.fire(retry)), ["record A FINISHED"]);
    }
    let effects = session.done(DispatcherDone::Done);
    assert_eq!(lines(&effects)[0], "2: FINISHED by master");
}

#[test]
fn clean_up_is_repeated_until_it_succeeds() {
    let mut session = Session::new();
    session.run(A);
    session.ended(A, JobStatus::Finished);
    session.done(DispatcherDone::Done);
    session.done(DispatcherDone::Done);
    let retry = DispatcherTimer::Retry(A);
    for pause in [1_000, 2_000, 4_000] {
        let effects = session.done(failed());
        let due = session.driver.now + pause;
        assert_eq!(timer_at(&effects, retry), Some(due));
        session.driver.wait(pause);
        assert_eq!(lines(&session.fire(retry)), ["clean up A"]);
    }
    session.done(DispatcherDone::Done);
    assert_eq!(session.driver.machine.open_ends(), (0, 0));
}

#[test]
fn a_job_ends_once() {
    let mut session = Session::new();
    session.run(A);
    session.ended(A, JobStatus::Finished);
    assert!(session.ended(A, JobStatus::Failed).is_empty());
    for _ in 0..3 {
        session.done(DispatcherDone::Done);
        assert!(session.ended(A, JobStatus::Failed).is_empty());
    }
    assert!(session.ended(B, JobStatus::Failed).is_empty(), "a stranger");
    let status = session.driver.machine.status(A);
    assert_eq!(status, Some(JobStatus::Finished));
    assert_eq!(session.driver.machine.counters().stale, 5);
}

#[test]
fn a_job_may_end_before_its_start_is_reported() {
    let mut session = Session::new();
    session.submit(A);
    session.done(DispatcherDone::Done);
    let start = session.op;
    let effects = session.ended(A, JobStatus::Finished);
    assert_eq!(lines(&effects), ["1: ack", "record A FINISHED"]);
    assert!(session.driver.done(start, DispatcherDone::Done).is_empty());
    session.done(DispatcherDone::Done);
    assert_eq!(session.driver.machine.status(A), Some(JobStatus::Finished));
}

#[test]
fn a_suspended_job_keeps_its_plan() {
    let mut session = Session::new();
    session.run(A);
    session.ask(ToDispatcher::AwaitJobEnd { job: A });
    assert_eq!(lines(&session.ended(A, JobStatus::Suspended)), ["stop A"]);
    let effects = session.done(DispatcherDone::Done);
    assert_eq!(lines(&effects), ["2: SUSPENDED by master"]);
    assert_eq!(session.driver.machine.open_ends(), (0, 0));
}

#[test]
fn a_cancellation_is_acknowledged_at_once_and_told_until_it_is_heard() {
    let mut session = Session::new();
    session.run(A);
    let effects = session.ask(ToDispatcher::CancelJob { job: A });
    assert_eq!(lines(&effects), ["A: cancel", "2: ack"]);
    let again = session.ask(ToDispatcher::CancelJob { job: A });
    assert_eq!(lines(&again), ["3: ack"], "it is under way");
    let retry = DispatcherTimer::RetryCancel(A);
    let lost = session.driver.answer(ask_of(&effects), Err(timeout()));
    assert_eq!(timer_at(&lost, retry), Some(Mono(1_000)));
    assert!(session.fire(retry).is_empty(), "not yet");
    session.driver.wait(1_000);
    let effects = session.fire(retry);
    assert_eq!(lines(&effects), ["A: cancel"]);
    session.driver.answer(ask_of(&effects), Ok(Answer::Ack));
    session.driver.wait(10_000);
    assert!(session.fire(retry).is_empty());
}

#[test]
fn a_cancellation_during_the_start_is_remembered() {
    for good_steps in 0..2 {
        let mut session = Session::new();
        session.submit(A);
        for _ in 0..good_steps {
            session.done(DispatcherDone::Done);
        }
        let effects = session.ask(ToDispatcher::CancelJob { job: A });
        assert_eq!(lines(&effects), ["2: ack"]);
        let status = session.driver.machine.status(A);
        assert_eq!(status, Some(JobStatus::Cancelling));
        for _ in good_steps..1 {
            session.done(DispatcherDone::Done);
        }
        let effects = session.done(DispatcherDone::Done);
        assert_eq!(lines(&effects), ["1: ack", "A: cancel"]);
    }
}

#[test]
fn a_job_that_has_ended_cannot_be_cancelled_and_the_refusal_says_so() {
    let mut session = Session::new();
    session.run(A);
    session.ended(A, JobStatus::Finished);
    for _ in 0..4 {
        let message = Message::Dispatcher(ToDispatcher::CancelJob { job: A });
        let (answer, _) = session.driver.call(message);
        let expected = format!("job {A} has already ended: it is FINISHED");
        assert_eq!(answer, Answer::Refused(Refusal::Invalid(expected)));
        session.done(DispatcherDone::Done);
    }
    let effects = session.ask(ToDispatcher::CancelJob { job: B });
    assert!(lines(&effects)[0].ends_with("unknown"));
}

#[test]
fn details_come_from_the_job_master_or_else_from_ourselves() {
    let mut session = Session::new();
    let ask = || ToDispatcher::RequestJobDetails { job: A };
    assert_eq!(lines(&session.ask(ask())), ["1: unknown"]);
    session.submit(A);
    let effects = session.ask(ask());
    assert_eq!(lines(&effects), ["3: INITIALIZING by own"]);
    session.done(DispatcherDone::Done);
    session.done(DispatcherDone::Done);

    let effects = session.ask(ask());
    assert_eq!(lines(&effects), ["A: details"]);
    assert!(session.ask(ask()).is_empty(), "one ask serves both");
    let answer = JobMasterAnswer::Details(details(A, JobStatus::Running));
    let answer = Ok(Answer::JobMaster(answer));
    let answered = session.driver.answer(ask_of(&effects), answer);
    let expected = ["4: RUNNING by master", "5: RUNNING by master"];
    assert_eq!(lines(&answered), expected);

    let effects = session.ask(ask());
    let silent = session.driver.answer(ask_of(&effects), Err(timeout()));
    assert_eq!(lines(&silent), ["6: RUNNING by own"], "as last heard");
    let twice = session.driver.answer(ask_of(&effects), Err(timeout()));
    assert!(twice.is_empty());
    session.ended(A, JobStatus::Failed);
    assert_eq!(lines(&session.ask(ask())), ["7: FAILED by master"]);
    session.done(DispatcherDone::Done);
    assert_eq!(lines(&session.ask(ask())), ["8: FAILED by master"]);
}

#[test]
fn a_job_that_ends_while_it_is_asked_answers_with_its_end() {
    let mut session = Session::new();
    session.run(A);
    let effects = session.ask(ToDispatcher::RequestJobDetails { job: A });
    session.ask(ToDispatcher::ListJobs);
    session.ended(A, JobStatus::Finished);
    let ended = session.done(DispatcherDone::Done);
    let expected = ["2: FINISHED by master", "3: A FINISHED", "stop A"];
    assert_eq!(lines(&ended), expected);
    let late = session.driver.answer(ask_of(&effects), Err(timeout()));
    assert!(late.is_empty());
}

#[test]
fn a_list_waits_for_the_masters_of_running_jobs() {
    let mut session = Session::new();
    assert_eq!(lines(&session.ask(ToDispatcher::ListJobs)), ["1: "]);
    session.run_to_end(B, JobStatus::Canceled);
    session.run(A);
    let effects = session.ask(ToDispatcher::ListJobs);
    assert_eq!(lines(&effects), ["A: details"]);
    let answer = JobMasterAnswer::Details(details(A, JobStatus::Running));
    let answer = Ok(Answer::JobMaster(answer));
    let answered = session.driver.answer(ask_of(&effects), answer);
    assert_eq!(lines(&answered), ["4: A RUNNING, B CANCELED"]);
}

#[test]
fn only_so_many_wait_for_one_job_and_nobody_who_is_gone() {
    let mut session =
        Session::with(DispatcherConfig { waiters_max: 2, ..DispatcherConfig::default() });
    session.run(A);
    let wait = || ToDispatcher::AwaitJobEnd { job: A };
    assert!(session.ask(wait()).is_empty());
    assert!(session.ask(wait()).is_empty());
    assert_eq!(lines(&session.ask(wait())), ["2: not ready"]);
    session
        .driver
        .give(Input::PeerLost { process: "client:1".to_owned(), reason: "reset".to_owned() });
    assert_eq!(session.driver.machine.open_ends(), (0, 0));
}

#[test]
fn details_of_ended_jobs_are_bounded_in_number_and_time_and_their_ids_are_not_forgotten() {
    let mut session =
        Session::with(DispatcherConfig { ended_jobs_max: 1, ..DispatcherConfig::default() });
    session.run_to_end(A, JobStatus::Finished);
    session.run_to_end(B, JobStatus::Finished);
    let ask = |job| ToDispatcher::RequestJobDetails { job };
    assert!(lines(&session.ask(ask(A)))[0].ends_with("unknown"));
    assert!(lines(&session.ask(ask(B)))[0].ends_with("FINISHED by master"));
    session.driver.wait(3_600_000);
    assert!(lines(&session.ask(ask(B)))[0].ends_with("unknown"));
    for job in [A, B] {
        assert!(lines(&session.submit(job))[0].ends_with("invalid"));
    }
}

#[test]
fn a_shutdown_cancels_jobs_whose_plans_are_lost_with_us_and_waits_for_them() {
    let mut session = Session::new();
    session.run(A);
    let effects = session.ask(ToDispatcher::Shutdown);
    assert_eq!(lines(&effects), ["2: ack", "A: cancel"]);
    assert_eq!(lines(&session.submit(B)), ["3: not ready"]);
    session.driver.answer(ask_of(&effects), Ok(Answer::Ack));
    session.ended(A, JobStatus::Canceled);
    for expected in ["stop A", "clean up A", "stopped"] {
        assert_eq!(lines(&session.done(DispatcherDone::Done)), [expected]);
    }
    assert_eq!(lines(&session.submit(B)), ["4: not ready"]);
}

#[test]
fn a_shutdown_suspends_jobs_whose_plans_survive() {
    let config = DispatcherConfig { plans_survive: true, ..DispatcherConfig::default() };
    for good_steps in 0..3 {
        let mut session = Session::with(config);
        session.submit(A);
        for _ in 0..good_steps {
            session.done(DispatcherDone::Done);
        }
        session.ask(ToDispatcher::AwaitJobEnd { job: A });
        session.driver.give(Input::Stop);
        // Whatever is under way ends; nothing is cleaned up.
        let mut seen = Vec::new();
        while session.driver.machine.open_ends().1 > 0 {
            let op = OpId(session.driver.machine.ops_made);
            seen.extend(lines(&session.driver.done(op, DispatcherDone::Done)));
        }
        assert!(seen.iter().any(|line| line.ends_with("2: not ready")), "{seen:?}");
        assert!(!seen.iter().any(|line| line.starts_with("clean up")), "{seen:?}");
        assert_eq!(seen.last().map(String::as_str), Some("stopped"));
    }
}

#[test]
fn a_shutdown_does_not_wait_for_ever() {
    let mut session = Session::new();
    session.run(A);
    session.ask(ToDispatcher::AwaitJobEnd { job: A });
    session.ask(ToDispatcher::ListJobs);
    let effects = session.driver.give(Input::Stop);
    assert_eq!(timer_at(&effects, DispatcherTimer::Shutdown), Some(Mono(30_000)));
    let effects = session.fire(DispatcherTimer::Shutdown);
    assert_eq!(lines(&effects), ["2: not ready", "3: ", "stopped"]);
    assert!(session.fire(DispatcherTimer::Shutdown).is_empty());
}

#[test]
fn an_idle_cluster_shuts_down_at_once() {
    let mut session = Session::new();
    let effects = session.ask(ToDispatcher::Shutdown);
    assert_eq!(lines(&effects), ["1: ack", "stopped"]);
}

/// Any sequence of messages, outcomes and timers keeps the invariants, and in the end everybody has
/// been answered and nothing is left.
#[test]
fn every_ask_ends_whatever_happens() {
    for seed in 0..300 {
        let mut rng = millstream_rpc::machine::Rng::new(seed);
        let mut session = Session::with(DispatcherConfig {
            plans_survive: seed % 2 == 0,
            waiters_max: 3,
            ended_jobs_max: 2,
            ..DispatcherConfig::default()
        });
        for _ in 0..150 {
            session.driver.wait(rng.below(700));
            disturb(&mut session, &mut rng);
        }
        session.driver.give(Input::Stop);
        session.fire(DispatcherTimer::Shutdown);
        assert_eq!(session.driver.machine.open_ends().0, 0);
    }
}

fn disturb(session: &mut Session, rng: &mut millstream_rpc::machine::Rng) {
    let job = JobId(u128::from(rng.below(3)));
    let statuses = [JobStatus::Finished, JobStatus::Running, JobStatus::Suspended];
    let status = statuses[rng.below(3) as usize];
    let result = match rng.below(6) {
        0 => failed(),
        1 => unknown(),
        _ => DispatcherDone::Done,
    };
    let made = session.driver.machine.ops_made;
    let op = OpId(made - rng.below(4).min(made));
    let ask = AskId(rng.below(session.driver.machine.asks_made + 2));
    let told = JobMasterAnswer::Details(details(job, status));
    drop(match rng.below(12) {
        0 => session.submit(job),
        1 => session.ask(ToDispatcher::CancelJob { job }),
        2 => session.ask(ToDispatcher::AwaitJobEnd { job }),
        3 => session.ask(ToDispatcher::RequestJobDetails { job }),
        4 => session.ask(ToDispatcher::ListJobs),
        5 => session.ended(job, status),
        6 => session.driver.answer(ask, Err(timeout())),
        7 => session.driver.answer(ask, Ok(Answer::JobMaster(told))),
        8 => session.fire(DispatcherTimer::Retry(job)),
        9 => session.fire(DispatcherTimer::RetryCancel(job)),
        _ => session.driver.done(op, result),
    });
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
        is_caught("skip_fencing_check_dispatcher", || {
            Session::new().driver.give(Input::Message {
                token: None,
                message: Message::Dispatcher(ToDispatcher::ListJobs),
                reply: None,
            });
        });
    }

    #[test]
    fn a_job_that_runs_twice_is_caught() {
        is_caught("duplicate_submit_accepted", || {
            let mut session = Session::new();
            session.run_to_end(A, JobStatus::Finished);
            session.submit(A);
        });
        is_caught("duplicate_submit_accepted", || {
            let mut session = Session::new();
            session.run(A);
            session.submit(A);
        });
    }

    #[test]
    fn a_start_without_a_safe_plan_is_caught() {
        is_caught("start_before_persisted", || {
            let mut session = Session::new();
            session.submit(A);
            session.done(failed());
        });
    }

    #[test]
    fn a_forgotten_cancellation_is_caught() {
        is_caught("forget_remembered_cancel", || {
            let mut session = Session::new();
            session.submit(A);
            session.ask(ToDispatcher::CancelJob { job: A });
            session.done(DispatcherDone::Done);
            session.done(DispatcherDone::Done);
        });
    }

    #[test]
    fn a_second_end_is_caught() {
        is_caught("job_ends_twice", || {
            let mut session = Session::new();
            session.run(A);
            session.ended(A, JobStatus::Finished);
            session.ended(A, JobStatus::Failed);
        });
    }

    #[test]
    fn waiters_who_are_never_answered_are_caught() {
        is_caught("forget_waiters_at_end", || {
            let mut session = Session::new();
            session.run(A);
            session.ask(ToDispatcher::AwaitJobEnd { job: A });
            session.ended(A, JobStatus::Finished);
            session.done(DispatcherDone::Done);
        });
    }
}
