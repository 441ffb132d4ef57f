//! What starts over after a failure.

use super::testing::Rig;
use super::{Heard, Moment};
use crate::execution_graph::testing::attempt;
use crate::scheduler::pending::RestartId;
use millstream_core::ids::{DataSetId, PartitionId};
use millstream_core::status::ExecutionState;
use millstream_core::time::Mono;
use millstream_rpc::protocol::job_master::TaskFailureKind;

const FIXED: (&str, &str) = ("restart-strategy.type", "fixed-delay");
const MANY: (&str, &str) = ("restart-strategy.fixed-delay.attempts", "100");
const NO_LIMIT: (&str, &str) = ("restart-strategy.repeat-limit", "0");

fn patient(plan: &str) -> Rig {
    Rig::new(plan, &[FIXED, MANY, NO_LIMIT], 100)
}

#[test]
fn a_failed_region_is_stopped_and_starts_over_after_stopping_and_backoff() {
    let mut rig = patient("a:2 b:1 a~hash~b");
    rig.expect(&["deploy a0#0 a1#0 b0#0"]);
    rig.report("run a0 a1 b0");
    rig.fail("b0", 1);
    rig.expect(&["cancel a0#0", "cancel a1#0"]);
    assert_eq!(rig.state("b0"), ExecutionState::Failed);
    rig.report("cancel a0");
    rig.pass(5_000);
    rig.expect(&[]);
    rig.report("cancel a1");
    rig.expect(&["deploy a0#1 a1#1 b0#1"]);
    assert_eq!(rig.scheduler.restart_count(), 1);
}

#[test]
fn backoff_and_stopping_overlap() {
    let mut rig = patient("a:2 b:1 a~hash~b");
    rig.forget();
    rig.fail("a0", 1);
    rig.report("cancel a1 b0");
    rig.pass(999);
    rig.expect(&["cancel a1#0", "cancel b0#0"]);
    rig.pass(1);
    rig.expect(&["deploy a0#1 a1#1 b0#1"]);
}

#[test]
fn regions_that_share_no_data_fail_alone() {
    let mut rig = patient("a:2 b:2 a~forward~b");
    rig.forget();
    rig.fail("a1", 1);
    rig.report("cancel b1");
    rig.pass(1_000);
    rig.expect(&["cancel b1#0", "deploy a1#1 b1#1"]);
    assert_eq!(rig.attempt("a0").attempt, 0);
}

#[test]
fn a_failed_consumer_reads_the_finished_result_again() {
    let mut rig = patient("a:1 b:1 a=hash=b");
    rig.report("finish a0");
    rig.forget();
    rig.fail("b0", 1);
    rig.pass(1_000);
    rig.expect(&["deploy b0#1"]);
    assert_eq!(rig.attempt("a0").attempt, 0);
}

#[test]
fn a_result_that_cannot_be_read_is_produced_again() {
    let mut rig = patient("a:2 b:1 c:1 a=hash=b b=hash=c");
    rig.report("finish a0 a1");
    rig.forget();
    let partition = PartitionId { data_set: DataSetId(1), producer: rig.attempt("a1") };
    rig.fail_as("b0", TaskFailureKind::PartitionUnavailable(partition), 1);
    rig.pass(1_000);
    rig.expect(&["free 3", "deploy a1#1"]);
    rig.report("finish a1");
    rig.expect(&["free 4", "deploy b0#1"]);
    assert_eq!(rig.attempt("a0").attempt, 0, "its result is still there");
}

#[test]
fn an_unreadable_partition_of_a_former_attempt_is_nobodys_loss() {
    let mut rig = patient("a:1 b:1 a=hash=b");
    rig.report("finish a0");
    rig.forget();
    let partition = PartitionId { data_set: DataSetId(1), producer: attempt(1, 0, 77) };
    rig.fail_as("b0", TaskFailureKind::PartitionUnavailable(partition), 1);
    rig.pass(1_000);
    rig.expect(&["deploy b0#1"]);
}

#[test]
fn consumers_of_what_is_produced_again_start_over_too_even_finished_ones() {
    let mut rig = patient("b:1 c:1 d:1 b=hash=c b=hash=d");
    rig.report("finish b0");
    rig.report("finish c0");
    rig.forget();
    let partition = PartitionId { data_set: DataSetId(3), producer: rig.attempt("b0") };
    rig.fail_as("d0", TaskFailureKind::PartitionUnavailable(partition), 1);
    rig.pass(1_000);
    rig.report("finish b0");
    rig.expect(&["deploy b0#1", "free 2", "deploy c0#1", "deploy d0#1"]);
}

#[test]
fn the_full_strategy_starts_everything_over() {
    let full = ("jobmanager.execution.failover-strategy", "full");
    let mut rig = Rig::new("a:2 b:2 a~forward~b", &[FIXED, full], 2);
    rig.forget();
    rig.fail("a1", 1);
    rig.report("cancel a0 b0 b1");
    rig.pass(1_000);
    rig.expect(&[
        "cancel a0#0",
        "cancel b0#0",
        "cancel b1#0",
        "deploy a0#1 b0#1",
        "deploy a1#1 b1#1",
    ]);
}

#[test]
fn the_loss_of_a_worker_is_one_failure_for_all_that_ran_there() {
    let mut rig = Rig::new("a:2 b:2 a~hash~b", &[FIXED], 3);
    rig.report("run a0 a1 b0 b1");
    rig.forget();
    rig.lose_worker("w1");
    rig.expect(&["cancel a0#0", "cancel b0#0"]);
    assert_eq!(rig.scheduler.graph().failures().len(), 1);
    rig.report("cancel a0 b0");
    rig.pass(1_000);
    rig.expect(&["deploy a0#1 a1#1 b0#1 b1#1"]);
}

#[test]
fn a_lost_slot_is_replaced_while_the_job_waits_for_its_restart() {
    let mut rig = patient("a:2 b:2 a~hash~b");
    rig.lose_worker("w1");
    assert_eq!(rig.scheduler.slots().needed(), 2);
    assert_eq!(rig.scheduler.slots().placed(), 2);
}

#[test]
fn a_lost_worker_takes_unread_results_with_it_and_read_ones_do_not_matter() {
    let mut rig = patient("a:2 b:2 c:1 a=forward=b b=hash=c");
    rig.report("finish a0 a1");
    rig.report("finish b0");
    rig.report("run b1");
    rig.forget();
    rig.lose_worker("w0");
    rig.pass(1_000);
    // `b0` is needed by `c`, and its input is gone with the same worker.
    rig.expect(&["deploy a0#1"]);
    rig.report("finish a0");
    rig.expect(&["free 5", "deploy b0#1"]);
    assert_eq!(rig.attempt("b1").attempt, 0);
}

#[test]
fn a_loss_that_nobody_minds_is_no_failure() {
    let mut rig = patient("a:1 b:1@x a=hash=b");
    rig.report("finish a0");
    rig.report("finish b0");
    rig.lose_worker("w0");
    assert_eq!(rig.scheduler.graph().failures().len(), 0);
    assert!(rig.scheduler.is_finished());
}

#[test]
fn a_finished_consumer_that_will_start_over_still_minds_the_loss_of_its_input() {
    let mut rig = patient("a:1@x b:1@y c:1@z a=hash=b b=hash=c");
    rig.report("finish a0");
    rig.report("finish b0");
    let partition = PartitionId { data_set: DataSetId(2), producer: rig.attempt("b0") };
    rig.fail_as("c0", TaskFailureKind::PartitionUnavailable(partition), 1);
    rig.lose_worker("w0");
    rig.forget();
    rig.pass(1_000);
    rig.report("finish a0");
    rig.report("finish b0");
    rig.report("finish c0");
    assert!(rig.scheduler.is_finished());
}

#[test]
fn failures_of_tasks_that_are_being_stopped_are_part_of_the_first() {
    let mut rig = Rig::new("a:3 b:1 a~hash~b", &[FIXED], 9);
    rig.fail("b0", 1);
    rig.fail("a0", 2);
    rig.fail("a1", 3);
    rig.report("cancel a2");
    assert_eq!(rig.scheduler.graph().failures().len(), 1);
    assert_eq!(rig.scheduler.doom(), None);
    rig.pass(1_000);
    assert_eq!(rig.attempt("a2").attempt, 1);
}

#[test]
fn the_attempts_of_a_strategy_are_used_up_and_then_the_job_fails() {
    let mut rig = Rig::new("a:1 b:1 a~hash~b", &[FIXED], 9);
    rig.fail("b0", 1);
    rig.report("cancel a0");
    rig.pass(1_000);
    rig.fail("b0", 2);
    assert_eq!(
        rig.doom(),
        "boom; the job fails: all 1 restart(s) of restart-strategy fixed-delay are used up"
    );
    assert!(!rig.scheduler.is_over(), "a0 is still being stopped");
    rig.report("cancel a0");
    assert!(rig.scheduler.is_over());
}

#[test]
fn a_failure_that_no_attempt_survives_fails_the_job_at_once() {
    let mut rig = patient("a:1");
    rig.fail_as("a0", TaskFailureKind::NonRecoverable, 1);
    assert_eq!(rig.doom(), "boom; the job fails: no other attempt can succeed");
    assert!(rig.scheduler.is_over());
}

#[test]
fn the_third_failure_of_one_kind_fails_the_job_unless_a_checkpoint_completed_in_between() {
    for checkpoint_before in [None, Some(1), Some(2)] {
        let mut rig = Rig::new("a:2", &[FIXED, MANY], 9);
        for failure in 0..3 {
            if checkpoint_before == Some(failure) {
                rig.scheduler.on_checkpoint_completed();
            }
            rig.fail("a0", 7);
            rig.pass(1_000);
        }
        let failed = rig.scheduler.doom().is_some();
        assert_eq!(failed, checkpoint_before.is_none(), "{checkpoint_before:?}");
        if failed {
            assert_eq!(
                rig.doom(),
                "boom; the job fails: the same failure came 3 times without a completed \
                 checkpoint in between, as often as restart-strategy.repeat-limit allows"
            );
        }
    }
}

#[test]
fn subtasks_that_fail_together_of_one_bug_count_once() {
    let mut rig = Rig::new("a:4", &[FIXED, MANY], 9);
    for _ in 0..2 {
        for name in ["a0", "a1", "a2", "a3"] {
            rig.fail(name, 7);
        }
        assert_eq!(rig.scheduler.doom(), None);
        rig.pass(1_000);
    }
    rig.fail("a3", 7);
    assert!(rig.scheduler.doom().is_some());
}

#[test]
fn faults_of_the_cluster_have_no_fingerprint_and_never_repeat() {
    let mut rig = Rig::new("a:1", &[FIXED, MANY], 100);
    for _ in 0..10 {
        rig.lose_worker("w0");
        rig.pass(1_000);
    }
    assert_eq!(rig.scheduler.doom(), None);
    assert_eq!(rig.scheduler.restart_count(), 10);
}

#[test]
fn a_report_about_a_former_attempt_is_unknown() {
    let mut rig = patient("a:1");
    let former = rig.attempt("a0");
    rig.fail("a0", 1);
    let still_running = rig.say(former, ExecutionState::Running, None);
    assert_eq!(still_running, Heard::Unknown);
    assert_eq!(rig.say(former, ExecutionState::Failed, None), Heard::Known);
    rig.pass(1_000);
    assert_eq!(rig.say(former, ExecutionState::Failed, None), Heard::Unknown);
    assert_eq!(rig.state("a0"), ExecutionState::Deploying);
}

#[test]
fn the_timer_of_an_overtaken_restart_does_nothing() {
    let mut rig = patient("a:1 b:1 c:1 a=hash=b b=hash=c");
    rig.report("finish a0");
    rig.fail("b0", 1);
    let overtaken = rig.scheduler.restarts().iter().next().expect("one").0;
    rig.pass(500);
    rig.lose_worker("w0");
    rig.forget();
    rig.at = Moment { now: Mono(1_000), wall: 1_000 };
    assert!(rig.scheduler.on_restart_timer(overtaken, rig.at));
    assert!(rig.scheduler.on_restart_timer(RestartId(99), rig.at));
    rig.expect(&[]);
    rig.pass(500);
    rig.expect(&["deploy a0#1"]);
}

#[test]
fn after_a_stop_nothing_starts_over() {
    let mut rig = patient("a:1 b:1 a~hash~b");
    rig.fail("b0", 1);
    rig.scheduler.stop(rig.at);
    rig.pass(1_000);
    rig.report("cancel a0");
    assert!(rig.scheduler.is_over());
    assert_eq!(rig.attempt("a0").attempt, 0);
    assert_eq!(rig.scheduler.slots().needed(), 0);
}

#[test]
fn a_batch_consumer_that_waits_for_its_producer_again_holds_no_slot() {
    let mut rig = Rig::new("a:1@red b:1@blue a=hash=b", &[FIXED], 1);
    rig.report("finish a0");
    rig.forget();
    let partition = PartitionId { data_set: DataSetId(1), producer: rig.attempt("a0") };
    rig.fail_as("b0", TaskFailureKind::PartitionUnavailable(partition), 1);
    rig.pass(1_000);
    rig.expect(&["free 2", "deploy a0#1"]);
    rig.report("finish a0");
    rig.expect(&["free 3", "deploy b0#1"]);
    rig.report("finish b0");
    assert!(rig.scheduler.is_finished());
}

#[test]
fn a_failure_without_fingerprint_is_no_repetition() {
    let mut rig = Rig::new("a:1", &[FIXED, MANY], 9);
    for _ in 0..5 {
        rig.fail("a0", 0);
        rig.pass(1_000);
    }
    assert_eq!(rig.scheduler.doom(), None);
}
