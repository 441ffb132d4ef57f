//! Where the producers and consumers of one process find each other.

use crate::partition::ResultPartition;
use crate::sync::{Arc, Mutex, lock};
use crate::wake::Wake;
use millstream_core::ids::PartitionId;
use std::collections::BTreeMap;

/// The partitions of one process. Cheap to clone.
#[derive(Clone, Default)]
pub struct PartitionRegistry(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    partitions: BTreeMap<PartitionId, Arc<ResultPartition>>,
    /// Consumers that came before their producers.
    waiting: BTreeMap<PartitionId, Vec<Wake>>,
}

impl PartitionRegistry {
    /// No partitions.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the partition known and wakes whoever waits for it.
    pub fn register(&self, partition: Arc<ResultPartition>) {
        let waiting = {
            let mut state = lock(&self.0);
            let id = partition.id;
            // Partitions that were read to their end are forgotten when the next ones come.
            state.partitions.retain(|_, known| !known.is_released());
            state.partitions.insert(id, partition);
            state.waiting.remove(&id).unwrap_or_default()
        };
        waiting.iter().for_each(Wake::wake);
    }

    /// The partition, if it is there; if not, `wake` is woken when it comes.
    pub fn find(&self, id: PartitionId, wake: &Wake) -> Option<Arc<ResultPartition>> {
        let mut state = lock(&self.0);
        let found = state.partitions.get(&id).cloned();
        if found.is_none() {
            let waiting = state.waiting.entry(id).or_default();
            if !waiting.iter().any(|known| known.is_same(wake)) {
                waiting.push(wake.clone());
            }
        }
        found
    }

    /// Forgets the partition; consumers that hold it read on.
    pub fn remove(&self, id: PartitionId) {
        let mut state = lock(&self.0);
        state.partitions.remove(&id);
        state.waiting.remove(&id);
    }

    /// Forgets a wait for a partition that did not come.
    pub fn forget_wait(&self, id: PartitionId) {
        lock(&self.0).waiting.remove(&id);
    }

    /// How many partitions are known: for tests of leaks.
    pub fn len(&self) -> usize {
        lock(&self.0).partitions.len()
    }

    /// No partition is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
