//! The ledger job on a cluster whose configuration has state on local disk: real processes, of which job
//! processes and workers are killed. `ledger_check` shares no code with the engine and tells what was lost,
//! doubled or counted wrongly.

#[path = "../../cli/tests/cluster/harness.rs"]
#[expect(dead_code, reason = "tests of the CLI need more of it")]
mod harness;

use harness::{Cluster, example, kill, text};
use std::path::Path;
use std::process::Command;

const RECORDS: &str = "400000";
const KEYS: &str = "1000";
const RATE: &str = "60000";

/// What the cluster says of all its jobs.
const DEFAULTS: [&str; 4] = [
    "state.backend.type=rocksdb",
    "state.backend.rocksdb.memory.fixed-per-tm=8m",
    "execution.checkpointing.interval=150ms",
    "execution.checkpointing.incremental=true",
];

/// Submits the ledger; the job's id.
fn submit(cluster: &Cluster, options: &[&str]) -> String {
    let (program, output) = (example("ledger"), cluster.path("ledger"));
    let mut all = vec!["run", "-d"];
    all.extend(options);
    all.extend([shown(&program), "--records", RECORDS, "--keys", KEYS, "--rate", RATE]);
    all.extend(["--output", shown(&output)]);
    let said = cluster.millstream(&all);
    let text = text(&said);
    assert!(said.status.success(), "{text}");
    let id = text.split("JobID ").nth(1).and_then(|rest| rest.split_whitespace().next());
    id.unwrap_or_else(|| panic!("no job id in: {text}")).to_owned()
}

fn shown(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// Waits until the job has completed so many checkpoints.
fn wait_for_checkpoints(cluster: &Cluster, job: &str, at_least: u64) {
    cluster.wait_for(&format!("{at_least} checkpoints of job {job}"), || {
        let checkpoints = cluster.json(&format!("/jobs/{job}/checkpoints"));
        (checkpoints["counts"]["completed"].as_u64()? >= at_least).then_some(())
    });
}

/// Whether the job's newest checkpoint has files of the backend: its metadata says so. Nothing: it was
/// deleted meanwhile.
fn is_on_disk(cluster: &Cluster, job: &str) -> Option<bool> {
    let checkpoints = cluster.json(&format!("/jobs/{job}/checkpoints"));
    let path = checkpoints["latest"]["completed"]["external_path"].as_str()?.to_owned();
    let metadata = std::fs::read(Path::new(&path).join("_metadata")).ok()?;
    Some(String::from_utf8_lossy(&metadata).contains("\"backend\":\"rocksdb\""))
}

#[track_caller]
fn check(cluster: &Cluster) {
    let mut check = Command::new(example("ledger_check"));
    check.args(["--records", RECORDS, "--keys", KEYS]).arg(cluster.path("ledger"));
    let output = check.output().expect("the checker is built");
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn kills_of_job_processes_and_workers_lose_and_double_nothing_that_is_on_disk() {
    let cluster = Cluster::with_slots(1, 4, &DEFAULTS);
    let restart = [
        "-D",
        "restart-strategy.type=fixed-delay",
        "-D",
        "restart-strategy.fixed-delay.attempts=100",
        "-D",
        "restart-strategy.fixed-delay.delay=50ms",
        "-p",
        "2",
    ];
    let job = submit(&cluster, &restart);
    for round in 1..=6_u64 {
        wait_for_checkpoints(&cluster, &job, 2 * round + 1);
        // The first one after a restart may refer to nothing, and so has rows in any backend.
        cluster.wait_for("a checkpoint in the files of the backend", || {
            is_on_disk(&cluster, &job).filter(|is_so| *is_so)
        });
        let (child, worker) = cluster.wait_for("a job process", || cluster.job_processes().pop());
        // Two spare workers are there to take over.
        kill(if round % 3 == 0 { worker } else { child });
    }
    cluster.wait_for_state(&job, "FINISHED");
    check(&cluster);
}

#[test]
fn a_job_that_says_itself_where_its_state_is_has_it_there() {
    let cluster = Cluster::start(1, &DEFAULTS);
    let job = submit(&cluster, &["-D", "state.backend=hashmap"]);
    wait_for_checkpoints(&cluster, &job, 3);
    let found = cluster.wait_for("a checkpoint that is still there", || is_on_disk(&cluster, &job));
    assert!(!found, "the job has the cluster's backend and not its own");
    cluster.rest().cancel(&job);
    cluster.wait_for_state(&job, "CANCELED");
}
