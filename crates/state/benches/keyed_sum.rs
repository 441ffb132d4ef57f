//! Running aggregates per key, against a plain `FxHashMap` loop that does the same.
//!
//! `cargo bench -p millstream-state --bench keyed_sum [-- FILTER]`: both sides in turn, five rounds,
//! medians. Each round starts with an empty table and makes, hashes, updates and emits every record;
//! the keys of the engine's side are hashed with `hash64`, those of the other by the map itself.

use millstream_core::{Record, Str};
use millstream_state::KeyedTable;
use rustc_hash::FxHashMap;
use std::cell::LazyCell;
use std::time::Instant;

const BATCH: usize = 1024;
const ROUNDS: usize = 5;

fn splitmix64(i: u64) -> u64 {
    let z = i.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// What one side says of one round.
struct Round {
    /// Everything that was emitted, added up.
    sum: i64,
    memory: usize,
    ns_per_record: f64,
}

/// The records of a round; those of the first part are not timed.
#[derive(Clone, Copy)]
struct Records {
    warm: u64,
    timed: u64,
}

impl Records {
    /// Runs over the records in batches, by way of `(first record, one past the last)`.
    fn run(self, mut batch: impl FnMut(u64, u64)) -> f64 {
        let mut timed_from = Instant::now();
        for start in (0..self.warm + self.timed).step_by(BATCH) {
            if start == self.warm {
                timed_from = Instant::now();
            }
            batch(start, start + BATCH as u64);
        }
        timed_from.elapsed().as_nanos() as f64 / self.timed as f64
    }
}

/// Takes one batch of results away, as the next operator would.
fn consume<K>(out: &mut Vec<(K, i64)>, sum: &mut i64) {
    *sum = out.iter().fold(*sum, |sum, (_, v)| sum.wrapping_add(*v));
    out.clear();
}

#[inline(never)]
fn table_sums<const KEYS: u64>(records: Records) -> Round {
    let mut table = KeyedTable::<u64, i64>::new();
    let mut items = Vec::with_capacity(BATCH);
    let mut hashes = Vec::with_capacity(BATCH);
    let mut out = Vec::with_capacity(BATCH);
    let mut sum = 0;
    let ns_per_record = records.run(|start, end| {
        items.clear();
        items.extend((start..end).map(|i| (splitmix64(i) % KEYS, i as i64)));
        hashes.clear();
        hashes.extend(items.iter().map(|(key, _)| key.hash64()));
        table.update_batch(
            &hashes,
            |i| items[i].0,
            || 0,
            |i, key, sum| {
                *sum += items[i].1;
                out.push((key, *sum));
            },
        );
        consume(&mut out, &mut sum);
    });
    Round { sum, memory: table.memory_bytes(), ns_per_record }
}

#[inline(never)]
fn map_sums<const KEYS: u64>(records: Records) -> Round {
    let mut map = FxHashMap::<u64, i64>::default();
    let mut out = Vec::with_capacity(BATCH);
    let mut sum = 0;
    let ns_per_record = records.run(|start, end| {
        for i in start..end {
            let key = splitmix64(i) % KEYS;
            let value = map.entry(key).or_insert(0);
            *value += i as i64;
            out.push((key, *value));
        }
        consume(&mut out, &mut sum);
    });
    Round { sum, memory: map.capacity() / 7 * 8 * 17, ns_per_record }
}

/// Words with Zipf's frequencies: the word of rank `r` comes up in proportion to `1 / r`.
fn zipf_words(count: usize, vocabulary: usize) -> Vec<Str> {
    let mut reached = 0.0;
    let reach: Vec<f64> = (1..=vocabulary)
        .map(|rank| {
            reached += 1.0 / rank as f64;
            reached
        })
        .collect();
    let word = |rank: usize| {
        let letters = 2 + splitmix64(rank as u64) as usize % 9;
        let text = (0..letters)
            .map(|i| char::from(b'a' + (splitmix64((rank * 16 + i) as u64) % 26) as u8));
        Str::new(&text.collect::<String>())
    };
    let words: Vec<Str> = (0..vocabulary).map(word).collect();
    (0..count)
        .map(|i| {
            let at = splitmix64(i as u64) as f64 / u64::MAX as f64 * reached;
            words[reach.partition_point(|r| *r < at).min(vocabulary - 1)].clone()
        })
        .collect()
}

/// Words in a ring of whole batches.
fn batch_of(words: &[Str], start: u64) -> &[Str] {
    let at = start as usize % words.len();
    &words[at..at + BATCH]
}

#[inline(never)]
fn table_counts(words: &[Str], records: Records) -> Round {
    let mut table = KeyedTable::<Str, i64>::new();
    let mut hashes = Vec::with_capacity(BATCH);
    let mut out = Vec::with_capacity(BATCH);
    let mut sum = 0;
    let ns_per_record = records.run(|start, _| {
        let batch = batch_of(words, start);
        hashes.clear();
        hashes.extend(batch.iter().map(Record::hash64));
        table.update_batch(
            &hashes,
            |i| batch[i].clone(),
            || 0,
            |_, word, count| {
                *count += 1;
                out.push((word, *count));
            },
        );
        consume(&mut out, &mut sum);
    });
    Round { sum, memory: table.memory_bytes(), ns_per_record }
}

#[inline(never)]
fn map_counts(words: &[Str], records: Records) -> Round {
    let mut map = FxHashMap::<Str, i64>::default();
    let mut out = Vec::with_capacity(BATCH);
    let mut sum = 0;
    let ns_per_record = records.run(|start, _| {
        for word in batch_of(words, start) {
            let count = match map.get_mut(word) {
                Some(count) => count,
                None => map.entry(word.clone()).or_insert(0),
            };
            *count += 1;
            out.push((word.clone(), *count));
        }
        consume(&mut out, &mut sum);
    });
    Round { sum, memory: map.capacity() / 7 * 8 * 33, ns_per_record }
}

/// The middle one of five; the count of rounds is odd.
fn median(rounds: &mut [f64]) -> f64 {
    rounds.sort_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}

/// Runs both sides in turn and prints medians, ratio and memory.
fn compare(name: &str, table: impl Fn() -> Round, map: impl Fn() -> Round) {
    let mut filters = std::env::args().skip(1).filter(|arg| !arg.starts_with('-'));
    if filters.any(|filter| !name.contains(&filter)) {
        return;
    }
    let (mut map_ns, mut table_ns, mut ratios) = ([0.0; ROUNDS], [0.0; ROUNDS], [0.0; ROUNDS]);
    let mut memory = (0, 0);
    for round in 0..ROUNDS {
        let (map, table) = (map(), table());
        assert_eq!(map.sum, table.sum, "{name}: both sides emit the same");
        map_ns[round] = map.ns_per_record;
        table_ns[round] = table.ns_per_record;
        ratios[round] = map.ns_per_record / table.ns_per_record;
        memory = (map.memory, table.memory);
    }
    println!(
        "{name:<26} FxHashMap {:6.2} ns  table {:6.2} ns  ratio {:.2}  (MB: {:.1} and {:.1})",
        median(&mut map_ns),
        median(&mut table_ns),
        median(&mut ratios),
        memory.0 as f64 / 1e6,
        memory.1 as f64 / 1e6,
    );
}

fn compare_sums<const KEYS: u64>(name: &str, warm: u64, timed: u64) {
    let records = Records { warm, timed };
    compare(name, || table_sums::<KEYS>(records), || map_sums::<KEYS>(records));
}

fn compare_counts(name: &str, vocabulary: usize) {
    const WORDS: u64 = 2 << 20;
    let words = LazyCell::new(|| zipf_words(WORDS as usize, vocabulary));
    let records = Records { warm: 0, timed: 10 * WORDS };
    compare(name, || table_counts(&words, records), || map_counts(&words, records));
}

fn main() {
    compare_sums::<1_000_000>("u64 sum, 1 M keys", 0, 20 << 20);
    compare_sums::<1_000_000>("u64 sum, 1 M keys, filled", 16 << 20, 16 << 20);
    compare_sums::<1_000>("u64 sum, 1 k keys", 0, 20 << 20);
    compare_sums::<30_000>("u64 sum, 30 k keys", 0, 20 << 20);
    compare_sums::<100_000>("u64 sum, 100 k keys", 0, 20 << 20);
    compare_sums::<10_000_000>("u64 sum, 10 M keys", 0, 20 << 20);
    compare_sums::<10_000_000>("u64 sum, 10 M keys, filled", 64 << 20, 16 << 20);
    compare_counts("Str count, 10 k words", 10_000);
    compare_counts("Str count, 1 M words", 1_000_000);
}
