//! Jobs are cancelled at any moment: before they run, while they run, fail or end. They end, and so
//! do all their tasks, also those that do not listen.

use super::jobs::{JobShape, draw_setup};
use crate::cluster::{Cluster, Setup, Timing};
use crate::family::{ClusterScenario, Family, Scenario};
use crate::plan::Group;
use millstream_rpc::machine::Rng;

/// Cancellation.
pub const CANCELLATION: Family = Family {
    name: "sim_cancellation",
    scenario: Scenario::Cluster(ClusterScenario {
        setup,
        groups: &[
            Group::Crash,
            Group::CrashMaster,
            Group::Reset,
            Group::Loss,
            Group::Delay,
            Group::JobProcess,
            Group::StuckTask,
            Group::TaskFailure,
            Group::StaleTimers,
        ],
        faults_max: 4,
        timeouts: 20,
        at_end,
    }),
};

fn setup(rng: &mut Rng) -> Setup {
    let shape = JobShape { parallelism_max: 2, blocking: false, endless: true, slow: false };
    let mut setup = draw_setup(rng, Timing::Fast, 2, 3, 700, shape);
    setup.embedded = rng.below(6) == 0;
    setup
}

fn at_end(cluster: &Cluster) {
    cluster.check_at_rest();
}
