//! Latency: a source that is due to emit R records per second, an exchange, a sink.
//!
//! A record is stamped with the moment at which it was due, not with the one at which the source
//! came to it, so a source that falls behind is seen. The last worker has the source, the first
//! the sink: with two workers every record crosses. With `--wait park` the source asks to be
//! called again when the next record is due; with `--wait spin` at once, which costs a core.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use millstream_rivals::Result;
use millstream_rivals::arguments::Arguments;
use millstream_rivals::report::{self, Clock, Cost};
use millstream_rivals::usage::monotonic_ns;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Operator;
use timely::dataflow::operators::generic::source;
use timely::dataflow::{Scope, StreamVec};

use crate::cluster::{self, Processes};

#[derive(Clone, Copy)]
struct Load {
    rate: u64,
    /// Records of the whole run.
    records: u64,
    /// The first ones, which are not measured.
    records_warmup: u64,
    spin: bool,
}

impl Load {
    fn from_arguments(arguments: &mut Arguments) -> Result<Self> {
        let rate = arguments.value("rate", 10_000)?;
        let seconds: u64 = arguments.value("seconds", 10)?;
        let warmup: u64 = arguments.value("warmup", 2)?;
        let wait = arguments.value("wait", "park".to_owned())?;
        let spin = match wait.as_str() {
            "park" => false,
            "spin" => true,
            _ => return Err(format!("no way to wait {wait:?}, but park, spin").into()),
        };
        Ok(Self { rate, records: rate * (warmup + seconds), records_warmup: rate * warmup, spin })
    }

    /// Nanoseconds after the start at which a record is due.
    fn due_ns(&self, number: u64) -> u64 {
        (u128::from(number) * 1_000_000_000 / u128::from(self.rate)) as u64
    }

    fn variant(&self, processes: usize) -> String {
        let wait = if self.spin { "spin" } else { "park" };
        let place = if processes == 2 { "processes" } else { "threads" };
        format!("{place}, {wait}")
    }
}

pub(crate) fn run(mut arguments: Arguments) -> Result<()> {
    let load = Load::from_arguments(&mut arguments)?;
    let parallelism = arguments.value("parallelism", 2)?;
    match arguments.value("processes", 1)? {
        1 => (),
        2 if parallelism == 2 => return run_processes(arguments, load),
        _ => return Err("either one process, or two and one worker in each".into()),
    }
    arguments.finish()?;

    let clock = Clock::start();
    let latencies = measure(cluster::threads(parallelism), load)?;
    print(load, 1, parallelism, latencies, clock.stop());
    Ok(())
}

fn run_processes(mut arguments: Arguments, load: Load) -> Result<()> {
    let processes = Processes::from_arguments(&mut arguments)?;
    arguments.finish()?;

    if !processes.is_first() {
        measure(processes.config(), load)?;
        return Ok(());
    }
    let clock = Clock::start();
    let second = processes.spawn_second()?;
    let latencies = measure(processes.config(), load)?;
    second.finish()?;
    print(load, 2, 2, latencies, clock.stop());
    Ok(())
}

/// Nanoseconds of each measured record that arrived in this process.
fn measure(config: timely::Config, load: Load) -> Result<Vec<u64>> {
    let latencies = Arc::new(Mutex::new(Vec::new()));
    let collected = latencies.clone();
    cluster::run(config, move |worker| {
        let collected = collected.clone();
        let has_source = worker.index() == worker.peers() - 1;
        let has_sink = worker.index() == 0;
        worker.dataflow::<u64, _, _>(|scope| {
            let capacity = if has_sink { load.records as usize } else { 0 };
            let mut arrived = Arrived { latencies: Vec::with_capacity(capacity), collected };
            records_when_due(scope, load, has_source).sink(
                Exchange::new(|_: &u64| 0),
                "Measure",
                move |(input, _)| {
                    input.for_each_time(|_, batches| {
                        for due_ns in batches.flat_map(|batch| batch.drain(..)) {
                            arrived.latencies.push(monotonic_ns() - due_ns);
                        }
                    });
                },
            );
        });
    })?;
    let mut latencies = std::mem::take(&mut *latencies.lock().expect("no holder panics"));
    latencies.drain(..latencies.len().min(load.records_warmup as usize));
    Ok(latencies)
}

/// The sink's memory; hands over what it has when the dataflow is dropped.
struct Arrived {
    latencies: Vec<u64>,
    collected: Arc<Mutex<Vec<u64>>>,
}

impl Drop for Arrived {
    fn drop(&mut self) {
        let mut collected = self.collected.lock().expect("no holder panics");
        collected.append(&mut self.latencies);
    }
}

/// Emits each record's due time once it has come.
fn records_when_due(scope: Scope<'_, u64>, load: Load, active: bool) -> StreamVec<'_, u64, u64> {
    source::<_, CapacityContainerBuilder<Vec<u64>>, _, _>(scope, "Due", |capability, info| {
        let activator = scope.activator_for(info.address);
        let mut capability = active.then_some(capability);
        let mut started = None;
        let mut next = 0;
        move |output| {
            let Some(time) = &capability else { return };
            let now = monotonic_ns();
            let started = *started.get_or_insert(now);
            let mut session = output.session(time);
            while next < load.records && started + load.due_ns(next) <= now {
                session.give(started + load.due_ns(next));
                next += 1;
            }
            drop(session);

            if next == load.records {
                capability = None;
            } else if load.spin {
                activator.activate();
            } else {
                let due_ns = started + load.due_ns(next);
                activator
                    .activate_after(Duration::from_nanos(due_ns.saturating_sub(monotonic_ns())));
            }
        }
    })
}

fn print(load: Load, processes: usize, parallelism: usize, mut latencies: Vec<u64>, cost: Cost) {
    latencies.sort_unstable();
    let percentile_us = |percent: usize| match latencies.len() {
        0 => f64::NAN,
        count => latencies[(count * percent / 100).min(count - 1)] as f64 / 1000.0,
    };
    report::Latency {
        bench: "latency".to_owned(),
        implementation: "timely".to_owned(),
        variant: load.variant(processes),
        p: parallelism as u64,
        rate: load.rate,
        records: latencies.len() as u64,
        p50_us: percentile_us(50),
        p99_us: percentile_us(99),
        cpu_seconds: cost.cpu_seconds,
        peak_rss_kb: cost.peak_rss_kb,
    }
    .print();
}
