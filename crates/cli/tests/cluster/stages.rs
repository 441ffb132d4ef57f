//! Jobs in BATCH mode: stage after stage, and what one has produced is on the disks of workers until the next
//! has read it. After a failure only what is missing is produced again.

use crate::harness::{Cluster, kill};
use crate::local_state::AT_ONCE;
use std::path::{Path, PathBuf};

/// A job in two stages of two tasks each. It counts, and is held and failed by signs.
struct Stages<'a> {
    cluster: &'a Cluster,
    output: PathBuf,
    signs: PathBuf,
}

impl<'a> Stages<'a> {
    fn new(cluster: &'a Cluster) -> Self {
        let (output, signs) = (cluster.path("counts"), cluster.path("signs"));
        std::fs::create_dir_all(&signs).expect("a directory of the test");
        Self { cluster, output, signs }
    }

    fn give(&self, sign: &str) {
        std::fs::write(self.signs.join(sign), "").expect("a directory of the test");
    }

    fn take_back(&self, sign: &str) {
        std::fs::remove_file(self.signs.join(sign)).expect("it was given");
    }

    fn submit(&self) -> String {
        let [output, signs] = [&self.output, &self.signs].map(|path| path.to_str().expect("UTF-8"));
        let program = crate::harness::misbehave();
        let mut all = vec!["run", "-d"];
        all.extend(AT_ONCE);
        all.extend([program.to_str().expect("UTF-8"), "--how", "stages"]);
        all.extend(["--output", output, "--signs", signs]);
        let text = crate::harness::text(&self.cluster.millstream(&all));
        let id = text.split("JobID ").nth(1).and_then(|rest| rest.split_whitespace().next());
        id.unwrap_or_else(|| panic!("no job id in: {text}")).to_owned()
    }

    /// Waits until both tasks of the second stage run, and so the first is done.
    fn wait_for_second_stage(&self, job: &str) {
        self.cluster.wait_for("the second stage to run", || {
            let details = self.cluster.json(&format!("/jobs/{job}"));
            let tasks =
                |vertex: usize, state: &str| details["vertices"][vertex]["tasks"][state] == 2;
            (tasks(0, "FINISHED") && tasks(1, "RUNNING")).then_some(())
        });
    }

    /// The attempts that count, of each stage.
    fn attempts(&self, job: &str) -> Vec<Vec<u64>> {
        let details = self.cluster.json(&format!("/jobs/{job}"));
        let vertices = details["vertices"].as_array().expect("vertices").clone();
        let of_vertex = |vertex: serde_json::Value| {
            let id = vertex["id"].as_str().expect("an id").to_owned();
            let details = self.cluster.json(&format!("/jobs/{job}/vertices/{id}"));
            let subtasks = details["subtasks"].as_array().expect("subtasks").clone();
            let mut attempts: Vec<u64> =
                subtasks.iter().map(|it| it["attempt"].as_u64().expect("a number")).collect();
            attempts.sort_unstable();
            attempts
        };
        vertices.into_iter().map(of_vertex).collect()
    }

    /// The job has counted right.
    fn check(&self, job: &str) {
        self.cluster.wait_for_state(job, "FINISHED");
        let parts = std::fs::read_dir(&self.output).expect("it was written").flatten();
        let texts = parts.map(|part| std::fs::read_to_string(part.path()).expect("a part"));
        let mut lines: Vec<String> =
            texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
        lines.sort_unstable();
        let mut expected: Vec<String> = (0..100).map(|key| format!("{key},1000")).collect();
        expected.sort_unstable();
        assert_eq!(lines, expected);
    }

    /// Workers that live have nothing left of the job.
    fn check_nothing_is_left(&self) {
        self.cluster.wait_for("results to be gone", || self.results().is_empty().then_some(()));
    }

    /// Results on disk.
    fn results(&self) -> Vec<PathBuf> {
        fn below(directory: &Path) -> Vec<PathBuf> {
            let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
            let nested = entries.map(|entry| match entry.path() {
                path if path.is_dir() => below(&path),
                path => vec![path],
            });
            nested.flatten().collect()
        }
        let in_results = |path: &PathBuf| path.components().any(|it| it.as_os_str() == "results");
        below(&self.cluster.path("run")).into_iter().filter(in_results).collect()
    }
}

#[test]
fn one_slot_does_for_all_stages_and_a_task_that_fails_reads_again_what_is_there() {
    let cluster = Cluster::with_slots(1, 1, &[]);
    let stages = Stages::new(&cluster);
    stages.give("fail");
    let job = stages.submit();
    stages.check(&job);
    stages.check_nothing_is_left();
    assert_eq!(stages.attempts(&job), [[0, 0], [0, 1]], "only what failed runs again");
}

#[test]
fn a_killed_job_process_leaves_its_results_to_the_next_one() {
    let cluster = Cluster::start(1, &[]);
    let stages = Stages::new(&cluster);
    stages.give("hold");
    let job = stages.submit();
    stages.wait_for_second_stage(&job);
    assert!(!stages.results().is_empty());
    let (child, _) = cluster.wait_for("a job process", || cluster.job_processes().pop());
    kill(child);
    stages.take_back("hold");
    stages.check(&job);
    stages.check_nothing_is_left();
    assert_eq!(stages.attempts(&job), [[0, 0], [1, 1]], "what was whole is not made again");
}

#[test]
fn a_killed_worker_costs_its_own_results_and_not_those_of_others() {
    let cluster = Cluster::with_slots(1, 2, &[]);
    let stages = Stages::new(&cluster);
    stages.give("hold");
    let job = stages.submit();
    stages.wait_for_second_stage(&job);
    kill(cluster.pid("taskmanager-1"));
    stages.take_back("hold");
    stages.check(&job);
    assert_eq!(stages.attempts(&job), [[0, 1], [1, 1]], "only what was lost is made again");
}
