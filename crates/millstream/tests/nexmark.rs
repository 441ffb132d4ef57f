//! The Nexmark queries against the results of Flink, row for row, at several parallelisms.

#[expect(dead_code, reason = "the example answers more queries than have golden rows here")]
#[path = "../examples/nexmark/queries.rs"]
mod queries;

use flate2::read::GzDecoder;
use millstream::api::args::Args;
use millstream::connectors::nexmark::Event;
use millstream::prelude::*;
use millstream::sink::{self, Csv, Format};
use millstream::source;
use serde::Serialize;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

static EVENTS: LazyLock<Vec<Event>> = LazyLock::new(|| {
    let lines = fixture("events.json.gz");
    lines.lines().map(|line| serde_json::from_str(line).expect("an event")).collect()
});

fn fixture(name: &str) -> String {
    let path: PathBuf =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/nexmark").join(name);
    let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut text = String::new();
    if name.ends_with(".gz") {
        GzDecoder::new(&bytes[..]).read_to_string(&mut text).expect("gzip");
    } else {
        text = String::from_utf8(bytes).expect("UTF-8");
    }
    text
}

/// The rows of a query as lines, sorted.
fn rows<T: Record + Serialize>(
    query: impl Fn(DataStream<Event>) -> DataStream<T>,
    parallelism: u32,
) -> Vec<String> {
    let args = Args::parse(["--parallelism".to_owned(), parallelism.to_string()]);
    let env = Env::with_arguments(args.expect("well formed")).expect("embedded");
    env.configure("pipeline.auto-watermark-interval", "1 ms");
    let rows = sink::collect();
    // One source, which keeps the order of arrival; a batch at a time, so that time passes in between.
    let events = env.source("events", source::collection(EVENTS.clone())).set_parallelism(1);
    query(events).sink("rows", rows.clone());
    env.execute("query").expect("nothing fails");
    let line = |row: &T| {
        let mut line = Vec::new();
        Csv::new().write(row, &mut line).expect("a row");
        String::from_utf8(line).expect("UTF-8").trim_end().to_owned()
    };
    let mut lines: Vec<String> = rows.take().iter().map(line).collect();
    lines.sort_unstable();
    lines
}

/// Compares a query with the golden file of its name.
#[track_caller]
fn check<T: Record + Serialize>(golden: &str, query: impl Fn(DataStream<Event>) -> DataStream<T>) {
    let golden = fixture(golden);
    let expected: Vec<&str> = golden.lines().skip(1).collect();
    for parallelism in [1, 2, 4] {
        let rows = rows(&query, parallelism);
        let differs = rows.iter().zip(&expected).position(|(row, expected)| row != expected);
        if let Some(at) = differs {
            panic!("parallelism {parallelism}: row {at} is {}, not {}", rows[at], expected[at]);
        }
        assert_eq!(rows.len(), expected.len(), "parallelism {parallelism}");
    }
}

#[test]
fn q0_passes_bids_on() {
    check("q0.csv.gz", queries::q0);
}

#[test]
fn q1_converts_prices() {
    check("q1.csv.gz", queries::q1);
}

#[test]
fn q2_selects_auctions() {
    check("q2.csv", queries::q2);
}

#[test]
fn q3_joins_sellers_and_auctions() {
    check("q3.csv", queries::q3);
}

#[test]
fn q4_averages_the_highest_bids() {
    check("q4.csv", queries::q4);
}

#[test]
fn q5_finds_the_hottest_auctions_in_sliding_windows() {
    check("q5.csv", queries::q5);
}

#[test]
fn q7_finds_the_highest_bid_of_each_window() {
    check("q7.csv", queries::q7);
}

#[test]
fn q8_finds_new_sellers_by_window() {
    check("q8.csv", queries::q8);
}

#[test]
fn q11_counts_the_bids_of_sessions() {
    check("q11.csv", queries::q11);
}

/// Windows in processing time: Flink drops the last at the end of the input, and so do we.
#[test]
fn q12_counts_no_bid_twice() {
    let counted: u64 = rows(queries::q12, 2)
        .iter()
        .map(|row| {
            row.split(',').nth(1).and_then(|count| count.parse::<u64>().ok()).expect("a row")
        })
        .sum();
    assert!(counted <= 52_800, "{counted}");
}
