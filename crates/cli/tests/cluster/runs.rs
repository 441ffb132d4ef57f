//! What works: jobs on a cluster of real processes.

use crate::harness::{Cluster, misbehave, text};
use std::collections::BTreeSet;
use std::path::Path;

/// The greatest count per key over all parts.
fn counts(directory: &Path) -> Vec<(u64, u64)> {
    let mut counts = std::collections::BTreeMap::new();
    for part in std::fs::read_dir(directory).expect("the job has written").flatten() {
        let name = part.file_name().to_string_lossy().into_owned();
        assert!(name.starts_with("part-"), "a half-written file is visible: {name}");
        for line in std::fs::read_to_string(part.path()).expect("text").lines() {
            let (key, count) = line.split_once(',').expect("two columns");
            let (key, count): (u64, u64) = (key.parse().unwrap(), count.parse().unwrap());
            let most = counts.entry(key).or_insert(0);
            *most = count.max(*most);
        }
    }
    counts.into_iter().collect()
}

#[test]
fn the_same_file_gives_the_same_results_in_one_process_and_on_two_workers() {
    let cluster = Cluster::start(2, &[]);
    let (alone, spread) = (cluster.path("alone"), cluster.path("spread"));
    let embedded = std::process::Command::new(misbehave())
        .args(["--how", "count", "--parallelism", "2", "--output"])
        .arg(&alone)
        .output()
        .expect("the example is built");
    assert!(embedded.status.success(), "{}", text(&embedded));
    let program = misbehave();
    let output = cluster.millstream(&[
        "run",
        "-p",
        "4",
        program.to_str().expect("UTF-8"),
        "--how",
        "count",
        "--output",
        spread.to_str().expect("UTF-8"),
    ]);
    assert!(output.status.success(), "{}", text(&output));
    let expected: Vec<(u64, u64)> = (0..100).map(|key| (key, 1000)).collect();
    assert_eq!(counts(&alone), expected);
    assert_eq!(counts(&spread), expected);
}

#[test]
fn each_worker_runs_the_job_in_a_process_of_its_own_that_is_the_artefact() {
    let cluster = Cluster::start(2, &[]);
    let job = cluster.submit("forever", &["-p", "4"]);
    cluster.wait_for_state(&job, "RUNNING");
    let children = cluster.wait_for("two job processes", || {
        let children = cluster.job_processes();
        (children.len() == 2).then_some(children)
    });
    let parents: BTreeSet<u32> = children.iter().map(|(_, parent)| *parent).collect();
    let workers: BTreeSet<u32> =
        [cluster.pid("taskmanager-1"), cluster.pid("taskmanager-2")].into();
    assert_eq!(parents, workers);
    let artefact = std::fs::read(misbehave()).expect("it is built");
    for (pid, _) in children {
        let running = std::fs::read(format!("/proc/{pid}/exe")).expect("it runs");
        assert!(running == artefact, "process {pid} runs another file");
    }
    cluster.wait_for("bytes between the workers", || {
        let details = cluster.json(&format!("/jobs/{job}"));
        let bytes = details["vertices"][1]["metrics"]["read-bytes"].as_u64()?;
        (bytes > 0).then_some(())
    });
    let output = cluster.millstream(&["cancel", &job]);
    assert!(output.status.success(), "{}", text(&output));
    cluster.wait_for_state(&job, "CANCELED");
    cluster.wait_for("all slots to be free", || (cluster.free_slots() == 4).then_some(()));
}

#[test]
fn list_and_info_show_a_job_and_logs_show_what_it_wrote() {
    let cluster = Cluster::start(1, &[]);
    let job = cluster.submit("forever", &[]);
    cluster.wait_for_state(&job, "RUNNING");
    let list = text(&cluster.millstream(&["list"]));
    assert!(list.contains(&job) && list.contains("forever (RUNNING)"), "{list}");
    let info = text(&cluster.millstream(&["info", &job]));
    assert!(info.contains("RUNNING") && info.contains("numbers"), "{info}");
    assert!(cluster.millstream(&["logs", &job]).status.success());
    assert!(cluster.millstream(&["cancel", &job]).status.success());
}

#[test]
fn submitting_and_cancelling_leaves_nothing_behind() {
    const CYCLES: usize = 20;
    let cluster = Cluster::start(1, &[]);
    let worker = cluster.pid("taskmanager-1");
    let descriptors = || std::fs::read_dir(format!("/proc/{worker}/fd")).expect("it runs").count();
    let cycle = || {
        let job = cluster.submit("forever", &["-p", "2"]);
        assert!(cluster.millstream(&["cancel", &job]).status.success());
        cluster.wait_for_state(&job, "CANCELED");
    };
    let settled = || {
        cluster.wait_for("the worker to be empty", || {
            (cluster.free_slots() == 2 && cluster.job_processes().is_empty()).then_some(())
        });
    };
    cycle();
    settled();
    let before = descriptors();
    (0..CYCLES).for_each(|_| cycle());
    settled();
    let jobs = std::fs::read_dir(cluster.path("run/tmp")).expect("it is there").flatten();
    for worker in jobs.filter(|entry| entry.path().join("jobs").is_dir()) {
        let left = std::fs::read_dir(worker.path().join("jobs")).expect("it is there").count();
        assert_eq!(left, 0, "working directories of jobs are left");
    }
    cluster.wait_for("descriptors to be closed", || (descriptors() <= before).then_some(()));
}
