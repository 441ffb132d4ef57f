//! What crossing to another process costs: records of 100 bytes through subpartition, writer, wire
//! and gate, against plain TCP with writes of 64 KiB, between two processes over loopback.
//!
//! The bench starts itself as the producing process. Both ways are measured in turn in the same run;
//! the figures are medians and the ratio of the two. Then single records at 10,000 per second: the
//! time from just before the push to just after the decoding.
//!
//! `cargo bench -p millstream-shuffle --bench wire [-- rounds=5 mb=1000 direct=1 window=16 consumers=1 spin_us=20]`

use millstream_core::Record;
use millstream_core::ids::{
    DataSetId, ExecutionAttemptId, ExecutionGraphId, JobId, JobVertexId, PartitionId, ResourceId,
};
use millstream_rpc::protocol::deployment::{InputChannelDescriptor, PartitionLocation};
use millstream_shuffle::batch::{Batch, BoxBatch, cast};
use millstream_shuffle::gate::{InputGate, Polled};
use millstream_shuffle::partition::{
    BatchPrototype, ForwardRouter, PartitionWriter, ResultPartition, RoundRobinRouter, Router,
};
use millstream_shuffle::registry::PartitionRegistry;
use millstream_shuffle::subpartition::Subpartition;
use millstream_shuffle::wake::Wake;
use millstream_shuffle::wire::{Network, NetworkConfig, Preface};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// 100 bytes on the wire: a number, a time, ten more words and four bytes.
#[derive(Clone, Record)]
struct Bid {
    number: u64,
    sent_ns: u64,
    w0: u64,
    w1: u64,
    w2: u64,
    w3: u64,
    w4: u64,
    w5: u64,
    w6: u64,
    w7: u64,
    w8: u64,
    w9: u64,
    tail: u32,
}

const RECORD_BYTES: u64 = 100;

impl Bid {
    fn new(number: u64, sent_ns: u64) -> Self {
        let n = number;
        Self {
            number,
            sent_ns,
            w0: n,
            w1: n,
            w2: n,
            w3: n,
            w4: n,
            w5: n,
            w6: n,
            w7: n,
            w8: n,
            w9: n,
            tail: 1,
        }
    }
}

/// How a run is made.
#[derive(Clone)]
struct Options {
    rounds: usize,
    mb: u64,
    direct: bool,
    window: u32,
    consumers: usize,
    /// How long a thread looks around before it sleeps.
    spin: Duration,
    ping: bool,
}

impl Options {
    fn read(arguments: &[String]) -> Self {
        let get = |name: &str, usual: u64| {
            let value = arguments.iter().find_map(|a| a.strip_prefix(name)?.strip_prefix('='));
            value.map_or(usual, |value| value.parse().expect("a number"))
        };
        Self {
            rounds: get("rounds", 5) as usize,
            mb: get("mb", 1500),
            direct: get("direct", 1) == 1,
            window: get("window", 16) as u32,
            consumers: get("consumers", 1) as usize,
            spin: Duration::from_micros(get("spin_us", 20)),
            ping: get("ping", 1) == 1,
        }
    }

    fn records(&self) -> u64 {
        self.mb * 1_000_000 / RECORD_BYTES
    }

    fn network(&self, registry: &PartitionRegistry) -> Network {
        let mut config = NetworkConfig::new(JobId(1));
        config.direct_writes = self.direct;
        config.channel_frames_max = self.window;
        Network::new(config, registry.clone())
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let options = Options::read(&arguments);
    if let Some(role) = arguments.iter().position(|a| a == "--as") {
        return produce(&arguments[role + 1], &arguments[role + 2], &options);
    }
    let (mut plain, mut wire) = (Vec::new(), Vec::new());
    for round in 0..options.rounds {
        plain.push(measure_plain(&options));
        wire.push(measure_wire(&options));
        let (p, w) = (&plain[round], &wire[round]);
        println!(
            "round {round}: plain {:.1} M/s ({:.0} ns cpu), wire {:.1} M/s ({:.0} ns cpu)",
            p.rate, p.cpu_ns, w.rate, w.cpu_ns
        );
    }
    let (plain_rate, wire_rate) = (median(&plain, |m| m.rate), median(&wire, |m| m.rate));
    let (plain_cpu, wire_cpu) = (median(&plain, |m| m.cpu_ns), median(&wire, |m| m.cpu_ns));
    println!(
        "median: plain TCP {plain_rate:.1} M records/s, wire {wire_rate:.1} M records/s, ratio {:.2}; \
         cpu of both processes {plain_cpu:.0} and {wire_cpu:.0} ns per record, ratio {:.2}",
        wire_rate / plain_rate,
        plain_cpu / wire_cpu,
    );
    if options.ping {
        ping(&options);
    }
}

/// One measurement.
struct Measured {
    /// Million records per second.
    rate: f64,
    /// CPU time of both processes per record.
    cpu_ns: f64,
}

fn median(all: &[Measured], of: impl Fn(&Measured) -> f64) -> f64 {
    let mut values: Vec<f64> = all.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn measured(options: &Options, began: Instant, cpu_before: f64) -> Measured {
    let records = options.records() as f64;
    Measured {
        rate: records / began.elapsed().as_secs_f64() / 1e6,
        cpu_ns: (cpu_seconds() - cpu_before) / records * 1e9,
    }
}

/// User and system time of this process and of the children that have ended.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split(' ').collect();
    let ticks: u64 = fields[12..16].iter().map(|ticks| ticks.parse::<u64>().unwrap_or(0)).sum();
    ticks as f64 / 100.0
}

fn start_producer(role: &str, address: &str) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("this file"));
    command.args(std::env::args().skip(1)).args(["--as", role, address]);
    command.spawn().expect("the bench starts itself")
}

fn produce(role: &str, address: &str, options: &Options) {
    match role {
        "plain" => produce_plain(address, options),
        "wire" => produce_wire(address, options),
        "ping" => produce_ping(address, options),
        other => panic!("no role {other}"),
    }
}

// Plain TCP.

fn measure_plain(options: &Options) -> Measured {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let cpu = cpu_seconds();
    let mut child = start_producer("plain", &address);
    let (mut stream, _) = listener.accept().expect("the child comes");
    let mut buffer = vec![0; 64 * 1024];
    let (began, mut bytes) = (Instant::now(), 0);
    loop {
        match stream.read(&mut buffer).expect("readable") {
            0 => break,
            n => bytes += n as u64,
        }
    }
    assert!(bytes >= options.records() * RECORD_BYTES);
    child.wait().expect("ends");
    measured(options, began, cpu)
}

fn produce_plain(address: &str, options: &Options) {
    let mut stream = TcpStream::connect(address).expect("the parent listens");
    stream.set_nodelay(true).expect("TCP");
    let buffer = vec![7; 64 * 1024];
    let mut left = options.records() * RECORD_BYTES;
    while left > 0 {
        stream.write_all(&buffer).expect("the parent reads");
        left = left.saturating_sub(buffer.len() as u64);
    }
}

// Through the engine.

fn partition_id() -> PartitionId {
    let producer = ExecutionAttemptId {
        graph: ExecutionGraphId(1),
        vertex: JobVertexId(2),
        subtask: 0,
        attempt: 0,
    };
    PartitionId { data_set: DataSetId(3), producer }
}

fn make_writer(consumers: usize, wake: &Wake, registry: &PartitionRegistry) -> PartitionWriter {
    let queue = |_| Arc::new(Subpartition::new(wake.clone()));
    let shared = Arc::new(ResultPartition {
        id: partition_id(),
        subpartitions: (0..consumers).map(queue).collect(),
        prototype: BatchPrototype::of::<Bid>(),
    });
    registry.register(shared.clone());
    let router: Box<dyn Router> =
        if consumers == 1 { Box::new(ForwardRouter) } else { Box::new(RoundRobinRouter::new(0)) };
    PartitionWriter::new(shared, router)
}

fn make_gate(network: &Network, address: &str, consumers: usize, wake: &Wake) -> InputGate {
    let channel = |subpartition| InputChannelDescriptor {
        partition: partition_id(),
        subpartition,
        location: Some(PartitionLocation {
            resource: ResourceId("there".to_owned()),
            data_address: address.to_owned(),
        }),
    };
    let channels = (0..consumers as u32).map(channel).collect();
    let (registry, here) = (PartitionRegistry::new(), ResourceId("here".to_owned()));
    let mut gate = InputGate::new(channels, registry, network.clone(), here, wake.clone());
    gate.request_partitions(Instant::now());
    gate
}

/// The child serves; this process dials it, as a consumer does.
fn dial_back(listener: &TcpListener) -> String {
    let (mut stream, _) = listener.accept().expect("the child comes");
    let mut port = [0; 2];
    stream.read_exact(&mut port).expect("the child says where it listens");
    format!("127.0.0.1:{}", u16::from_le_bytes(port))
}

fn serve_parent(address: &str, network: &Network) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let mut parent = TcpStream::connect(address).expect("the parent listens");
    parent.write_all(&port.to_le_bytes()).expect("the parent reads");
    let (mut stream, _) = listener.accept().expect("the parent dials");
    Preface::read(&mut stream, Duration::from_secs(5)).expect("a preface");
    network.serve(stream);
}

fn measure_wire(options: &Options) -> Measured {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let cpu = cpu_seconds();
    let mut child = start_producer("wire", &address);
    let data_address = dial_back(&listener);
    let began = Instant::now();
    let network = options.network(&PartitionRegistry::new());
    let wake = Wake::new();
    wake.adopt_current_thread();
    let mut gate = make_gate(&network, &data_address, options.consumers, &wake);
    let (mut count, mut sum) = (0, 0_u64);
    read_all(&mut gate, &wake, options.spin, |bids| {
        count += bids.len() as u64;
        sum = bids.iter().fold(sum, |sum, bid| sum.wrapping_add(bid.number));
    });
    assert_eq!(count, options.records());
    assert_eq!(sum, (0..count).sum::<u64>(), "each record once");
    child.wait().expect("ends");
    measured(options, began, cpu)
}

/// As a slot does: polls, looks around for a moment, sleeps.
fn read_all(gate: &mut InputGate, wake: &Wake, spin: Duration, mut each: impl FnMut(&[Bid])) {
    let mut buffer: BoxBatch = Box::new(Batch::<Bid>::new());
    loop {
        match gate.poll(&mut buffer, Instant::now()).expect("readable") {
            Polled::Batch => {
                each(&cast::<Bid>(buffer.as_mut()).items);
                buffer.clear();
            }
            Polled::Empty => rest(wake, spin, || gate.is_idle()),
            Polled::Control(..) => (),
            Polled::End => return,
        }
    }
}

fn rest(wake: &Wake, spin: Duration, mut idle: impl FnMut() -> bool) {
    let began = Instant::now();
    while began.elapsed() < spin {
        if !idle() {
            return;
        }
        std::hint::spin_loop();
    }
    wake.sleep(None, idle);
}

fn produce_wire(address: &str, options: &Options) {
    let registry = PartitionRegistry::new();
    let network = options.network(&registry);
    let wake = Wake::new();
    wake.adopt_current_thread();
    let mut writer = make_writer(options.consumers, &wake, &registry);
    serve_parent(address, &network);
    let (records, mut next) = (options.records(), 0);
    let mut batch: BoxBatch = Box::new(Batch::<Bid>::new());
    let step = Batch::<Bid>::target() as u64;
    while next < records {
        while !writer.has_room() {
            rest(&wake, options.spin, || !writer.has_room());
        }
        let until = records.min(next + step);
        cast::<Bid>(batch.as_mut()).items.extend((next..until).map(|n| Bid::new(n, 0)));
        next = until;
        writer.write(&mut batch);
    }
    while !writer.flush() {
        rest(&wake, options.spin, || !writer.has_room());
    }
    writer.finish();
    linger(&writer);
}

/// The process stays until its consumer has taken everything.
fn linger(writer: &PartitionWriter) {
    while !writer.is_drained() {
        std::thread::sleep(Duration::from_micros(100));
    }
    std::thread::sleep(Duration::from_millis(1));
}

// One record at a time.

const PING_EVERY: Duration = Duration::from_micros(100);
const PINGS: u64 = 20_000;

fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos() as u64
}

fn ping(options: &Options) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let mut child = start_producer("ping", &address);
    let data_address = dial_back(&listener);
    let network = options.network(&PartitionRegistry::new());
    let wake = Wake::new();
    wake.adopt_current_thread();
    let mut gate = make_gate(&network, &data_address, 1, &wake);
    let mut waits = Vec::new();
    read_all(&mut gate, &wake, options.spin, |bids| {
        let now = now_ns();
        waits.extend(bids.iter().map(|bid| now.saturating_sub(bid.sent_ns)));
    });
    child.wait().expect("ends");
    waits.drain(..1000);
    waits.sort_unstable();
    let at = |share: f64| waits[(waits.len() as f64 * share) as usize] as f64 / 1000.0;
    println!(
        "single records at 10,000/s: p50 {:.1} us, p90 {:.1} us, p99 {:.1} us",
        at(0.5),
        at(0.9),
        at(0.99)
    );
}

fn produce_ping(address: &str, options: &Options) {
    let registry = PartitionRegistry::new();
    let network = options.network(&registry);
    let wake = Wake::new();
    wake.adopt_current_thread();
    let mut writer = make_writer(1, &wake, &registry);
    serve_parent(address, &network);
    let mut batch: BoxBatch = Box::new(Batch::<Bid>::new());
    let began = Instant::now();
    for number in 0..PINGS {
        let due = began + PING_EVERY * number as u32;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        while !writer.has_room() {
            rest(&wake, options.spin, || !writer.has_room());
        }
        cast::<Bid>(batch.as_mut()).items.push(Bid::new(number, now_ns()));
        writer.write(&mut batch);
        writer.flush();
    }
    writer.finish();
    linger(&writer);
}
