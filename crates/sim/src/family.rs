//! Runs a scenario family over many seeds, and says all about the first that fails.
//!
//! `SIM_SEEDS=n` runs n seeds, `SIM_SEED_BASE=n` begins at n, `SIM_SEED=n` runs that one alone,
//! `SIM_TRACE=1` prints all its events, `SIM_SHRINK=1` takes faults out of its plan as long as it
//! still fails.

use crate::cluster::{Cluster, Setup};
use crate::plan::{Group, Plan};
use crate::trace::Trace;
use millstream_rpc::machine::Rng;
use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Scenarios of one kind.
pub struct Family {
    /// Its name, which is also that of its test file and of the test in it.
    pub name: &'static str,
    /// What is played.
    pub scenario: Scenario,
}

/// What a family plays.
pub enum Scenario {
    /// A cluster with faults.
    Cluster(ClusterScenario),
    /// Anything else that a seed decides; it panics when something does not hold.
    Play(fn(u64, &mut Trace)),
}

/// A cluster with faults.
pub struct ClusterScenario {
    /// What the cluster of a seed consists of.
    pub setup: fn(&mut Rng) -> Setup,
    /// The kinds of trouble that a seed draws from.
    pub groups: &'static [Group],
    /// Most faults of a seed that have a moment.
    pub faults_max: u64,
    /// How long a run lasts, in heartbeat timeouts.
    pub timeouts: u64,
    /// What must hold at the end.
    pub at_end: fn(&Cluster),
}

/// A run that went well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The hash of all that happened.
    pub hash: u64,
    /// How much happened.
    pub events: u64,
    /// How long it lasted there.
    pub virtual_ms: u64,
}

/// A run that broke an invariant.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Which one, and where.
    pub message: String,
    /// When, in virtual milliseconds.
    pub at_ms: u64,
    /// What went wrong on purpose, in a cluster.
    pub plan: Option<Plan>,
    /// What happened before, if it was recorded.
    pub last_events: Vec<String>,
}

/// What is to be kept of a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Keep {
    /// The last events as text.
    pub record: bool,
    /// Print all events.
    pub print: bool,
}

thread_local! {
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
    static RUNNING: RefCell<bool> = const { RefCell::new(false) };
}

impl ClusterScenario {
    /// The cluster and the plan of a seed.
    fn draw(&self, seed: u64) -> (Setup, Plan) {
        let mut rng = Rng::new(seed.wrapping_mul(0x2545_F491_4F6C_DD1D) ^ 0x00FA_3117);
        let setup = (self.setup)(&mut rng);
        let end_at_ms = self.timeouts * setup.timing.heartbeat().timeout_ms;
        let spec = setup.plan_spec(self.groups, end_at_ms, self.faults_max);
        (setup, Plan::draw(seed, &spec))
    }

    fn run(&self, setup: Setup, plan: Plan, keep: Keep) -> Result<Run, Box<Failure>> {
        let trace = Trace::new(keep.record, keep.print);
        let mut cluster = Cluster::new(setup, plan.clone(), trace);
        let result = catch(|| self.play(&mut cluster));
        let world = &cluster.world;
        finish(result, &world.trace, world.now_ms(), Some(plan))
    }

    fn play(&self, cluster: &mut Cluster) {
        let mut events = 0_u64;
        while cluster.world.advance() {
            events += 1;
            // What each machine claims of itself is checked after each of its steps; what takes a
            // look at all of them, now and then.
            if events.is_multiple_of(16) {
                cluster.check();
            }
        }
        cluster.check();
        (self.at_end)(cluster);
    }

    /// Takes faults out of the plan of a failing seed as long as it still fails.
    fn shrink(&self, seed: u64) -> Option<Box<Failure>> {
        let (setup, mut plan) = self.draw(seed);
        let keep = Keep { record: true, print: false };
        let mut failure = self.run(setup.clone(), plan.clone(), keep).err()?;
        let mut index = 0;
        while index < plan.faults.len() {
            let mut fewer = plan.clone();
            fewer.faults.remove(index);
            match self.run(setup.clone(), fewer.clone(), keep) {
                Err(still) => (plan, failure) = (fewer, still),
                Ok(_) => index += 1,
            }
        }
        Some(failure)
    }
}

/// Runs something that may panic; the panic as text.
fn catch(play: impl FnOnce()) -> Result<(), String> {
    catch_panics_quietly();
    RUNNING.set(true);
    let result = panic::catch_unwind(AssertUnwindSafe(play));
    RUNNING.set(false);
    result.map_err(|_| PANIC.take().unwrap_or_else(|| "a panic without words".to_owned()))
}

fn finish(
    result: Result<(), String>,
    trace: &Trace,
    now_ms: u64,
    plan: Option<Plan>,
) -> Result<Run, Box<Failure>> {
    match result {
        Ok(()) => Ok(Run { hash: trace.hash(), events: trace.events(), virtual_ms: now_ms }),
        Err(message) => Err(Box::new(Failure {
            message,
            at_ms: now_ms,
            plan,
            last_events: trace.last_events().map(str::to_owned).collect(),
        })),
    }
}

impl Family {
    /// Runs one seed.
    pub fn run(&self, seed: u64, keep: Keep) -> Result<Run, Box<Failure>> {
        match &self.scenario {
            Scenario::Cluster(scenario) => {
                let (setup, plan) = scenario.draw(seed);
                scenario.run(setup, plan, keep)
            }
            Scenario::Play(play) => {
                let mut trace = Trace::new(keep.record, keep.print);
                let result = catch(|| play(seed, &mut trace));
                finish(result, &trace, 0, None)
            }
        }
    }

    /// The first of the seeds that fails, if any; and how many events and virtual milliseconds all
    /// of them took.
    pub fn search(&self, seeds: std::ops::Range<u64>) -> (Option<u64>, u64, u64) {
        let (next, first) = (AtomicU64::new(seeds.start), AtomicU64::new(u64::MAX));
        let (events, virtual_ms) = (AtomicU64::new(0), AtomicU64::new(0));
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(4);
        let mutants = millstream_core::mutant::active();
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    millstream_core::mutant::set(mutants);
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= seeds.end || seed >= first.load(Ordering::Relaxed) {
                            break;
                        }
                        match self.run(seed, Keep::default()) {
                            Ok(run) => {
                                events.fetch_add(run.events, Ordering::Relaxed);
                                virtual_ms.fetch_add(run.virtual_ms, Ordering::Relaxed);
                            }
                            Err(_) => {
                                first.fetch_min(seed, Ordering::Relaxed);
                            }
                        }
                    }
                });
            }
        });
        let first = first.into_inner();
        let first = (first != u64::MAX).then_some(first);
        (first, events.into_inner(), virtual_ms.into_inner())
    }

    /// Runs the family as its test does; panics with the whole story of the first seed that fails.
    pub fn check(&self, default_seeds: u64) {
        if let Some(seed) = number("SIM_SEED") {
            let keep = Keep { record: true, print: number("SIM_TRACE").is_some() };
            match self.run(seed, keep) {
                Ok(run) => eprintln!("{} seed {seed}: {run:?}", self.name),
                Err(_) => self.fail(seed),
            }
            return;
        }
        let base = number("SIM_SEED_BASE").unwrap_or(0);
        let seeds = base..base + number("SIM_SEEDS").unwrap_or(default_seeds);
        let started = Instant::now();
        let (first, events, virtual_ms) = self.search(seeds.clone());
        if let Some(seed) = first {
            self.fail(seed);
        }
        let seconds = started.elapsed().as_secs_f64();
        eprintln!(
            "{}: {} seeds, {events} events, {:.0} virtual seconds in {seconds:.2} s",
            self.name,
            seeds.end - seeds.start,
            virtual_ms as f64 / 1000.0,
        );
    }

    fn fail(&self, seed: u64) -> ! {
        let keep = Keep { record: true, print: false };
        let failure = match (&self.scenario, number("SIM_SHRINK")) {
            (Scenario::Cluster(scenario), Some(_)) => scenario.shrink(seed),
            _ => self.run(seed, keep).err(),
        };
        let Some(failure) = failure else {
            panic!("{} seed {seed} failed once and not again: it is not deterministic", self.name)
        };
        panic!(
            "scenario {name}, seed {seed}, virtual time {at} ms:\n{message}\n\n\
             fault plan:\n{plan}\n\nlast events:\n{events}\n\n\
             scenario {name}, seed {seed}, virtual time {at} ms:\n{message}\n\
             replay: SIM_SEED={seed} cargo test -p millstream-sim --test {name}\n",
            name = self.name,
            at = failure.at_ms,
            message = failure.message,
            plan = failure.plan.map_or_else(|| "none".to_owned(), |plan| plan.to_string()),
            events = failure.last_events.join("\n"),
        );
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// While a run goes on, a panic is kept as text instead of being printed: it is a result.
fn catch_panics_quietly() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let loud = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if RUNNING.with_borrow(|running| *running) {
                PANIC.set(Some(info.to_string()));
            } else {
                loud(info);
            }
        }));
    });
}

#[cfg(test)]
mod tests {
    use crate::families::CANCELLATION;
    use crate::family::{Keep, Scenario};
    use crate::mutants::REGISTRY;

    #[test]
    fn a_failure_tells_its_story_and_shrinking_keeps_only_faults_that_matter() {
        let Scenario::Cluster(scenario) = &CANCELLATION.scenario else { panic!("a cluster") };
        let mutant = REGISTRY.iter().find(|(it, _)| *it == "leak_slot_when_tasks_end");
        millstream_core::mutant::set(mutant.map(|(it, _)| *it));
        let caught = (0..500).find(|seed| {
            let run = CANCELLATION.run(*seed, Keep::default());
            run.is_err() && scenario.draw(*seed).1.faults.len() > 1
        });
        let seed = caught.expect("the mutant is caught by a run with faults");
        let failure = scenario.shrink(seed).expect("it fails again");
        millstream_core::mutant::set(None);
        assert!(failure.message.contains("leaked"), "{}", failure.message);
        assert!(failure.last_events.len() > 10);
        let plan = failure.plan.expect("a cluster has a plan");
        assert!(plan.faults.len() < scenario.draw(seed).1.faults.len(), "{plan}");
    }
}
