//! Jobs of blocking exchanges, with fewer slots than their stages have tasks together: tasks and job
//! processes fail, and what has been produced stays on the disks of workers. So nothing is produced twice.
//!
//! Its judges besides the job process's (a reader starts when all it reads is whole, and nothing is given
//! up before it is read): every subtask finishes once, however often it or others have failed.

use super::jobs::{JobShape, draw_setup};
use crate::cluster::{Cluster, Setup, Timing};
use crate::family::{ClusterScenario, Family, Scenario};
use crate::plan::Group;
use millstream_core::job_graph::ExchangeMode;
use millstream_rpc::machine::Rng;
use std::collections::BTreeMap;

/// Stages of batch jobs.
pub const BATCH_STAGES: Family = Family {
    name: "sim_batch_stages",
    scenario: Scenario::Cluster(ClusterScenario {
        setup,
        groups: &[Group::TaskFailure, Group::JobProcess, Group::StaleTimers],
        faults_max: 6,
        timeouts: 24,
        at_end,
    }),
};

fn setup(rng: &mut Rng) -> Setup {
    let shape = JobShape { parallelism_max: 3, blocking: true, endless: false, slow: true };
    let mut setup = draw_setup(rng, Timing::Fast, 2, 1, 0, shape);
    for job in &mut setup.jobs {
        let edges = job.graph.edges.iter_mut();
        edges.for_each(|edge| edge.exchange = ExchangeMode::Blocking);
    }
    Setup { slots: 1, ..setup }
}

fn at_end(cluster: &Cluster) {
    cluster.check_at_rest();
    let mut finished = BTreeMap::new();
    for attempt in cluster.world.ledger.finished.keys() {
        let subtask = (attempt.graph, attempt.vertex, attempt.subtask);
        if let Some(former) = finished.insert(subtask, attempt) {
            panic!("{attempt} has produced again what {former} had produced");
        }
    }
}
