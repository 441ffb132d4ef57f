//! Failures of tasks and workers, and what follows.

use super::{Rig, refused, worker};
use crate::test_driver::{timeout, unreachable};
use millstream_core::status::{ExecutionState, JobStatus};
use millstream_rpc::machine::Input;
use millstream_rpc::protocol::Answer;
use millstream_rpc::protocol::job_master::ToJobMaster;

const NONE: (&str, &str) = ("restart-strategy.type", "none");
const FIXED: (&str, &str) = ("restart-strategy.type", "fixed-delay");
const MANY: (&str, &str) = ("restart-strategy.fixed-delay.attempts", "100");

#[test]
fn a_failed_task_restarts_its_region_in_the_same_slots() {
    let mut rig = Rig::healthy("a:2 b:1 a~hash~b", &[FIXED], &[("tm1", 2)]);
    rig.log();
    rig.fail("b0", 1);
    assert_eq!(rig.status(), JobStatus::Restarting);
    rig.expect_deeds(&["ask tm1: cancel a0#0", "ask tm1: cancel a1#0"]);
    rig.pass(1_000);
    rig.expect_deeds(&[
        "ask tm1: submit a0#1 in 1",
        "ask tm1: submit a1#1 in 2",
        "ask tm1: submit b0#1 in 1",
    ]);
    assert_eq!(rig.status(), JobStatus::Running);
    let details = rig.details();
    assert_eq!((details.restarts, details.failures.len()), (1, 1));
    assert_eq!(details.failures[0].task.as_deref(), Some("b (1/1)"));
    assert_eq!(details.failures[0].resource, Some(worker("tm1")));
}

/// Found by the simulator: the timer was cleared by whatever else happened in that millisecond.
#[test]
fn a_restart_that_falls_due_together_with_another_event_happens() {
    let mut rig = Rig::healthy("a:1", &[FIXED], &[("tm1", 1)]);
    rig.log();
    rig.fail("a0", 1);
    rig.driver.now = rig.driver.now + 1_000;
    rig.heartbeat("tm1", &[]);
    rig.pass(0);
    rig.expect_deeds(&["ask tm1: submit a0#1 in 1"]);
}

#[test]
fn without_restarts_the_first_failure_ends_the_job_and_is_told() {
    let mut rig = Rig::healthy("a:1 b:1 a~hash~b", &[NONE], &[("tm1", 1)]);
    rig.log();
    rig.fail("b0", 1);
    rig.expect_deeds(&[
        "ask tm1: cancel a0#0",
        "tell dispatcher: ended FAILED",
        "tell rm: leave FAILED",
        "tell tm1: leave FAILED",
        "stopped",
    ]);
    assert_eq!(rig.root_failure(), "boom; the job fails: restart-strategy.type is none");
    let ended = rig.ended.expect("it has ended");
    let times = ended.status_times.keys().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(times, ["INITIALIZING", "CREATED", "RUNNING", "FAILING", "FAILED"]);
}

/// A worker is lost in one of four ways.
fn lose(rig: &mut Rig, way: &str) {
    match way {
        "reset" => rig.give(Input::PeerLost {
            process: "tm2:6122".to_owned(),
            reason: "connection refused".to_owned(),
        }),
        "farewell" => rig.say(ToJobMaster::DisconnectTaskExecutor {
            resource: worker("tm2"),
            cause: "it was told to stop".to_owned(),
        }),
        "replaced" => {
            rig.driver.wait(1);
            rig.say(ToJobMaster::RegisterTaskExecutor {
                job: super::JOB,
                resource: worker("tm2-again"),
                address: millstream_rpc::protocol::Address {
                    process: "tm2:6122".to_owned(),
                    endpoint: millstream_rpc::protocol::EndpointName::TaskExecutor,
                },
                data_address: String::new(),
            });
        }
        _ => {
            for _ in 0..6 {
                rig.pass(9_999);
                rig.heartbeat("tm1", &[rig.attempt("a0")]);
            }
        }
    }
}

#[test]
fn a_lost_worker_is_one_failure_that_names_it_however_it_was_lost() {
    for (way, told) in [
        (
            "reset",
            "worker tm2 (tm2:6122) is lost: its process cannot be reached: connection refused",
        ),
        ("farewell", "worker tm2 (tm2:6122) is lost: it has left: it was told to stop"),
        ("replaced", "worker tm2 (tm2:6122) is lost: another worker answers at its address"),
        (
            "silence",
            "worker tm2 (tm2:6122) is lost: it was silent for 50000 ms (heartbeat.timeout)",
        ),
    ] {
        let mut rig = Rig::healthy("a:3 b:1@x a~hash~b", &[FIXED, MANY], &[("tm1", 1), ("tm2", 3)]);
        lose(&mut rig, way);
        let details = rig.details();
        assert_eq!(details.failures.len(), 1, "{way}");
        assert_eq!(details.failures[0].message, told);
        assert_eq!(details.failures[0].resource, Some(worker("tm2")));
        assert_eq!(rig.driver.machine.slots().len(), 1, "{way}");
        rig.register("tm3");
        rig.offer("tm3", &[31, 32, 33]);
        rig.pass(2_000);
        assert_eq!(rig.status(), JobStatus::Running, "{way}");
        assert_eq!(rig.state("b0"), ExecutionState::Running, "{way}");
    }
}

#[test]
fn a_worker_that_registers_again_keeps_its_tasks_and_is_asked_what_it_has() {
    let mut rig = Rig::healthy("a:1", &[FIXED], &[("tm1", 1)]);
    rig.log();
    rig.driver.wait(5);
    rig.register("tm1");
    rig.expect(&["tell tm1: heartbeat [1]", "reply registered"]);
    rig.offer("tm1", &[1]);
    rig.expect(&["reply accepted [1]"]);
    assert_eq!(rig.state("a0"), ExecutionState::Running);
    rig.heartbeat("tm1", &[]);
    assert_eq!(rig.state("a0"), ExecutionState::Failed);
}

#[test]
fn a_worker_that_cannot_be_reached_twice_in_a_row_is_lost() {
    let mut rig = Rig::healthy("a:1 b:1 a~hash~b", &[FIXED], &[("tm1", 1)]);
    rig.healthy = false;
    rig.fail("a0", 1);
    rig.answer_to("cancel", Err(unreachable()));
    assert!(rig.details().failures.len() == 1);
    rig.answer_to("cancel", Err(unreachable()));
    assert!(rig.driver.machine.slots().is_empty());
    assert_eq!(rig.state("b0"), ExecutionState::Failed);
}

#[test]
fn a_task_that_its_worker_does_not_take_fails_and_may_be_there_all_the_same() {
    for (answer, cancels) in
        [(refused("slot"), false), (Err(timeout()), true), (Ok(Answer::Ack), false)]
    {
        let mut rig = Rig::new("a:1", &[FIXED]);
        rig.register("tm1");
        rig.offer("tm1", &[1]);
        rig.log();
        let acknowledged = answer == Ok(Answer::Ack);
        rig.answer_to("submit", answer);
        let expected: &[&str] = if cancels { &["ask tm1: cancel a0#0"] } else { &[] };
        rig.expect_deeds(expected);
        let failed = rig.state("a0") == ExecutionState::Failed;
        assert_eq!(failed, !acknowledged);
    }
}

#[test]
fn a_report_that_overtakes_the_answer_to_the_submission_counts() {
    let mut rig = Rig::new("a:1", &[NONE]);
    rig.register("tm1");
    rig.offer("tm1", &[1]);
    rig.tasks("run a0");
    rig.answer_to("submit", Err(timeout()));
    assert_eq!(rig.state("a0"), ExecutionState::Running);
}

#[test]
fn cancelling_is_asked_for_once_and_three_times_again_and_then_taken_for_granted() {
    let mut rig = Rig::healthy("a:1 b:1 a~hash~b", &[FIXED], &[("tm1", 1)]);
    rig.healthy = false;
    rig.fail("a0", 1);
    for _ in 0..4 {
        assert_eq!(rig.state("b0"), ExecutionState::Canceling);
        rig.answer_to("cancel", Err(timeout()));
    }
    assert_eq!(rig.state("b0"), ExecutionState::Failed);
    rig.log();
    rig.pass(1_000);
    rig.expect_deeds(&["ask tm1: submit a0#1 in 1", "ask tm1: submit b0#1 in 1"]);
}

#[test]
fn a_worker_that_does_not_know_the_task_has_stopped_it() {
    let mut rig = Rig::healthy("a:1 b:1 a~hash~b", &[FIXED], &[("tm1", 1)]);
    rig.healthy = false;
    rig.fail("a0", 1);
    rig.answer_to("cancel", refused("attempt"));
    assert_eq!(rig.state("b0"), ExecutionState::Canceled);
}

#[test]
fn the_repeat_limit_ends_the_job_in_a_cluster_that_would_restart_for_ever() {
    let mut rig = Rig::healthy("a:1", &[], &[("tm1", 1)]);
    for _ in 0..3 {
        rig.fail("a0", 7);
        rig.pass(5_000);
    }
    assert_eq!(rig.status(), JobStatus::Failed);
    assert!(rig.root_failure().contains("restart-strategy.repeat-limit"));
}
