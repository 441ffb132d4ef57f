//! Tasks that start over where they were, with what their worker kept of their state: it is read there, and
//! where it is not what was written, the original is.

use crate::ha::HaCluster;
use crate::harness::{Cluster, kill, text};
use crate::ledger::Ledger;
use rustix::process::{Pid, Signal, kill_process};
use std::path::{Path, PathBuf};

/// Checkpoints are taken when the test says so, and at the end; all state is in files.
pub(crate) const WHEN_ASKED: [&str; 3] = [
    "execution.checkpointing.interval=1h",
    "execution.checkpointing.data-inline-threshold=0",
    "execution.state-recovery.from-local=true",
];

/// Jobs start over at once.
pub(crate) const AT_ONCE: [&str; 8] = [
    "-D",
    "restart-strategy.type=fixed-delay",
    "-D",
    "restart-strategy.fixed-delay.attempts=1000",
    "-D",
    "restart-strategy.fixed-delay.delay=50ms",
    "-p",
    "2",
];

/// Takes a checkpoint now, and waits until it is complete.
pub(crate) fn take_checkpoint(ledger: &Ledger<'_>, cluster: &Cluster, job: &str, number: u64) {
    cluster.wait_for_tasks(job, 2);
    let output = cluster.millstream(&["checkpoint", job]);
    assert!(output.status.success(), "{}", text(&output));
    ledger.wait_for_checkpoints(job, number);
}

/// What tasks have said of where their state was read, from the `from`-th on: bytes here and elsewhere.
pub(crate) fn reads(cluster: &Cluster, from: usize) -> Vec<(u64, u64)> {
    let logs = cluster.logs();
    let lines = logs.lines().filter(|line| line.contains(" goes on from checkpoint "));
    let number = |text: &str| {
        let digits = text.split_whitespace().find_map(|word| word.parse::<u64>().ok());
        digits.unwrap_or_else(|| panic!("no number in {text}"))
    };
    let read = lines.map(|line| {
        let counts = line.split(": ").last().expect("counts");
        let (here, there) = counts.split_once(',').expect("two of them");
        (number(here), number(there))
    });
    read.skip(from).collect()
}

fn sum(reads: &[(u64, u64)]) -> (u64, u64) {
    (reads.iter().map(|read| read.0).sum(), reads.iter().map(|read| read.1).sum())
}

/// All files below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let nested = entries.map(|entry| match entry.path() {
        path if path.is_dir() => files(&path),
        path => vec![path],
    });
    nested.flatten().collect()
}

/// The copies and their proofs.
fn copies(root: &Path) -> Vec<PathBuf> {
    files(root).into_iter().filter(|path| path.extension().is_none_or(|it| it != "lock")).collect()
}

#[test]
fn a_task_that_starts_over_on_its_worker_reads_its_state_there_and_copies_go_with_the_job() {
    let root = std::env::temp_dir().join(format!("millstream-local-{}", std::process::id()));
    let root_dirs = format!("taskmanager.state.local.root-dirs={}", root.display());
    let definitions: Vec<&str> = WHEN_ASKED.iter().copied().chain([root_dirs.as_str()]).collect();
    let cluster = Cluster::start(1, &definitions);
    let ledger = Ledger::new(&cluster, 200_000, 30_000);
    let job = ledger.submit(&AT_ONCE);
    for round in 1..=3_u64 {
        take_checkpoint(&ledger, &cluster, &job, round);
        let said = reads(&cluster, 0).len();
        let (child, _) = cluster.wait_for("a job process", || cluster.job_processes().pop());
        kill(child);
        let read = cluster.wait_for("the tasks to say where their state was", || {
            let read = reads(&cluster, said);
            (read.len() >= 2).then_some(read)
        });
        let (here, elsewhere) = sum(&read);
        assert!(here > 0 && elsewhere == 0, "{read:?}\n{}", cluster.logs());
    }
    cluster.wait_for_state(&job, "FINISHED");
    ledger.check();
    cluster.wait_for("the copies to be gone", || copies(&root).is_empty().then_some(()));
    std::fs::remove_dir_all(&root).expect("it was made");
}

#[test]
fn damaged_copies_are_found_out_and_the_originals_are_read() {
    let root = std::env::temp_dir().join(format!("millstream-damaged-{}", std::process::id()));
    let root_dirs = format!("taskmanager.state.local.root-dirs={}", root.display());
    let definitions: Vec<&str> = WHEN_ASKED.iter().copied().chain([root_dirs.as_str()]).collect();
    let cluster = Cluster::start(1, &definitions);
    let ledger = Ledger::new(&cluster, 250_000, 30_000);
    let job = ledger.submit(&AT_ONCE);
    type Damage = fn(&[u8]) -> Option<Vec<u8>>;
    let damages: [(&str, Damage); 4] = [
        ("it is not there", |_| None),
        (" were written", |bytes| Some(bytes[..bytes.len() / 2].to_vec())),
        ("are not those that were written", |bytes| {
            let mut bytes = bytes.to_vec();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            Some(bytes)
        }),
        ("its proof is damaged", |_| Some(Vec::new())),
    ];
    for (round, (why, damage)) in (1..).zip(damages) {
        take_checkpoint(&ledger, &cluster, &job, round);
        for copy in copies(&root) {
            let is_proof = copy.extension().is_some_and(|ending| ending == "proof");
            if is_proof != why.contains("proof") {
                continue;
            }
            // Not into the file: it may be another name of the original.
            let damaged = damage(&std::fs::read(&copy).expect("it is there"));
            std::fs::remove_file(&copy).expect("it is there");
            if let Some(damaged) = damaged {
                std::fs::write(&copy, damaged).expect("it can be written");
            }
        }
        let said = reads(&cluster, 0).len();
        let (child, _) = cluster.wait_for("a job process", || cluster.job_processes().pop());
        kill(child);
        let read = cluster.wait_for("the tasks to say where their state was", || {
            let read = reads(&cluster, said);
            (read.len() >= 2).then_some(read)
        });
        assert!(sum(&read).1 > 0, "{why}: {read:?}");
        let logs = cluster.logs();
        assert!(logs.contains("is not used: ") && logs.contains(why), "{why}: {logs}");
    }
    cluster.wait_for_state(&job, "FINISHED");
    ledger.check();
    std::fs::remove_dir_all(&root).expect("it was made");
}

#[test]
fn a_worker_that_is_started_in_place_of_another_finds_what_that_had_kept() {
    let root = std::env::temp_dir().join(format!("millstream-local-ha-{}", std::process::id()));
    let root_dirs = format!("taskmanager.state.local.root-dirs={}", root.display());
    let definitions: Vec<&str> = WHEN_ASKED.iter().copied().chain([root_dirs.as_str()]).collect();
    let ha = HaCluster::with_slots(2, 1, &definitions);
    let ledger = Ledger::new(&ha.cluster, 250_000, 30_000);
    let job = ledger.submit(&AT_ONCE);
    for (round, end) in [(1, Signal::KILL), (2, Signal::TERM)] {
        take_checkpoint(&ledger, &ha.cluster, &job, round);
        let said = reads(&ha.cluster, 0).len();
        let worker = ha.cluster.pid("taskmanager-1");
        let number = Pid::from_raw(worker as i32).expect("not 0");
        kill_process(number, end).expect("it is ours");
        ha.cluster.wait_for("the end of the worker", || {
            (!millstream_host::process::is_alive(worker)).then_some(())
        });
        ha.start_task_manager("taskmanager-1", 2);
        let read = ha.cluster.wait_for("the tasks to say where their state was", || {
            let read = reads(&ha.cluster, said);
            (read.len() >= 2).then_some(read)
        });
        let (here, elsewhere) = sum(&read);
        assert!(here > 0 && elsewhere == 0, "{end:?}: {read:?}\n{}", ha.cluster.logs());
    }
    ha.cluster.wait_for_state(&job, "FINISHED");
    ledger.check();
    ha.cluster.wait_for("the copies to be gone", || copies(&root).is_empty().then_some(()));
    std::fs::remove_dir_all(&root).expect("it was made");
}

#[test]
fn kills_lose_and_double_nothing_while_copies_come_and_go() {
    let definitions = [
        "execution.checkpointing.interval=100ms",
        "execution.checkpointing.incremental=true",
        "execution.checkpointing.data-inline-threshold=0",
        "execution.state-recovery.from-local=true",
    ];
    let cluster = Cluster::with_slots(1, 4, &definitions);
    let ledger = Ledger::new(&cluster, 300_000, 60_000);
    let job = ledger.submit(&AT_ONCE);
    for round in 1..=6_u64 {
        ledger.wait_for_checkpoints(&job, 3 * round);
        let (child, worker) = cluster.wait_for("a job process", || cluster.job_processes().pop());
        kill(if round % 3 == 0 { worker } else { child });
    }
    cluster.wait_for_state(&job, "FINISHED");
    ledger.check();
    let (here, elsewhere) = sum(&reads(&cluster, 0));
    assert!(here > 0, "nothing was read on a worker, {elsewhere} bytes elsewhere");
}
