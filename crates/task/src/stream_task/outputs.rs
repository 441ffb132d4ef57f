//! Where a task's records go: one partition per outgoing edge. Each gets all that leaves the chain, or
//! all of one side output of one of its operators.

use crate::failure::{TaskError, guard_routing};
use millstream_core::OperatorError;
use millstream_core::checkpoint::CheckpointId;
use millstream_operator::context::RoutingLabel;
use millstream_shuffle::batch::BoxBatch;
use millstream_shuffle::element::{Control, Watermark};
use millstream_shuffle::partition::{OvertakenOutput, PartitionWriter};
use millstream_shuffle::registry::PartitionRegistry;

/// The partitions of one task.
pub struct Outputs {
    writers: Vec<PartitionWriter>,
    /// So many of them, the first, get what leaves the chain.
    of_chain: usize,
    /// Whose side outputs the others get: the numbers of the operator and of its output.
    of_sides: Vec<(usize, usize)>,
    /// Told with failures of the users' functions that route: one per writer.
    labels: Vec<Option<RoutingLabel>>,
    /// Where consumers find them; forgotten when the task ends without its work done.
    registry: PartitionRegistry,
    ended: bool,
}

impl Outputs {
    /// Makes the partitions known to their consumers.
    pub fn new(
        outputs: Vec<(Option<RoutingLabel>, PartitionWriter)>,
        registry: PartitionRegistry,
    ) -> Self {
        let (labels, writers): (Vec<_>, Vec<PartitionWriter>) = outputs.into_iter().unzip();
        writers.iter().for_each(|writer| announce(writer, &registry));
        let of_chain = writers.len();
        Self { writers, of_chain, of_sides: Vec::new(), labels, registry, ended: false }
    }

    /// A partition gets a side output: the numbers of the operator in the chain and of its output.
    pub fn with_side(
        mut self,
        side: (usize, usize),
        label: Option<RoutingLabel>,
        writer: PartitionWriter,
    ) -> Self {
        announce(&writer, &self.registry);
        self.writers.push(writer);
        self.labels.push(label);
        self.of_sides.push(side);
        self
    }

    /// Whether every queue of every partition takes one more batch, if so many may wait besides.
    pub(super) fn has_room(&mut self, overdraft: usize) -> bool {
        // All are asked: each that is full has to know that we wait.
        let writers = self.writers.iter_mut();
        writers.filter_map(|writer| (!writer.has_room_beyond(overdraft)).then_some(())).count() == 0
    }

    /// Gives what left the chain to every partition that is for it, and leaves the batch empty.
    pub(super) fn write(&mut self, batch: &mut BoxBatch) -> Result<(), TaskError> {
        let of_chain = self.of_chain;
        write_all(self.writers[..of_chain].iter_mut().zip(&self.labels[..of_chain]), batch)
    }

    /// Gives a side output to every partition that is for it, and leaves the batch empty.
    pub(super) fn write_side(
        &mut self,
        side: (usize, usize),
        batch: &mut BoxBatch,
    ) -> Result<(), TaskError> {
        let writers = self.writers[self.of_chain..].iter_mut().zip(&self.labels[self.of_chain..]);
        let of_it = writers.zip(&self.of_sides).filter(|(_, of)| **of == side);
        write_all(of_it.map(|(output, _)| output), batch)
    }

    pub(super) fn has_open(&self) -> bool {
        self.writers.iter().any(PartitionWriter::has_open)
    }

    /// Sends partial batches, also where so many wait beyond the bound of a queue; whether none is
    /// left.
    pub(super) fn flush(&mut self, overdraft: usize) -> bool {
        let writers = self.writers.iter_mut();
        writers.map(|writer| writer.flush_beyond(overdraft)).filter(|all| !all).count() == 0
    }

    /// See [`PartitionWriter::settle`].
    pub(super) fn settle(
        &mut self,
        checkpoint: CheckpointId,
        overtake: bool,
        to: &mut Vec<OvertakenOutput>,
    ) -> bool {
        let writers = self.writers.iter_mut();
        let settled = writers.map(|writer| writer.settle(checkpoint, overtake, to));
        settled.filter(|settled| !settled).count() == 0
    }

    /// Sends what waits for credit of consumers in other processes.
    pub(super) fn pump(&mut self) -> Result<(), TaskError> {
        for writer in &mut self.writers {
            writer.pump().map_err(|oversize| TaskError::Operator {
                label: None,
                error: OperatorError::new(oversize.to_string()),
            })?;
        }
        Ok(())
    }

    /// Says something about a checkpoint to all consumers, a barrier only after a complete flush. After
    /// the end there is nothing to say: it counts as every barrier.
    pub(super) fn push_barrier(&mut self, control: Control) {
        if !self.ended {
            self.writers.iter_mut().for_each(|writer| writer.push_barrier(control));
        }
    }

    /// Says to all consumers how far time is, after a complete flush.
    pub(super) fn push_watermark(&mut self, watermark: Watermark) {
        self.writers.iter_mut().for_each(|writer| writer.push_watermark(watermark));
    }

    /// Flushes and says that nothing will follow; whether there was room for all. An error if what is
    /// stored for later is not whole.
    pub(super) fn end(&mut self) -> Result<bool, TaskError> {
        if !self.flush(0) {
            return Ok(false);
        }
        if !self.ended {
            self.ended = true;
            self.writers.iter_mut().for_each(PartitionWriter::finish);
            self.pump()?;
        }
        Ok(true)
    }

    /// Whether all of it is where it is read.
    pub(super) fn is_drained(&self) -> bool {
        self.writers.iter().all(PartitionWriter::is_drained)
    }

    /// Records written, and bytes that went to other processes.
    pub(super) fn counts(&self) -> (u64, u64) {
        let (of_chain, of_sides) = self.writers.split_at(self.of_chain);
        let records = of_chain.iter().map(PartitionWriter::records).max().unwrap_or(0);
        // All partitions of a side output get the same: the first counts.
        let firsts = of_sides.iter().zip(&self.of_sides).enumerate();
        let firsts = firsts.filter(|(at, (_, side))| !self.of_sides[..*at].contains(side));
        let records = records + firsts.map(|(_, (writer, _))| writer.records()).sum::<u64>();
        (records, self.writers.iter().map(PartitionWriter::remote_bytes).sum())
    }
}

/// Makes a partition known to its consumers. What is stored is found by its name, when it is whole.
fn announce(writer: &PartitionWriter, registry: &PartitionRegistry) {
    if !writer.is_stored() {
        registry.register(writer.shared().clone());
    }
}

type Output<'a> = (&'a mut PartitionWriter, &'a Option<RoutingLabel>);

/// Gives the batch to all, copies to all but the last.
fn write_all<'a>(
    mut outputs: impl DoubleEndedIterator<Item = Output<'a>>,
    batch: &mut BoxBatch,
) -> Result<(), TaskError> {
    let Some((last, label)) = outputs.next_back() else {
        batch.clear();
        return Ok(());
    };
    for (writer, label) in outputs {
        let mut copy = batch.duplicate();
        guard_routing(label.as_ref(), || {
            writer.write(&mut copy);
            Ok(())
        })?;
    }
    guard_routing(label.as_ref(), || {
        last.write(batch);
        Ok(())
    })
}

impl Drop for Outputs {
    fn drop(&mut self) {
        if !self.ended {
            for writer in &self.writers {
                self.registry.remove(writer.shared().id);
            }
        }
    }
}
