//! Each planted bug is noticed by the invariants, in a scene that calls for the protection.

use super::weather::live_through;
use super::{Rig, worker};
use crate::mutant;
use crate::scheduler::pending::RestartId;
use millstream_core::ids::FencingToken;
use millstream_core::status::ExecutionState;
use millstream_rpc::machine::Input;
use millstream_rpc::protocol::job_master::ToJobMaster;

const FIXED: (&str, &str) = ("restart-strategy.type", "fixed-delay");

/// Runs a scene with a planted bug; whether something noticed.
fn noticed(name: &'static str, scene: impl FnOnce() + std::panic::UnwindSafe) -> bool {
    mutant::set(Some(name));
    let result = std::panic::catch_unwind(scene);
    mutant::set(None);
    result.is_err()
}

/// A scene that must pass without the bug, and be noticed with it.
#[track_caller]
fn check(name: &'static str, scene: fn()) {
    scene();
    assert!(noticed(name, scene), "{name} was not noticed");
}

#[test]
fn every_planted_bug_is_noticed_in_its_scene() {
    check("skip_fencing_check_jm", || {
        let mut rig = Rig::new("a:1", &[]);
        rig.say_as(ToJobMaster::RequestDetails, Some(FencingToken(1)), None);
    });
    check("terminal_state_twice", || {
        let mut rig = Rig::healthy("a:1", &[], &[("tm1", 1)]);
        rig.tasks("finish a0");
    });
    check("offer_accepted_twice_for_one_requirement", || {
        Rig::healthy("a:1", &[], &[("tm1", 2)]);
    });
    check("reconcile_ignores_missing", || {
        let mut rig = Rig::healthy("a:1", &[FIXED], &[("tm1", 1)]);
        rig.pass(10_000);
        rig.heartbeat("tm1", &[]);
    });
    check("accept_unknown_attempt_update", || {
        let mut rig = Rig::healthy("a:1", &[FIXED], &[("tm1", 1)]);
        let former = rig.attempt("a0");
        rig.fail("a0", 1);
        rig.pass(1_000);
        rig.report(former, ExecutionState::Running, None);
    });
    check("restart_forgets_consumers", || {
        let mut rig = Rig::healthy("a:2 b:2 a=hash=b", &[FIXED], &[("tm1", 1), ("tm2", 1)]);
        rig.tasks("finish a0 a1");
        rig.say(ToJobMaster::DisconnectTaskExecutor {
            resource: worker("tm1"),
            cause: String::new(),
        });
        rig.pass(1_000);
    });
    check("stale_restart_timer_acts", || {
        let mut rig = Rig::healthy("a:1", &[FIXED], &[("tm1", 1)]);
        rig.give(Input::Timer(super::JobMasterTimer::Restart(RestartId(7))));
    });
    check("split_handed_twice", || {
        let mut rig = Rig::healthy("a:1*2", &[FIXED], &[("tm1", 1)]);
        let attempt = rig.attempt("a0");
        rig.say(ToJobMaster::RequestNextSplit { vertex: attempt.vertex, attempt });
    });
}

#[test]
fn every_planted_bug_is_noticed_in_some_weather() {
    for name in mutant::JOB {
        let caught = (0..500).find(|seed| noticed(name, || live_through(*seed)));
        assert!(caught.is_some(), "{name} was not noticed by any seed");
    }
}
