//! Whole channels between two networks over a pipe in memory, under every order of steps that
//! shuttle tries: slot threads, readers, writers and dialler all run under it. The pipe holds a few
//! bytes only, so that writers are stopped in the middle of frames and hand over.
//!
//! `RUSTFLAGS="--cfg shuttle" cargo test -p millstream-shuffle --test conc_wire`
#![cfg(shuttle)]

use millstream_core::checkpoint::CheckpointId;
use millstream_core::ids::{
    DataSetId, ExecutionAttemptId, ExecutionGraphId, JobId, JobVertexId, PartitionId,
};
use millstream_shuffle::batch::{Batch, BoxBatch, cast};
use millstream_shuffle::element::{Control, Found};
use millstream_shuffle::partition::{
    BatchPrototype, ForwardRouter, PartitionWriter, ResultPartition,
};
use millstream_shuffle::registry::PartitionRegistry;
use millstream_shuffle::subpartition::Subpartition;
use millstream_shuffle::sync::{Arc, Condvar, Mutex, lock, thread};
use millstream_shuffle::wake::Wake;
use millstream_shuffle::wire::{
    Dialer, Network, NetworkConfig, PREFACE_BYTES, RemoteChannel, Transport,
};
use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::time::{Duration, Instant};

const SCHEDULES: usize = 1_000;

/// Less than two headers.
const PIPE_BYTES: usize = 37;

/// One direction.
#[derive(Default)]
struct Half {
    state: Mutex<(VecDeque<u8>, bool)>,
    changed: Condvar,
}

impl Half {
    fn close(&self) {
        lock(&self.state).1 = true;
        self.changed.notify_all();
    }

    fn write(&self, bytes: &[IoSlice<'_>], wait: bool) -> io::Result<usize> {
        let mut state = lock(&self.state);
        while !state.1 && state.0.len() == PIPE_BYTES {
            if !wait {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            state = self.changed.wait(state).expect("no panic");
        }
        if state.1 {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let before = state.0.len();
        let all = bytes.iter().flat_map(|slice| slice.iter().copied());
        state.0.extend(all.take(PIPE_BYTES - before));
        self.changed.notify_all();
        Ok(state.0.len() - before)
    }

    fn read(&self, spaces: &mut [IoSliceMut<'_>]) -> usize {
        let mut state = lock(&self.state);
        while !state.1 && state.0.is_empty() {
            state = self.changed.wait(state).expect("no panic");
        }
        let mut read = 0;
        for place in spaces.iter_mut().flat_map(|space| space.iter_mut()) {
            let Some(byte) = state.0.pop_front() else { break };
            *place = byte;
            read += 1;
        }
        self.changed.notify_all();
        read
    }
}

/// One end of a connection.
struct End {
    inbound: Arc<Half>,
    outbound: Arc<Half>,
}

impl Transport for End {
    fn read(&self, spaces: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        Ok(self.inbound.read(spaces))
    }

    fn set_read_timeout(&self, _timeout: Option<Duration>) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        self.outbound.write(bytes, true)
    }

    fn try_write(&self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        self.outbound.write(bytes, false)
    }

    fn close_write(&self) {
        self.outbound.close();
    }

    fn close(&self) {
        self.inbound.close();
        self.outbound.close();
    }
}

/// Connects to a network of the same process; a thread reads the preface, as a TaskManager does.
struct PipeDialer(Network);

impl Dialer for PipeDialer {
    fn dial(&self, _address: &str) -> io::Result<Arc<dyn Transport>> {
        let halves = [Arc::<Half>::default(), Arc::<Half>::default()];
        let here = End { inbound: halves[0].clone(), outbound: halves[1].clone() };
        let there = End { inbound: halves[1].clone(), outbound: halves[0].clone() };
        let network = self.0.clone();
        thread::spawn(move || {
            let mut preface = [0; PREFACE_BYTES];
            let mut filled = 0;
            while filled < PREFACE_BYTES {
                match there.inbound.read(&mut [IoSliceMut::new(&mut preface[filled..])]) {
                    0 => return,
                    n => filled += n,
                }
            }
            let there = Arc::new(there);
            if network.serve_over(there.clone()).is_err() {
                there.close();
            }
        });
        Ok(Arc::new(here))
    }
}

fn id() -> PartitionId {
    let producer = ExecutionAttemptId {
        graph: ExecutionGraphId(1),
        vertex: JobVertexId(2),
        subtask: 0,
        attempt: 0,
    };
    PartitionId { data_set: DataSetId(3), producer }
}

/// Two processes.
struct Pair {
    registry: PartitionRegistry,
    producer: Network,
    consumer: Network,
}

impl Pair {
    fn new() -> Self {
        let mut config = NetworkConfig::new(JobId(1));
        config.channel_frames_max = 2;
        let registry = PartitionRegistry::new();
        let producer = Network::new(config.clone(), registry.clone());
        let dialer = Arc::new(PipeDialer(producer.clone()));
        let consumer = Network::with_dialer(config, PartitionRegistry::new(), dialer);
        Self { registry, producer, consumer }
    }

    fn subscribe(&self, wake: &Wake) -> RemoteChannel {
        self.consumer.subscribe("there", id(), 0, wake.clone())
    }

    fn shut_down(self) {
        self.consumer.shutdown();
        self.producer.shutdown();
    }
}

fn make_writer(wake: &Wake) -> PartitionWriter {
    let shared = ResultPartition {
        id: id(),
        subpartitions: vec![Arc::new(Subpartition::new(wake.clone()))],
        prototype: BatchPrototype::of::<u64>(),
    };
    PartitionWriter::new(Arc::new(shared), Box::new(ForwardRouter))
}

/// A producer's task: so many batches, then the end.
fn produce(registry: &PartitionRegistry, batches: u64) {
    let wake = Wake::new();
    wake.adopt_current_thread();
    let mut writer = make_writer(&wake);
    registry.register(writer.shared().clone());
    for number in 0..batches {
        let mut batch: BoxBatch = Box::new(Batch::<u64>::of(vec![number; 2]));
        wait_for_room(&mut writer, &wake);
        writer.write(&mut batch);
        while !writer.flush() {
            wait_for_room(&mut writer, &wake);
        }
        if number % 4 == 1 {
            writer.push_barrier(Control::CancelBarrier(CheckpointId(number)));
        }
    }
    writer.finish();
}

fn wait_for_room(writer: &mut PartitionWriter, wake: &Wake) {
    while !writer.has_room() {
        wake.sleep(None, || !writer.has_room());
    }
}

/// A consumer's task: reads to the end, or so many records. Barriers are where they were pushed.
fn consume(channel: &mut RemoteChannel, wake: &Wake, records_max: usize) -> Vec<u64> {
    wake.adopt_current_thread();
    let mut records = Vec::new();
    let mut buffer: BoxBatch = Box::new(Batch::<u64>::new());
    while records.len() < records_max {
        match channel.poll(&mut buffer, Instant::now()).expect("readable") {
            Found::Batch => {
                records.append(&mut cast::<u64>(buffer.as_mut()).items);
                buffer.clear();
            }
            Found::Empty => wake.sleep(None, || channel.is_empty()),
            Found::Control(Control::CancelBarrier(CheckpointId(number))) => {
                assert_eq!(records.len() as u64, 2 * (number + 1));
            }
            Found::Control(_) => break,
        }
    }
    records
}

fn check(batches: u64, records_max: usize) {
    shuttle::check_random(
        move || {
            let pair = Pair::new();
            let registry = pair.registry.clone();
            let producer = thread::spawn(move || produce(&registry, batches));
            let wake = Wake::new();
            let mut channel = pair.subscribe(&wake);
            let records = consume(&mut channel, &wake, records_max);
            let expected: Vec<u64> = (0..batches).flat_map(|number| [number; 2]).collect();
            assert!(records.len() >= records_max.min(expected.len()));
            assert_eq!(records, expected[..records.len()]);
            drop(channel);
            producer.join().expect("no panic");
            pair.shut_down();
        },
        SCHEDULES,
    );
}

#[test]
fn conc_a_channel_delivers_everything_and_its_end() {
    // More than the window and what may wait: credit has to come back several times.
    check(14, usize::MAX);
}

#[test]
fn conc_finish_vs_bind_what_a_task_left_behind_arrives() {
    check(2, usize::MAX);
    check(0, usize::MAX);
}

#[test]
fn conc_credit_vs_close_a_consumer_that_leaves_frees_its_producer() {
    check(14, 3);
    check(14, 20);
    // A consumer that never comes as far as asking leaves a producer that does not need it.
    check(2, 0);
}

#[test]
fn conc_pool_destroy_race_a_network_that_ends_leaves_nobody_asleep() {
    shuttle::check_random(
        || {
            let pair = Pair::new();
            let registry = pair.registry.clone();
            let producer = thread::spawn(move || {
                let wake = Wake::new();
                wake.adopt_current_thread();
                let mut writer = make_writer(&wake);
                registry.register(writer.shared().clone());
                let mut batch: BoxBatch = Box::new(Batch::<u64>::of(vec![7]));
                writer.write(&mut batch);
                writer.flush();
                registry.remove(id());
            });
            let wake = Wake::new();
            let mut channel = pair.subscribe(&wake);
            let consumer = thread::spawn(move || {
                wake.adopt_current_thread();
                let mut buffer: BoxBatch = Box::new(Batch::<u64>::new());
                while let Ok(polled) = channel.poll(&mut buffer, Instant::now()) {
                    buffer.clear();
                    if polled == Found::Empty {
                        wake.sleep(None, || channel.is_empty());
                    }
                }
            });
            pair.producer.shutdown();
            pair.consumer.shutdown();
            producer.join().expect("no panic");
            consumer.join().expect("no panic");
        },
        SCHEDULES,
    );
}
