//! What one task produces for one edge: open batches, a router, and a queue per consumer.
//!
//! The writer belongs to the producer's thread. It routes a batch only when every queue has room
//! for one more, so nothing is ever half routed, and no wait for one consumer can hold back what
//! another already has. Partial batches stay open until they are full or the task flushes them.
//!
//! The partition of a blocking exchange has no queues: full batches go to local disk (see [`crate::stored`]),
//! where there is always room, and partial ones wait for nobody.

use crate::batch::{AnyBatch, BoxBatch, Columns};
use crate::edge::Edge;
use crate::element::{Control, Watermark};
use crate::in_flight::InFlightRows;
use crate::stored::StoredWriter;
use crate::stored::writer::NotStored;
use crate::subpartition::Subpartition;
use crate::sync::Arc;
use millstream_core::checkpoint::CheckpointId;
use millstream_core::ids::PartitionId;
use millstream_core::job_graph::ShipStrategy;
use millstream_core::key_group::{KeyGroup, MaxParallelism};
use millstream_core::record::{DecodeError, Schema};

/// The shared half of a partition: consumers find their queues here.
pub struct ResultPartition {
    /// Its name.
    pub id: PartitionId,
    /// One per consumer that it feeds; none where it is stored.
    pub subpartitions: Vec<Arc<Subpartition>>,
    /// Makes empty batches of the record type: for consumers that decode.
    pub prototype: BatchPrototype,
}

impl ResultPartition {
    /// Whether no consumer reads any more.
    pub fn is_released(&self) -> bool {
        self.subpartitions.iter().all(|queue| queue.is_released())
    }
}

/// Makes empty batches of one type.
#[derive(Clone)]
pub struct BatchPrototype(pub fn() -> BoxBatch);

impl BatchPrototype {
    /// For batches of records of this type.
    pub fn of<T: millstream_core::Record>() -> Self {
        Self(|| Box::new(crate::batch::Batch::<T>::new()))
    }

    /// An empty batch.
    pub fn make(&self) -> BoxBatch {
        (self.0)()
    }

    /// Reads rows that another process wrote.
    pub fn decode(
        &self,
        count: usize,
        columns: Columns,
        rows: &[u8],
    ) -> Result<BoxBatch, DecodeError> {
        let mut batch = self.make();
        batch.decode(count, columns, rows)?;
        Ok(batch)
    }
}

/// Decides which consumer gets a record.
pub trait Router: Send {
    /// Moves every record into the open batch of its consumer and leaves `batch` empty.
    fn route(&mut self, batch: &mut BoxBatch, open: &mut [BoxBatch]);

    /// Prepares a batch that goes to the only consumer as it is: computes hashes, for instance.
    fn prepare(&mut self, _batch: &mut dyn AnyBatch) {}
}

/// All records to the only consumer.
pub struct ForwardRouter;

impl Router for ForwardRouter {
    fn route(&mut self, batch: &mut BoxBatch, open: &mut [BoxBatch]) {
        batch.append_to(open[0].as_mut());
    }
}

/// A copy of each record to every consumer.
pub struct BroadcastRouter;

impl Router for BroadcastRouter {
    fn route(&mut self, batch: &mut BoxBatch, open: &mut [BoxBatch]) {
        let (last, others) = open.split_last_mut().expect("a partition has a consumer");
        for out in others {
            batch.duplicate().append_to(out.as_mut());
        }
        batch.append_to(last.as_mut());
    }
}

/// Records in turn: each batch continues where the former ended.
pub struct RoundRobinRouter {
    next: u32,
    targets: Vec<u32>,
}

impl RoundRobinRouter {
    /// Begins with consumer `first`, so that subtasks do not all begin with the same.
    pub fn new(first: u32) -> Self {
        Self { next: first, targets: Vec::new() }
    }
}

impl Router for RoundRobinRouter {
    fn route(&mut self, batch: &mut BoxBatch, open: &mut [BoxBatch]) {
        let consumers = open.len() as u32;
        let first = self.next % consumers;
        let len = batch.len() as u32;
        self.targets.clear();
        self.targets.extend((0..len).map(|i| (first + i) % consumers));
        self.next = (first + len) % consumers;
        batch.distribute(&self.targets, open);
    }
}

/// Records at random, from a generator of the router's own (SplitMix64).
pub struct ShuffleRouter {
    state: u64,
    targets: Vec<u32>,
}

impl ShuffleRouter {
    /// Begins at a seed.
    pub fn new(seed: u64) -> Self {
        Self { state: seed, targets: Vec::new() }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

impl Router for ShuffleRouter {
    fn route(&mut self, batch: &mut BoxBatch, open: &mut [BoxBatch]) {
        let consumers = open.len() as u64;
        self.targets.clear();
        for _ in 0..batch.len() {
            let target = ((self.next() >> 32) * consumers) >> 32;
            self.targets.push(target as u32);
        }
        batch.distribute(&self.targets, open);
    }
}

/// Computes the hashes of the keys of a batch of one type.
pub trait Keying: Send {
    /// Fills the batch's hashes.
    fn hash(&mut self, batch: &mut dyn AnyBatch);
}

/// Records by the hash of their key.
pub struct HashRouter {
    keying: Box<dyn Keying>,
    max_parallelism: MaxParallelism,
    /// The consumer of each key group, once there are records: a division for each of them is felt.
    owners: Vec<u32>,
    targets: Vec<u32>,
}

impl HashRouter {
    /// Routes to the owners of the keys' groups.
    pub fn new(keying: Box<dyn Keying>, max_parallelism: MaxParallelism) -> Self {
        Self { keying, max_parallelism, owners: Vec::new(), targets: Vec::new() }
    }
}

impl Router for HashRouter {
    fn route(&mut self, batch: &mut BoxBatch, open: &mut [BoxBatch]) {
        self.keying.hash(batch.as_mut());
        let (max, consumers) = (self.max_parallelism, open.len() as u32);
        if self.owners.is_empty() {
            let groups = (0..max.get()).filter_map(KeyGroup::new);
            self.owners.extend(groups.map(|group| group.owner(max, consumers)));
        }
        let owner = |hash: &u64| self.owners[KeyGroup::of_hash(*hash, max).index() as usize];
        self.targets.clear();
        self.targets.extend(batch.hashes().iter().map(owner));
        batch.distribute(&self.targets, open);
    }

    fn prepare(&mut self, batch: &mut dyn AnyBatch) {
        self.keying.hash(batch);
    }
}

/// Something was written that cannot get to its consumer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("partition {partition} cannot be written: {cause}")]
pub struct PartitionNotWritable {
    /// Which.
    pub partition: PartitionId,
    /// Why.
    pub cause: NotStored,
}

/// The producer's half of a partition.
pub struct PartitionWriter {
    shared: Arc<ResultPartition>,
    /// Where it goes if consumers read it later.
    stored: Option<StoredWriter>,
    router: Box<dyn Router>,
    /// One batch per consumer, not yet full.
    open: Vec<BoxBatch>,
    /// So many records make a batch full.
    target: usize,
    /// Records routed so far.
    records: u64,
    /// How records find their consumer.
    ship: ShipStrategy,
}

/// Rows that a barrier overtook on the producer's side: for this consumer.
pub struct OvertakenOutput {
    /// The edge.
    pub edge: Edge,
    /// The consumer.
    pub consumer: u32,
    /// What a record is.
    pub schema: Schema,
    /// In their order.
    pub rows: Vec<InFlightRows>,
}

impl PartitionWriter {
    /// Writes to the queues of `shared`.
    pub fn new(shared: Arc<ResultPartition>, router: Box<dyn Router>) -> Self {
        let consumers = shared.subpartitions.len();
        Self::over(shared, consumers, router, None)
    }

    /// Writes to a file, from which consumers read when it is whole.
    pub fn storing(
        id: PartitionId,
        prototype: BatchPrototype,
        router: Box<dyn Router>,
        stored: StoredWriter,
    ) -> Self {
        let (consumers, subpartitions) = (stored.consumers(), Vec::new());
        let shared = Arc::new(ResultPartition { id, subpartitions, prototype });
        Self::over(shared, consumers, router, Some(stored))
    }

    fn over(
        shared: Arc<ResultPartition>,
        consumers: usize,
        router: Box<dyn Router>,
        stored: Option<StoredWriter>,
    ) -> Self {
        let open: Vec<BoxBatch> = (0..consumers).map(|_| shared.prototype.make()).collect();
        let target = open.first().map_or(1, |batch| batch.target());
        // Nobody's: no barrier overtakes its records.
        let ship = ShipStrategy::Forward;
        Self { shared, stored, router, open, target, records: 0, ship }
    }

    /// Says how records find their consumer.
    pub fn shipping(mut self, ship: ShipStrategy) -> Self {
        self.ship = ship;
        self
    }

    /// Whether every queue takes one more batch. If not, the producer's thread is woken when one does.
    pub fn has_room(&mut self) -> bool {
        self.has_room_beyond(0)
    }

    /// The same, if so many batches may wait besides in each queue.
    pub fn has_room_beyond(&mut self, overdraft: usize) -> bool {
        // Every queue is asked, not only up to the first full one: each has to know that we wait.
        let queues = self.shared.subpartitions.iter();
        queues.filter(|queue| !queue.has_room_beyond(overdraft)).count() == 0
    }

    /// Routes the batch and sends what became full. Only after [`PartitionWriter::has_room`].
    pub fn write(&mut self, batch: &mut BoxBatch) {
        self.records += batch.len() as u64;
        if self.open.len() == 1 {
            self.router.prepare(batch.as_mut());
            if self.open[0].is_empty() && batch.len() * 2 >= self.target && self.stored.is_none() {
                // As it is; an emptied batch takes its place.
                return self.shared.subpartitions[0].push(batch);
            }
            batch.append_to(self.open[0].as_mut());
        } else {
            self.router.route(batch, &mut self.open);
        }
        for consumer in 0..self.open.len() {
            if self.open[consumer].len() >= self.target {
                self.send(consumer);
            }
        }
    }

    fn send(&mut self, consumer: usize) {
        match &mut self.stored {
            None => self.shared.subpartitions[consumer].push(&mut self.open[consumer]),
            Some(stored) => {
                stored.push(consumer, self.open[consumer].as_ref());
                self.open[consumer].clear();
            }
        }
    }

    /// Stores the partial batches too: something comes that is to come after them.
    fn store_open(&mut self) -> Option<&mut StoredWriter> {
        self.stored.as_ref()?;
        (0..self.open.len()).for_each(|consumer| self.send(consumer));
        self.stored.as_mut()
    }

    /// Whether consumers read it later.
    pub fn is_stored(&self) -> bool {
        self.stored.is_some()
    }

    /// Whether a partial batch waits to be flushed.
    pub fn has_open(&self) -> bool {
        !self.is_stored() && self.open.iter().any(|batch| !batch.is_empty())
    }

    /// Sends the partial batches whose queues have room; whether none is left.
    pub fn flush(&mut self) -> bool {
        self.flush_beyond(0)
    }

    /// The same, if so many batches may wait besides in each queue.
    pub fn flush_beyond(&mut self, overdraft: usize) -> bool {
        if self.is_stored() {
            return true;
        }
        let mut all = true;
        for consumer in 0..self.open.len() {
            if self.open[consumer].is_empty() {
                // A failure is told by `pump` of the whole.
                let _ = self.shared.subpartitions[consumer].pump();
                continue;
            }
            if self.shared.subpartitions[consumer].has_room_beyond(overdraft) {
                self.send(consumer);
            } else {
                all = false;
            }
        }
        all
    }

    /// Does what consumers in other processes wait for: encodes what was pushed before they came. An
    /// error if something cannot be sent; the task cannot go on.
    ///
    /// Call it whenever the task's thread has been woken. The other calls do the same on their way,
    /// and what is encoded leaves without the task: credit that comes wakes it only if it waits for
    /// room.
    pub fn pump(&mut self) -> Result<(), Box<PartitionNotWritable>> {
        let partition = self.shared.id;
        for queue in &self.shared.subpartitions {
            let told = |cause| PartitionNotWritable { partition, cause: NotStored::Row(cause) };
            queue.pump().map_err(|cause| Box::new(told(cause)))?;
        }
        let stored = self.stored.as_ref().map_or(Ok(()), StoredWriter::check);
        stored.map_err(|cause| Box::new(PartitionNotWritable { partition, cause }))
    }

    /// Whether [`PartitionWriter::pump`] has something to do. After [`PartitionWriter::finish`] it
    /// never has: what consumers have not taken leaves without the task.
    pub fn has_pending(&self) -> bool {
        self.shared.subpartitions.iter().any(|queue| queue.has_pending())
    }

    /// Whether everything has reached its consumer, or waits where a consumer of this process holds
    /// it. The task may go before; its process may not. The producer's thread is woken when it may.
    pub fn is_drained(&self) -> bool {
        self.shared.subpartitions.iter().all(|queue| queue.is_released() || queue.is_attached())
    }

    /// Says something about a checkpoint to every consumer. A barrier only after a complete flush.
    pub fn push_barrier(&mut self, control: Control) {
        assert!(
            !matches!(control, Control::Barrier(_)) || !self.has_open(),
            "flushed before the barrier is told"
        );
        for queue in &self.shared.subpartitions {
            queue.push_control(control);
        }
    }

    /// Says to every consumer how far event time is. Only after a complete flush: what was written
    /// before it comes before it.
    pub fn push_watermark(&mut self, watermark: Watermark) {
        assert!(!self.has_open(), "flushed before the watermark is told");
        if !watermark.is_idle()
            && let Some(stored) = self.store_open()
        {
            // Who is idle now says nothing to those who read later.
            stored.push_watermark(watermark.time);
        }
        for queue in &self.shared.subpartitions {
            queue.push_control(Control::Watermark(watermark));
        }
    }

    /// Whether it is settled for every consumer what the barrier, which has been pushed, overtakes on
    /// this side. With `overtake`, it leaves before what waits for credit; the rows of that are given.
    /// Where it is not settled the producer's thread is woken when it may be.
    pub fn settle(
        &mut self,
        checkpoint: CheckpointId,
        overtake: bool,
        to: &mut Vec<OvertakenOutput>,
    ) -> bool {
        if !self.ship.may_be_overtaken() {
            return true;
        }
        let edge = Edge { data_set: self.shared.id.data_set, ship: self.ship };
        let mut all = true;
        for (consumer, queue) in (0_u32..).zip(&self.shared.subpartitions) {
            let mut rows = Vec::new();
            all &= queue.settle(checkpoint, overtake, &mut rows);
            if !rows.is_empty() {
                let schema = self.shared.prototype.make().schema();
                to.push(OvertakenOutput { edge, consumer, schema, rows });
            }
        }
        all
    }

    /// Says that nothing will follow. Only after a complete flush. Whether what is stored is whole is
    /// told by [`PartitionWriter::pump`].
    pub fn finish(&mut self) {
        assert!(!self.has_open(), "flushed before the end is told");
        if let Some(stored) = self.store_open() {
            stored.finish();
        }
        for queue in &self.shared.subpartitions {
            queue.push_control(Control::EndOfPartition);
        }
    }

    /// Records routed so far.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Bytes of rows that were encoded for consumers in other processes.
    pub fn remote_bytes(&self) -> u64 {
        self.shared.subpartitions.iter().map(|queue| queue.remote_bytes()).sum()
    }

    /// The shared half.
    pub fn shared(&self) -> &Arc<ResultPartition> {
        &self.shared
    }
}
