//! What the queries have to give: the rows of Flink, or, where Flink's are not to be had, what the events
//! themselves say.

use crate::job::EVENTS;
use crate::queries::side_input::{KEYS, side_input};
use flate2::read::GzDecoder;
use millstream::connectors::nexmark::{Bid, Event, timestamp};
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// What the sorted rows of a query have to be.
pub(crate) enum Expected {
    /// These, sorted.
    Rows(Vec<String>),
    /// So many with this digest: Flink's rows are not here because of their size.
    Digest { rows: usize, digest: u128 },
    /// At most so many bids of each bidder: what is counted by the clock, except in the last window.
    AtMost(BTreeMap<String, u64>),
}

/// What a query has to give.
pub(crate) fn expected(name: &str) -> Expected {
    match name {
        "q10" => computed(|bid| {
            let time = bid.date_time;
            let (day, minute) = (timestamp::day(time), timestamp::minute(time));
            format!("{},{day},{minute}", q0_row(bid))
        }),
        "q12" => {
            let mut counts = BTreeMap::new();
            for bid in bids() {
                *counts.entry(bid.bidder.to_string()).or_insert(0) += 1;
            }
            Expected::AtMost(counts)
        }
        "q13" => {
            let values: BTreeMap<i64, _> = side_input().collect();
            computed(|bid| {
                let Bid { auction, bidder, price, date_time, .. } = bid;
                let value = &values[&(auction % KEYS)];
                format!("{auction},{bidder},{price},{},{value}", timestamp::text(*date_time))
            })
        }
        "q9" | "q18" | "q21" | "q22" => digest(name),
        _ => Expected::Rows(golden(name)),
    }
}

impl Expected {
    /// Compares the rows of a query, in any order.
    #[track_caller]
    pub(crate) fn check(&self, what: &str, mut rows: Vec<String>) {
        rows.sort_unstable();
        match self {
            Self::Rows(expected) => {
                let differs = rows.iter().zip(expected).position(|(row, expected)| row != expected);
                if let Some(at) = differs {
                    panic!("{what}: row {at} is {}, not {}", rows[at], expected[at]);
                }
                assert_eq!(rows.len(), expected.len(), "{what}: rows");
            }
            Self::Digest { rows: count, digest } => {
                assert_eq!(rows.len(), *count, "{what}: rows");
                assert_eq!(fnv1a(&rows), *digest, "{what}: the digest of the sorted rows");
            }
            Self::AtMost(counts) => {
                let mut found: BTreeMap<&str, u64> = BTreeMap::new();
                for row in &rows {
                    let mut columns = row.split(',');
                    let bidder = columns.next().expect("a bidder");
                    let count = columns.next().and_then(|count| count.parse::<u64>().ok());
                    *found.entry(bidder).or_default() += count.expect("a count");
                }
                for (bidder, count) in found {
                    assert!(count <= counts[bidder], "{what}: {bidder} has {count} bids");
                }
            }
        }
    }
}

fn bids() -> impl Iterator<Item = &'static Bid> {
    EVENTS.iter().filter_map(|event| match event {
        Event::Bid(bid) => Some(bid),
        _ => None,
    })
}

fn computed(row: impl Fn(&Bid) -> String) -> Expected {
    let mut rows: Vec<String> = bids().map(row).collect();
    rows.sort_unstable();
    Expected::Rows(rows)
}

fn q0_row(bid: &Bid) -> String {
    let Bid { auction, bidder, price, date_time, extra, .. } = bid;
    format!("{auction},{bidder},{price},{},{extra}", timestamp::text(*date_time))
}

/// The rows in a golden file, which are sorted.
fn golden(name: &str) -> Vec<String> {
    let names = [format!("{name}.csv"), format!("{name}.csv.gz")];
    let name = names.iter().find(|name| path(name).exists()).expect("a golden file");
    fixture(name).lines().skip(1).map(str::to_owned).collect()
}

fn digest(name: &str) -> Expected {
    let digests = fixture("digests.txt");
    let mut lines = digests.lines().map(|line| line.split(' '));
    let mut line = lines.find(|line| line.clone().next() == Some(name)).expect("a digest");
    let rows = line.nth(1).and_then(|rows| rows.parse().ok()).expect("a number of rows");
    let digest = line.next().and_then(|digest| u128::from_str_radix(digest, 16).ok());
    Expected::Digest { rows, digest: digest.expect("a digest") }
}

/// FNV-1a with 128 bits, of the rows with their newlines.
fn fnv1a(rows: &[String]) -> u128 {
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let bytes = rows.iter().flat_map(|row| row.bytes().chain([b'\n']));
    bytes.fold(BASIS, |digest, byte| (digest ^ u128::from(byte)).wrapping_mul(PRIME))
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/nexmark").join(name)
}

/// A file of the fixtures as text.
pub(crate) fn fixture(name: &str) -> String {
    let path = path(name);
    let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    if !name.ends_with(".gz") {
        return String::from_utf8(bytes).expect("UTF-8");
    }
    let mut text = String::new();
    GzDecoder::new(&bytes[..]).read_to_string(&mut text).expect("gzip");
    text
}
