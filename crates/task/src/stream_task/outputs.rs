//! Where a task's records go: one partition per outgoing edge, each gets all of them.

use millstream_shuffle::batch::BoxBatch;
use millstream_shuffle::partition::PartitionWriter;
use millstream_shuffle::registry::PartitionRegistry;

/// The partitions of one task.
pub struct Outputs {
    writers: Vec<PartitionWriter>,
    /// Where consumers find them; forgotten when the task ends without its work done.
    registry: PartitionRegistry,
    ended: bool,
}

impl Outputs {
    /// Makes the partitions known to their consumers.
    pub fn new(writers: Vec<PartitionWriter>, registry: PartitionRegistry) -> Self {
        for writer in &writers {
            registry.register(writer.shared().clone());
        }
        Self { writers, registry, ended: false }
    }

    /// Whether every queue of every partition takes one more batch.
    pub(super) fn has_room(&self) -> bool {
        // All are asked: each that is full has to know that we wait.
        self.writers.iter().filter(|writer| !writer.has_room()).count() == 0
    }

    /// Gives the batch to every partition and leaves it empty.
    pub(super) fn write(&mut self, batch: &mut BoxBatch) {
        let Some((last, others)) = self.writers.split_last_mut() else {
            return batch.clear();
        };
        for writer in others {
            writer.write(&mut batch.duplicate());
        }
        last.write(batch);
    }

    pub(super) fn has_open(&self) -> bool {
        self.writers.iter().any(PartitionWriter::has_open)
    }

    /// Sends partial batches; whether none is left.
    pub(super) fn flush(&mut self) -> bool {
        self.writers.iter_mut().map(PartitionWriter::flush).filter(|all| !all).count() == 0
    }

    /// Moves what waits for credit.
    pub(super) fn pump(&mut self) {}

    /// Flushes and says that nothing will follow; whether that is done.
    pub(super) fn end(&mut self) -> bool {
        if !self.flush() {
            return false;
        }
        if !self.ended {
            self.ended = true;
            self.writers.iter_mut().for_each(PartitionWriter::finish);
        }
        true
    }

    /// Records written, and bytes that went to other processes.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.writers.iter().map(PartitionWriter::records).max().unwrap_or(0), 0)
    }
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
