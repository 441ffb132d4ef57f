//! Restarts that wait: for the end of what they replace, and for their backoff.
//!
//! A subtask waits for at most one restart: a later failure that concerns it takes it over, so
//! each subtask is reset by the newest decision about it, and a restart in another corner of the
//! job is not delayed.

use crate::execution_graph::ExecutionVertexId;
use millstream_core::time::Mono;
use std::collections::{BTreeMap, BTreeSet};

/// Names a restart until it is carried out; its timer carries it, so that the timer of a restart
/// that was overtaken does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RestartId(pub u64);

/// One restart that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingRestart {
    /// What starts over: whole regions.
    pub subtasks: BTreeSet<ExecutionVertexId>,
    /// The end of its backoff.
    pub until: Mono,
}

/// All restarts that wait.
#[derive(Clone, Debug, Default)]
pub struct PendingRestarts {
    /// Names given out so far.
    last: u64,
    by_id: BTreeMap<RestartId, PendingRestart>,
    /// The restart that a subtask waits for: the same facts, the other way round.
    of: BTreeMap<ExecutionVertexId, RestartId>,
}

impl PendingRestarts {
    /// These subtasks will start over, not before `until`. Takes them over from other restarts.
    pub fn add(&mut self, subtasks: BTreeSet<ExecutionVertexId>, until: Mono) -> RestartId {
        self.last += 1;
        let id = RestartId(self.last);
        for subtask in &subtasks {
            if let Some(former) = self.of.insert(*subtask, id) {
                self.drop_from(former, *subtask);
            }
        }
        self.by_id.insert(id, PendingRestart { subtasks, until });
        id
    }

    fn drop_from(&mut self, restart: RestartId, subtask: ExecutionVertexId) {
        if let Some(pending) = self.by_id.get_mut(&restart) {
            pending.subtasks.remove(&subtask);
            if pending.subtasks.is_empty() {
                self.by_id.remove(&restart);
            }
        }
    }

    /// Takes out a restart that is to be carried out.
    pub fn take(&mut self, id: RestartId) -> Option<PendingRestart> {
        let pending = self.by_id.remove(&id)?;
        for subtask in &pending.subtasks {
            self.of.remove(subtask);
        }
        Some(pending)
    }

    /// Nothing starts over any more; what would have.
    pub fn clear(&mut self) -> BTreeSet<ExecutionVertexId> {
        self.by_id.clear();
        std::mem::take(&mut self.of).into_keys().collect()
    }

    /// Whether the subtask will start over.
    pub fn contains(&self, subtask: ExecutionVertexId) -> bool {
        self.of.contains_key(&subtask)
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Every restart, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (RestartId, &PendingRestart)> {
        self.by_id.iter().map(|(id, pending)| (*id, pending))
    }

    /// Both directions tell the same.
    pub fn check(&self) {
        let forward: BTreeMap<ExecutionVertexId, RestartId> = self
            .iter()
            .flat_map(|(id, pending)| pending.subtasks.iter().map(move |subtask| (*subtask, id)))
            .collect();
        assert_eq!(forward, self.of, "restarts and their subtasks disagree");
        assert!(self.by_id.values().all(|p| !p.subtasks.is_empty()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execution_graph::testing::id;

    #[test]
    fn a_later_restart_takes_subtasks_over_and_an_empty_one_is_gone() {
        let mut restarts = PendingRestarts::default();
        let first = restarts.add([id(0, 0), id(1, 0)].into(), Mono(5));
        let second = restarts.add([id(1, 0), id(2, 0)].into(), Mono(9));
        restarts.check();
        let left: Vec<_> = restarts.iter().map(|(id, p)| (id, p.subtasks.len())).collect();
        assert_eq!(left, [(first, 1), (second, 2)]);

        restarts.add([id(0, 0)].into(), Mono(7));
        restarts.check();
        assert_eq!(restarts.take(first), None);
        assert!(restarts.take(second).is_some_and(|p| p.until == Mono(9)));
        assert!(!restarts.contains(id(2, 0)));
        assert_eq!(restarts.clear(), BTreeSet::from([id(0, 0)]));
        restarts.check();
    }
}
