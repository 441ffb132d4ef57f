//! Records of 100 bytes between two processes, which Renoir takes for two hosts of one core.
//!
//! `one-way`: the second process makes all records, the first takes them: each one is sent.
//! `both-ways`: each process makes half of them and they are shuffled: half of them are sent.

use std::hint::black_box;

use millstream_rivals::Result;
use millstream_rivals::arguments::Arguments;
use millstream_rivals::peer::{self, Peer};
use millstream_rivals::report::{Clock, Throughput};
use millstream_rivals::results::Results;
use millstream_rivals::wide::Wide;
use renoir::config::{ConfigBuilder, HostConfig};
use renoir::{Replication, RuntimeConfig, StreamContext};

pub(crate) fn run(mut arguments: Arguments) -> Result<()> {
    let records: u64 = arguments.value("records", 20_000_000)?;
    let pattern = arguments.value("pattern", "one-way".to_owned())?;
    let ports = arguments.text("ports");
    arguments.finish()?;

    if let Some(ports) = ports {
        let ports: Vec<u16> = serde_json::from_str(&ports)?;
        println!("{}", shuffle(records, &pattern, config(1, &ports)?)?);
        return Ok(());
    }
    let ports = peer::free_ports()?;
    let clock = Clock::start();
    let mut second: Vec<String> = std::env::args().skip(1).collect();
    second.extend(["--ports".to_owned(), format!("{ports:?}")]);
    let second = Peer::spawn(&second)?;
    let mut received = shuffle(records, &pattern, config(0, &ports)?)?;
    received += second.finish()?.parse::<u64>()?;
    let cost = clock.stop();

    if received != records {
        return Err(format!("{received} records arrived of {records}").into());
    }
    Throughput::new(("shuffle", "renoir", &pattern), 2, received, cost).print();
    Ok(())
}

/// What the runner hands to a host over SSH: all hosts, and which of them this is.
fn config(host: u64, ports: &[u16]) -> Result<RuntimeConfig> {
    let host_at = |port: &u16| HostConfig {
        address: "127.0.0.1".to_owned(),
        // One port for each block that receives, and here only one block does.
        base_port: *port,
        num_cores: 1,
        ssh: Default::default(),
        perf_path: None,
    };
    let hosts: Vec<HostConfig> = ports.iter().map(host_at).collect();
    let mut builder = ConfigBuilder::new_remote();
    Ok(builder.add_hosts(&hosts).host_id(host).build()?)
}

/// Runs this process's part; tells how many records it took.
fn shuffle(records: u64, pattern: &str, config: RuntimeConfig) -> Result<u64> {
    let results = Results::from_arguments(&mut Arguments::default());
    let env = StreamContext::new(config);
    match pattern {
        "one-way" => one_way(&env, records, results.clone()),
        "both-ways" => both_ways(&env, records, results.clone()),
        _ => return Err(format!("no pattern {pattern:?}, but one-way, both-ways").into()),
    }
    env.execute_blocking();
    results.close()
}

fn one_way(env: &StreamContext, records: u64, mut results: Results<u64>) {
    env.stream_par_iter(move |host, _| if host == 1 { 0..records } else { 0..0 })
        .batch_mode(crate::batch_mode())
        .map(Wide::new)
        .replication(Replication::One)
        .for_each(move |record| {
            results.accept(&black_box(&record).number, 0);
        });
}

fn both_ways(env: &StreamContext, records: u64, mut results: Results<u64>) {
    env.stream_par_iter(0..records)
        .batch_mode(crate::batch_mode())
        .map(Wide::new)
        .shuffle()
        .for_each(move |record| {
            results.accept(&black_box(&record).number, 0);
        });
}
