//! Partitions on disk: read by consumers of the same process and of others, as often as they like.

mod support;

use millstream_core::ids::ResourceId;
use millstream_rpc::protocol::deployment::{InputChannelDescriptor, PartitionLocation};
use millstream_shuffle::batch::{Batch, BoxBatch, cast};
use millstream_shuffle::gate::{InputGate, PartitionUnavailable, Polled};
use millstream_shuffle::partition::{BatchPrototype, PartitionWriter, RoundRobinRouter};
use millstream_shuffle::registry::PartitionRegistry;
use millstream_shuffle::stored::StoredPartitions;
use millstream_shuffle::wake::Wake;
use millstream_shuffle::wire::Network;
use std::path::PathBuf;
use std::time::Instant;
use support::{ConsumerProcess, Port, any_address, config, partition_id, write_all};

const RECORDS: u64 = 200_000;

/// A directory of its own, which goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("millstream-{name}-{}", std::process::id())))
    }

    fn registry(&self) -> PartitionRegistry {
        PartitionRegistry::new().with_stored(StoredPartitions::within(self.0.clone()))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn write(registry: &PartitionRegistry, number: u32) {
    let stored = registry.stored().expect("it has a place for them");
    let stored = stored.create(partition_id(number), 2).expect("a file can be made");
    let router = Box::new(RoundRobinRouter::new(0));
    let prototype = BatchPrototype::of::<u64>();
    let mut writer = PartitionWriter::storing(partition_id(number), prototype, router, stored);
    write_all(&mut writer, &Wake::new(), 1_000, 0..RECORDS);
    writer.pump().expect("it is whole");
}

fn expected(part: u32) -> Vec<u64> {
    (0..RECORDS).filter(|n| n % 2 == u64::from(part)).collect()
}

#[test]
fn consumers_of_other_processes_read_a_stored_partition_again_and_again_in_its_order() {
    let scratch = Scratch::new("stored-remote");
    let registry = scratch.registry();
    write(&registry, 1);
    // The process that wrote it is gone: another one of the same worker serves it.
    let network = Network::new(config(), scratch.registry());
    let port = Port::open(any_address(), network);
    let consumer = ConsumerProcess::start();
    for part in [0, 1, 0] {
        let mut reader = consumer.reader::<u64>(&port.address.to_string(), &[1], part);
        assert_eq!(reader.rest_of_records().expect("it can be read"), expected(part));
    }
    let mut half = consumer.reader::<u64>(&port.address.to_string(), &[1], 0);
    half.next().expect("it can be read").expect("there is something");
    drop(half);
    let mut again = consumer.reader::<u64>(&port.address.to_string(), &[1], 0);
    assert_eq!(again.rest_of_records().expect("it can be read"), expected(0));
}

#[test]
fn a_damaged_partition_is_unavailable_to_other_processes_and_named() {
    let scratch = Scratch::new("stored-damaged");
    let registry = scratch.registry();
    write(&registry, 1);
    let path = scratch.0.join(partition_id(1).to_string());
    let mut bytes = std::fs::read(&path).expect("it is there");
    bytes[1_000] ^= 1;
    std::fs::write(&path, bytes).expect("it can be written");
    let port = Port::open(any_address(), Network::new(config(), registry));
    let consumer = ConsumerProcess::start();
    let mut reader = consumer.reader::<u64>(&port.address.to_string(), &[1], 0);
    let error = reader.rest_of_records().expect_err("it is damaged");
    assert_eq!(error.partition, partition_id(1));
    assert!(error.reason.contains("damaged"), "{error}");
}

#[test]
fn a_consumer_of_the_same_worker_reads_the_file_and_a_missing_one_is_told_at_once() {
    let scratch = Scratch::new("stored-local");
    let registry = scratch.registry();
    write(&registry, 1);
    let channel = |number: u32| InputChannelDescriptor {
        partition: partition_id(number),
        subpartition: 1,
        location: Some(PartitionLocation {
            resource: ResourceId("here".to_owned()),
            data_address: String::new(),
        }),
    };
    let read = |number: u32| -> Result<Vec<u64>, PartitionUnavailable> {
        let here = ResourceId("here".to_owned());
        let (channels, network) = (vec![channel(number)], Network::default());
        let gate = InputGate::new(channels, registry.clone(), network, here, Wake::new());
        let mut gate = gate.blocking(true);
        gate.request_partitions(Instant::now());
        let mut all = Vec::new();
        let mut buffer: BoxBatch = Box::new(Batch::<u64>::new());
        loop {
            assert!(!gate.is_idle(), "it waits for nothing");
            match gate.poll(&mut buffer, Instant::now())? {
                Polled::Batch => all.append(&mut cast::<u64>(buffer.as_mut()).items),
                Polled::Control(..) => (),
                Polled::End => return Ok(all),
                Polled::Empty => panic!("it waits for nothing"),
            }
        }
    };
    assert_eq!(read(1), Ok(expected(1)));
    let error = read(2).expect_err("nobody wrote it");
    assert_eq!(error.partition, partition_id(2));
}
