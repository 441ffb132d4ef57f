//! WordCount: lines, words, exchange by word, one map of running counts per worker.

use std::hash::BuildHasher;
use std::path::PathBuf;

use millstream_rivals::arguments::Arguments;
use millstream_rivals::report::{Clock, Throughput};
use millstream_rivals::results::Results;
use millstream_rivals::{Result, lines};
use rustc_hash::{FxBuildHasher, FxHashMap};
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::vec::{Map, ToStream};
use timely::dataflow::operators::{Inspect, Operator};

use crate::cluster;

pub(crate) fn run(mut arguments: Arguments) -> Result<()> {
    let input = PathBuf::from(arguments.required("input")?);
    let parallelism = arguments.value("parallelism", 1)?;
    let results = Results::from_arguments(&mut arguments);
    arguments.finish()?;

    let clock = Clock::start();
    count(input, parallelism, results.clone())?;
    let cost = clock.stop();

    let name = ("wordcount", "timely", "plain");
    Throughput::new(name, parallelism, results.close()?, cost).print();
    Ok(())
}

fn count(input: PathBuf, parallelism: usize, results: Results<str>) -> Result<Vec<()>> {
    cluster::run(cluster::threads(parallelism), move |worker| {
        let lines = lines::share(&input, worker.index(), worker.peers())
            .expect("the input file can be read");
        let mut results = results.clone();
        worker.dataflow::<u64, _, _>(|scope| {
            lines
                .to_stream(scope)
                .flat_map(|line: String| {
                    line.split_ascii_whitespace().map(str::to_owned).collect::<Vec<_>>()
                })
                .unary(
                    Exchange::new(|word: &String| FxBuildHasher.hash_one(word)),
                    "Count",
                    |_, _| {
                        let mut counts: FxHashMap<String, i64> = FxHashMap::default();
                        move |input, output| {
                            input.for_each_time(|time, batches| {
                                let mut session = output.session(&time);
                                for word in batches.flat_map(|batch| batch.drain(..)) {
                                    let count = match counts.get_mut(&word) {
                                        Some(count) => count,
                                        None => counts.entry(word.clone()).or_insert(0),
                                    };
                                    *count += 1;
                                    session.give((word, *count));
                                }
                            });
                        }
                    },
                )
                .container::<Vec<_>>()
                .inspect(move |(word, count): &(String, i64)| results.accept(word, *count));
        });
    })
}
