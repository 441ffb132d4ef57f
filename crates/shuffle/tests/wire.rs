//! Two networks of one process over loopback: what leaves a partition arrives at a gate.

use millstream_core::ids::{
    DataSetId, ExecutionAttemptId, ExecutionGraphId, JobId, JobVertexId, PartitionId, ResourceId,
};
use millstream_rpc::protocol::deployment::{InputChannelDescriptor, PartitionLocation};
use millstream_shuffle::batch::{Batch, BoxBatch, cast};
use millstream_shuffle::gate::{InputGate, PartitionUnavailable, Polled};
use millstream_shuffle::partition::{
    BatchPrototype, PartitionWriter, ResultPartition, RoundRobinRouter,
};
use millstream_shuffle::registry::PartitionRegistry;
use millstream_shuffle::subpartition::{BATCHES_MAX, Subpartition};
use millstream_shuffle::wake::Wake;
use millstream_shuffle::wire::{Network, NetworkConfig, Preface};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A process with a data port.
struct Process {
    network: Network,
    registry: PartitionRegistry,
    address: String,
    /// Sockets that came in, to cut them.
    accepted: Receiver<TcpStream>,
}

fn process() -> Process {
    let registry = PartitionRegistry::new();
    let network = Network::new(NetworkConfig::new(JobId(7)), registry.clone());
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is there");
    let address = listener.local_addr().expect("bound").to_string();
    let serving = network.clone();
    let (cut, accepted) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            let preface = Preface::read(&mut stream, Duration::from_secs(5)).expect("a preface");
            assert_eq!(preface.job, JobId(7));
            let _ = cut.send(stream.try_clone().expect("descriptors are left"));
            serving.serve(stream);
        }
    });
    Process { network, registry, address, accepted }
}

fn partition_id(n: u32) -> PartitionId {
    let producer = ExecutionAttemptId {
        graph: ExecutionGraphId(1),
        vertex: JobVertexId(2),
        subtask: n,
        attempt: 0,
    };
    PartitionId { data_set: DataSetId(3), producer }
}

fn writer(id: PartitionId, consumers: u32, wake: &Wake) -> PartitionWriter {
    let subpartitions = (0..consumers).map(|_| Arc::new(Subpartition::new(wake.clone())));
    let shared = ResultPartition {
        id,
        subpartitions: subpartitions.collect(),
        prototype: BatchPrototype::of::<(u64, String)>(),
    };
    PartitionWriter::new(Arc::new(shared), Box::new(RoundRobinRouter::new(0)))
}

/// Sends the records to `consumers` subpartitions in turn, from a thread of its own, to the end.
fn produce(process: &Process, id: PartitionId, consumers: u32, records: u64) -> JoinHandle<()> {
    let registry = process.registry.clone();
    std::thread::spawn(move || {
        let wake = Wake::new();
        wake.adopt_current_thread();
        let mut writer = writer(id, consumers, &wake);
        registry.register(writer.shared().clone());
        let mut next = 0;
        while next < records {
            let mut batch: BoxBatch = Box::new(Batch::<(u64, String)>::new());
            let until = records.min(next + 100);
            let items = &mut cast::<(u64, String)>(batch.as_mut()).items;
            items.extend((next..until).map(|i| (i, "x".repeat(i as usize % 50))));
            next = until;
            wait(&wake, || writer.has_room());
            writer.write(&mut batch);
        }
        wait(&wake, || writer.flush());
        writer.finish();
        wait(&wake, || {
            writer.pump().expect("no record is too large");
            writer.is_drained()
        });
    })
}

fn wait(wake: &Wake, mut done: impl FnMut() -> bool) {
    while !done() {
        wake.sleep(Some(Duration::from_millis(20)), || true);
    }
}

fn gate(
    consumer: &Process,
    producer: &str,
    ids: &[PartitionId],
    subpartition: u32,
    wake: &Wake,
) -> InputGate {
    let location = |producer: &str| PartitionLocation {
        resource: ResourceId("there".to_owned()),
        data_address: producer.to_owned(),
    };
    let channels = ids.iter().map(|id| InputChannelDescriptor {
        partition: *id,
        subpartition,
        location: Some(location(producer)),
    });
    let mut gate = InputGate::new(
        channels.collect(),
        consumer.registry.clone(),
        consumer.network.clone(),
        ResourceId("here".to_owned()),
        wake.clone(),
    );
    gate.request_partitions(Instant::now());
    gate
}

/// Reads to the end; the numbers of the records.
fn consume(gate: &mut InputGate, wake: &Wake) -> Result<Vec<u64>, PartitionUnavailable> {
    let mut buffer: BoxBatch = Box::new(Batch::<(u64, String)>::new());
    let mut numbers = Vec::new();
    loop {
        match gate.poll(&mut buffer, Instant::now())? {
            Polled::Batch => {
                let batch = cast::<(u64, String)>(buffer.as_mut());
                for (number, text) in batch.items.drain(..) {
                    assert_eq!(text.len() as u64, number % 50);
                    numbers.push(number);
                }
            }
            Polled::Empty => wake.sleep(None, || gate.is_idle()),
            Polled::Control(..) => (),
            Polled::End => return Ok(numbers),
        }
    }
}

fn here() -> Wake {
    let wake = Wake::new();
    wake.adopt_current_thread();
    wake
}

#[test]
fn records_arrive_in_order_and_once() {
    let (a, b) = (process(), process());
    let producer = produce(&a, partition_id(0), 1, 100_000);
    let wake = here();
    let mut gate = gate(&b, &a.address, &[partition_id(0)], 0, &wake);
    let numbers = consume(&mut gate, &wake).expect("nothing fails");
    assert_eq!(numbers, (0..100_000).collect::<Vec<_>>());
    assert!(gate.remote_bytes() > 100_000 * 9);
    producer.join().expect("the producer ends");
}

#[test]
fn channels_of_many_partitions_share_a_connection() {
    let (a, b) = (process(), process());
    let ids: Vec<_> = (0..20).map(partition_id).collect();
    let producers: Vec<_> = ids.iter().map(|id| produce(&a, *id, 2, 5_000)).collect();
    let (second, ids_of_second, address) = (b.network.clone(), ids.clone(), a.address.clone());
    let b_registry = b.registry.clone();
    let other = std::thread::spawn(move || {
        let wake = here();
        let (_, accepted) = channel();
        let b = Process { network: second, registry: b_registry, address: String::new(), accepted };
        let mut gate = gate(&b, &address, &ids_of_second, 1, &wake);
        consume(&mut gate, &wake).expect("nothing fails").len()
    });
    let wake = here();
    let mut gate = gate(&b, &a.address, &ids, 0, &wake);
    let first = consume(&mut gate, &wake).expect("nothing fails").len();
    assert_eq!(first + other.join().expect("the other consumer ends"), 20 * 5_000);
    producers.into_iter().for_each(|producer| producer.join().expect("a producer ends"));
    assert_eq!(a.accepted.try_iter().count(), 1);
}

#[test]
fn a_consumer_may_come_before_its_producer() {
    let (a, b) = (process(), process());
    let wake = here();
    let mut gate = gate(&b, &a.address, &[partition_id(0)], 0, &wake);
    std::thread::sleep(Duration::from_millis(50));
    let producer = produce(&a, partition_id(0), 1, 1_000);
    assert_eq!(consume(&mut gate, &wake).expect("nothing fails").len(), 1_000);
    producer.join().expect("the producer ends");
}

#[test]
fn a_slow_consumer_holds_its_producer_back() {
    let (a, b) = (process(), process());
    let wake = here();
    let mut writer = writer(partition_id(0), 1, &wake);
    a.registry.register(writer.shared().clone());
    let _gate = gate(&b, &a.address, &[partition_id(0)], 0, &wake);
    let mut written = 0;
    let mut quiet_since = Instant::now();
    while quiet_since.elapsed() < Duration::from_millis(200) {
        if writer.has_room() {
            let mut batch: BoxBatch = Box::new(Batch::<(u64, String)>::new());
            cast::<(u64, String)>(batch.as_mut())
                .items
                .extend((0..1024).map(|i| (i, String::new())));
            writer.write(&mut batch);
            written += 1;
            quiet_since = Instant::now();
        } else {
            std::thread::yield_now();
        }
    }
    // Eight frames under way, eight batches in the queue, and one that is half sent.
    assert!(written <= 4 * BATCHES_MAX, "{written} batches were taken without a reader");
}

#[test]
fn a_consumer_that_goes_lets_its_producer_end() {
    let (a, b) = (process(), process());
    let producer = produce(&a, partition_id(0), 1, 1_000_000);
    let wake = here();
    let mut gate = gate(&b, &a.address, &[partition_id(0)], 0, &wake);
    let mut buffer: BoxBatch = Box::new(Batch::<(u64, String)>::new());
    while gate.poll(&mut buffer, Instant::now()).expect("nothing fails") != Polled::Batch {
        wake.sleep(None, || gate.is_idle());
    }
    drop(gate);
    producer.join().expect("the producer ends");
}

#[test]
fn a_connection_that_breaks_after_data_fails_the_channel_and_names_the_place() {
    let (a, b) = (process(), process());
    let producer = produce(&a, partition_id(0), 1, 1_000_000);
    let wake = here();
    let mut gate = gate(&b, &a.address, &[partition_id(0)], 0, &wake);
    let cut = a.accepted.recv().expect("the consumer connects");
    std::thread::sleep(Duration::from_millis(20));
    cut.shutdown(std::net::Shutdown::Both).expect("it was open");
    let error = consume(&mut gate, &wake).expect_err("frames are lost");
    assert_eq!(error.partition, partition_id(0));
    assert!(error.reason.contains(&a.address), "{error}");
    drop(gate);
    producer.join().expect("nobody reads any more, so the producer ends");
}

#[test]
fn a_row_larger_than_a_frame_arrives() {
    let (a, b) = (process(), process());
    let wake = here();
    let mut writer = writer(partition_id(0), 1, &wake);
    a.registry.register(writer.shared().clone());
    let mut batch: BoxBatch = Box::new(Batch::<(u64, String)>::new());
    cast::<(u64, String)>(batch.as_mut()).items.push((1, "y".repeat(5_000_000)));
    writer.write(&mut batch);
    let mut gate = gate(&b, &a.address, &[partition_id(0)], 0, &wake);
    let mut buffer: BoxBatch = Box::new(Batch::<(u64, String)>::new());
    loop {
        writer.flush();
        match gate.poll(&mut buffer, Instant::now()).expect("nothing fails") {
            Polled::Batch => break,
            _ => std::thread::yield_now(),
        }
    }
    assert_eq!(cast::<(u64, String)>(buffer.as_mut()).items[0].1.len(), 5_000_000);
}

#[test]
fn a_producer_that_is_nowhere_is_told_after_a_while() {
    let b = process();
    let nowhere = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is there");
        listener.local_addr().expect("bound").to_string()
    };
    let wake = here();
    let mut gate = gate(&b, &nowhere, &[partition_id(0)], 0, &wake);
    let error = consume(&mut gate, &wake).expect_err("nobody is there");
    assert!(error.reason.contains(&nowhere), "{error}");
}
