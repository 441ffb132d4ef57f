//! Keyed sum: one map of running sums, one thread.

use std::hint::black_box;

use millstream_rivals::Result;
use millstream_rivals::arguments::Arguments;
use millstream_rivals::keys::splitmix64;
use millstream_rivals::report::{Clock, Throughput};
use millstream_rivals::results;
use rustc_hash::FxHashMap;

pub(crate) fn run(mut arguments: Arguments) -> Result<()> {
    let records = arguments.value("records", 100_000_000)?;
    let keys = arguments.value("keys", 1_000_000)?;
    let answers = arguments.text("answers");
    arguments.finish()?;

    let clock = Clock::start();
    let sums = sum(records, keys);
    let cost = clock.stop();

    if let Some(path) = answers {
        results::write_answers(path.as_ref(), sums.iter())?;
    }
    Throughput::new(("keyed_sum", "loop", "plain"), 1, records, cost).print();
    Ok(())
}

fn sum(records: u64, keys: u64) -> FxHashMap<u64, i64> {
    let mut sums = FxHashMap::default();
    for number in 0..records {
        let key = splitmix64(number) % keys;
        let sum = sums.entry(key).or_insert(0);
        *sum += number as i64;
        black_box(*sum);
    }
    sums
}
