//! Reports, splits, and the comparison of both sides.

use super::Rig;
use crate::test_driver::TOKEN;
use millstream_core::ids::JobVertexId;
use millstream_core::status::{ExecutionState, JobStatus};
use millstream_rpc::machine::ReplyTo;
use millstream_rpc::protocol::job_master::ToJobMaster;

const FIXED: (&str, &str) = ("restart-strategy.type", "fixed-delay");

#[test]
fn a_report_of_an_attempt_that_does_not_count_is_refused() {
    let mut rig = Rig::healthy("a:1", &[FIXED], &[("tm1", 1)]);
    let former = rig.attempt("a0");
    rig.fail("a0", 1);
    rig.pass(1_000);
    rig.log();
    rig.report(former, ExecutionState::Running, None);
    rig.expect(&[&format!("reply refused: unknown attempt {former}")]);
    let mut elsewhere = rig.attempt("a0");
    elsewhere.graph.0 ^= 1;
    rig.report(elsewhere, ExecutionState::Finished, None);
    rig.expect(&[&format!("reply refused: unknown attempt {elsewhere}")]);
    assert_eq!(rig.state("a0"), ExecutionState::Running);
}

#[test]
fn splits_are_handed_out_one_by_one_and_again_after_a_restart() {
    let mut rig = Rig::healthy("a:2*3", &[FIXED], &[("tm1", 2)]);
    rig.log();
    let ask = |rig: &mut Rig, name: &str| {
        let attempt = rig.attempt(name);
        rig.say(ToJobMaster::RequestNextSplit { vertex: attempt.vertex, attempt });
    };
    for name in ["a0", "a1", "a0", "a1"] {
        ask(&mut rig, name);
    }
    rig.expect(&["reply split [0]", "reply split [1]", "reply split [2]", "reply no split"]);
    let former = rig.attempt("a0");
    rig.fail("a0", 1);
    rig.pass(1_000);
    rig.log();
    rig.say(ToJobMaster::RequestNextSplit { vertex: former.vertex, attempt: former });
    rig.expect(&[&format!("reply refused: unknown attempt {former}")]);
    for _ in 0..3 {
        ask(&mut rig, "a0");
    }
    rig.expect(&["reply split [0]", "reply split [2]", "reply no split"]);
}

#[test]
fn a_request_for_a_split_that_is_delivered_twice_gets_the_same_split() {
    let mut rig = Rig::healthy("a:1*3", &[], &[("tm1", 1)]);
    rig.log();
    let attempt = rig.attempt("a0");
    for correlation in [70, 70, 71] {
        let message = ToJobMaster::RequestNextSplit { vertex: attempt.vertex, attempt };
        let reply = ReplyTo { process: "tm1:6122".to_owned(), correlation };
        rig.say_as(message, Some(TOKEN), Some(reply));
    }
    rig.expect(&["reply split [0]", "reply split [0]", "reply split [1]"]);
    rig.say(ToJobMaster::RequestNextSplit { vertex: JobVertexId(99), attempt });
    rig.expect(&[&format!("reply refused: unknown attempt {attempt}")]);
}

#[test]
fn a_task_that_its_worker_misses_has_failed() {
    let mut rig = Rig::healthy("a:2", &[FIXED], &[("tm1", 2)]);
    let [a0, a1] = ["a0", "a1"].map(|name| rig.attempt(name));
    rig.pass(10_000);
    rig.heartbeat("tm1", &[a0, a1]);
    assert_eq!(rig.status(), JobStatus::Running);
    rig.heartbeat("tm1", &[a0]);
    assert_eq!(rig.state("a1"), ExecutionState::Failed);
    assert_eq!(rig.details().failures[0].message, "its worker no longer has it");
}

#[test]
fn a_task_that_was_deployed_after_its_worker_was_asked_is_not_missed() {
    let mut rig = Rig::healthy("a:1", &[FIXED], &[]);
    rig.register("tm1");
    rig.pass(10_000);
    rig.offer("tm1", &[1]);
    rig.heartbeat("tm1", &[]);
    assert_eq!(rig.state("a0"), ExecutionState::Running);
}

#[test]
fn a_task_whose_submission_is_not_acknowledged_is_not_missed() {
    let mut rig = Rig::new("a:1", &[FIXED]);
    rig.register("tm1");
    rig.offer("tm1", &[1]);
    rig.pass(10_000);
    rig.heartbeat("tm1", &[]);
    assert_eq!(rig.state("a0"), ExecutionState::Deploying);
}

#[test]
fn a_cancelled_task_that_its_worker_misses_is_over() {
    let mut rig = Rig::healthy("a:1 b:1 a~hash~b", &[FIXED], &[("tm1", 1)]);
    rig.healthy = false;
    rig.fail("a0", 1);
    rig.pass(900);
    rig.driver.wait(10_000);
    rig.pass(0);
    rig.heartbeat("tm1", &[]);
    assert_ne!(rig.state("b0"), ExecutionState::Canceling);
}

#[test]
fn a_task_that_does_not_count_is_cancelled_and_one_that_has_just_finished_is_left_alone() {
    let mut rig = Rig::healthy("a:2", &[FIXED], &[("tm1", 2)]);
    rig.tasks("finish a0");
    let finished = rig.attempt("a0");
    let failed = rig.attempt("a1");
    rig.fail("a1", 1);
    rig.healthy = false;
    rig.log();
    rig.heartbeat("tm1", &[finished, failed]);
    rig.expect_deeds(&["ask tm1: cancel a1#0"]);
    let mut stranger = failed;
    stranger.attempt = 9;
    rig.heartbeat("tm1", &[stranger]);
    rig.expect_deeds(&["ask tm1: cancel a1#9"]);
}

#[test]
fn heartbeats_are_asked_for_every_ten_seconds_with_the_slots_that_we_hold() {
    let mut rig = Rig::healthy("a:2", &[], &[("tm1", 1), ("tm2", 1)]);
    rig.log();
    rig.pass(9_999);
    rig.expect(&[]);
    rig.pass(1);
    rig.expect(&["tell tm1: heartbeat [1]", "tell tm2: heartbeat [11]"]);
}
