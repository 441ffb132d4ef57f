//! Everything that the fuzzer has been given or has found, without the fuzzer.

use millstream_fuzz_targets::{Counting, TARGETS, Target, bytes_counted, check, target};
use std::fs;
use std::path::{Path, PathBuf};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The files of `fuzz/<kind>/<target>`, with their bytes.
fn files(kind: &str, target: &Target) -> Vec<(PathBuf, Vec<u8>)> {
    let directory = fuzz(kind).join(target.name);
    let entries = fs::read_dir(&directory).into_iter().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("listed").path()).collect();
    files.sort();
    let read = |path: PathBuf| {
        let bytes = fs::read(&path).expect("readable");
        (path, bytes)
    };
    files.into_iter().map(read).collect()
}

fn fuzz(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz").join(kind)
}

fn replayed(path: &Path, target: &Target, bytes: &[u8]) -> bool {
    // Whoever fails is told: panics and refused allocations do not know the file.
    println!("{}", path.display());
    check(target, bytes)
}

#[test]
fn every_decoder_understands_some_of_its_corpus_and_stays_within_its_limits() {
    for target in TARGETS {
        let mut understood = 0;
        for (path, bytes) in files("corpus", target) {
            understood += usize::from(replayed(&path, target, &bytes));
        }
        assert!(understood > 0, "nothing in fuzz/corpus/{} is understood", target.name);
    }
}

#[test]
fn what_once_broke_a_decoder_does_not_break_it_any_more() {
    for target in TARGETS {
        for (path, bytes) in files("crashes", target) {
            replayed(&path, target, &bytes);
        }
    }
}

#[test]
fn every_directory_belongs_to_a_target() {
    for kind in ["corpus", "crashes"] {
        for entry in fs::read_dir(fuzz(kind)).expect("it is there") {
            let name = entry.expect("listed").file_name();
            let name = name.to_string_lossy();
            assert!(target(&name).is_some(), "fuzz/{kind}/{name} belongs to no target");
        }
    }
}

#[test]
fn memory_is_counted() {
    let (_, bytes) = bytes_counted(|| drop(std::hint::black_box(vec![0_u8; 1 << 20])));
    assert!((1 << 20..2 << 20).contains(&bytes), "{bytes}");
}
