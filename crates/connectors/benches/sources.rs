//! What a record of each source costs against a loop by hand that makes the same records.
//! `cargo bench -p millstream-connectors --bench sources`

mod measure;

use measure::{BATCH, Run, Temporary, compare, fixture, forget, poll_all};
use millstream_connectors::nexmark::{self, Config, Event, timestamp};
use millstream_connectors::sink::{Csv, Format, JsonLines};
use millstream_connectors::source::{generator, json_lines};
use std::hint::black_box;
use std::io::BufRead;

fn main() {
    numbers();
    nexmark_events();
    json();
    times();
    formats();
}

/// A cheap record: a few nanoseconds are seen.
fn numbers() {
    const COUNT: u64 = 10_000_000;
    let make = |n: u64| (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 44, n as i64);
    let paced = generator(Some(COUNT), make).rate(1 << 60);
    compare(
        COUNT as usize,
        "generated pair of numbers",
        vec![
            Run::new("a loop that pushes into batches", || {
                let mut batch = Vec::with_capacity(BATCH);
                for n in 0..COUNT {
                    batch.push(make(n));
                    if batch.len() == BATCH {
                        forget(&mut batch);
                    }
                }
            }),
            Run::new("generator", || poll_all(&generator(Some(COUNT), make), forget)),
            Run::new("generator with a rate", || poll_all(&paced, forget)),
        ],
    );
}

fn nexmark_events() {
    const COUNT: u64 = 500_000;
    let nexmark = nexmark::generator(Config::default());
    compare(
        COUNT as usize,
        "Nexmark event",
        vec![
            Run::new("the iterator", || nexmark.iter().take(COUNT as usize).for_each(drop)),
            Run::new("the source", || poll_all(&nexmark.source(Some(COUNT)), forget)),
        ],
    );
}

fn json() {
    const COPIES: usize = 5;
    let text = fixture("nexmark/events.json.gz").repeat(COPIES);
    let file = Temporary::write("json-bench", &text);
    let source = json_lines::<Event>(&file.0);
    compare(
        text.lines().count(),
        "event of JSON",
        vec![
            Run::new("serde_json::from_str over lines in memory", || {
                let mut batch: Vec<Event> = Vec::with_capacity(BATCH);
                for line in text.lines() {
                    batch.push(serde_json::from_str(line).expect("it is an event"));
                    if batch.len() == BATCH {
                        forget(&mut batch);
                    }
                }
            }),
            Run::new("BufReader::lines and serde_json::from_str", || {
                let lines = std::io::BufReader::new(std::fs::File::open(&file.0).expect("there"));
                for line in lines.lines() {
                    let line = line.expect("it is readable");
                    black_box(serde_json::from_str::<Event>(&line).expect("it is an event"));
                }
            }),
            Run::new("json_lines", || poll_all(&source, forget)),
        ],
    );
}

fn times() {
    const COUNT: i64 = 1_000_000;
    let texts: Vec<String> = (0..COUNT)
        .map(|n| timestamp::text(n * 86_400_003 % 2_000_000_000_000).to_string())
        .collect();
    compare(
        COUNT as usize,
        "time as text",
        vec![
            Run::new("parse", || {
                for text in &texts {
                    black_box(timestamp::parse(text));
                }
            }),
            Run::new("show", || {
                use std::io::Write;
                let mut out = Vec::with_capacity(64);
                for n in 0..COUNT {
                    out.clear();
                    write!(out, "{}", timestamp::text(n * 1_700_003)).expect("a vector takes all");
                    black_box(&out);
                }
            }),
        ],
    );
}

fn formats() {
    const COUNT: usize = 200_000;
    let bids: Vec<_> =
        nexmark::generator(Config::default()).iter().filter_map(Event::bid).take(COUNT).collect();
    compare(
        COUNT,
        "bid written",
        vec![
            Run::new("serde_json::to_string", || {
                for bid in &bids {
                    black_box(serde_json::to_string(bid).expect("it has a form"));
                }
            }),
            Run::new("JSON lines", || write_all(JsonLines, &bids)),
            Run::new("CSV", || write_all(Csv::new(), &bids)),
        ],
    );
}

fn write_all<T>(mut format: impl Format<T>, records: &[T]) {
    const FULL: usize = 128 * 1024;
    let mut out = Vec::with_capacity(2 * FULL);
    for record in records {
        format.write(record, &mut out).expect("it has a form");
        if out.len() > FULL {
            forget(&mut out);
        }
    }
}
