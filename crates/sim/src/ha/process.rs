//! A contender: the election and, in a term, what belongs to a leader. It only steps machines and
//! keeps their timers; what they want is for the [shell](super::shell).

use millstream_core::checkpoint::CheckpointId;
use millstream_core::ids::{JobId, ResourceId};
use millstream_core::job_graph::JobGraph;
use millstream_core::time::{Mono, Timestamp};
use millstream_jobmanager::dispatcher::{
    Dispatcher, DispatcherConfig, DispatcherDone, DispatcherOp, DispatcherTimer, Recovered,
    RecoveredJob,
};
use millstream_jobmanager::ha::{
    Change, ChangeId, Grant, HaConfig, HaDone, HaOp, HaTimer, JobRecord, LeaderElection,
};
use millstream_rpc::machine::{Cx, Effect, Input, Machine, OpId, Rng};
use std::collections::BTreeMap;

/// What the election wants.
pub type ElectionEffect = Effect<HaTimer, HaOp>;
/// What a dispatcher wants.
pub type DispatcherEffect = Effect<DispatcherTimer, DispatcherOp>;

/// A process.
pub struct Process {
    /// Its number.
    pub number: usize,
    /// Counts its lives.
    pub life: u64,
    /// It runs.
    pub alive: bool,
    /// It handles nothing before this microsecond.
    pub paused_until_us: u64,
    /// How fast its clock runs, in thousandths.
    rate: u64,
    rng: Rng,
    /// The election.
    pub election: LeaderElection,
    /// Its timer: when, in milliseconds of the process's own clock.
    pub timer: Option<Mono>,
    /// What belongs to a leader, from the grant until it has been stopped.
    pub term: Option<Term>,
    /// Counts changes.
    changes: u64,
    /// Changes that have not ended, and who waits: the term, its operation, or nobody.
    pub waiting: BTreeMap<ChangeId, (Change, u64, Option<OpId>)>,
}

/// What belongs to a leader.
pub struct Term {
    /// What it began with.
    pub grant: Grant,
    /// Nothing as long as it is being made.
    pub dispatcher: Option<Dispatcher>,
    /// Timers of the dispatcher.
    pub timers: BTreeMap<DispatcherTimer, Mono>,
    /// Job masters that exist, with the number of the next checkpoint.
    pub masters: BTreeMap<JobId, CheckpointId>,
    /// Operations of the election that end when this has stopped.
    pub stopping: Vec<OpId>,
    /// Where the files of its jobs are.
    pub directories: BTreeMap<JobId, String>,
}

impl Process {
    /// A process that has not begun.
    pub fn new(number: usize, life: u64, rate: u64, lease_ms: u64, seed: u64) -> Self {
        let config = HaConfig {
            process: ResourceId(format!("jm{number}-{life}")),
            rpc: format!("jm{number}:6123"),
            lease_ms,
        };
        Self {
            number,
            life,
            alive: false,
            paused_until_us: 0,
            rate,
            rng: Rng::new(seed ^ (number as u64) << 40 ^ life << 48),
            election: LeaderElection::new(config),
            timer: None,
            term: None,
            changes: 0,
            waiting: BTreeMap::new(),
        }
    }

    /// As the record names it.
    pub fn name(&self) -> String {
        format!("jm{}-{}", self.number, self.life)
    }

    /// Its own clock.
    pub fn clock(&self, now_us: u64) -> Mono {
        Mono(now_us * self.rate / 1_000_000)
    }

    /// When its own clock shows that time, in microseconds of the world.
    pub fn world_us(&self, at: Mono) -> u64 {
        (at.0 * 1_000_000).div_ceil(self.rate)
    }

    /// Steps the election; what it wants.
    pub fn step_election(
        &mut self,
        now_us: u64,
        input: Input<HaTimer, HaDone>,
    ) -> Vec<ElectionEffect> {
        let now = self.clock(now_us);
        step(&mut self.election, &mut self.rng, now, now_us, input)
    }

    /// Steps the dispatcher, if there is one; what it wants.
    pub fn step_dispatcher(
        &mut self,
        now_us: u64,
        input: Input<DispatcherTimer, DispatcherDone>,
    ) -> Vec<DispatcherEffect> {
        let now = self.clock(now_us);
        match self.term.as_mut().and_then(|term| term.dispatcher.as_mut()) {
            Some(dispatcher) => step(dispatcher, &mut self.rng, now, now_us, input),
            None => Vec::new(),
        }
    }

    /// A name for a change, and who waits for it.
    pub fn note_change(&mut self, change: Change, epoch: u64, op: Option<OpId>) -> ChangeId {
        self.changes += 1;
        let id = ChangeId(self.changes);
        self.waiting.insert(id, (change, epoch, op));
        id
    }

    /// The term of this number, if it has not ended.
    pub fn term_of(&mut self, epoch: u64) -> Option<&mut Term> {
        self.term.as_mut().filter(|term| term.grant.epoch == epoch)
    }
}

impl Term {
    /// A term that has just been granted.
    pub fn new(grant: Grant) -> Self {
        let known = grant.record.jobs.iter();
        let directories = known.map(|(job, known)| (*job, known.directory.clone())).collect();
        Self {
            grant,
            dispatcher: None,
            timers: BTreeMap::new(),
            masters: BTreeMap::new(),
            stopping: Vec::new(),
            directories,
        }
    }

    /// The dispatcher of this term, with what the record held. `graph` reads a plan.
    pub fn make_dispatcher(&self, process: &str, graph: impl Fn(JobId) -> JobGraph) -> Dispatcher {
        let config = DispatcherConfig {
            plans_survive: true,
            retry_initial_ms: 50,
            retry_max_ms: 400,
            ..DispatcherConfig::default()
        };
        let record = &self.grant.record;
        let job = |(job, known): (JobId, &JobRecord)| RecoveredJob {
            job,
            graph: std::sync::Arc::new(graph(job)),
            submitted: known.submitted,
        };
        let ended = record.results.iter().map(|(job, result)| (*job, result.clone()));
        let recovered = Recovered {
            jobs: record.running().map(job).collect(),
            ended: ended.collect(),
            dirty: record.dirty().collect(),
        };
        Dispatcher::new(config, process.to_owned(), self.grant.token).with_recovered(recovered)
    }
}

fn step<M: Machine>(
    machine: &mut M,
    rng: &mut Rng,
    now: Mono,
    now_us: u64,
    input: Input<M::Timer, M::Done>,
) -> Vec<Effect<M::Timer, M::Op>> {
    let mut out = Vec::new();
    let wall = (now_us / 1000) as Timestamp;
    machine.step(&mut Cx { now, wall, rng, out: &mut out }, input);
    machine.check();
    out
}
