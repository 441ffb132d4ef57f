//! Leader election and what outlives a leader: one world, five emphases.

use crate::family::{Family, Scenario};
use crate::ha::plan::Emphasis;
use crate::ha::world::World;
use crate::trace::Trace;

/// Leaders die, sleep, end, and come back.
pub const LEADER_CHANGE: Family =
    Family { name: "sim_leader_change", scenario: Scenario::Play(leader_change) };

/// Several believe to lead: clocks run differently, writes take long.
pub const TWO_LEADERS: Family =
    Family { name: "sim_two_leaders_one_pointer", scenario: Scenario::Play(two_leaders) };

/// The store does not say whether it has written, and may yet write.
pub const AMBIGUOUS_PUT: Family =
    Family { name: "sim_store_ambiguous_put", scenario: Scenario::Play(ambiguous_put) };

/// What was begun in a term ends long after it.
pub const COMPLETION_AFTER_REVOKE: Family = Family {
    name: "sim_async_completion_after_revoke",
    scenario: Scenario::Play(completion_after_revoke),
};

/// Processes are asked to end at any moment of their jobs' lives.
pub const SUSPEND_ANYWHERE: Family = Family {
    name: "sim_suspend_in_every_state_keeps_ha_data",
    scenario: Scenario::Play(suspend_anywhere),
};

fn leader_change(seed: u64, trace: &mut Trace) {
    let emphasis = Emphasis {
        faults: 12,
        crashes: 500,
        pauses: 350,
        unknown: 20,
        failed: 50,
        slow: 20,
        work: 200,
        odd_clocks: true,
    };
    World::new(seed, emphasis, trace).play();
}

fn two_leaders(seed: u64, trace: &mut Trace) {
    let emphasis = Emphasis {
        faults: 12,
        crashes: 100,
        pauses: 850,
        unknown: 50,
        failed: 100,
        slow: 300,
        work: 200,
        odd_clocks: true,
    };
    World::new(seed, emphasis, trace).play();
}

fn ambiguous_put(seed: u64, trace: &mut Trace) {
    let emphasis = Emphasis {
        faults: 4,
        crashes: 400,
        pauses: 400,
        unknown: 500,
        failed: 200,
        slow: 50,
        work: 100,
        odd_clocks: false,
    };
    World::new(seed, emphasis, trace).play();
}

fn completion_after_revoke(seed: u64, trace: &mut Trace) {
    let emphasis = Emphasis {
        faults: 14,
        crashes: 0,
        pauses: 900,
        unknown: 30,
        failed: 150,
        slow: 150,
        work: 3_000,
        odd_clocks: true,
    };
    World::new(seed, emphasis, trace).play();
}

fn suspend_anywhere(seed: u64, trace: &mut Trace) {
    let emphasis = Emphasis {
        faults: 14,
        crashes: 50,
        pauses: 100,
        unknown: 50,
        failed: 50,
        slow: 20,
        work: 400,
        odd_clocks: false,
    };
    World::new(seed, emphasis, trace).play();
}
