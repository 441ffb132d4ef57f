//! Windows beside the same work written by hand, in one process:
//! `window_count [--records N] [--keys K] [--size-ms MS] [--slide-ms MS]`.
//!
//! Record `i` has the key `splitmix64(i) mod K` and the time `i / 10` ms: 10,000 records per second of event
//! time. Records per key and window are counted. The loop has a hash map per pane and takes the end of a
//! window as soon as a record is past it. The results of both are added up and have to be equal.

use millstream::prelude::*;
use millstream::{sink, source};
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

millstream::allocator!();

/// The output function of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
fn splitmix64(i: u64) -> u64 {
    let z = i.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// What is counted.
#[derive(Clone, Copy)]
struct Work {
    records: u64,
    keys: u64,
    size: i64,
    slide: i64,
}

impl Work {
    fn record(self, i: u64) -> (u64, i64) {
        (splitmix64(i) % self.keys, (i / 10) as i64)
    }
}

/// A sum that does not depend on the order of results.
fn digest(key: u64, end: i64, count: u64) -> u64 {
    splitmix64(key ^ (end as u64).rotate_left(32)).wrapping_mul(count)
}

fn engine(env: &Env, work: Work) -> Result<u64> {
    let total = Arc::new(AtomicU64::new(0));
    let sum = total.clone();
    let strategy = WatermarkStrategy::for_monotonous_timestamps()
        .with_timestamp_assigner(|record: &(u64, i64)| record.1);
    let millis = |millis: i64| Duration::from_millis(millis.unsigned_abs());
    env.source("numbers", source::generator(Some(work.records), move |i| work.record(i)))
        .assign_timestamps_and_watermarks(strategy)
        .key_by(|(key, _)| *key)
        .window(SlidingEventTimeWindows::of(millis(work.size), millis(work.slide)))
        .count()
        .name("count")
        .sink(
            "digest",
            sink::for_each(move |counted: Windowed<u64, u64>| {
                let digest = digest(counted.key, counted.window.end, counted.value);
                sum.fetch_add(digest, Ordering::Relaxed);
            }),
        );
    env.execute("window_count")?;
    Ok(total.load(Ordering::Relaxed))
}

/// Multiplies and shifts: about as cheap as a hash of a number can be.
#[derive(Default)]
struct Multiply(u64);

impl Hasher for Multiply {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _bytes: &[u8]) {
        unreachable!("keys are numbers")
    }

    fn write_u64(&mut self, key: u64) {
        let product = key.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = product ^ (product >> 32);
    }
}

type Counts = HashMap<u64, u64, BuildHasherDefault<Multiply>>;

fn by_hand(work: Work) -> u64 {
    let Work { size, slide, .. } = work;
    let mut panes: BTreeMap<i64, Counts> = BTreeMap::new();
    let (mut total, mut end) = (0_u64, slide);
    let mut pane_at = (i64::MIN, Counts::default());
    for i in 0..work.records {
        let (key, time) = work.record(i);
        let pane = time / slide * slide;
        if pane != pane_at.0 {
            let counts = std::mem::replace(&mut pane_at, (pane, Counts::default()));
            if !counts.1.is_empty() {
                panes.insert(counts.0, counts.1);
            }
            while end <= pane {
                total = total.wrapping_add(close(&mut panes, end, size));
                end += slide;
            }
        }
        *pane_at.1.entry(key).or_insert(0) += 1;
    }
    panes.insert(pane_at.0, pane_at.1);
    while !panes.is_empty() {
        total = total.wrapping_add(close(&mut panes, end, size));
        end += slide;
    }
    total
}

/// Joins the panes of the window that ends here, and drops the first if no other needs it.
fn close(panes: &mut BTreeMap<i64, Counts>, end: i64, size: i64) -> u64 {
    let start = end - size;
    let mut joined = Counts::default();
    for counts in panes.range(start..end).map(|(_, counts)| counts) {
        if joined.is_empty() {
            joined.clone_from(counts);
        } else {
            for (key, count) in counts {
                *joined.entry(*key).or_insert(0) += count;
            }
        }
    }
    panes.remove(&start);
    joined.iter().fold(0, |total, (key, count)| total.wrapping_add(digest(*key, end, *count)))
}

fn main() -> Result<()> {
    let env = Env::from_args()?;
    let records = env.arg_parsed::<u64>("records")?.unwrap_or(10_000_000);
    let keys = env.arg_parsed::<u64>("keys")?.unwrap_or(1_000).max(1);
    let size = env.arg_parsed::<i64>("size-ms")?.unwrap_or(10_000).max(1);
    let slide = env.arg_parsed::<i64>("slide-ms")?.unwrap_or(size).max(1);
    assert!(size % slide == 0, "the loop by hand knows windows of whole panes only");
    let work = Work { records, keys, size, slide };

    let begin = Instant::now();
    let expected = by_hand(work);
    let hand = begin.elapsed();
    let begin = Instant::now();
    let found = engine(&env, work)?;
    let engine = begin.elapsed();
    assert_eq!(found, expected, "both count the same");

    let million = records as f64 / 1e6;
    println!(
        "window {size} ms, slide {slide} ms, {keys} keys: by hand {:.1} M/s, engine {:.1} M/s, \
         ratio {:.2}",
        million / hand.as_secs_f64(),
        million / engine.as_secs_f64(),
        hand.as_secs_f64() / engine.as_secs_f64(),
    );
    Ok(())
}
