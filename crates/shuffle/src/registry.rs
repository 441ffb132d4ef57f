//! Where the producers and consumers of one process find each other.

use crate::partition::ResultPartition;
use crate::stored::StoredPartitions;
use crate::subpartition::Subpartition;
use crate::sync::{Arc, Mutex, lock};
use crate::wake::Wake;
use crate::wire::outlet::Outlet;
use millstream_core::ids::PartitionId;
use std::collections::BTreeMap;

/// The partitions of one process. Cheap to clone.
#[derive(Clone, Default)]
pub struct PartitionRegistry {
    state: Arc<Mutex<State>>,
    /// Where partitions are that are read when they are whole, if there may be some.
    stored: Option<StoredPartitions>,
}

#[derive(Default)]
struct State {
    partitions: BTreeMap<PartitionId, Arc<ResultPartition>>,
    /// Consumers that came before their producers.
    waiting: BTreeMap<PartitionId, Waiting>,
}

#[derive(Default)]
struct Waiting {
    /// Threads of this process.
    threads: Vec<Wake>,
    /// Requests of other processes.
    requests: Vec<Arc<Outlet>>,
}

impl PartitionRegistry {
    /// No partitions.
    pub fn new() -> Self {
        Self::default()
    }

    /// Partitions of blocking exchanges are here. To be said before the registry is used.
    #[must_use]
    pub fn with_stored(mut self, stored: StoredPartitions) -> Self {
        self.stored = Some(stored);
        self
    }

    /// Where partitions of blocking exchanges are, if there may be some.
    pub fn stored(&self) -> Option<&StoredPartitions> {
        self.stored.as_ref()
    }

    /// Makes the partition known and wakes whoever waits for it.
    pub fn register(&self, partition: Arc<ResultPartition>) {
        let waiting = {
            let mut state = lock(&self.state);
            let id = partition.id;
            // Partitions that were read to their end are forgotten when the next ones come.
            state.partitions.retain(|_, known| !known.is_released());
            state.partitions.insert(id, partition.clone());
            state.waiting.remove(&id).unwrap_or_default()
        };
        waiting.requests.iter().for_each(|request| request.attach(&partition));
        waiting.threads.iter().for_each(Wake::wake);
    }

    /// The partition, if it is there; if not, `wake` is woken when it comes.
    pub fn find(&self, id: PartitionId, wake: &Wake) -> Option<Arc<ResultPartition>> {
        let mut state = lock(&self.state);
        let found = state.partitions.get(&id).cloned();
        if found.is_none() {
            let threads = &mut state.waiting.entry(id).or_default().threads;
            if !threads.iter().any(|known| known.is_same(wake)) {
                threads.push(wake.clone());
            }
        }
        found
    }

    /// The partition, if it is there; if not, the request is attached to it when it comes.
    pub(crate) fn find_for(
        &self,
        id: PartitionId,
        request: &Arc<Outlet>,
    ) -> Option<Arc<ResultPartition>> {
        let mut state = lock(&self.state);
        let found = state.partitions.get(&id).cloned();
        if found.is_none() {
            state.waiting.entry(id).or_default().requests.push(request.clone());
        }
        found
    }

    /// Forgets a request for a partition that did not come.
    pub(crate) fn forget_request(&self, id: PartitionId, request: &Arc<Outlet>) {
        let mut state = lock(&self.state);
        if let Some(waiting) = state.waiting.get_mut(&id) {
            waiting.requests.retain(|known| !Arc::ptr_eq(known, request));
            if waiting.requests.is_empty() && waiting.threads.is_empty() {
                state.waiting.remove(&id);
            }
        }
    }

    /// Forgets the partition; consumers of this process that hold it read on, and so do those of
    /// other processes if it is finished. If it is not, they are told that it failed.
    pub fn remove(&self, id: PartitionId) {
        let removed = {
            let mut state = lock(&self.state);
            state.forget_threads(id);
            state.partitions.remove(&id)
        };
        if let Some(partition) = removed {
            let abandon = |queue: &Arc<_>| Subpartition::abandon(queue, "its producer has stopped");
            partition.subpartitions.iter().for_each(abandon);
        }
    }

    /// Forgets a wait for a partition that did not come.
    pub fn forget_wait(&self, id: PartitionId) {
        lock(&self.state).forget_threads(id);
    }

    /// How many partitions are known: for tests of leaks.
    pub fn len(&self) -> usize {
        lock(&self.state).partitions.len()
    }

    /// No partition is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl State {
    fn forget_threads(&mut self, id: PartitionId) {
        if let Some(waiting) = self.waiting.get_mut(&id) {
            waiting.threads.clear();
            if waiting.requests.is_empty() {
                self.waiting.remove(&id);
            }
        }
    }
}
