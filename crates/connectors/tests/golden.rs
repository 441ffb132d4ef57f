//! The connectors against results of Apache Flink 2.3.0: Nexmark q0 to q2 and WordCount, computed in
//! plain Rust from what the sources give, and written by the sinks.

use flate2::read::GzDecoder;
use millstream_connectors::harness::{read_all, write_all};
use millstream_connectors::nexmark::{self, Bid, Decimal3, Event, timestamp};
use millstream_connectors::{sink, source};
use millstream_core::Str;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

/// A fixture, unpacked if it is packed.
fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name);
    let mut file = File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut text = String::new();
    let read = if name.ends_with(".gz") {
        GzDecoder::new(file).read_to_string(&mut text)
    } else {
        file.read_to_string(&mut text)
    };
    read.expect("the fixture is text");
    text
}

/// A directory for one test, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("golden-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("the temporary directory can be written");
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).expect("it can be written");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Reads the events, lets `query` make rows of the bids, writes those as CSV, and compares the sorted
/// file with the golden one.
#[track_caller]
fn check<R: Serialize + 'static>(
    query: &str,
    golden: &str,
    columns: &[&str],
    row: impl Fn(Bid) -> Option<R>,
) {
    let scratch = Scratch::new(query);
    let events = scratch.write("events.json", &fixture("nexmark/events.json.gz"));
    let source = source::json_lines::<Event>(events).split_bytes(1 << 20);
    let events = read_all(&source, 3).expect("the events are readable");
    assert_eq!(events.len(), 60_000);

    let rows = events.into_iter().filter_map(Event::bid).filter_map(row);
    let out = scratch.0.join("out");
    let names = columns.iter().copied();
    write_all(&sink::csv(&out).header(names), rows).expect("it can be written");

    let written = fs::read_to_string(out.join("part-0.csv")).expect("the part is there");
    let mut lines: Vec<&str> = written.lines().collect();
    lines[1..].sort_unstable();
    let golden = fixture(golden);
    assert!(lines.iter().copied().eq(golden.lines()), "{query} differs from Flink's result");
}

#[derive(Serialize)]
struct Row<P> {
    auction: i64,
    bidder: i64,
    price: P,
    #[serde(with = "timestamp")]
    date_time: i64,
    extra: Str,
}

const BID_COLUMNS: [&str; 5] = ["auction", "bidder", "price", "dateTime", "extra"];

#[test]
fn q0_passes_bids_through_as_flink_does() {
    check("q0", "nexmark/q0.csv.gz", &BID_COLUMNS, |bid| {
        let Bid { auction, bidder, price, date_time, extra, .. } = bid;
        Some(Row { auction, bidder, price, date_time, extra })
    });
}

#[test]
fn q1_converts_prices_as_flink_does() {
    check("q1", "nexmark/q1.csv.gz", &BID_COLUMNS, |bid| {
        let Bid { auction, bidder, price, date_time, extra, .. } = bid;
        let price: Decimal3 = nexmark::euros(price);
        Some(Row { auction, bidder, price, date_time, extra })
    });
}

#[test]
fn q2_selects_bids_as_flink_does() {
    check("q2", "nexmark/q2.csv", &["auction", "price"], |bid| {
        (bid.auction % 123 == 0).then_some((bid.auction, bid.price))
    });
}

#[test]
fn events_written_as_json_are_the_lines_that_were_read() {
    let scratch = Scratch::new("json");
    let text = fixture("nexmark/events.json.gz");
    let source = source::json_lines::<Event>(scratch.write("events.json", &text));
    let events = read_all(&source, 1).expect("the events are readable");
    let out = scratch.0.join("out");
    write_all(&sink::json_lines(&out), events).expect("it can be written");
    let written = fs::read_to_string(out.join("part-0.jsonl")).expect("the part is there");
    assert!(written == text);
}

#[test]
fn words_are_counted_as_flink_does() {
    let scratch = Scratch::new("words");
    let source = source::text_files(scratch.write("text.txt", &fixture("wordcount/text.txt.gz")));
    for parallelism in [1, 3] {
        let lines = read_all(&source.clone().split_bytes(100_000), parallelism);
        let mut counts: BTreeMap<Str, u64> = BTreeMap::new();
        for line in lines.expect("the text is readable") {
            line.words().for_each(|word| *counts.entry(word).or_default() += 1);
        }
        let counts = counts.iter().map(|(word, count)| format!("{word} {count}"));
        assert!(counts.eq(fixture("wordcount/counts.txt").lines()));
    }
}
