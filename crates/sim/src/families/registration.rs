//! Workers and the resource manager find each other, whatever gets lost on the way; and after
//! healing both sides agree on who is registered and on every slot.

use crate::cluster::{Cluster, Setup, Timing};
use crate::family::{ClusterScenario, Family, Scenario};
use crate::plan::Group;
use millstream_rpc::machine::Rng;

/// Registration of workers.
pub const REGISTRATION: Family = Family {
    name: "sim_registration",
    scenario: Scenario::Cluster(ClusterScenario {
        setup,
        groups: &[
            Group::Crash,
            Group::CrashMaster,
            Group::Failover,
            Group::Partition,
            Group::Reset,
            Group::Loss,
            Group::Delay,
            Group::Duplicate,
            Group::StaleTimers,
        ],
        faults_max: 8,
        timeouts: 18,
        at_end,
    }),
};

fn setup(rng: &mut Rng) -> Setup {
    Setup {
        workers: 1 + rng.below(3) as usize,
        slots: 1 + rng.below(3) as u32,
        jobs: Vec::new(),
        timing: if rng.below(4) == 0 { Timing::Flink } else { Timing::Fast },
        embedded: false,
        standby: rng.below(3) == 0,
    }
}

fn at_end(cluster: &Cluster) {
    cluster.check_workers_are_registered();
    cluster.check_everything_is_free();
    cluster.check_no_ask_is_open();
}
