//! Barriers between batches: in their place, on all kinds of channels, and channels that wait for
//! others.

mod support;

use millstream_core::checkpoint::{Alignment, Barrier, CheckpointId, SnapshotKind};
use millstream_core::ids::ResourceId;
use millstream_rpc::protocol::deployment::{InputChannelDescriptor, PartitionLocation};
use millstream_shuffle::batch::{Batch, BoxBatch, cast};
use millstream_shuffle::element::{BARRIERS_MAX, Control, Element};
use millstream_shuffle::gate::{InputGate, Polled};
use millstream_shuffle::partition::PartitionWriter;
use millstream_shuffle::registry::PartitionRegistry;
use millstream_shuffle::subpartition::Subpartition;
use millstream_shuffle::wake::Wake;
use millstream_shuffle::wire::Network;
use std::time::{Duration, Instant};
use support::{ConsumerProcess, PATIENCE, ProducerProcess, partition_id, writer};

fn barrier(number: u64) -> Control {
    Control::Barrier(Barrier {
        checkpoint: CheckpointId(number),
        timestamp: 1_700_000_000_000 + number as i64,
        kind: SnapshotKind::Checkpoint,
        alignment: Alignment::AlignedUntil(250),
    })
}

fn push(writer: &mut PartitionWriter, record: u64) {
    let mut batch: BoxBatch = Box::new(Batch::<u64>::of(vec![record]));
    assert!(writer.has_room());
    writer.write(&mut batch);
    assert!(writer.flush());
}

/// What one poll finds: the record, or what was said.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Record(u64),
    Said(usize, Control),
    Nothing,
    End,
}

fn poll(gate: &mut InputGate) -> Seen {
    let mut buffer: BoxBatch = Box::new(Batch::<u64>::new());
    match gate.poll(&mut buffer, Instant::now()).expect("readable") {
        Polled::Batch => Seen::Record(cast::<u64>(buffer.as_mut()).items[0]),
        Polled::Control(channel, control) => Seen::Said(channel, control),
        Polled::Empty => Seen::Nothing,
        Polled::End => Seen::End,
    }
}

/// A gate over partitions of the same process.
fn local_gate(writers: &[PartitionWriter]) -> InputGate {
    let registry = PartitionRegistry::new();
    let here = ResourceId("here".to_owned());
    let channels = writers.iter().map(|writer| {
        registry.register(writer.shared().clone());
        let resource = here.clone();
        let location = Some(PartitionLocation { resource, data_address: String::new() });
        InputChannelDescriptor { partition: writer.shared().id, subpartition: 0, location }
    });
    let channels = channels.collect();
    let mut gate =
        InputGate::new(channels, registry.clone(), Network::default(), here.clone(), Wake::new());
    gate.request_partitions(Instant::now());
    gate
}

#[test]
fn a_channel_that_is_blocked_is_not_read_and_does_not_keep_its_thread_awake() {
    let wake = Wake::new();
    let mut writers = [writer::<u64>(0, 1, &wake), writer::<u64>(1, 1, &wake)];
    let mut gate = local_gate(&writers);
    writers[0].push_barrier(barrier(1));
    push(&mut writers[0], 10);
    assert_eq!(poll(&mut gate), Seen::Said(0, barrier(1)));
    gate.set_blocked(0, true);
    assert!(gate.is_idle(), "what waits on a blocked channel cannot be read");
    assert_eq!(poll(&mut gate), Seen::Nothing);
    push(&mut writers[1], 20);
    writers[1].finish();
    assert!(!gate.is_idle());
    assert_eq!(poll(&mut gate), Seen::Record(20));
    assert_eq!(poll(&mut gate), Seen::Said(1, Control::EndOfPartition));
    assert_eq!(poll(&mut gate), Seen::Nothing);
    gate.set_blocked(0, false);
    assert!(!gate.is_idle());
    assert_eq!(poll(&mut gate), Seen::Record(10));
    writers[0].finish();
    assert_eq!(poll(&mut gate), Seen::Said(0, Control::EndOfPartition));
    assert_eq!(poll(&mut gate), Seen::End);
}

#[test]
fn barriers_go_into_a_full_queue_and_the_oldest_are_dropped_beyond_a_bound() {
    let queue = Subpartition::with_bound(Wake::new(), 1);
    let mut batch: BoxBatch = Box::new(Batch::<u64>::of(vec![1]));
    queue.push(&mut batch);
    assert!(!queue.has_room());
    (1..=100).for_each(|number| queue.push_control(barrier(number)));
    queue.push_control(Control::EndOfPartition);
    assert!(matches!(queue.pop(), Some(Element::Batch(_))));
    for number in 101 - BARRIERS_MAX as u64..=100 {
        let found = queue.pop();
        assert!(matches!(found, Some(Element::Control(control)) if control == barrier(number)));
    }
    assert!(matches!(queue.pop(), Some(Element::Control(Control::EndOfPartition))));
}

#[test]
fn a_queue_that_nobody_reads_any_more_takes_no_barriers() {
    let queue = Subpartition::new(Wake::new());
    queue.release();
    queue.push_control(barrier(1));
    assert!(queue.is_empty());
}

#[test]
fn barriers_keep_their_place_on_the_wire_whenever_the_consumer_comes() {
    // Before anything was pushed, in the middle, and after the end.
    for comes_after in 0..=6 {
        let (producer, consumer) = (ProducerProcess::start(), ConsumerProcess::start());
        let wake = Wake::new();
        wake.adopt_current_thread();
        let mut writer = producer.partition::<u64>(0, 1, &wake);
        let mut reader = None;
        for number in 0..=6 {
            if number == comes_after {
                reader = Some(consumer.reader::<u64>(&producer.address(), &[0], 0));
            }
            if number < 6 {
                push(&mut writer, number);
                writer.push_barrier(barrier(number));
                writer.push_barrier(Control::CancelBarrier(CheckpointId(number)));
            } else {
                writer.finish();
            }
        }
        let mut gate = reader.expect("it came").gate;
        let mut expected = (0..6).flat_map(|number| {
            let cancel = Control::CancelBarrier(CheckpointId(number));
            [Seen::Record(number), Seen::Said(0, barrier(number)), Seen::Said(0, cancel)]
        });
        let began = Instant::now();
        loop {
            assert!(began.elapsed() < PATIENCE, "nothing came");
            writer.pump().expect("rows are short");
            match poll(&mut gate) {
                Seen::Nothing => std::thread::yield_now(),
                Seen::Said(0, Control::EndOfPartition) => break,
                seen => assert_eq!(Some(seen), expected.next(), "after {comes_after}"),
            }
        }
        assert_eq!(expected.next(), None);
    }
}

#[test]
fn a_channel_from_another_process_that_is_blocked_holds_its_producer_back() {
    let (producer, consumer) = (ProducerProcess::start(), ConsumerProcess::start());
    let wake = Wake::new();
    wake.adopt_current_thread();
    let mut writer = producer.partition::<u64>(0, 1, &wake);
    let mut reader = consumer.reader::<u64>(&producer.address(), &[0], 0);
    writer.push_barrier(barrier(1));
    let began = Instant::now();
    while poll(&mut reader.gate) == Seen::Nothing {
        assert!(began.elapsed() < PATIENCE, "no barrier came");
        writer.pump().expect("nothing is too long");
    }
    reader.gate.set_blocked(0, true);
    let mut pushed = 0;
    let mut full_since = None;
    // Until it has been full for a while: what the wire holds is bounded.
    while full_since.is_none_or(|since: Instant| since.elapsed() < Duration::from_millis(50)) {
        assert!(began.elapsed() < PATIENCE, "{pushed} batches went in");
        if writer.has_room() {
            let items = vec![pushed; 4096];
            let mut batch: BoxBatch = Box::new(Batch::<u64>::of(items));
            writer.write(&mut batch);
            (pushed, full_since) = (pushed + 1, None);
        } else {
            full_since.get_or_insert_with(Instant::now);
        }
        assert!(reader.gate.is_idle());
        assert_eq!(reader.gate.deadline(), None);
        assert_eq!(poll(&mut reader.gate), Seen::Nothing);
    }
    assert!(pushed > 0 && partition_id(0) == writer.shared().id);
    reader.gate.set_blocked(0, false);
    assert_eq!(poll(&mut reader.gate), Seen::Record(0));
}
