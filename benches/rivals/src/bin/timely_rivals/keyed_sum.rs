//! Keyed sum: numbers, exchange by key, one map of running sums per worker.

use millstream_rivals::Result;
use millstream_rivals::arguments::Arguments;
use millstream_rivals::keys::splitmix64;
use millstream_rivals::report::{Clock, Throughput};
use millstream_rivals::results::Results;
use rustc_hash::FxHashMap;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::vec::ToStream;
use timely::dataflow::operators::{Inspect, Operator};

use crate::cluster;

pub(crate) fn run(mut arguments: Arguments) -> Result<()> {
    let records = arguments.value("records", 100_000_000)?;
    let keys = arguments.value("keys", 1_000_000)?;
    let parallelism = arguments.value("parallelism", 1)?;
    let results = Results::from_arguments(&mut arguments);
    arguments.finish()?;

    let clock = Clock::start();
    sum(records, keys, parallelism, results.clone())?;
    let cost = clock.stop();

    let name = ("keyed_sum", "timely", "plain");
    Throughput::new(name, parallelism, results.close()?, cost).print();
    Ok(())
}

fn sum(records: u64, keys: u64, parallelism: usize, results: Results<u64>) -> Result<Vec<()>> {
    cluster::run(cluster::threads(parallelism), move |worker| {
        let numbers = (worker.index() as u64..records).step_by(worker.peers());
        let mut results = results.clone();
        worker.dataflow::<u64, _, _>(|scope| {
            numbers
                .map(move |number| (splitmix64(number) % keys, number as i64))
                .to_stream(scope)
                .unary(Exchange::new(|record: &(u64, i64)| record.0), "Sum", |_, _| {
                    let mut sums: FxHashMap<u64, i64> = FxHashMap::default();
                    move |input, output| {
                        input.for_each_time(|time, batches| {
                            let mut session = output.session(&time);
                            for (key, number) in batches.flat_map(|batch| batch.drain(..)) {
                                let sum = sums.entry(key).or_insert(0);
                                *sum += number;
                                session.give((key, *sum));
                            }
                        });
                    }
                })
                .container::<Vec<_>>()
                .inspect(move |(key, sum): &(u64, i64)| results.accept(key, *sum));
        });
    })
}
