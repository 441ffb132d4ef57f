//! Keyed sum: one map of running sums, one thread.

use millstream_rivals::Result;
use millstream_rivals::arguments::Arguments;
use millstream_rivals::keys::splitmix64;
use millstream_rivals::report::{Clock, Throughput};
use millstream_rivals::results::Results;
use rustc_hash::FxHashMap;

pub(crate) fn run(mut arguments: Arguments) -> Result<()> {
    let records = arguments.value("records", 100_000_000)?;
    let keys = arguments.value("keys", 1_000_000)?;
    let mut results = Results::from_arguments(&mut arguments);
    arguments.finish()?;

    let clock = Clock::start();
    sum(records, keys, &mut results);
    let cost = clock.stop();

    let records = results.close()?;
    Throughput::new(("keyed_sum", "loop", "plain"), 1, records, cost).print();
    Ok(())
}

fn sum(records: u64, keys: u64, results: &mut Results<u64>) {
    let mut sums: FxHashMap<u64, i64> = FxHashMap::default();
    for number in 0..records {
        let key = splitmix64(number) % keys;
        let sum = sums.entry(key).or_insert(0);
        *sum += number as i64;
        results.accept(&key, *sum);
    }
}
