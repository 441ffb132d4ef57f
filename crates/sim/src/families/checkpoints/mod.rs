//! Checkpoints of a job: one real job master among tasks, a store and a network that are played.
//!
//! What is asserted, whatever happens:
//! - I1: every record is committed, and none twice, over failures, restores, and a stop with a
//!   savepoint from which another job master goes on, perhaps with another parallelism;
//! - I6: nobody is told that a checkpoint is complete before every task has acknowledged it and its
//!   metadata is durable; a task begins from the newest complete one;
//! - I7: what a retained checkpoint refers to is there;
//! - I9: a split is read by one reader at a time, over all restores;
//! - I12: a sink commits only what a completed checkpoint holds, and all of it before the job ends.

mod checks;
mod knobs;
mod leaders;
mod model;
mod seat;
mod store;
mod task;
mod worker;

use crate::family::{Family, Scenario};
use crate::trace::Trace;
use knobs::Knobs;
use millstream_rpc::machine::Rng;
use model::play;

/// Checkpoints as such: messages that are late, doubled, lost, and words of attempts that are gone.
pub const CHECKPOINT_ALIGNED: Family =
    Family { name: "sim_checkpoint_aligned", scenario: Scenario::Play(aligned) };

/// Tasks fail at any moment; jobs are stopped with a savepoint and go on from it.
pub const RECOVERY: Family = Family { name: "sim_recovery", scenario: Scenario::Play(recovery) };

/// Increments that share files, in a store of which nobody knows what it has done.
pub const NO_DANGLING_REFERENCE: Family =
    Family { name: "sim_no_dangling_reference", scenario: Scenario::Play(dangling) };

/// Short bounded jobs: what they wrote last is committed, once.
pub const BOUNDED_TAIL: Family =
    Family { name: "sim_bounded_tail_committed_once", scenario: Scenario::Play(tail) };

/// JobManagers crash, sleep, and are followed by others that go on from what is on record.
pub const LEADER_TAKEOVER: Family = Family {
    name: "sim_leader_takeover_with_checkpoints",
    scenario: Scenario::Play(leader_takeover),
};

fn rng_of(seed: u64, family: u64) -> Rng {
    Rng::new(seed.wrapping_mul(0x2545_F491_4F6C_DD1D) ^ family)
}

fn aligned(seed: u64, trace: &mut Trace) {
    let mut rng = rng_of(seed, 1);
    let knobs = Knobs {
        failures: rng.below(2) * rng.below(8),
        lost_tells: rng.below(2) * rng.below(60),
        doubled_tells: rng.below(2) * rng.below(200),
        forged: 100,
        ..Knobs::calm(&mut rng)
    };
    play(knobs, rng, trace);
}

fn recovery(seed: u64, trace: &mut Trace) {
    let mut rng = rng_of(seed, 2);
    let knobs = Knobs {
        failures: 2 + rng.below(20),
        store_faults: rng.below(2) * rng.below(300),
        slow_store: rng.below(2) == 0,
        stop: rng.below(2) == 0,
        ..Knobs::calm(&mut rng)
    };
    play(knobs, rng, trace);
}

fn dangling(seed: u64, trace: &mut Trace) {
    let mut rng = rng_of(seed, 3);
    let knobs = Knobs {
        failures: rng.below(2) * rng.below(8),
        lost_tells: rng.below(3) * rng.below(100),
        store_faults: 100 + rng.below(400),
        incremental: true,
        splits: 12,
        ..Knobs::calm(&mut rng)
    };
    play(knobs, rng, trace);
}

fn tail(seed: u64, trace: &mut Trace) {
    let mut rng = rng_of(seed, 4);
    let calm = Knobs::calm(&mut rng);
    let quiet = rng.below(2) == 0;
    let knobs = Knobs {
        splits: rng.below(4) as u8,
        failures: rng.below(30),
        lost_tells: if quiet { 0 } else { rng.below(100) },
        // Nothing but the end of all data triggers a checkpoint.
        interval_ms: if quiet { 3_600_000 } else { calm.interval_ms },
        ..calm
    };
    play(knobs, rng, trace);
}

fn leader_takeover(seed: u64, trace: &mut Trace) {
    let mut rng = rng_of(seed, 5);
    let knobs = Knobs {
        failures: rng.below(2) * rng.below(8),
        // So that checkpoints are given up whose tasks have written their part.
        lost_tells: rng.below(2) * rng.below(100),
        store_faults: rng.below(3) * rng.below(200),
        slow_store: rng.below(3) == 0,
        splits: 20 + rng.below(30) as u8,
        interval_ms: 100 + rng.below(600),
        leaders: true,
        ..Knobs::calm(&mut rng)
    };
    play(knobs, rng, trace);
}
