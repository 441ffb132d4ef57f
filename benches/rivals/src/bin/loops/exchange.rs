//! Keyed sum on two cores: two threads make records and send them by key to two threads that sum.
//!
//! One bounded channel of std per summing thread; what moves is a vector of 1,024 records.

use std::hash::BuildHasher;
use std::hint::black_box;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use millstream_rivals::Result;
use millstream_rivals::arguments::Arguments;
use millstream_rivals::keys::splitmix64;
use millstream_rivals::report::{Clock, Throughput};
use millstream_rivals::results;
use rustc_hash::{FxBuildHasher, FxHashMap};

const PARALLELISM: usize = 2;
const BATCH: usize = 1024;
/// Batches that a channel holds before its senders wait.
const CHANNEL_BATCHES: usize = 16;

type Batch = Vec<(u64, i64)>;
type Sums = FxHashMap<u64, i64>;

pub(crate) fn run(mut arguments: Arguments) -> Result<()> {
    let records = arguments.value("records", 100_000_000)?;
    let keys = arguments.value("keys", 1_000_000)?;
    let answers = arguments.text("answers");
    arguments.finish()?;

    let clock = Clock::start();
    let sums = exchange(records, keys);
    let cost = clock.stop();

    if let Some(path) = answers {
        results::write_answers(path.as_ref(), sums.iter().flatten())?;
    }
    let name = ("keyed_sum", "loop", "exchange");
    Throughput::new(name, PARALLELISM, records, cost).print();
    Ok(())
}

/// The sums of each summing thread.
fn exchange(records: u64, keys: u64) -> Vec<Sums> {
    let (senders, receivers): (Vec<_>, Vec<_>) =
        (0..PARALLELISM).map(|_| sync_channel(CHANNEL_BATCHES)).unzip();
    thread::scope(|scope| {
        for index in 0..PARALLELISM as u64 {
            let numbers = (index..records).step_by(PARALLELISM);
            let senders = senders.clone();
            scope.spawn(move || generate(numbers, keys, &senders));
        }
        // The summing threads end when the last sender is gone.
        drop(senders);
        let summing: Vec<_> =
            receivers.into_iter().map(|batches| scope.spawn(move || sum(batches))).collect();
        summing.into_iter().map(|thread| thread.join().expect("summing does not panic")).collect()
    })
}

fn generate(numbers: impl Iterator<Item = u64>, keys: u64, senders: &[SyncSender<Batch>]) {
    let mut batches: Vec<Batch> = senders.iter().map(|_| Batch::with_capacity(BATCH)).collect();
    for number in numbers {
        let key = splitmix64(number) % keys;
        let target = partition(key);
        let batch = &mut batches[target];
        batch.push((key, number as i64));
        if batch.len() == BATCH {
            let full = std::mem::replace(batch, Batch::with_capacity(BATCH));
            senders[target].send(full).expect("receivers outlive senders");
        }
    }
    for (sender, rest) in senders.iter().zip(batches) {
        sender.send(rest).expect("receivers outlive senders");
    }
}

/// By a bit of the hash that the map's own index and tags leave alone.
#[inline]
fn partition(key: u64) -> usize {
    (FxBuildHasher.hash_one(key) >> 32) as usize % PARALLELISM
}

fn sum(batches: Receiver<Batch>) -> Sums {
    let mut sums = Sums::default();
    for (key, number) in batches.into_iter().flatten() {
        let sum = sums.entry(key).or_insert(0);
        *sum += number;
        black_box(*sum);
    }
    sums
}
