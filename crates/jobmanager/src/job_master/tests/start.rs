//! From the start to running tasks.

use super::{JOB, Rig, registered, worker};
use crate::job_master::JobMasterTimer;
use crate::test_driver::{TOKEN, timeout, unreachable};
use millstream_core::ids::{FencingToken, JobId};
use millstream_core::status::JobStatus;
use millstream_core::time::Mono;
use millstream_rpc::machine::{Input, ReplyTo};
use millstream_rpc::protocol::job_master::ToJobMaster;
use millstream_rpc::protocol::{Address, Answer, EndpointName, Refusal};

#[test]
fn a_job_goes_from_its_start_to_its_end_without_waiting_for_any_timer() {
    let mut rig = Rig::new("a:2 b:1 a~hash~b", &[]);
    assert_eq!(rig.status(), JobStatus::Running);
    rig.expect(&["ask rm: register"]);
    rig.answer_to("register", Ok(registered()));
    rig.expect(&["ask rm: declare 2"]);
    rig.answer_to("declare", Ok(Answer::Ack));

    rig.register("tm1");
    rig.offer("tm1", &[1, 2, 3]);
    rig.expect(&[
        "reply registered",
        "reply accepted [1, 2]",
        "ask tm1: submit a0#0 in 1",
        "ask tm1: submit a1#0 in 2",
        "ask tm1: submit b0#0 in 1",
    ]);
    for _ in 0..3 {
        rig.answer_to("submit", Ok(Answer::Ack));
    }
    rig.tasks("run a0 a1 b0");
    rig.tasks("finish a0 a1 b0");
    assert_eq!(rig.driver.now, Mono(0));
    assert_eq!(rig.status(), JobStatus::Finished);
    rig.expect_deeds(&[
        "tell dispatcher: ended FINISHED",
        "tell rm: leave FINISHED",
        "tell tm1: leave FINISHED",
        "stopped",
    ]);
    assert_eq!(rig.timers.len(), 0);
}

#[test]
fn slots_from_several_workers_are_waited_for_together() {
    let mut rig = Rig::new("a:3", &[]);
    rig.register("tm1");
    rig.register("tm2");
    rig.log();
    rig.offer("tm1", &[1]);
    rig.expect(&["reply accepted [1]", "ask tm1: submit a0#0 in 1"]);

    let mut rig = Rig::new("a:3 b:1 a~hash~b", &[]);
    rig.register("tm1");
    rig.register("tm2");
    rig.log();
    rig.offer("tm1", &[1]);
    rig.offer("tm2", &[11]);
    rig.expect(&["reply accepted [1]", "reply accepted [11]"]);
    rig.offer("tm2", &[12]);
    rig.expect_deeds(&[
        "ask tm1: submit a0#0 in 1",
        "ask tm2: submit a1#0 in 11",
        "ask tm2: submit a2#0 in 12",
        "ask tm1: submit b0#0 in 1",
    ]);
}

#[test]
fn registration_is_tried_until_the_resource_manager_answers() {
    let mut rig = Rig::new("a:1", &[]);
    rig.answer_to("register", Err(timeout()));
    rig.answer_to("register", Err(unreachable()));
    rig.log();
    rig.pass(9_999);
    rig.expect(&[]);
    rig.pass(1);
    rig.expect(&["ask rm: register"]);
    rig.answer_to("register", Ok(registered()));
    rig.expect(&["ask rm: declare 1"]);
}

#[test]
fn another_leader_of_the_resource_manager_is_believed_at_once() {
    let mut rig = Rig::new("a:1", &[]);
    rig.log();
    let fenced = Refusal::Fenced { expected: Some(FencingToken(5)), found: Some(TOKEN) };
    rig.answer_to("register", Ok(Answer::Refused(fenced)));
    rig.expect(&["ask rm: register"]);
}

#[test]
fn a_lost_resource_manager_is_registered_at_again_while_the_job_runs_on() {
    let mut rig = Rig::healthy("a:1", &[], &[("tm1", 1)]);
    rig.log();
    // Nothing is heard of the resource manager; the worker is.
    for _ in 0..5 {
        rig.pass(9_999);
        rig.heartbeat("tm1", &[rig.attempt("a0")]);
    }
    rig.pass(5);
    rig.expect_deeds(&["ask rm: register", "ask rm: declare 1"]);
    assert_eq!(rig.status(), JobStatus::Running);

    rig.say(ToJobMaster::DisconnectResourceManager {
        token: FencingToken(1),
        cause: "of another".to_owned(),
    });
    rig.expect_deeds(&[]);
    let leave =
        || ToJobMaster::DisconnectResourceManager { token: TOKEN, cause: "stops".to_owned() };
    rig.say(leave());
    rig.expect_deeds(&[]);
    assert!(rig.timers.contains_key(&JobMasterTimer::Registration), "not twice in ten seconds");
    rig.pass(10_000);
    rig.expect_deeds(&["ask rm: register", "ask rm: declare 1"]);
}

#[test]
fn heartbeats_of_the_resource_manager_are_answered_and_those_of_strangers_are_not() {
    let mut rig = Rig::healthy("a:1", &[], &[]);
    rig.log();
    for (who, expected) in [("rm", &["tell rm: heartbeat"][..]), ("stranger", &[])] {
        rig.say(ToJobMaster::HeartbeatFromResourceManager { resource_manager: worker(who) });
        rig.expect(expected);
    }
}

#[test]
fn needs_are_declared_at_once_and_then_together_after_twenty_milliseconds() {
    let mut rig = Rig::healthy("a:4", &[], &[]);
    rig.expect(&["ask rm: register", "ask rm: declare 4"]);
    rig.register("tm1");
    rig.offer("tm1", &[1, 2, 3, 4]);
    rig.log();
    rig.pass(100);
    rig.tasks("finish a0");
    rig.expect_deeds(&["ask rm: declare 3"]);
    rig.pass(5);
    rig.tasks("finish a1");
    rig.tasks("finish a2");
    rig.expect_deeds(&[]);
    rig.pass(14);
    rig.expect_deeds(&[]);
    rig.pass(1);
    rig.expect_deeds(&["ask rm: declare 1"]);
}

#[test]
fn a_declaration_whose_outcome_is_unknown_is_said_again_and_one_that_failed_means_a_lost_manager() {
    let mut rig = Rig::new("a:1", &[]);
    rig.answer_to("register", Ok(registered()));
    rig.log();
    rig.pass(10_000);
    rig.answer_to("declare", Err(timeout()));
    rig.expect_deeds(&["ask rm: declare 1"]);
    rig.answer_to("declare", super::refused("job master"));
    rig.expect_deeds(&["ask rm: register"]);
}

#[test]
fn messages_under_another_token_are_refused() {
    for token in [None, Some(FencingToken(1))] {
        let mut rig = Rig::new("a:1", &[]);
        rig.log();
        let reply = Some(ReplyTo { process: String::new(), correlation: 1 });
        rig.say_as(ToJobMaster::Cancel, token, reply);
        rig.expect(&["reply fenced"]);
        assert_eq!(rig.status(), JobStatus::Running);
        assert_eq!(rig.driver.machine.counters().fenced, 1);
    }
}

#[test]
fn a_worker_of_another_job_is_turned_away() {
    let mut rig = Rig::new("a:1", &[]);
    rig.log();
    rig.say(ToJobMaster::RegisterTaskExecutor {
        job: JobId(0xB),
        resource: worker("tm1"),
        address: Address { process: "tm1:6122".to_owned(), endpoint: EndpointName::TaskExecutor },
        data_address: String::new(),
    });
    rig.expect(&[&format!(
        "reply rejected: this is the job master of job {JOB}, not of {}",
        JobId(0xB)
    )]);
}

#[test]
fn before_its_start_nothing_is_served() {
    let mut rig = Rig::unstarted("a:1", &[]);
    rig.register("tm1");
    rig.expect(&[&format!("reply refused: not ready: job {JOB} has not been started")]);
    rig.give(Input::Timer(JobMasterTimer::SlotIdle));
    rig.expect(&[]);
}

#[test]
fn a_value_that_cannot_be_read_fails_the_job_at_its_start_and_is_named() {
    let mut rig = Rig::new("a:1", &[("restart-strategy.type", "sometimes")]);
    rig.expect(&["tell dispatcher: ended FAILED", "stopped"]);
    assert_eq!(
        rig.root_failure(),
        "option `restart-strategy.type` is `sometimes`, expected `none`, `fixed-delay`, \
         `exponential-delay` or `failure-rate`; the job fails: it cannot be started like this"
    );
}

#[test]
fn a_graph_that_cannot_be_run_fails_the_job_at_its_start() {
    let mut rig = Rig::new("a:2 b:1 a~forward~b", &[]);
    rig.expect(&["tell dispatcher: ended FAILED", "stopped"]);
    assert!(rig.root_failure().starts_with("the job graph cannot be run: a forward exchange"));
}
