//! When regions are scheduled and deployed.

use super::testing::Rig;
use crate::execution_graph::testing::place;
use millstream_core::job_graph::RuntimeMode;
use millstream_core::status::ExecutionState;
use millstream_core::time::Mono;

#[test]
fn a_pipelined_job_is_deployed_at_once_producers_first() {
    let mut rig = Rig::new("a:2 b:2 a~hash~b", &[], 2);
    rig.expect(&["deploy a0#0 a1#0 b0#0 b1#0"]);
}

#[test]
fn no_task_of_a_region_is_deployed_before_all_its_slots_are_there() {
    let mut rig = Rig::new("a:3 b:2 a~hash~b", &[], 2);
    rig.expect(&[]);
    assert_eq!(rig.state("a0"), ExecutionState::Scheduled);
    assert_eq!(rig.scheduler.slots().needed(), 3);
    rig.slots_left = 1;
    rig.expect(&["deploy a0#0 a1#0 a2#0 b0#0 b1#0"]);
}

#[test]
fn independent_regions_are_deployed_as_their_slots_come() {
    let mut rig = Rig::new("a:2 b:2 a~forward~b", &[], 1);
    rig.expect(&["deploy a0#0 b0#0"]);
    rig.slots_left = 1;
    rig.expect(&["deploy a1#0 b1#0"]);
}

#[test]
fn a_region_is_scheduled_when_all_that_it_reads_has_been_produced() {
    let mut rig = Rig::new("a:2 b:1 c:1 a=hash=b b~hash~c", &[], 2);
    rig.expect(&["deploy a0#0", "deploy a1#0"]);
    rig.report("run a0 a1");
    rig.report("finish a0");
    rig.expect(&["free 1"]);
    rig.report("finish a1");
    rig.expect(&["free 2", "deploy b0#0 c0#0"]);
    rig.report("finish b0 c0");
    rig.expect(&["free 3", "release a0#0", "release a1#0"]);
    assert!(rig.scheduler.is_finished());
}

#[test]
fn consumers_of_pointwise_exchanges_wait_for_their_own_producers_only() {
    let mut rig = Rig::new("a:2 b:2 a=forward=b", &[], 4);
    rig.forget();
    rig.report("finish a1");
    rig.expect(&["free 2", "deploy b1#0"]);
}

#[test]
fn vertices_of_different_groups_do_not_share_a_slot() {
    let mut rig = Rig::new("a:1@red b:1@blue a~hash~b", &[], 1);
    rig.expect(&[]);
    rig.slots_left = 1;
    rig.expect(&["deploy a0#0 b0#0"]);
    assert_eq!(rig.scheduler.slots().placed(), 2);
}

#[test]
fn a_later_state_proves_the_ones_before_it() {
    let mut rig = Rig::new("a:1", &[], 1);
    rig.report("run a0");
    let times = rig.scheduler.graph().execution(rig.id("a0")).state_times();
    assert!(times.contains_key(&ExecutionState::Initializing));
    rig.say(rig.attempt("a0"), ExecutionState::Initializing, None);
    assert_eq!(rig.state("a0"), ExecutionState::Running);
}

#[test]
fn the_first_attempt_that_gets_no_slot_in_time_fails_the_job_and_says_how_many_are_missing() {
    let mut rig = Rig::new("a:4 b:4 a~hash~b", &[], 3);
    assert_eq!(rig.scheduler.waiting_since(), Some(Mono(0)));
    rig.at.now = Mono(300_000);
    let at = rig.at;
    rig.scheduler.on_slot_timeout(300_000, "the cluster has 3", at, &mut rig.rng);
    rig.settle();
    assert_eq!(
        rig.doom(),
        "1 of 4 slots are missing, and have been for 300 s (slot.request.timeout); the cluster \
         has 3; the job fails: no slots for its first attempt"
    );
    assert!(rig.scheduler.is_over());
}

#[test]
fn a_job_that_ran_before_waits_for_a_lost_slot_as_long_as_its_strategy_allows() {
    let mut rig = Rig::new("a:1", &[], 1);
    rig.forget();
    rig.lose_worker("w0");
    rig.pass(1_200);
    assert_eq!(rig.state("a0"), ExecutionState::Scheduled);
    for _ in 0..3 {
        rig.at.now = rig.at.now + 300_000;
        let at = rig.at;
        rig.scheduler.on_slot_timeout(300_000, "the cluster has none", at, &mut rig.rng);
        rig.settle();
        assert_eq!(rig.scheduler.doom(), None);
        rig.pass(60_000);
        assert_eq!(rig.state("a0"), ExecutionState::Scheduled);
    }
    rig.slots_left = 1;
    rig.settle();
    assert_eq!(rig.state("a0"), ExecutionState::Deploying);
}

#[test]
fn a_batch_job_does_not_give_up_waiting_while_its_own_tasks_run() {
    let mut rig = Rig::new("a:1@red b:1@blue c:1@blue", &[], 1);
    rig.expect(&["deploy a0#0"]);
    let mut graph = rig.scheduler.graph().graph().clone();
    graph.mode = RuntimeMode::Batch;
    let graph = crate::execution_graph::ExecutionGraph::new(rig.scheduler.graph().job(), graph);
    let mut batch =
        super::Scheduler::new(graph.expect("a valid graph"), super::options::Options::defaults());
    batch.start(rig.at);
    let (slot, _, _) = batch.slots().wanted().next().expect("two are wanted");
    batch.on_slot_assigned(slot, place("w0", 1), rig.at);
    rig.at.now = Mono(300_000);
    batch.on_slot_timeout(300_000, "", rig.at, &mut rig.rng);
    assert_eq!(batch.doom(), None);
    assert_eq!(batch.waiting_since(), Some(Mono(300_000)));
}
