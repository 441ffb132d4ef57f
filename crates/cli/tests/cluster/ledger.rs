//! The ledger job on real processes that are stopped, resumed and killed: `ledger_check`, which
//! shares no code with the engine, counts what was lost, doubled or out of order.

use crate::harness::{Cluster, example, kill, misbehave, text};
use std::path::{Path, PathBuf};
use std::process::Command;

const KEYS: u64 = 1000;

/// One run of the ledger, over as many jobs as it takes.
pub(crate) struct Ledger<'a> {
    cluster: &'a Cluster,
    records: u64,
    rate: u64,
    /// Microseconds that the sink takes for each record.
    delay_us: u64,
    output: PathBuf,
}

impl<'a> Ledger<'a> {
    pub(crate) fn new(cluster: &'a Cluster, records: u64, rate: u64) -> Self {
        Self { cluster, records, rate, delay_us: 0, output: cluster.path("ledger") }
    }

    /// The sink is slower than the source, which gives as much as it can.
    pub(crate) fn under_pressure(cluster: &'a Cluster, records: u64, delay_us: u64) -> Self {
        Self { delay_us, ..Self::new(cluster, records, 0) }
    }

    /// Submits a job; its id.
    pub(crate) fn submit(&self, arguments: &[&str]) -> String {
        let mut detached = vec!["-d"];
        detached.extend(arguments);
        let all = self.arguments(&detached);
        let output = self.cluster.millstream(&all.iter().map(String::as_str).collect::<Vec<_>>());
        let text = text(&output);
        assert!(output.status.success(), "{text}");
        let id = text.split("JobID ").nth(1).and_then(|rest| rest.split_whitespace().next());
        id.unwrap_or_else(|| panic!("no job id in: {text}")).to_owned()
    }

    /// What the command line is given to run a job.
    pub(crate) fn arguments(&self, options: &[&str]) -> Vec<String> {
        let program = example("ledger");
        let [records, rate, delay] =
            [self.records, self.rate, self.delay_us].map(|number| number.to_string());
        let keys = KEYS.to_string();
        let mut all = vec!["run"];
        all.extend(options);
        all.extend([shown(&program), "--records", &records, "--keys", &keys, "--rate", &rate]);
        all.extend(["--delay-us", &delay, "--output", shown(&self.output)]);
        all.into_iter().map(str::to_owned).collect()
    }

    /// Waits until a job has completed so many checkpoints.
    pub(crate) fn wait_for_checkpoints(&self, job: &str, at_least: u64) {
        self.cluster.wait_for(&format!("{at_least} checkpoints of job {job}"), || {
            let checkpoints = self.cluster.json(&format!("/jobs/{job}/checkpoints"));
            (checkpoints["counts"]["completed"].as_u64()? >= at_least).then_some(())
        });
    }

    /// Each record is there once, and in order.
    #[track_caller]
    pub(crate) fn check_records(&self) {
        let output = Command::new(example("ledger_check"))
            .args(["--records", &self.records.to_string(), "--keys", &KEYS.to_string()])
            .arg(&self.output)
            .output()
            .expect("the checker is built");
        assert!(output.status.success(), "{}", text(&output));
    }

    /// The same, and no unfinished file is left.
    #[track_caller]
    pub(crate) fn check(&self) {
        self.check_records();
        let hidden = std::fs::read_dir(&self.output).expect("it was written").flatten();
        let hidden: Vec<_> = hidden
            .map(|entry| entry.file_name())
            .filter(|name| name.to_string_lossy().contains("inprogress"))
            .collect();
        assert!(hidden.is_empty(), "unfinished files are left: {hidden:?}");
    }
}

fn shown(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// The path that a command told.
pub(crate) fn told_path(output: &str) -> String {
    let after = output.split("Path: ").nth(1).and_then(|rest| rest.lines().next());
    after.unwrap_or_else(|| panic!("no path in: {output}")).trim().to_owned()
}

#[test]
fn a_job_is_stopped_and_resumed_with_any_parallelism_and_each_record_counts_once() {
    let cluster = Cluster::start(2, &["execution.checkpointing.interval=200ms"]);
    let ledger = Ledger::new(&cluster, 300_000, 60_000);
    let savepoints = cluster.path("savepoints");
    let mut job = ledger.submit(&["-p", "2"]);
    for parallelism in ["1", "3", "4"] {
        ledger.wait_for_checkpoints(&job, 2);
        let output = cluster.millstream(&["stop", "-p", shown(&savepoints), &job]);
        let said = text(&output);
        assert!(output.status.success(), "{said}");
        assert_eq!(cluster.json(&format!("/jobs/{job}"))["state"], "FINISHED");
        let savepoint = told_path(&said);
        let listed = text(&cluster.millstream(&["state", "ls", &savepoint]));
        assert!(listed.contains("aggregate: u64 → (u64, u64); 1000 rows"), "{listed}");
        job = ledger.submit(&["-p", parallelism, "-s", &savepoint]);
    }
    cluster.wait_for_state(&job, "FINISHED");
    ledger.check();
}

#[test]
fn kills_of_job_processes_and_workers_lose_and_double_nothing() {
    let cluster = Cluster::with_slots(1, 4, &["execution.checkpointing.interval=150ms"]);
    let ledger = Ledger::new(&cluster, 400_000, 60_000);
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
    let job = ledger.submit(&restart);
    for round in 1..=6_u64 {
        ledger.wait_for_checkpoints(&job, 2 * round);
        let process = cluster.wait_for("a job process", || cluster.job_processes().pop());
        // Two spare workers are there to take over.
        let (child, worker) = process;
        kill(if round % 3 == 0 { worker } else { child });
    }
    cluster.wait_for_state(&job, "FINISHED");
    ledger.check();
}

#[test]
fn a_savepoint_goes_with_its_directory_and_a_checkpoint_does_not() {
    let cluster = Cluster::start(1, &["execution.checkpointing.interval=200ms"]);
    let ledger = Ledger::new(&cluster, 10_000_000, 20_000);
    let job = ledger.submit(&["-p", "1"]);
    ledger.wait_for_checkpoints(&job, 1);
    let output = cluster.millstream(&["savepoint", &job, shown(&cluster.path("savepoints"))]);
    let savepoint = told_path(&text(&output));
    let rows = cluster.millstream(&[
        "state",
        "show",
        &savepoint,
        "-o",
        "count",
        "-s",
        "aggregate",
        "-n",
        "3",
    ]);
    let rows = String::from_utf8(rows.stdout).expect("UTF-8");
    let rows: Vec<serde_json::Value> =
        rows.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(rows.len() == 3 && rows.iter().all(|row| row["key"].is_u64()), "{rows:?}");
    let checkpoint = cluster.wait_for("a retained checkpoint", || {
        let checkpoints = cluster.json(&format!("/jobs/{job}/checkpoints"));
        let path = checkpoints["latest"]["completed"]["external_path"].as_str()?.to_owned();
        Path::new(&path).join("_metadata").exists().then_some(path)
    });
    let refused = cluster.millstream(&["savepoint", "--dispose", &checkpoint]);
    let said = text(&refused);
    // It may have been subsumed meanwhile; then there is nothing of that name.
    assert!(said.contains("is no savepoint") || said.contains("could not read"), "{said}");
    assert!(cluster.millstream(&["savepoint", "--dispose", &savepoint]).status.success());
    assert!(!Path::new(&savepoint).exists());
    assert!(cluster.millstream(&["cancel", &job]).status.success());
}

#[test]
fn a_savepoint_that_does_not_fit_is_refused_before_anything_runs() {
    let cluster = Cluster::start(1, &["execution.checkpointing.interval=200ms"]);
    let ledger = Ledger::new(&cluster, 10_000_000, 20_000);
    let job = ledger.submit(&["-p", "1"]);
    ledger.wait_for_checkpoints(&job, 1);
    let output = cluster.millstream(&["stop", "-p", shown(&cluster.path("savepoints")), &job]);
    let savepoint = told_path(&text(&output));
    let other = misbehave();
    let arguments = ["run", "-d", "-s", &savepoint, shown(&other), "--how", "forever"];
    let refused = cluster.millstream(&arguments);
    let said = text(&refused);
    assert!(!refused.status.success(), "{said}");
    assert!(said.contains("of operator") && said.contains("(-n)"), "{said}");
    let missing = cluster.submit("forever", &["-s", "/nonexistent/savepoint"]);
    let failure = cluster.failure_of(&missing);
    assert!(failure.contains("/nonexistent/savepoint"), "{failure}");
}
