//! A checkpoint whose files are not what was written: a job that is to go on from it fails, names the
//! file and the place, and begins with nothing else.

use crate::scratch::Scratch;
use millstream::api::args::Args;
use millstream::prelude::*;
use millstream::{sink, source};
use millstream_checkpoint::metadata;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// No test waits longer for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sums numbers by a thousand keys.
fn summing(definitions: &[String]) -> (Env, sink::Collector<(u64, u64)>) {
    let arguments = definitions.iter().flat_map(|it| ["-D".to_owned(), it.clone()]);
    let env = Env::with_arguments(Args::parse(arguments).expect("well formed")).expect("embedded");
    // Of two subtasks the one whose file is whole may begin before the other one has failed.
    env.set_parallelism(1);
    let sums = sink::collect();
    env.source("numbers", source::generator(None, |n| n).rate(100_000))
        .map(|n| (n % 1000, n))
        .key_by(|pair| pair.0)
        .reduce(|a, b| (a.0, a.1.wrapping_add(b.1)))
        .name("sum")
        .sink("sums", sums.clone());
    (env, sums)
}

/// A checkpoint that was kept when its job was cancelled.
fn checkpoint(directory: &Path) -> PathBuf {
    let definitions = [
        format!("execution.checkpointing.dir={}", directory.display()),
        "execution.checkpointing.interval=100ms".to_owned(),
        "execution.checkpointing.data-inline-threshold=0".to_owned(),
        "execution.checkpointing.externalized-checkpoint-retention=RETAIN_ON_CANCELLATION"
            .to_owned(),
    ];
    let (env, _) = summing(&definitions);
    let client = env.execute_async("summing").expect("it starts");
    let job = directory.join(client.job_id().to_string());
    // Metadata is seen before the coordinator hears of it, and it begins the next one afterwards.
    wait_for("a completed checkpoint", || {
        with_metadata(&job).into_iter().find(|path| !path.ends_with("chk-1"))
    });
    client.cancel().expect("it runs");
    let _ = client.wait();
    // The one before it, or one that came too late, may still be on its way out.
    wait_for("one that is kept", || {
        let mut left = with_metadata(&job);
        left.pop().filter(|_| left.is_empty())
    })
}

/// The checkpoints of a job that have metadata.
fn with_metadata(job: &Path) -> Vec<PathBuf> {
    let checkpoints = std::fs::read_dir(job).into_iter().flatten().flatten();
    let checkpoints = checkpoints.map(|entry| entry.path());
    checkpoints.filter(|path| path.join("_metadata").exists()).collect()
}

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The checkpoint's metadata and all files that it refers to. (Others may lie there: of the checkpoint
/// that was under way when the job was cancelled.)
fn files(checkpoint: &Path) -> Vec<PathBuf> {
    let file = checkpoint.join("_metadata");
    let bytes = std::fs::read(&file).expect("it is there");
    let metadata = metadata::decode(&bytes, &file.display().to_string()).expect("it is whole");
    let job = checkpoint.parent().expect("the job's");
    let mut found: Vec<PathBuf> = metadata.files().map(|name| job.join(&name.path)).collect();
    found.sort();
    found.dedup();
    assert!(!found.is_empty(), "state is in files");
    found.push(file);
    found
}

/// Why a job does not go on from the checkpoint.
fn refusal(checkpoint: &Path, scratch: &Scratch) -> String {
    let definitions = [
        format!("execution.state-recovery.path={}", checkpoint.display()),
        format!("execution.checkpointing.dir={}", scratch.join("other").display()),
    ];
    let (env, sums) = summing(&definitions);
    let failure = env.execute("summing").expect_err("the checkpoint is damaged").to_string();
    assert!(sums.take().is_empty(), "it has begun with something else");
    failure
}

/// Numbers that look random and are the same each time.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

#[test]
fn a_flipped_bit_anywhere_in_a_checkpoint_is_told_with_file_and_place_and_nothing_runs() {
    let scratch = Scratch::new();
    let checkpoint = checkpoint(&scratch.join("checkpoints"));
    let mut random = 7;
    for file in files(&checkpoint) {
        let whole = std::fs::read(&file).expect("it is there");
        for _ in 0..8 {
            let at = next(&mut random) as usize % whole.len();
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << (next(&mut random) % 8);
            std::fs::write(&file, damaged).expect("it is ours");
            let failure = refusal(&checkpoint, &scratch);
            let name = file.display().to_string();
            assert!(failure.contains(&name), "bit {at}: `{name}` is not in {failure}");
            let place = ["is damaged at byte", "MILLCHKP", "MILLSTATE", "newer", "version"];
            assert!(place.iter().any(|word| failure.contains(word)), "bit {at}: {failure}");
        }
        std::fs::write(&file, whole).expect("it is ours");
    }
}

#[test]
fn a_truncated_or_missing_file_of_a_checkpoint_is_told_by_name_and_nothing_runs() {
    let scratch = Scratch::new();
    let checkpoint = checkpoint(&scratch.join("checkpoints"));
    for file in files(&checkpoint) {
        let whole = std::fs::read(&file).expect("it is there");
        let name = file.display().to_string();
        for length in [0, 1, whole.len() / 2, whole.len() - 1] {
            std::fs::write(&file, &whole[..length]).expect("it is ours");
            let failure = refusal(&checkpoint, &scratch);
            assert!(failure.contains(&name), "{length} bytes: `{name}` is not in {failure}");
        }
        std::fs::remove_file(&file).expect("it is ours");
        let failure = refusal(&checkpoint, &scratch);
        assert!(failure.contains(&name), "`{name}` is not in {failure}");
        std::fs::write(&file, whole).expect("it is ours");
    }
}
