//! What is late counts no more: timers of former sessions, answers to asks that were given up,
//! messages under former terms, attempts that should long be dead.

use super::jobs::{JobShape, draw_setup};
use crate::cluster::{Cluster, Setup, Timing};
use crate::family::{ClusterScenario, Family, Scenario};
use crate::plan::Group;
use millstream_rpc::machine::Rng;

/// Stale messages.
pub const STALE_MESSAGES: Family = Family {
    name: "sim_stale_messages",
    scenario: Scenario::Cluster(ClusterScenario {
        setup,
        groups: &[
            Group::Failover,
            Group::Pause,
            Group::Partition,
            Group::CrashMaster,
            Group::Crash,
            Group::Delay,
            Group::Duplicate,
            Group::LateTells,
            Group::Loss,
            Group::StaleTimers,
            Group::StuckTask,
            Group::JobProcess,
        ],
        faults_max: 7,
        timeouts: 20,
        at_end,
    }),
};

fn setup(rng: &mut Rng) -> Setup {
    let shape = JobShape { parallelism_max: 2, blocking: false, endless: true, slow: false };
    let mut setup = draw_setup(rng, Timing::Fast, 2, 2, 300, shape);
    setup.embedded = rng.below(8) == 0;
    setup.standby = rng.below(2) == 0;
    setup
}

fn at_end(cluster: &Cluster) {
    cluster.check_at_rest();
}
