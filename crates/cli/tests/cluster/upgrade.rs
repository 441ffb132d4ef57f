//! A job is stopped, and another version of its program goes on, or is told why it cannot.

use crate::harness::{Cluster, example, text};
use std::path::Path;
use std::process::{Command, Output};

/// A cluster with a savepoint of version 1.
struct Upgrade {
    cluster: Cluster,
    savepoint: String,
}

fn shown(path: &Path) -> String {
    path.to_str().expect("UTF-8").to_owned()
}

impl Upgrade {
    fn begin() -> Self {
        let cluster = Cluster::start(1, &["execution.checkpointing.interval=100ms"]);
        let upgrade = Self { cluster, savepoint: String::new() };
        let job = upgrade.submit(&["-d"], 1);
        let savepoint = upgrade.stop(&job, 2);
        Self { savepoint, ..upgrade }
    }

    /// Runs a verb about a version of the program.
    fn say(&self, verb: &[&str], version: u32) -> Output {
        let (program, version) = (shown(&example("upgrade")), version.to_string());
        let output = shown(&self.cluster.path("lines"));
        let mut all = verb.to_vec();
        all.extend([program.as_str(), "--version", &version, "--output", &output]);
        self.cluster.millstream(&all)
    }

    fn submit(&self, options: &[&str], version: u32) -> String {
        let output = self.say(&[&["run"], options].concat(), version);
        let said = text(&output);
        assert!(output.status.success(), "{said}");
        let id = said.split("JobID ").nth(1).and_then(|rest| rest.split_whitespace().next());
        id.unwrap_or_else(|| panic!("no job id in: {said}")).to_owned()
    }

    /// Stops the job with a savepoint after so many checkpoints; its path.
    fn stop(&self, job: &str, checkpoints: u64) -> String {
        self.cluster.wait_for("checkpoints", || {
            let counts = &self.cluster.json(&format!("/jobs/{job}/checkpoints"))["counts"];
            (counts["completed"].as_u64()? >= checkpoints).then_some(())
        });
        let directory = shown(&self.cluster.path("savepoints"));
        let said = text(&self.cluster.millstream(&["stop", "-p", &directory, job]));
        let path = said.split("Path: ").nth(1).and_then(|rest| rest.lines().next());
        path.unwrap_or_else(|| panic!("no path in: {said}")).trim().to_owned()
    }

    fn jobs(&self) -> usize {
        self.cluster.json("/jobs")["jobs"].as_array().map_or(0, Vec::len)
    }

    /// Nothing is started for this version, and this is why.
    #[track_caller]
    fn is_refused(&self, version: u32, why: &[&str]) {
        let output = self.say(&["run", "-d", "-s", &self.savepoint], version);
        let said = text(&output);
        assert!(!output.status.success(), "{said}");
        assert!(said.contains("error[E0303]"), "{said}");
        why.iter().for_each(|part| assert!(said.contains(part), "no `{part}` in: {said}"));
        assert_eq!(self.jobs(), 1, "a job was started");
        let diff = self.say(&["state", "diff", "--json", &self.savepoint], version);
        assert_eq!(diff.status.code(), Some(1), "{}", text(&diff));
        let diff: serde_json::Value = serde_json::from_slice(&diff.stdout).expect("JSON");
        assert_eq!(diff["restorable"], false);
    }
}

#[test]
fn a_program_that_cannot_read_a_savepoint_is_refused_before_anything_starts() {
    let upgrade = Upgrade::begin();
    let field = ["operator `process` declared at", "upgrade.rs:", "state `value-fields`"];
    let types = ["field `total`: written as u32, now string", "add a new one with a default"];
    upgrade.is_refused(3, &[&field[..], &types[..]].concat());
    upgrade.is_refused(4, &["its key: written as u64, now string: keys and namespaces cannot"]);
    upgrade.is_refused(5, &["it holds state of operator", "(process)", "uid", "(-n)"]);

    // Embedded it is the same.
    let recovery = format!("execution.state-recovery.path={}", upgrade.savepoint);
    let output = Command::new(example("upgrade"))
        .args(["--version", "3", "--output", &shown(&upgrade.cluster.path("lines"))])
        .args(["-D", &recovery])
        .output()
        .expect("the program is built");
    assert!(!output.status.success() && text(&output).contains("written as u32, now string"));

    // The JobManager says so of a program that it has planned itself, before it asks for a slot.
    let rest = upgrade.cluster.rest();
    let uploaded = rest.upload(&example("upgrade"));
    let output = shown(&upgrade.cluster.path("lines"));
    let arguments = ["--version", "3", "--output", &output, "-D", &recovery];
    let job = rest.run(&uploaded, &arguments);
    upgrade.cluster.wait_for_state(&job, "FAILED");
    let failure = upgrade.cluster.failure_of(&job);
    assert!(failure.contains("written as u32, now string"), "{failure}");
    let tasks = &upgrade.cluster.json(&format!("/jobs/{job}"))["vertices"];
    let deployed = tasks.as_array().into_iter().flatten();
    assert!(deployed.clone().count() > 0);
    deployed.for_each(|vertex| assert!(vertex["start-time"].as_i64() <= Some(0), "{vertex}"));
}

#[test]
fn a_program_that_has_evolved_goes_on_and_says_before_what_it_will_change() {
    let upgrade = Upgrade::begin();
    let diff = upgrade.say(&["state", "diff", &upgrade.savepoint], 2);
    let said = text(&diff);
    assert!(diff.status.success(), "{said}");
    let expected = "  value-fields: change\n    rename `total` to `seconds`\n    \
                    widen `seconds` from u32 to u64\n    add `limit`: u64, with its default\n";
    assert!(said.contains(expected), "{said}");
    assert!(said.contains("timers-event: keep"), "{said}");
    assert!(said.contains("it can be restored"), "{said}");

    let job = upgrade.submit(&["-d", "-s", &upgrade.savepoint], 6);
    let second = upgrade.stop(&job, 2);
    let rows = text(&upgrade.cluster.millstream(&[
        "state",
        "show",
        &second,
        "-o",
        "process",
        "-s",
        "value-fields",
    ]));
    assert_eq!(rows.lines().filter(|line| line.contains(r#""limit":1000"#)).count(), 15, "{rows}");
    // The source that is new has been read from its beginning, once.
    let extra = rows.lines().filter(|line| line.contains(r#""seconds":10}"#)).count();
    assert!(extra >= 5, "{rows}");

    let diff = upgrade.cluster.millstream(&["state", "diff", &upgrade.savepoint, &second]);
    let said = text(&diff);
    assert!(diff.status.success() && said.contains("rename `total` to `seconds`"), "{said}");
    let back = upgrade.cluster.millstream(&["state", "diff", &second, &upgrade.savepoint]);
    let said = text(&back);
    assert!(back.status.success() && said.contains("drop `seconds`: u64"), "{said}");

    // What nobody claims is left behind where that is asked for.
    let job = upgrade.submit(&["-d", "-n", "-s", &upgrade.savepoint], 5);
    upgrade.cluster.wait_for_state(&job, "RUNNING");
    upgrade.cluster.millstream(&["cancel", &job]);
}
