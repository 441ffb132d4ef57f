//! Records of 100 bytes between two processes, one worker each.
//!
//! `one-way`: the second process makes all records, the first takes them: each one is sent.
//! `both-ways`: each process makes half of them and they go by number: half of them are sent.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use millstream_rivals::Result;
use millstream_rivals::arguments::Arguments;
use millstream_rivals::report::{Clock, Throughput};
use millstream_rivals::wide::Wide;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Operator;
use timely::dataflow::operators::vec::ToStream;

use crate::cluster::{self, Processes};

pub(crate) fn run(mut arguments: Arguments) -> Result<()> {
    let records: u64 = arguments.value("records", 20_000_000)?;
    let pattern = arguments.value("pattern", "one-way".to_owned())?;
    let processes = Processes::from_arguments(&mut arguments)?;
    arguments.finish()?;
    let one_way = match pattern.as_str() {
        "one-way" => true,
        "both-ways" => false,
        _ => return Err(format!("no pattern {pattern:?}, but one-way, both-ways").into()),
    };

    if !processes.is_first() {
        let (received, _) = shuffle(records, one_way, &processes)?;
        println!("{received}");
        return Ok(());
    }
    let clock = Clock::start();
    let second = processes.spawn_second()?;
    let (mut received, connected) = shuffle(records, one_way, &processes)?;
    let seconds = connected.elapsed().as_secs_f64();
    received += second.finish()?.parse::<u64>()?;
    let mut cost = clock.stop();
    // Not what it takes to find each other: timely looks for the other process once a second.
    cost.seconds = seconds;

    if received != records {
        return Err(format!("{received} records arrived of {records}").into());
    }
    Throughput::new(("shuffle", "timely", &pattern), 2, received, cost).print();
    Ok(())
}

/// Runs this process's worker; tells how many records it took, and since when it could send.
fn shuffle(records: u64, one_way: bool, processes: &Processes) -> Result<(u64, Instant)> {
    let received = Arc::new(AtomicU64::new(0));
    let counter = received.clone();
    let connected = cluster::run(processes.config(), move |worker| {
        let connected = Instant::now();
        let numbers = match (one_way, worker.index()) {
            (false, index) => (index as u64..records).step_by(worker.peers()),
            (true, 1) => (0..records).step_by(1),
            (true, _) => (0..0).step_by(1),
        };
        let counter = counter.clone();
        worker.dataflow::<u64, _, _>(|scope| {
            let target = move |record: &Wide| if one_way { 0 } else { record.number / 2 };
            numbers.map(Wide::new).to_stream(scope).sink(
                Exchange::new(target),
                "Count",
                move |(input, _)| {
                    input.for_each_time(|_, batches| {
                        for batch in batches {
                            counter.fetch_add(batch.len() as u64, Ordering::Relaxed);
                            batch.drain(..).for_each(|record| {
                                black_box(&record);
                            });
                        }
                    });
                },
            );
        });
        connected
    })?;
    Ok((received.load(Ordering::Relaxed), connected[0]))
}
