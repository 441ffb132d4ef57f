//! What holds after every step. A violation panics.

use super::manager::SlotManager;
use millstream_core::ids::{AllocationId, JobId, ResourceId};
use std::collections::{BTreeMap, BTreeSet};

impl SlotManager {
    /// Checks the invariants; a violation panics.
    pub fn check(&self) {
        let mut seen = BTreeMap::new();
        for (resource, worker) in &self.workers {
            let counts = self.counts_of(resource);
            assert_eq!(
                counts.total() as usize,
                worker.slots.len(),
                "slots of {resource} are lost: {counts:?}"
            );
            for (index, slot) in &worker.slots {
                let Some(grant) = slot.state.grant() else {
                    continue;
                };
                let other = seen.insert(grant.allocation, (resource, *index, grant.job));
                assert!(other.is_none(), "{grant:?} lives in two slots");
            }
        }
        self.check_indices(&seen);
        let empty = self.demands.values().any(|d| d.required.is_empty());
        assert!(!empty, "a job without needs is kept");
    }

    fn check_indices(&self, seen: &BTreeMap<AllocationId, (&ResourceId, u32, JobId)>) {
        assert_eq!(seen.len(), self.grants.len(), "grants live in no slot");
        let by_job: usize = self.grants_of.values().map(BTreeSet::len).sum();
        assert_eq!(seen.len(), by_job, "the grants of the jobs do not add up");
        for (allocation, (resource, index, job)) in seen {
            let id = self.grants.get(allocation);
            let same = id.is_some_and(|id| id.resource == **resource && id.index == *index);
            assert!(same, "{allocation:?} is in {resource}_{index}, the index says {id:?}");
            let known = self.grants_of.get(job);
            assert!(
                known.is_some_and(|all| all.contains(allocation)),
                "{job:?} does not know its {allocation:?}"
            );
        }
    }
}
