//! Barriers that overtake data: real tasks over real queues, stepped in any order, under a naive
//! coordinator; what they hand over goes through real state files and the real reassignment.
//!
//! What is asserted, whatever happens:
//! - I1: every record is processed once by each vertex, and those of a key and a partition in order,
//!   over crashes and restores, also with another parallelism;
//! - I8: of each checkpoint that completes: what a task has processed and what is in flight to it is
//!   what its producers had sent;
//! - a checkpoint that overtakes completes while slow tasks still hold what was before it.

mod job;
mod log;
mod world;

use crate::family::{Family, Scenario};
use crate::trace::Trace;
use millstream_rpc::machine::Rng;
use world::World;

/// Checkpoints that are aligned, unaligned, or aligned for a while, in any order of steps.
pub const CHECKPOINT_UNALIGNED: Family =
    Family { name: "sim_checkpoint_unaligned", scenario: Scenario::Play(unaligned) };

/// One task is slow and all queues before it are full.
pub const OVERTAKING_UNDER_PRESSURE: Family =
    Family { name: "sim_overtaking_under_pressure", scenario: Scenario::Play(pressure) };

fn rng_of(seed: u64, family: u64) -> Rng {
    Rng::new(seed.wrapping_mul(0x2545_F491_4F6C_DD1D) ^ family)
}

fn unaligned(seed: u64, trace: &mut Trace) {
    let mut world = World::draw(rng_of(seed, 21), 300, trace);
    for _ in 0..world.rng.below(600) {
        match world.rng.below(60) {
            0..40 => world.step_any(),
            40..52 => world.deliver_any(),
            52..57 => world.trigger_any(),
            57 => world.abort(),
            _ if world.rng.below(3) == 0 => world.crash(),
            _ => world.step_any(),
        }
    }
    world.run_to_end();
    world.check_result();
}

fn pressure(seed: u64, trace: &mut Trace) {
    let mut world = World::draw(rng_of(seed, 22), 4_000, trace);
    world.make_one_slow();
    for _ in 0..1 + world.rng.below(3) {
        world.fill_queues();
        world.check_overtaking();
        if world.rng.below(2) == 0 {
            world.crash();
        }
    }
}
