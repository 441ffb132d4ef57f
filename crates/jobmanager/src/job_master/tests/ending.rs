//! How jobs end.

use super::{JOB, Rig};
use crate::job_master::JobMasterTimer;
use crate::test_driver::timeout;
use millstream_core::status::{ExecutionState, JobStatus};
use millstream_rpc::machine::{AskId, Input};
use millstream_rpc::protocol::job_master::ToJobMaster;

const NONE: (&str, &str) = ("restart-strategy.type", "none");
const FIXED: (&str, &str) = ("restart-strategy.type", "fixed-delay");

#[test]
fn a_cancelled_job_stops_its_tasks_first() {
    let mut rig = Rig::healthy("a:1 b:1 a~hash~b", &[], &[("tm1", 1)]);
    rig.healthy = false;
    rig.log();
    rig.say(ToJobMaster::Cancel);
    rig.say(ToJobMaster::Cancel);
    assert_eq!(rig.status(), JobStatus::Cancelling);
    rig.expect(&["reply ack", "ask tm1: cancel a0#0", "ask tm1: cancel b0#0", "reply ack"]);
    rig.tasks("stop a0");
    rig.tasks("finish b0");
    rig.expect_deeds(&[
        "tell dispatcher: ended CANCELED",
        "tell rm: leave CANCELED",
        "tell tm1: leave CANCELED",
        "stopped",
    ]);
}

#[test]
fn a_job_that_waits_for_slots_is_cancelled_at_once() {
    let mut rig = Rig::healthy("a:1", &[], &[]);
    rig.log();
    rig.say(ToJobMaster::Cancel);
    rig.expect_deeds(&["tell dispatcher: ended CANCELED", "tell rm: leave CANCELED", "stopped"]);
}

#[test]
fn a_job_that_waits_for_its_restart_is_cancelled_at_once() {
    let mut rig = Rig::healthy("a:1", &[FIXED], &[("tm1", 1)]);
    rig.fail("a0", 1);
    assert_eq!(rig.status(), JobStatus::Restarting);
    rig.say(ToJobMaster::Cancel);
    assert_eq!(rig.status(), JobStatus::Canceled);
}

#[test]
fn a_job_that_fails_already_goes_on_failing_when_it_is_cancelled() {
    let mut rig = Rig::healthy("a:1 b:1 a~hash~b", &[NONE], &[("tm1", 1)]);
    rig.healthy = false;
    rig.fail("a0", 1);
    assert_eq!(rig.status(), JobStatus::Failing);
    rig.say(ToJobMaster::Cancel);
    assert_eq!(rig.status(), JobStatus::Failing);
    rig.fail("b0", 1);
    assert_eq!(rig.status(), JobStatus::Failed);
    assert!(rig.root_failure().starts_with("boom"));
}

#[test]
fn a_failure_while_the_job_is_cancelled_does_not_fail_it() {
    let mut rig = Rig::healthy("a:1 b:1 a~hash~b", &[NONE], &[("tm1", 1)]);
    rig.healthy = false;
    rig.say(ToJobMaster::Cancel);
    rig.fail("a0", 1);
    rig.fail("b0", 1);
    assert_eq!(rig.status(), JobStatus::Canceled);
}

#[test]
fn a_suspended_job_leaves_its_slots_to_its_next_master() {
    let mut rig = Rig::healthy("a:1", &[], &[("tm1", 1)]);
    rig.log();
    rig.give(Input::Stop);
    rig.expect(&[
        "tell dispatcher: ended SUSPENDED",
        "tell rm: leave SUSPENDED",
        "tell tm1: leave SUSPENDED",
        "stopped",
    ]);
}

#[test]
fn a_job_can_be_suspended_in_every_situation() {
    let stop = |mut rig: Rig| {
        rig.healthy = false;
        rig.give(Input::Stop);
        let status = rig.ended.map(|details| details.summary.status);
        assert_eq!(status, Some(JobStatus::Suspended));
    };
    stop(Rig::unstarted("a:1", &[]));
    stop(Rig::new("a:1", &[]));
    let mut restarting = Rig::healthy("a:1", &[FIXED], &[("tm1", 1)]);
    restarting.fail("a0", 1);
    stop(restarting);
    for cancelled in [true, false] {
        let mut rig = Rig::healthy("a:1 b:1 a~hash~b", &[NONE], &[("tm1", 1)]);
        rig.healthy = false;
        match cancelled {
            true => rig.say(ToJobMaster::Cancel),
            false => rig.fail("a0", 1),
        }
        stop(rig);
    }
}

#[test]
fn after_its_end_a_job_master_does_nothing_more() {
    let mut rig = Rig::healthy("a:1", &[], &[("tm1", 1)]);
    rig.tasks("finish a0");
    rig.log();
    rig.give(Input::Stop);
    rig.give(Input::Start);
    rig.give(Input::Timer(JobMasterTimer::HeartbeatRound));
    rig.give(Input::Answered { ask: AskId(1), result: Err(timeout()) });
    rig.give(Input::PeerLost { process: "tm1:6122".to_owned(), reason: String::new() });
    rig.expect(&[]);
    rig.say(ToJobMaster::Cancel);
    rig.expect(&[&format!("reply refused: job {JOB} is FINISHED")]);
}

#[test]
fn the_end_is_told_with_everything_that_people_may_ask() {
    let mut rig = Rig::healthy("a:2 b:1 a~hash~b", &[], &[("tm1", 2)]);
    rig.driver.wait(70);
    rig.tasks("finish a0 a1 b0");
    let ended = rig.ended.expect("it has ended");
    assert_eq!(ended.summary.job, JOB);
    assert_eq!(ended.summary.started, 500);
    assert_eq!(ended.summary.ended, Some(1_000_070));
    assert_eq!(ended.summary.tasks[&ExecutionState::Finished], 3);
    assert_eq!(ended.vertices[0].subtasks.len(), 2);
    let last = &ended.vertices[1].subtasks[0];
    assert_eq!(last.endpoint.as_deref(), Some("tm1:9000"));
    assert_eq!(last.state_times[&ExecutionState::Finished], 1_000_070);
    assert_eq!(ended.waiting_for, None);
}
