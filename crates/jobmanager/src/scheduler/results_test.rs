//! What nobody will read any more is given up, and nothing else.

use super::testing::Rig;
use millstream_core::ids::{DataSetId, PartitionId};
use millstream_core::status::ExecutionState;
use millstream_rpc::protocol::job_master::TaskFailureKind;

fn rig(plan: &str) -> Rig {
    let many = ("restart-strategy.fixed-delay.attempts", "100");
    Rig::new(plan, &[("restart-strategy.type", "fixed-delay"), many], 100)
}

#[test]
fn results_are_given_up_when_the_last_reader_has_finished() {
    let mut rig = rig("a:2 b:2 a=hash=b");
    rig.report("run a0 a1");
    rig.report("finish a0 a1");
    rig.report("run b0 b1");
    rig.report("finish b0");
    assert!(rig.released().is_empty());
    rig.report("finish b1");
    assert_eq!(rig.released(), ["a0#0", "a1#0"]);
}

#[test]
fn results_of_pointwise_exchanges_are_given_up_one_by_one() {
    let mut rig = rig("a:2 b:2 a=forward=b");
    rig.report("run a0 a1");
    rig.report("finish a0 a1");
    rig.report("run b0 b1");
    rig.report("finish b1");
    assert_eq!(rig.released(), ["a1#0"]);
}

#[test]
fn results_with_two_readers_are_kept_for_the_second() {
    let mut rig = rig("a:1 b:1 c:1 a=hash=b a=hash=c");
    rig.report("run a0");
    rig.report("finish a0");
    rig.report("run b0 c0");
    rig.report("finish c0");
    assert!(rig.released().is_empty());
    rig.report("finish b0");
    assert_eq!(rig.released(), ["a0#0"]);
}

#[test]
fn results_are_kept_while_a_reader_may_start_over_with_its_region() {
    let mut rig = rig("a:1 b:1 c:1 a=hash=b b~forward~c");
    rig.report("run a0");
    rig.report("finish a0");
    rig.report("run b0 c0");
    rig.report("finish b0");
    assert!(rig.released().is_empty());
    rig.fail("c0", 1);
    rig.pass(1_000);
    rig.report("run b0 c0");
    rig.report("finish b0 c0");
    assert_eq!(rig.released(), ["a0#0"]);
    assert_eq!(rig.attempt("b0").attempt, 1);
}

#[test]
fn what_was_given_up_is_made_again_for_a_reader_whose_own_results_are_lost() {
    let mut rig = rig("a:1 b:1 c:1 a=hash=b b=hash=c");
    for task in ["a0", "b0"] {
        rig.report(&format!("run {task}"));
        rig.report(&format!("finish {task}"));
    }
    assert_eq!(rig.released(), ["a0#0"]);
    rig.report("run c0");
    let edge = rig.scheduler.graph().graph().edges[1].clone();
    let data_set: DataSetId = edge.data_set;
    let partition = PartitionId { data_set, producer: rig.attempt("b0") };
    rig.fail_as("c0", TaskFailureKind::PartitionUnavailable(partition), 1);
    rig.pass(1_000);
    assert_eq!(rig.attempt("a0").attempt, 1);
    assert_eq!(rig.state("a0"), ExecutionState::Deploying);
    assert_eq!(rig.state("b0"), ExecutionState::Created);
}
