//! I4: whatever gets lost between resource manager, workers and job masters, no slot is lost or given
//! twice, and when all jobs have ended all are free.

use super::jobs::{JobShape, draw_setup};
use crate::cluster::{Cluster, Setup, Timing};
use crate::family::{ClusterScenario, Family, Scenario};
use crate::plan::Group;
use millstream_rpc::machine::Rng;

/// Slots.
pub const SLOTS_CONSERVED: Family = Family {
    name: "sim_slots_conserved",
    scenario: Scenario::Cluster(ClusterScenario {
        setup,
        groups: &[
            Group::Crash,
            Group::CrashMaster,
            Group::Pause,
            Group::Partition,
            Group::Reset,
            Group::Loss,
            Group::Delay,
            Group::Duplicate,
            Group::JobProcess,
            Group::StaleTimers,
        ],
        faults_max: 6,
        timeouts: 20,
        at_end,
    }),
};

fn setup(rng: &mut Rng) -> Setup {
    let timing = if rng.below(8) == 0 { Timing::Flink } else { Timing::Fast };
    let shape = JobShape { parallelism_max: 3, blocking: false, endless: true, slow: false };
    draw_setup(rng, timing, 3, 2, 200, shape)
}

fn at_end(cluster: &Cluster) {
    cluster.check_at_rest();
}
