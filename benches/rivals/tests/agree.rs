//! Every contestant gives the same answers: a rival that does less work proves nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const LOOPS: &str = env!("CARGO_BIN_EXE_loops");
const TIMELY: &str = env!("CARGO_BIN_EXE_timely_rivals");
const RENOIR: &str = env!("CARGO_BIN_EXE_renoir_rivals");

/// Runs one program and returns its answers and the number of records that it reports.
fn run(program: &str, arguments: &str, answers: &Path) -> (String, u64) {
    let output = Command::new(program)
        .args(arguments.split(' '))
        .arg("--answers")
        .arg(answers)
        .output()
        .unwrap();
    assert!(output.status.success(), "{program} {arguments}: {output:?}");
    let line: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = fs::read_to_string(answers).unwrap();
    (text, line["records"].as_u64().unwrap())
}

#[track_caller]
fn check(jobs: &[(&str, &str)], expected: &str, records: u64, folder: &Path) {
    for (program, arguments) in jobs {
        let (answers, counted) = run(program, arguments, &folder.join("answers"));
        assert!(answers == expected, "other answers: {program} {arguments}");
        assert_eq!(counted, records, "{program} {arguments}");
    }
}

fn lines<K: std::fmt::Display, V: std::fmt::Display>(map: &BTreeMap<K, V>) -> String {
    map.iter().map(|(key, value)| format!("{key} {value}\n")).collect()
}

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn word_counts_agree_with_a_count_by_hand() {
    let folder = folder("wordcount");
    let input = folder.join("text.txt");
    millstream_rivals::corpus::write(&input, 300_000, 2_000, 3).unwrap();
    let text = fs::read_to_string(&input).unwrap();
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for word in text.split_whitespace() {
        *counts.entry(word).or_default() += 1;
    }

    let job = format!("wordcount --input {}", input.display());
    let (p2, combined) = (format!("{job} --parallelism 2"), "--variant combined");
    let jobs = [
        (LOOPS, job.as_str()),
        (TIMELY, &job),
        (TIMELY, &p2),
        (RENOIR, &job),
        (RENOIR, &p2),
        (RENOIR, &format!("{p2} {combined}")),
    ];
    check(&jobs, &lines(&counts), counts.values().sum(), &folder);
}

#[test]
fn keyed_sums_agree_with_a_sum_by_hand() {
    const RECORDS: u64 = 100_003;
    const KEYS: u64 = 1_000;
    let mut sums: BTreeMap<u64, u64> = BTreeMap::new();
    for number in 0..RECORDS {
        let key = millstream_rivals::keys::splitmix64(number) % KEYS;
        *sums.entry(key).or_default() += number;
    }

    let job = format!("keyed_sum --records {RECORDS} --keys {KEYS}");
    let p2 = format!("{job} --parallelism 2");
    let exchange = job.replace("keyed_sum", "keyed_sum_exchange");
    let jobs = [
        (LOOPS, job.as_str()),
        (LOOPS, &exchange),
        (TIMELY, &job),
        (TIMELY, &p2),
        (RENOIR, &job),
        (RENOIR, &p2),
    ];
    check(&jobs, &lines(&sums), RECORDS, &folder("keyed_sum"));
}

#[test]
fn nexmark_rows_agree_between_loop_and_timely() {
    for query in ["q0", "q1", "q2"] {
        check_nexmark(query, &[""]);
    }
}

#[test]
fn nexmark_rows_of_windows_and_changes_agree_between_loop_and_timely() {
    for query in ["q4", "q5", "q7", "q8"] {
        check_nexmark(query, &["", " --parallelism 2"]);
    }
}

#[track_caller]
fn check_nexmark(query: &str, how: &[&str]) {
    let folder = folder(query);
    let job = format!("nexmark --query {query} --events 60000 --set development");
    let (expected, records) = run(LOOPS, &job, &folder.join("expected"));
    assert!(expected.lines().count() > 4, "{query} has rows");
    for how in how {
        check(&[(TIMELY, &format!("{job}{how}"))], &expected, records, &folder);
    }
}
