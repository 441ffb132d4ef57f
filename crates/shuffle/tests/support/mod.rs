//! Two processes in one: a producer's network behind a port, and a consumer's gate.

#![allow(dead_code, reason = "each test binary uses its part")]

use millstream_core::Record;
use millstream_core::ids::{
    DataSetId, ExecutionAttemptId, ExecutionGraphId, JobId, JobVertexId, PartitionId, ResourceId,
};
use millstream_rpc::protocol::deployment::{InputChannelDescriptor, PartitionLocation};
use millstream_shuffle::batch::{Batch, BoxBatch, cast};
use millstream_shuffle::gate::{InputGate, PartitionUnavailable, Polled};
use millstream_shuffle::partition::{
    BatchPrototype, ForwardRouter, PartitionWriter, ResultPartition, RoundRobinRouter, Router,
};
use millstream_shuffle::registry::PartitionRegistry;
use millstream_shuffle::subpartition::Subpartition;
use millstream_shuffle::wake::Wake;
use millstream_shuffle::wire::{Network, NetworkConfig, Preface};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn partition_id(number: u32) -> PartitionId {
    PartitionId {
        data_set: DataSetId(7),
        producer: ExecutionAttemptId {
            graph: ExecutionGraphId(8),
            vertex: JobVertexId(9),
            subtask: number,
            attempt: 0,
        },
    }
}

/// Impatient enough for a test.
pub(crate) fn config() -> NetworkConfig {
    let mut config = NetworkConfig::new(JobId(42));
    config.answer_wait = Duration::from_secs(2);
    config.partition_wait = Duration::from_secs(2);
    config
}

/// A process that produces: a network behind a port of its own.
pub(crate) struct ProducerProcess {
    pub(crate) registry: PartitionRegistry,
    pub(crate) network: Network,
    pub(crate) port: Port,
}

impl ProducerProcess {
    pub(crate) fn start() -> Self {
        Self::with(config())
    }

    pub(crate) fn with(config: NetworkConfig) -> Self {
        let registry = PartitionRegistry::new();
        let network = Network::new(config, registry.clone());
        let port = Port::open(any_address(), network.clone());
        Self { registry, network, port }
    }

    pub(crate) fn address(&self) -> String {
        self.port.address.to_string()
    }

    /// A partition with so many consumers, known to the registry.
    pub(crate) fn partition<T: Record>(
        &self,
        number: u32,
        consumers: usize,
        wake: &Wake,
    ) -> PartitionWriter {
        let writer = writer::<T>(number, consumers, wake);
        self.registry.register(writer.shared().clone());
        writer
    }
}

pub(crate) fn any_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

pub(crate) fn writer<T: Record>(number: u32, consumers: usize, wake: &Wake) -> PartitionWriter {
    let queue = |_| Arc::new(Subpartition::new(wake.clone()));
    let shared = ResultPartition {
        id: partition_id(number),
        subpartitions: (0..consumers).map(queue).collect(),
        prototype: BatchPrototype::of::<T>(),
    };
    let router: Box<dyn Router> =
        if consumers == 1 { Box::new(ForwardRouter) } else { Box::new(RoundRobinRouter::new(0)) };
    PartitionWriter::new(Arc::new(shared), router)
}

/// A data port: reads prefaces and hands sockets to a network, as a TaskManager does.
pub(crate) struct Port {
    pub(crate) address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Port {
    pub(crate) fn open(address: SocketAddr, network: Network) -> Self {
        let listener = TcpListener::bind(address).expect("a free port");
        let address = listener.local_addr().expect("bound");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let accept = move || {
            while let Ok((mut stream, _)) = listener.accept() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                if let Ok(preface) = Preface::read(&mut stream, Duration::from_secs(1)) {
                    assert_eq!(preface.job, JobId(42));
                    network.serve(stream);
                }
            }
        };
        Self { address, stop, thread: Some(std::thread::spawn(accept)) }
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        self.thread.take().expect("joined once").join().expect("no panic");
    }
}

/// A process that consumes.
pub(crate) struct ConsumerProcess {
    pub(crate) network: Network,
}

impl ConsumerProcess {
    pub(crate) fn start() -> Self {
        Self::with(config())
    }

    pub(crate) fn with(config: NetworkConfig) -> Self {
        Self { network: Network::new(config, PartitionRegistry::new()) }
    }

    /// A task that reads subpartition `part` of these partitions at this address.
    pub(crate) fn reader<T: Record>(
        &self,
        address: &str,
        partitions: &[u32],
        part: u32,
    ) -> Reader<T> {
        let channel = |number: &u32| InputChannelDescriptor {
            partition: partition_id(*number),
            subpartition: part,
            location: Some(PartitionLocation {
                resource: ResourceId("producer".to_owned()),
                data_address: address.to_owned(),
            }),
        };
        let wake = Wake::new();
        let here = ResourceId("consumer".to_owned());
        let channels = partitions.iter().map(channel).collect();
        let registry = PartitionRegistry::new();
        let mut gate = InputGate::new(channels, registry, self.network.clone(), here, wake.clone());
        gate.request_partitions(Instant::now());
        Reader { gate, wake, buffer: Box::new(Batch::<T>::new()), _records: Default::default() }
    }
}

/// The thread and the gate of a task that reads.
pub(crate) struct Reader<T> {
    pub(crate) gate: InputGate,
    wake: Wake,
    buffer: BoxBatch,
    _records: std::marker::PhantomData<T>,
}

impl<T: Record> Reader<T> {
    /// The next batch; nothing at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Vec<T>>, PartitionUnavailable> {
        self.wake.adopt_current_thread();
        let began = Instant::now();
        loop {
            assert!(began.elapsed() < PATIENCE, "nothing came");
            match self.gate.poll(&mut self.buffer, Instant::now())? {
                Polled::Batch => {
                    let batch = cast::<T>(self.buffer.as_mut());
                    let records = batch.items.drain(..).collect();
                    batch.hashes.clear();
                    return Ok(Some(records));
                }
                Polled::End => return Ok(None),
                Polled::Control(..) => (),
                Polled::Empty => self.rest(),
            }
        }
    }

    /// Reads to the end and keeps nothing; how many records there were.
    pub(crate) fn drain(&mut self, buffer: &mut BoxBatch) -> u64 {
        self.wake.adopt_current_thread();
        let mut records = 0;
        loop {
            match self.gate.poll(buffer, Instant::now()).expect("readable") {
                Polled::Batch => {
                    records += buffer.len() as u64;
                    buffer.clear();
                }
                Polled::End => return records,
                Polled::Control(..) => (),
                Polled::Empty => self.rest(),
            }
        }
    }

    /// Sleeps as a slot does.
    pub(crate) fn rest(&self) {
        let left = |at: Instant| at.saturating_duration_since(Instant::now());
        let timeout = self.gate.deadline().map_or(PATIENCE, left);
        self.wake.sleep(Some(timeout), || self.gate.is_idle());
    }

    /// Everything to the end.
    pub(crate) fn rest_of_records(&mut self) -> Result<Vec<T>, PartitionUnavailable> {
        let mut all = Vec::new();
        while let Some(records) = self.next()? {
            all.extend(records);
        }
        Ok(all)
    }
}

/// Waits on the calling thread, as a slot does, until there is room.
pub(crate) fn await_room(writer: &mut PartitionWriter, wake: &Wake) {
    wake.adopt_current_thread();
    let began = Instant::now();
    while !writer.has_room() {
        // The wake-up counts, not the clock: nothing else is asked before the sleep.
        wake.sleep(Some(PATIENCE), || true);
        assert!(began.elapsed() < PATIENCE, "no room came");
    }
}

/// Writes the records in batches of `step` and ends the partition.
pub(crate) fn write_all<T: Record>(
    writer: &mut PartitionWriter,
    wake: &Wake,
    step: usize,
    records: impl IntoIterator<Item = T>,
) {
    let mut records = records.into_iter().peekable();
    let mut batch: BoxBatch = Box::new(Batch::<T>::new());
    while records.peek().is_some() {
        cast::<T>(batch.as_mut()).items.extend(records.by_ref().take(step));
        await_room(writer, wake);
        writer.write(&mut batch);
    }
    await_room(writer, wake);
    assert!(writer.flush());
    writer.finish();
}

/// Tries until it holds.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
