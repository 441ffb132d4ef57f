//! Keyed sum: numbers, grouped by key, a running sum that lives in the mapping closure.

use millstream_rivals::Result;
use millstream_rivals::arguments::Arguments;
use millstream_rivals::keys::splitmix64;
use millstream_rivals::report::{Clock, Throughput};
use millstream_rivals::results::Results;
use renoir::{RuntimeConfig, StreamContext};

pub(crate) fn run(mut arguments: Arguments) -> Result<()> {
    let records: u64 = arguments.value("records", 100_000_000)?;
    let keys = arguments.value("keys", 1_000_000)?;
    let parallelism = arguments.value("parallelism", 1)?;
    let results = Results::from_arguments(&mut arguments);
    arguments.finish()?;

    let clock = Clock::start();
    let env = StreamContext::new(RuntimeConfig::local(parallelism as u64)?);
    sum(&env, records, keys, results.clone());
    env.execute_blocking();
    let cost = clock.stop();

    let name = ("keyed_sum", "renoir", "plain");
    Throughput::new(name, parallelism, results.close()?, cost).print();
    Ok(())
}

fn sum(env: &StreamContext, records: u64, keys: u64, mut results: Results<u64>) {
    env.stream_par_iter(0..records)
        .batch_mode(crate::batch_mode())
        .group_by(move |number| splitmix64(*number) % keys)
        .rich_map({
            let mut sum = 0;
            move |(_, number)| {
                sum += number as i64;
                sum
            }
        })
        .for_each(move |(key, sum)| results.accept(&key, sum));
}
