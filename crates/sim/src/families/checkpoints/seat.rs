//! Where a job master is: one process that leads, has led, or waits for its turn.

use super::leaders::Leadership;
use millstream_core::checkpoint::CheckpointId;
use millstream_core::ids::{FencingToken, JobId, ResourceId};
use millstream_core::job_graph::JobGraph;
use millstream_core::time::Mono;
use millstream_jobmanager::job_master::{
    JobMaster, JobMasterConfig, JobMasterOp, JobMasterTimer, JobRecovery, Surroundings,
};
use millstream_rpc::heartbeat::HeartbeatConfig;
use millstream_rpc::machine::{OpId, Rng};
use std::collections::{BTreeMap, VecDeque};

/// A process of JobManagers.
pub(super) struct Seat {
    /// Nothing while it does not lead.
    pub(super) master: Option<JobMaster>,
    pub(super) rng: Rng,
    pub(super) timers: BTreeMap<JobMasterTimer, Mono>,
    pub(super) works: VecDeque<(OpId, JobMasterOp)>,
    /// Names the turn of the oldest work.
    pub(super) ticket: u64,
    pub(super) token: FencingToken,
    /// What its tasks must begin from.
    pub(super) complete: Option<CheckpointId>,
    /// It handles nothing before this microsecond.
    pub(super) paused_until_us: u64,
    pub(super) alive: bool,
    /// Its part in the election, if there is one.
    pub(super) ha: Option<Leadership>,
}

impl Seat {
    /// A process without a job master.
    pub(super) fn empty(rng: Rng) -> Self {
        Self {
            master: None,
            rng,
            timers: BTreeMap::new(),
            works: VecDeque::new(),
            ticket: 0,
            token: FencingToken(0),
            complete: None,
            paused_until_us: 0,
            alive: true,
            ha: None,
        }
    }

    /// A job begins there.
    pub(super) fn begin(
        &mut self,
        job: JobId,
        graph: &JobGraph,
        token: FencingToken,
        left: Option<JobRecovery>,
    ) {
        let patient = 1_000_000_000;
        let heartbeat =
            HeartbeatConfig { interval_ms: patient, timeout_ms: patient, failures_max: None };
        let config = JobMasterConfig { heartbeat, ..JobMasterConfig::default() };
        let resource = ResourceId("jm".to_owned());
        let around = Surroundings::in_process("jm:6123", resource, job, token);
        self.master = Some(JobMaster::recovered(config, around, job, graph.clone(), 0, left));
        self.token = token;
        self.timers.clear();
        self.works.clear();
        self.ticket += 1;
    }

    /// The earliest timer, in microseconds of the world.
    pub(super) fn next_timer(&self) -> Option<(u64, JobMasterTimer)> {
        let (timer, at) = self.timers.iter().min_by_key(|(_, at)| **at)?;
        let runs = self.alive && self.master.is_some();
        runs.then(|| ((at.0 * 1_000).max(self.paused_until_us), *timer))
    }
}
