//! Offers, losses and returns of slots.

use super::{Rig, worker};
use millstream_core::ids::AllocationId;
use millstream_core::status::{ExecutionState, JobStatus};
use millstream_rpc::protocol::job_master::ToJobMaster;
use millstream_rpc::protocol::resource::{ResourceProfile, ResourceRequirement};

const FIXED: (&str, &str) = ("restart-strategy.type", "fixed-delay");

#[test]
fn offers_of_a_worker_that_is_not_registered_are_refused_so_that_it_registers() {
    let mut rig = Rig::new("a:1", &[]);
    rig.log();
    rig.offer("tm1", &[1]);
    rig.expect(&["reply refused: unknown task executor tm1: it is not registered here"]);
}

#[test]
fn a_known_slot_is_accepted_again_and_one_too_many_is_not() {
    let mut rig = Rig::healthy("a:2", &[], &[("tm1", 2)]);
    rig.log();
    rig.offer("tm1", &[1, 2, 3]);
    rig.expect(&["reply accepted [1, 2]"]);
}

#[test]
fn a_failed_slot_takes_its_tasks_with_it_and_is_replaced() {
    let mut rig = Rig::healthy("a:2 b:2 a~forward~b", &[FIXED], &[("tm1", 2)]);
    rig.log();
    rig.say(ToJobMaster::FailSlot {
        resource: worker("tm1"),
        allocation: AllocationId(2),
        cause: "its memory is gone".to_owned(),
    });
    assert_eq!(rig.status(), JobStatus::Restarting);
    assert_eq!(rig.state("a0"), ExecutionState::Running);
    let failure = rig.details().failures[0].clone();
    assert_eq!(
        failure.message,
        "slot 00000000000000000000000000000002 of worker tm1 has failed: its memory is gone"
    );
    assert_eq!(failure.resource, Some(worker("tm1")));
    rig.offer("tm1", &[3]);
    rig.pass(1_000);
    rig.expect_deeds(&["ask tm1: submit a1#1 in 3", "ask tm1: submit b1#1 in 3"]);
    assert_eq!(rig.status(), JobStatus::Running);
}

#[test]
fn a_slot_that_is_not_ours_cannot_fail() {
    let mut rig = Rig::healthy("a:1", &[], &[("tm1", 1)]);
    for (name, allocation) in [("tm1", 99), ("tm2", 1)] {
        rig.say(ToJobMaster::FailSlot {
            resource: worker(name),
            allocation: AllocationId(allocation),
            cause: String::new(),
        });
        assert_eq!(rig.state("a0"), ExecutionState::Running);
    }
}

#[test]
fn a_free_slot_serves_the_next_task_and_is_given_back_when_nobody_has_needed_it_for_a_while() {
    let mut rig = Rig::healthy("a:2 b:1 a=hash=b", &[], &[("tm1", 1), ("tm2", 1)]);
    rig.log();
    rig.tasks("finish a0 a1");
    rig.expect_deeds(&["ask tm1: submit b0#0 in 1"]);
    let b0 = rig.attempt("b0");
    for _ in 0..5 {
        rig.pass(9_999);
        rig.heartbeat("tm1", &[b0]);
        rig.heartbeat("tm2", &[]);
        rig.say(ToJobMaster::HeartbeatFromResourceManager { resource_manager: worker("rm") });
    }
    rig.expect_deeds(&["ask rm: declare 1"]);
    // `b` still reads from `tm2`: without a slot the worker would let go of what it holds.
    rig.pass(5);
    rig.expect_deeds(&[]);

    let mut rig = Rig::healthy("a:2", &[], &[("tm1", 2)]);
    rig.log();
    rig.tasks("finish a1");
    let a0 = rig.attempt("a0");
    for _ in 0..5 {
        rig.pass(9_999);
        rig.heartbeat("tm1", &[a0]);
        rig.say(ToJobMaster::HeartbeatFromResourceManager { resource_manager: worker("rm") });
    }
    rig.expect_deeds(&["ask rm: declare 1"]);
    rig.pass(5);
    rig.expect_deeds(&["ask tm1: free 2"]);
    rig.offer("tm1", &[2]);
    rig.expect(&["reply accepted []"]);
}

#[test]
fn a_job_without_slots_says_what_it_waits_for_and_fails_after_five_minutes() {
    let mut rig = Rig::healthy("a:4 b:1 a~hash~b", &[], &[("tm1", 3)]);
    rig.pass(30_000);
    rig.heartbeat("tm1", &[]);
    rig.say(ToJobMaster::HeartbeatFromResourceManager { resource_manager: worker("rm") });
    assert_eq!(
        rig.details().waiting_for.as_deref(),
        Some("waiting for 4 slots, 3 acquired; since 30 s; the resource manager has been asked")
    );
    rig.say(ToJobMaster::NotifyNotEnoughResources {
        acquired: vec![ResourceRequirement { profile: ResourceProfile::ANY, count: 3 }],
    });
    assert_eq!(
        rig.details().waiting_for.as_deref(),
        Some(
            "waiting for 4 slots, 3 acquired; since 30 s; the resource manager has no more than \
             3 for this job"
        )
    );
    for _ in 0..9 {
        rig.pass(30_000);
        rig.heartbeat("tm1", &[]);
        rig.say(ToJobMaster::HeartbeatFromResourceManager { resource_manager: worker("rm") });
    }
    assert_eq!(rig.status(), JobStatus::Failed);
    assert_eq!(
        rig.root_failure(),
        "1 of 4 slots are missing, and have been for 300 s (slot.request.timeout); the resource \
         manager has no more than 3 for this job; the job fails: no slots for its first attempt"
    );
}

#[test]
fn what_is_waited_for_is_told_in_every_situation() {
    let mut rig = Rig::new("a:1", &[FIXED]);
    let waiting = |rig: &mut Rig| rig.details().waiting_for.unwrap_or_default();
    assert!(waiting(&mut rig).ends_with("the resource manager cannot be reached"));
    rig.healthy = true;
    rig.answer_to("register", Ok(super::registered()));
    assert!(waiting(&mut rig).ends_with("no TaskManager has offered a slot yet"));
    rig.say(ToJobMaster::NotifyNotEnoughResources { acquired: vec![] });
    assert!(waiting(&mut rig).ends_with("the resource manager has none for this job"));
    rig.register("tm1");
    rig.offer("tm1", &[1]);
    assert_eq!(waiting(&mut rig), "");
    rig.fail("a0", 1);
    rig.pass(300);
    assert_eq!(waiting(&mut rig), "waiting 700 ms before restarting (fixed-delay)");
}
