//! What works: jobs on a cluster of real processes.

use crate::harness::{Cluster, Rest, misbehave, text};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

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
fn cached_files_are_read_on_workers_after_they_have_gone_where_the_job_was_submitted() {
    let cluster = Cluster::start(2, &[]);
    let here = cluster.path("here");
    let (file, directory) = (here.join("greeting.txt"), here.join("dictionary"));
    std::fs::create_dir_all(directory.join("deep")).expect("made");
    std::fs::write(&file, "hello").expect("written");
    std::fs::write(directory.join("deep/words.txt"), "world").expect("written");
    // Nothing of the job runs before its files have gone.
    let former = cluster.submit("forever", &["-p", "4"]);
    cluster.wait_for_tasks(&former, 4);
    let (program, output) = (misbehave(), cluster.path("found"));
    let text_of = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let arguments = [&program, &file, &directory, &output].map(|path| text_of(path));
    let [program, file, directory, into] = &arguments;
    let how = ["--how", "cached", "--file", file, "--directory", directory, "--output", into];
    let run = |options: &[&str]| {
        cluster.millstream(&[&["run"], options, &[program.as_str()], &how[..]].concat())
    };
    let submitted = run(&["-d", "-p", "4"]);
    let told = text(&submitted);
    assert!(submitted.status.success(), "{told}");
    let job = told.split("JobID ").nth(1).and_then(|rest| rest.split_whitespace().next());
    let job = job.unwrap_or_else(|| panic!("no job id in: {told}"));
    std::fs::remove_dir_all(&here).expect("removed");
    assert!(cluster.millstream(&["cancel", &former]).status.success());
    let vertices = cluster.wait_for_state(job, "FINISHED")["vertices"].clone();

    let mut found = BTreeSet::new();
    for part in files(&output) {
        for line in std::fs::read_to_string(part).expect("text").lines() {
            let (number, found_there) = line.split_once(',').expect("two columns");
            found.insert(number.parse::<u64>().expect("a number"));
            let path = found_there.strip_prefix("hello world ").expect("what the files hold");
            assert!(path.ends_with("/greeting.txt") && !path.starts_with(&text_of(&here)));
        }
    }
    assert_eq!(found, (0..10).collect());
    let vertex = vertices[0]["id"].as_str().expect("an id");
    let metrics = format!("/jobs/{job}/vertices/{vertex}/subtasks/metrics");
    let read = cluster.json(&format!("{metrics}?get=read_files.read&agg=sum"));
    assert_eq!(read.to_string(), r#"[{"id":"read_files.read","sum":10.0}]"#);

    let again = text(&run(&[]));
    assert!(again.contains("cached file `greeting` cannot be read"), "{again}");
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

/// What a process holds.
#[derive(Debug)]
struct Holdings {
    descriptors: usize,
    threads: usize,
}

fn holdings(pid: u32) -> Holdings {
    let count =
        |what: &str| std::fs::read_dir(format!("/proc/{pid}/{what}")).expect("it runs").count();
    Holdings { descriptors: count("fd"), threads: count("task") }
}

/// All files and directories below this one.
fn files(directory: &Path) -> BTreeSet<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return BTreeSet::new() };
    let paths = entries.flatten().map(|entry| entry.path());
    paths.flat_map(|path| files(&path).into_iter().chain([path])).collect()
}

#[test]
fn submitting_and_cancelling_leaves_nothing_behind() {
    const CYCLES: u32 = 1_000;
    const AT_ONCE: u32 = 8;
    let cluster = Cluster::with_slots(AT_ONCE, 1, &[]);
    let processes = [cluster.pid("jobmanager"), cluster.pid("taskmanager-1")];
    let program = cluster.rest().upload(&misbehave());
    let cycle = |rest: &Rest, number: u32| {
        let job = rest.run(&program, &["--how", "forever"]);
        // Some are cancelled before their process has started, some while they run.
        if number.is_multiple_of(2) {
            cluster.wait_for("tasks", || {
                let details = rest.json(&format!("/jobs/{job}"));
                (details["vertices"][0]["tasks"]["RUNNING"] == 1).then_some(())
            });
        }
        rest.cancel(&job);
        cluster.wait_for("the end", || {
            (rest.json(&format!("/jobs/{job}/status"))["status"] == "CANCELED").then_some(())
        });
    };
    let cycles = |count: u32| {
        let next = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| {
                    let rest = cluster.rest();
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= count {
                            return;
                        }
                        cycle(&rest, number);
                    }
                });
            }
        });
        cluster.wait_for("the worker to be empty", || {
            let empty = cluster.free_slots() == u64::from(AT_ONCE);
            (empty && cluster.job_processes().is_empty()).then_some(())
        });
    };
    let kept = || files(&cluster.path("run"));
    // What is made on first use is there afterwards.
    cycles(2 * AT_ONCE);
    let before = processes.map(holdings);
    let files_before = kept();
    cycles(CYCLES);
    cluster.wait_for("files to be removed", || (kept() == files_before).then_some(()));
    for (pid, before) in processes.into_iter().zip(before) {
        cluster.wait_for(&format!("process {pid} to hold {before:?}"), || {
            let now = holdings(pid);
            let fewer = now.descriptors <= before.descriptors && now.threads <= before.threads;
            fewer.then_some(())
        });
    }
}
