//! The rules of the house that a compiler does not check.

use millstream_tidy::{circles, files, imports, root, shown, text};
use std::collections::BTreeMap;

/// What each crate may name among ours. Imports point down only.
const WALLS: &[(&str, &[&str])] = &[
    ("derive", &[]),
    ("core", &["derive"]),
    ("checkpoint", &["core"]),
    ("rpc", &["checkpoint", "core"]),
    ("shuffle", &["core", "rpc"]),
    ("state", &["checkpoint", "core", "derive"]),
    ("host", &["checkpoint", "core"]),
    ("object-store", &["checkpoint"]),
    ("operator", &["checkpoint", "core", "shuffle", "state"]),
    ("jobmanager", &["checkpoint", "core", "rpc"]),
    ("taskmanager", &["core", "rpc"]),
    ("task", &["checkpoint", "core", "operator", "rpc", "shuffle"]),
    ("api", &["core", "operator", "shuffle"]),
    ("rest", &["checkpoint", "core", "rpc"]),
    ("connectors", &["core", "operator", "shuffle"]),
    (
        "sim",
        &[
            "checkpoint",
            "core",
            "host",
            "rpc",
            "jobmanager",
            "taskmanager",
            "operator",
            "shuffle",
            "task",
        ],
    ),
    ("fuzz-targets", &["checkpoint", "core", "host", "jobmanager", "rpc", "shuffle"]),
    ("tidy", &[]),
];

/// Crates of deciding code: no runtime, no files, no sockets.
const PURE: &[&str] = &["checkpoint", "core", "jobmanager", "taskmanager"];

/// What pure crates must not depend on.
const IMPURE: &[&str] = &["tokio", "rustix", "libc", "axum", "socket2", "object_store", "rand"];

/// Files that may hold `unsafe`. A new one is a decision: name it here and in `ARCHITECTURE.md`.
const UNSAFE: &[&str] = &[
    "crates/core/src/record/str.rs",
    "crates/connectors/src/text/blanks.rs",
    "crates/connectors/tests/allocations.rs",
    "crates/fuzz-targets/src/counting.rs",
    "crates/host/src/child/before_exec.rs",
    "crates/host/src/child/inherited.rs",
    "crates/millstream/tests/steady_state_allocates_nothing.rs",
    "crates/shuffle/src/prefetch.rs",
    "crates/shuffle/tests/allocations.rs",
    "crates/state-lsm/src/allocator.rs",
    "crates/state/src/bucket.rs",
    "crates/state/src/memory.rs",
    "crates/state/src/pages/frozen.rs",
    "crates/state/src/pages/mod.rs",
    "crates/state/tests/accounting.rs",
];

fn sources() -> Vec<std::path::PathBuf> {
    files(&root().join("crates"), "rs")
}

#[test]
fn every_file_begins_with_its_purpose() {
    let without = sources().into_iter().filter(|file| !text(file).starts_with("//!"));
    let without: Vec<_> = without.map(|file| shown(&file)).collect();
    assert!(without.is_empty(), "no module doc: {without:#?}");
}

#[test]
fn no_more_than_three_files_import_each_other_in_a_circle() {
    for (name, _) in crates() {
        let graph = imports(&root().join("crates").join(&name).join("src"));
        let found = circles(&graph, 3);
        let found: Vec<Vec<_>> =
            found.iter().map(|circle| circle.iter().map(|f| shown(f)).collect()).collect();
        assert!(found.is_empty(), "import circles: {found:#?}");
    }
}

#[test]
fn imports_between_crates_point_down() {
    let walls: BTreeMap<&str, &[&str]> = WALLS.iter().copied().collect();
    for (name, manifest) in crates() {
        let Some(allowed) = walls.get(name.as_str()) else { continue };
        for ours in dependencies(&manifest) {
            if let Some(ours) = ours.strip_prefix("millstream-") {
                assert!(allowed.contains(&ours), "crates/{name} must not depend on {ours}");
            }
        }
    }
}

#[test]
fn deciding_crates_have_nothing_that_acts() {
    for (name, manifest) in crates().into_iter().filter(|(name, _)| PURE.contains(&name.as_str())) {
        for dependency in dependencies(&manifest) {
            assert!(
                !IMPURE.contains(&dependency.as_str()),
                "crates/{name} depends on {dependency}"
            );
        }
    }
}

#[test]
fn unsafe_code_is_in_the_listed_files_only() {
    for file in sources() {
        let code = text(&file);
        let named = shown(&file);
        let holds = code.contains("#![allow(unsafe_code)]") && !named.starts_with("crates/tidy");
        let listed = UNSAFE.contains(&named.as_str());
        assert!(!holds || listed, "{named} allows unsafe code and is not on the list");
    }
}

#[test]
fn paths_that_the_architecture_names_exist() {
    let page = text(&root().join("ARCHITECTURE.md"));
    let named = page.split('`').skip(1).step_by(2).filter(|code| {
        let path_like = code.starts_with("crates/") || code.starts_with("docs/");
        path_like && !code.contains([' ', '*', '{'])
    });
    let missing: Vec<_> = named.filter(|path| !root().join(path).exists()).collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md names paths that do not exist: {missing:#?}");
}

fn crates() -> Vec<(String, String)> {
    let directory = std::fs::read_dir(root().join("crates")).expect("there are crates");
    let mut found: Vec<_> = directory
        .flatten()
        .filter(|entry| entry.path().join("Cargo.toml").exists())
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, text(&entry.path().join("Cargo.toml")))
        })
        .collect();
    found.sort();
    found
}

/// The names in `[dependencies]`; what tests alone need does not count.
fn dependencies(manifest: &str) -> Vec<String> {
    let section = manifest.split("[dependencies]").nth(1).unwrap_or_default();
    let section = section.split("\n[").next().unwrap_or_default();
    let names = section.lines().filter_map(|line| {
        let name = line.split(['=', '.', ' ']).next()?.trim();
        (!name.is_empty() && !name.starts_with('#')).then(|| name.to_owned())
    });
    names.collect()
}
