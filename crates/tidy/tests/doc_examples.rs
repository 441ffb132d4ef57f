//! Each verb that users write has an example in its documentation, which runs as a test.

use millstream_tidy::{root, text};

/// Where the verbs are.
const FILES: &[&str] = &[
    "best_of_key",
    "connected_streams",
    "data_stream",
    "environment",
    "executor",
    "joined_streams",
    "keyed_stream",
    "stateful_windows",
    "window_extremes",
    "windowed_stream",
];

/// What the facade calls and users do not, and what needs a cluster.
const WITHOUT: &[&str] =
    &["environment::with_executor", "executor::new", "executor::stop_with_savepoint"];

/// Public functions without an example, as `file::function`.
fn verbs_without_example(file: &str) -> Vec<String> {
    let source = text(&root().join("crates/api/src").join(format!("{file}.rs")));
    let (mut has_example, mut without) = (false, Vec::new());
    for line in source.lines().map(str::trim) {
        if let Some(documentation) = line.strip_prefix("///") {
            has_example |= documentation.trim().starts_with("```");
        } else if !line.starts_with("#[") {
            let name = line.strip_prefix("pub fn ").and_then(|rest| rest.split(['(', '<']).next());
            without.extend(name.filter(|_| !has_example).map(|name| format!("{file}::{name}")));
            has_example = false;
        }
    }
    without
}

#[test]
fn every_verb_of_the_api_has_an_example_that_runs() {
    let without: Vec<String> = FILES.iter().flat_map(|file| verbs_without_example(file)).collect();
    assert_eq!(without, WITHOUT, "write an example, or take what has one off the list");
}
