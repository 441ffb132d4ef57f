//! Pauses, cuts and silent crashes are noticed by heartbeats, on both sides; whoever was merely slow
//! is registered again, and nobody who is gone stays on the books.

use crate::cluster::{Cluster, Setup, Timing};
use crate::family::{ClusterScenario, Family, Scenario};
use crate::plan::Group;
use millstream_rpc::machine::Rng;

/// Heartbeats between workers and the resource manager.
pub const HEARTBEAT: Family = Family {
    name: "sim_heartbeat",
    scenario: Scenario::Cluster(ClusterScenario {
        setup,
        groups: &[
            Group::Crash,
            Group::Pause,
            Group::Partition,
            Group::Delay,
            Group::Loss,
            Group::StaleTimers,
        ],
        faults_max: 6,
        timeouts: 18,
        at_end,
    }),
};

fn setup(rng: &mut Rng) -> Setup {
    Setup {
        workers: 1 + rng.below(3) as usize,
        slots: 1,
        jobs: Vec::new(),
        timing: if rng.below(4) == 0 { Timing::Flink } else { Timing::Fast },
        embedded: false,
        standby: false,
    }
}

fn at_end(cluster: &Cluster) {
    cluster.check_workers_are_registered();
    cluster.check_everything_is_free();
    cluster.check_no_ask_is_open();
}
