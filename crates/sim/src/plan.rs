//! What goes wrong in a run: a plan of faults, generated from the seed, printable and shrinkable.
//!
//! Each run draws a subset of its family's groups of faults and how strong they are: a run with
//! every fault at once hides bugs behind each other. In the last third everything is healed, and
//! then the cluster must come to rest.

use millstream_rpc::machine::Rng;
use std::fmt;

/// A kind of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Processes crash and are started again.
    Crash,
    /// The JobManager crashes and is started again.
    CrashMaster,
    /// Processes stand still for a while.
    Pause,
    /// Links are cut, in one or both directions.
    Partition,
    /// Connections are reset.
    Reset,
    /// Messages and answers get lost, though the connection lives.
    Loss,
    /// Messages come slowly, sometimes very slowly.
    Delay,
    /// Tells and asks come twice, answers come after they were given up.
    Duplicate,
    /// Tells come once more, long after they were sent.
    LateTells,
    /// Timers that were cleared or moved fire nevertheless.
    StaleTimers,
    /// Tasks fail by themselves.
    TaskFailure,
    /// Job processes crash, do not start, cannot be killed.
    JobProcess,
    /// Tasks do not stop when they are told to.
    StuckTask,
    /// Writes to stores fail, or nobody knows whether they did.
    Store,
    /// Another JobManager takes over, while the former one does not know yet.
    Failover,
}

/// Something that happens at a moment of the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The process ends, and is started again later. `silent`: its peers see no reset.
    Crash {
        /// Which process.
        process: usize,
        /// Whether its machine vanished with it.
        silent: bool,
        /// Milliseconds until it is started again.
        restart_after_ms: u64,
    },
    /// The process is asked to end (SIGTERM), and is started again later.
    Stop {
        /// Which process.
        process: usize,
        /// Milliseconds until it is started again.
        restart_after_ms: u64,
    },
    /// The process stands still.
    Pause {
        /// Which process.
        process: usize,
        /// For so many milliseconds.
        for_ms: u64,
    },
    /// What one process sends to another does not arrive until the link heals.
    Block {
        /// The sender.
        from: usize,
        /// The receiver.
        to: usize,
        /// For so many milliseconds.
        for_ms: u64,
        /// Whether the connection is reset when the link heals; else all that was held arrives.
        reset: bool,
    },
    /// The connection between two processes is reset.
    Reset {
        /// One.
        a: usize,
        /// The other.
        b: usize,
    },
    /// The standby JobManager leads from now on; the former one learns it later and ends.
    Failover {
        /// Milliseconds until the former one learns it.
        revoke_after_ms: u64,
    },
    /// A job process of the worker crashes, if it has one.
    KillChild {
        /// The worker.
        process: usize,
    },
}

/// How the network and the machines behave all the time, until everything is healed. Chances are
/// in thousandths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Weather {
    /// Least time that a message takes, in microseconds.
    pub delay_us_min: u64,
    /// Most time that a message usually takes.
    pub delay_us_max: u64,
    /// Chance that a message takes very long.
    pub slow: u64,
    /// How long that is at most, in milliseconds.
    pub slow_ms: u64,
    /// Chance that a tell gets lost.
    pub lost_tells: u64,
    /// Chance that an ask or an answer gets lost.
    pub lost_asks: u64,
    /// Chance that a tell comes twice.
    pub doubled_tells: u64,
    /// Chance that a tell comes once more, long after it was sent.
    pub late_tells: u64,
    /// How much later at most, in milliseconds.
    pub late_ms: u64,
    /// Chance that an ask comes twice.
    pub doubled_asks: u64,
    /// Chance that an answer comes a second time, late, although the ask has ended.
    pub late_answers: u64,
    /// Chance that a timer fires although it was cleared or moved.
    pub stale_timers: u64,
    /// Chance that a task fails.
    pub task_failures: u64,
    /// Chance that a job process crashes while it starts or cannot be started.
    pub bad_starts: u64,
    /// Chance that a task crashes its whole process.
    pub crashes: u64,
    /// Chance that a task does not stop when told.
    pub stuck_tasks: u64,
    /// Chance that a job process survives its kill for long.
    pub stubborn_children: u64,
    /// Chance that an operation of the dispatcher fails, or has an unknown outcome.
    pub store_faults: u64,
}

/// What goes wrong in a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The seed that made it, and that decides everything else in the run.
    pub seed: u64,
    /// The kinds of trouble that were drawn.
    pub groups: Vec<Group>,
    /// Until healed.
    pub weather: Weather,
    /// When what happens, in milliseconds; sorted.
    pub faults: Vec<(u64, Fault)>,
    /// From then on nothing goes wrong any more.
    pub heal_at_ms: u64,
    /// Then the run ends.
    pub end_at_ms: u64,
}

/// What a plan is drawn from.
#[derive(Clone, Debug)]
pub struct PlanSpec {
    /// The kinds of trouble that fit the family.
    pub groups: &'static [Group],
    /// The run's length.
    pub end_at_ms: u64,
    /// The heartbeat timeout in force: pauses and cuts are measured by it.
    pub timeout_ms: u64,
    /// Processes that are JobManagers.
    pub masters: Vec<usize>,
    /// Processes that are TaskManagers.
    pub workers: Vec<usize>,
    /// Most faults with a moment.
    pub faults_max: u64,
}

impl Plan {
    /// Draws a plan.
    pub fn draw(seed: u64, spec: &PlanSpec) -> Self {
        let mut rng = Rng::new(seed ^ 0x5EED_0FFA_0175);
        // A standby is only there if the cluster has two masters.
        let fits = |group: &Group| *group != Group::Failover || spec.masters.len() > 1;
        let groups = spec.groups.iter().copied().filter(fits);
        let groups: Vec<Group> = groups.filter(|_| rng.below(2) == 0).collect();
        let weather = draw_weather(&mut rng, &groups, spec.timeout_ms);
        let heal_at_ms = spec.end_at_ms * 2 / 3;
        let mut faults = Vec::new();
        for _ in 0..rng.below(spec.faults_max + 1) {
            let at = rng.below(heal_at_ms);
            let drawn = draw_fault(&mut rng, &groups, spec).into_iter();
            faults.extend(drawn.map(|fault| (at, fault)));
        }
        faults.sort_by_key(|(at, _)| *at);
        Self { seed, groups, weather, faults, heal_at_ms, end_at_ms: spec.end_at_ms }
    }
}

fn draw_weather(rng: &mut Rng, groups: &[Group], timeout_ms: u64) -> Weather {
    let has = |group| groups.contains(&group);
    let mut chance = |group, most: u64| match has(group) {
        true => 1 + rng.below(most),
        false => 0,
    };
    let mut weather = Weather {
        delay_us_min: 50,
        delay_us_max: 1_000,
        slow: chance(Group::Delay, 30),
        slow_ms: 0,
        lost_tells: chance(Group::Loss, 100),
        lost_asks: chance(Group::Loss, 60),
        doubled_tells: chance(Group::Duplicate, 150),
        late_tells: chance(Group::LateTells, 60),
        late_ms: 2 * timeout_ms,
        doubled_asks: chance(Group::Duplicate, 100),
        late_answers: chance(Group::Duplicate, 300),
        stale_timers: chance(Group::StaleTimers, 500),
        task_failures: chance(Group::TaskFailure, 120),
        bad_starts: chance(Group::JobProcess, 120),
        crashes: chance(Group::JobProcess, 40),
        stuck_tasks: chance(Group::StuckTask, 300),
        stubborn_children: chance(Group::JobProcess, 200),
        store_faults: chance(Group::Store, 400),
    };
    if has(Group::Delay) {
        weather.delay_us_max = 1_000 + rng.below(200_000);
        weather.slow_ms = 1 + rng.below(timeout_ms);
    }
    weather
}

/// One trouble; a link that is cut in both directions is two faults.
fn draw_fault(rng: &mut Rng, groups: &[Group], spec: &PlanSpec) -> Vec<Fault> {
    let timed: Vec<Group> = groups
        .iter()
        .copied()
        .filter(|group| {
            use Group::*;
            matches!(group, Crash | CrashMaster | Pause | Partition | Reset | JobProcess | Failover)
        })
        .collect();
    if timed.is_empty() {
        return Vec::new();
    }
    let mut pick = |from: &[usize]| from[rng.below(from.len() as u64) as usize];
    let worker = pick(&spec.workers);
    let master = pick(&spec.masters);
    let group = timed[rng.below(timed.len() as u64) as usize];
    let long = |rng: &mut Rng| 1 + rng.below(spec.timeout_ms * 3);
    let fault = match group {
        Group::Crash | Group::CrashMaster => {
            let process = if group == Group::Crash { worker } else { master };
            let restart_after_ms = rng.below(spec.timeout_ms * 2);
            match rng.below(4) {
                0 => Fault::Stop { process, restart_after_ms: restart_after_ms.max(1) },
                kind => Fault::Crash { process, silent: kind == 1, restart_after_ms },
            }
        }
        Group::Pause => Fault::Pause {
            process: if rng.below(3) == 0 { master } else { worker },
            for_ms: long(rng),
        },
        Group::Partition => return draw_partition(rng, master, worker, spec.timeout_ms),
        Group::JobProcess => Fault::KillChild { process: worker },
        Group::Failover => Fault::Failover { revoke_after_ms: rng.below(spec.timeout_ms * 2) },
        _ => Fault::Reset { a: master, b: worker },
    };
    vec![fault]
}

fn draw_partition(rng: &mut Rng, master: usize, worker: usize, timeout_ms: u64) -> Vec<Fault> {
    let directions: &[(usize, usize)] = match rng.below(3) {
        0 => &[(master, worker)],
        1 => &[(worker, master)],
        _ => &[(master, worker), (worker, master)],
    };
    let for_ms = 1 + rng.below(timeout_ms * 3);
    let reset = rng.below(2) == 0;
    let block = |(from, to): &(usize, usize)| Fault::Block { from: *from, to: *to, for_ms, reset };
    directions.iter().map(block).collect()
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "groups {:?}", self.groups)?;
        writeln!(f, "{:?}", self.weather)?;
        for (at, fault) in &self.faults {
            writeln!(f, "at {at:>6} ms: {fault:?}")?;
        }
        write!(f, "healed at {} ms, ends at {} ms", self.heal_at_ms, self.end_at_ms)
    }
}
