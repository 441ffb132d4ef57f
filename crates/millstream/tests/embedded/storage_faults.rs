//! Directories of checkpoints that cannot be used: missing, taken, closed, full, turned read-only. Each
//! is told with what was tried, where, why, and what to do; what needs a file system of its own runs
//! in a child of this test with mounts of its own.

use crate::scratch::Scratch;
use millstream::api::args::Args;
use millstream::prelude::*;
use millstream::{sink, source};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// No test waits longer for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// Counts numbers by a thousand keys; its state is in files from the first byte on.
fn counting(numbers: Option<u64>, directory: &Path, definitions: &[&str]) -> Env {
    let mut arguments = Vec::new();
    let directory = format!("execution.checkpointing.dir={}", directory.display());
    let ours = [&*directory, "execution.checkpointing.data-inline-threshold=0"];
    for definition in ours.iter().chain(definitions) {
        arguments.extend(["-D".to_owned(), (*definition).to_owned()]);
    }
    let env = Env::with_arguments(Args::parse(arguments).expect("well formed")).expect("embedded");
    env.set_parallelism(1);
    let source = source::generator(numbers, |n| n);
    let source = if numbers.is_none() { source.rate(20_000) } else { source };
    env.source("numbers", source)
        .key_by(|n| n % 1000)
        .count()
        .name("count")
        .sink("nowhere", sink::blackhole());
    env
}

/// The text of the failure of a job that keeps its checkpoints there.
fn failure_in(directory: &Path) -> String {
    let env = counting(Some(10_000), directory, &[]);
    env.execute("counting").expect_err("its checkpoints cannot be written").to_string()
}

#[track_caller]
fn check(failure: &str, parts: &[&str]) {
    for part in parts {
        assert!(failure.contains(part), "`{part}` is not in {failure}");
    }
}

#[test]
fn a_directory_that_is_missing_is_made_with_those_above_it() {
    let scratch = Scratch::new();
    let directory = scratch.join("not/yet/there");
    counting(Some(10_000), &directory, &[]).execute("counting").expect("it is made");
    assert!(directory.is_dir());
}

#[test]
fn a_file_in_the_place_of_the_directory_is_told_before_the_first_record() {
    let scratch = Scratch::new();
    let file = scratch.join("file");
    std::fs::write(&file, "of somebody").expect("it can be written");
    let named = file.display().to_string();
    let wanted = ["its checkpoints cannot be written", &named, "or choose another directory"];
    check(&failure_in(&file.join("below")), &wanted);
    check(&failure_in(&file), &wanted);
    assert_eq!(std::fs::read_to_string(&file).expect("it is untouched"), "of somebody");
}

#[test]
#[cfg(not(feature = "object-store"))]
fn a_program_without_object_stores_says_which_feature_it_needs() {
    let failure = failure_in(Path::new("s3://bucket/checkpoints"));
    check(&failure, &["s3://bucket/checkpoints", "the feature `object-store`", "Cargo.toml"]);
}

/// Set for a child of this test: the directory that it is to use.
const DIRECTORY: &str = "MILLSTREAM_TEST_DIRECTORY";

/// Runs the calling test in a child, with `script` before it; `$1` is the directory. Nothing: this is
/// the child, or it cannot be run here, which is said.
fn in_child(test: &str, unshare: &[&str], script: &str, directory: &Path) {
    let program = std::env::current_exe().expect("this program has a path");
    let script = format!("{script} || exit 77; exec \"$2\" --exact storage_faults::{test}");
    let output = Command::new("unshare")
        .args(unshare)
        .args(["sh", "-c", &script, "sh"])
        .args([directory, &program])
        .env(DIRECTORY, directory)
        .output();
    match output {
        Ok(output) if output.status.success() => (),
        Ok(output) if !String::from_utf8_lossy(&output.stdout).contains("running 1 test") => {
            eprintln!("SKIPPED: no such child: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(output) => panic!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        ),
        Err(error) => eprintln!("SKIPPED: cannot run `unshare`: {error}"),
    }
}

fn directory_of_child() -> Option<PathBuf> {
    std::env::var_os(DIRECTORY).map(PathBuf::from)
}

/// Mounts a small file system.
const MOUNT: &str = "mount -t tmpfs -o size=192k tmpfs \"$1\"";

#[test]
fn a_directory_that_may_not_be_written_is_told() {
    if let Some(directory) = directory_of_child() {
        let below = directory.join("checkpoints");
        let failure = failure_in(&below);
        let named = format!("could not make directory `{}", below.display());
        return check(&failure, &[&named, "Permission denied", "let the user of this process in"]);
    }
    let scratch = Scratch::new();
    // Without any rights beyond those of the files, also where this test runs as root.
    let script = "chmod 555 \"$1\" && ! touch \"$1/x\"";
    in_child("a_directory_that_may_not_be_written_is_told", &["--user"], script, scratch.path());
}

#[test]
fn a_full_disk_fails_the_checkpoint_names_the_file_and_leaves_nothing_half_written() {
    if let Some(directory) = directory_of_child() {
        let others = std::fs::write(directory.join("others"), vec![1; 1 << 20]);
        assert!(others.is_err(), "the disk is not full");
        let failure = failure_in(&directory);
        check(&failure, &["could not ", "No space left on device", "make room there"]);
        check(&failure, &[&format!("`{}/", directory.display())]);
        return assert_eq!(files_in(&directory), ["others"]);
    }
    let scratch = Scratch::new();
    let test = "a_full_disk_fails_the_checkpoint_names_the_file_and_leaves_nothing_half_written";
    in_child(test, &["--user", "--map-root-user", "--mount"], MOUNT, scratch.path());
}

#[test]
fn a_file_system_that_turns_read_only_fails_the_job_and_keeps_its_last_checkpoint() {
    if let Some(directory) = directory_of_child() {
        return turn_read_only(&directory);
    }
    let scratch = Scratch::new();
    let test = "a_file_system_that_turns_read_only_fails_the_job_and_keeps_its_last_checkpoint";
    in_child(test, &["--user", "--map-root-user", "--mount"], MOUNT, scratch.path());
}

fn turn_read_only(directory: &Path) {
    let definitions = ["execution.checkpointing.interval=50ms"];
    let client = counting(None, directory, &definitions).execute_async("counting").expect("starts");
    let is_complete = |path: &String| path.ends_with("/_metadata");
    wait_until("a checkpoint", || files_in(directory).iter().any(is_complete));
    // Not while a file is open for writing.
    wait_until("a moment between checkpoints", || {
        let mounted = Command::new("mount").args(["-o", "remount,ro"]).arg(directory).output();
        mounted.expect("it was there before").status.success()
    });
    let failure = client.wait().expect_err("nothing can be written").to_string();
    check(&failure, &["Read-only file system", "mount it for writing"]);
    check(&failure, &[&format!("`{}/", directory.display())]);
    assert!(files_in(directory).iter().any(is_complete), "{:?}", files_in(directory));
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// All files below a directory, hidden ones too, in order.
fn files_in(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(next) = open.pop() {
        for path in std::fs::read_dir(next).into_iter().flatten().flatten().map(|it| it.path()) {
            let Ok(below) = path.strip_prefix(directory) else { continue };
            let below = below.display().to_string();
            if path.is_dir() { open.push(path) } else { found.push(below) }
        }
    }
    found.sort();
    found
}
