//! Tasks, job processes and workers fail; what depends on them starts over, no more and no less, and
//! every split is read once (I9).

use super::jobs::{JobShape, draw_setup};
use crate::cluster::{Cluster, Setup, Timing};
use crate::family::{ClusterScenario, Family, Scenario};
use crate::plan::Group;
use millstream_rpc::machine::Rng;

/// Failover of regions.
pub const REGION_FAILOVER: Family = Family {
    name: "sim_region_failover",
    scenario: Scenario::Cluster(ClusterScenario {
        setup,
        groups: &[
            Group::Crash,
            Group::TaskFailure,
            Group::JobProcess,
            Group::Loss,
            Group::Reset,
            Group::Partition,
            Group::StaleTimers,
        ],
        faults_max: 6,
        timeouts: 24,
        at_end,
    }),
};

fn setup(rng: &mut Rng) -> Setup {
    let shape =
        JobShape { parallelism_max: 3, blocking: rng.below(2) == 0, endless: false, slow: true };
    draw_setup(rng, Timing::Fast, 3, 2, 0, shape)
}

fn at_end(cluster: &Cluster) {
    cluster.check_at_rest();
}
