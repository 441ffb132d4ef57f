//! Jobs that are submitted run to their end, whatever happens on the way, and then nothing is left
//! of them anywhere.

use super::jobs::{JobShape, draw_setup};
use crate::cluster::{Cluster, Setup, Timing};
use crate::family::{ClusterScenario, Family, Scenario};
use crate::plan::Group;
use millstream_rpc::machine::Rng;

/// Submission.
pub const SUBMISSION: Family = Family {
    name: "sim_submission",
    scenario: Scenario::Cluster(ClusterScenario {
        setup,
        groups: &[
            Group::CrashMaster,
            Group::Crash,
            Group::Reset,
            Group::Loss,
            Group::Delay,
            Group::Duplicate,
            Group::Store,
            Group::StaleTimers,
        ],
        faults_max: 4,
        timeouts: 20,
        at_end,
    }),
};

fn setup(rng: &mut Rng) -> Setup {
    let timing = if rng.below(8) == 0 { Timing::Flink } else { Timing::Fast };
    let shape =
        JobShape { parallelism_max: 2, blocking: rng.below(3) == 0, endless: false, slow: false };
    draw_setup(rng, timing, 2, 3, 100, shape)
}

fn at_end(cluster: &Cluster) {
    cluster.check_at_rest();
}
