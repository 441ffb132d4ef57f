//! The storm: the ledger job while workers, job processes, JobManagers and the disk beneath its
//! checkpoints fail again and again, in an order that a seed decides.
//!
//! `STORM_RECORDS`, `STORM_RATE` (per second), `STORM_BLOWS` and `STORM_SEED` make another storm of it;
//! `docs/benchmarks.md` reports a long one.

use crate::disk::Disk;
use crate::ha::HaCluster;
use crate::harness::kill;
use crate::ledger::Ledger;
use std::time::{Duration, Instant};

/// What strikes.
#[derive(Debug, Clone, Copy)]
enum Blow {
    JobProcess,
    Worker,
    JobManager,
    WorkerAndJobManager,
    Disk,
    DiskAndJobProcess,
}

/// Each round brings all of these, in an order of its own.
const ROUND: [Blow; 9] = [
    Blow::JobProcess,
    Blow::JobProcess,
    Blow::JobProcess,
    Blow::Worker,
    Blow::Worker,
    Blow::JobManager,
    Blow::WorkerAndJobManager,
    Blow::Disk,
    Blow::DiskAndJobProcess,
];

/// Two more than the job needs.
const WORKERS: u32 = 4;

/// Without any progress for so long, the job is stuck.
const STUCK: Duration = Duration::from_secs(90);

/// Numbers that look random (splitmix64: Steele, Lea, Flood 2014).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    fn pause(&mut self, up_to: Duration) {
        std::thread::sleep(Duration::from_millis(self.below(up_to.as_millis() as u64)));
    }
}

/// The storm over one cluster.
struct Storm<'a> {
    ha: &'a HaCluster,
    disk: &'a Disk,
    job: &'a str,
    dice: Dice,
    kills: u32,
    faults: u32,
}

impl Storm<'_> {
    /// Strikes so often, or until the job has ended.
    fn rage(&mut self, blows: usize) {
        let mut round = Vec::new();
        for _ in 0..blows {
            if round.is_empty() {
                round.extend(ROUND);
            }
            let next = self.dice.below(round.len() as u64) as usize;
            let blow = round.swap_remove(next);
            if self.ended() {
                return;
            }
            self.strike(blow);
            // Every other blow hits a job that has recovered, the others one that may still be at it.
            if self.dice.below(2) == 0 {
                self.wait_for_progress();
            }
            self.dice.pause(Duration::from_millis(1_500));
        }
    }

    fn strike(&mut self, blow: Blow) {
        match blow {
            Blow::JobProcess => self.kill_job_process(),
            Blow::Worker => self.kill_worker(),
            Blow::JobManager => self.kill_job_manager(),
            Blow::WorkerAndJobManager => {
                self.kill_worker();
                self.kill_job_manager();
            }
            Blow::Disk => self.break_disk(false),
            Blow::DiskAndJobProcess => self.break_disk(true),
        }
    }

    fn kill_job_process(&mut self) {
        let processes = self.ha.cluster.job_processes();
        if !processes.is_empty() {
            let (pid, _) = self.dice.pick(&processes);
            self.kills += 1;
            kill(pid);
        }
    }

    /// One that the job runs on, if there is one; another starts in its place.
    fn kill_worker(&mut self) {
        let busy: Vec<u32> = self.ha.cluster.job_processes().iter().map(|(_, of)| *of).collect();
        let name = |number: u32| format!("taskmanager-{number}");
        let names: Vec<u32> = (1..=WORKERS)
            .filter(|number| busy.is_empty() || busy.contains(&self.ha.cluster.pid(&name(*number))))
            .collect();
        if names.is_empty() {
            return;
        }
        let name = name(self.dice.pick(&names));
        self.kills += 1;
        kill(self.ha.cluster.pid(&name));
        self.ha.start_task_manager(&name, 1);
    }

    fn kill_job_manager(&mut self) {
        self.kills += 1;
        kill(self.ha.cluster.pid("jobmanager"));
        self.ha.start_job_manager("jobmanager");
    }

    fn break_disk(&mut self, and_kill: bool) {
        // A leader that takes over must be able to read: what it cannot read it does not skip.
        self.wait_for_progress();
        let fault = self.dice.pick(self.disk.faults());
        self.faults += 1;
        let failing = self.disk.fail(fault);
        self.dice.pause(Duration::from_millis(500));
        if and_kill {
            self.kill_job_process();
            self.dice.pause(Duration::from_millis(1_000));
        }
        drop(failing);
        self.wait_for_progress();
    }

    /// Waits until two more checkpoints have completed, or the job has ended.
    fn wait_for_progress(&self) {
        let newest = || {
            let record = self.ha.record();
            let checkpoints = record["jobs"][self.job]["checkpoints"].as_array().cloned();
            checkpoints.and_then(|all| all.last()?["id"].as_u64())
        };
        let began = Instant::now();
        let before = newest().unwrap_or(0);
        while !self.ended() && newest().is_none_or(|now| now < before + 2) {
            assert!(
                began.elapsed() < STUCK,
                "the job makes no progress\n{}",
                self.ha.cluster.logs()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn ended(&self) -> bool {
        let jobs = &self.ha.record()["jobs"];
        jobs.as_object().is_some_and(|jobs| !jobs.contains_key(self.job))
    }

    /// Waits, however long it takes as long as it goes on.
    fn wait_for_end(&self) {
        while !self.ended() {
            self.wait_for_progress();
        }
        self.ha.wait_for_state(self.job, "FINISHED");
    }
}

/// A number from the environment.
fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().expect("a whole number"))
}

#[test]
fn a_storm_of_kills_and_disk_faults_loses_and_doubles_nothing() {
    let seed = number("STORM_SEED", 1);
    let disk =
        Disk::new(std::env::temp_dir().join(format!("millstream-storm-{}", std::process::id())));
    let checkpoints = format!("execution.checkpointing.dir={}", disk.directory().display());
    let ha = HaCluster::with_slots(
        1,
        WORKERS,
        &[
            &checkpoints,
            "execution.checkpointing.interval=150ms",
            "execution.checkpointing.tolerable-failed-checkpoints=1000000",
            "restart-strategy.type=fixed-delay",
            "restart-strategy.fixed-delay.attempts=1000000",
            "restart-strategy.fixed-delay.delay=50ms",
            "restart-strategy.repeat-limit=0",
        ],
    );
    let ledger =
        Ledger::new(&ha.cluster, number("STORM_RECORDS", 300_000), number("STORM_RATE", 30_000));
    let job = ledger.submit(&["-p", "2"]);
    let began = Instant::now();
    let mut storm =
        Storm { ha: &ha, disk: &disk, job: &job, dice: Dice(seed), kills: 0, faults: 0 };
    storm.wait_for_progress();
    storm.rage(number("STORM_BLOWS", 9) as usize);
    storm.wait_for_end();
    let (kills, faults) = (storm.kills, storm.faults);
    println!("seed {seed}: {kills} kills, {faults} disk faults, {:?}", began.elapsed());
    ledger.check();
}
