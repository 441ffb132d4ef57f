//! Snapshots of an operator that is driven alone: written to memory as a task writes them, and restored
//! in any number of subtasks.

use super::OperatorHarness;
use crate::operator::Operator;
use millstream_checkpoint::handle::{ListMode, ListShare, OperatorRestore, OperatorState};
use millstream_checkpoint::snapshot::{OperatorSnapshot, RestoredOperator, SnapshotError};
use millstream_checkpoint::state_file::{TaskStateWriter, open_tables};
use millstream_checkpoint::storage::Storage;
use millstream_checkpoint::testing::MemoryStorage;
use millstream_core::checkpoint::{Alignment, Barrier, CheckpointId, SnapshotKind};
use millstream_core::key_group::{KeyGroupRange, MaxParallelism};
use millstream_core::{OperatorError, Record};
use std::sync::Arc;

/// What one subtask's operator has handed over.
#[derive(Clone)]
pub struct HarnessSnapshot {
    storage: MemoryStorage,
    state: OperatorState,
    max: MaxParallelism,
}

impl HarnessSnapshot {
    /// What it refers to.
    pub fn state(&self) -> &OperatorState {
        &self.state
    }

    /// What one of `parallelism` subtasks gets of the snapshots of all former subtasks. List items are
    /// dealt out in turn.
    pub fn restored(
        snapshots: &[HarnessSnapshot],
        subtask: u32,
        parallelism: u32,
    ) -> Result<RestoredOperator, OperatorError> {
        let mut all = RestoredOperator::default();
        let mut next = 0;
        for (former, snapshot) in snapshots.iter().enumerate() {
            let mut restore =
                OperatorRestore { tables: snapshot.state.tables.clone(), lists: Vec::new() };
            for list in &snapshot.state.lists {
                for item in 0..list.items {
                    let is_here = match list.mode {
                        ListMode::Split => next % parallelism == subtask,
                        ListMode::Union => true,
                        ListMode::Broadcast => former == 0,
                    };
                    next += 1;
                    if is_here {
                        let share = ListShare { list: list.clone(), items: item..item + 1 };
                        restore.lists.push(share);
                    }
                }
            }
            let groups = KeyGroupRange::of_subtask(subtask, snapshot.max, parallelism);
            let storage: Arc<dyn Storage> = Arc::new(snapshot.storage.clone());
            let opened = open_tables(&storage, &restore, &groups);
            let opened = opened.map_err(|error| OperatorError::from_error(&error))?;
            all.tables.extend(opened.tables);
            all.lists.extend(opened.lists);
        }
        Ok(all)
    }
}

/// What the harness remembers of its snapshots, so that the next may be an increment.
#[derive(Default)]
pub(super) struct Snapshots {
    storage: MemoryStorage,
    taken: u64,
    last: Option<OperatorState>,
}

impl Snapshots {
    fn write(
        &mut self,
        snapshot: OperatorSnapshot,
        max: MaxParallelism,
    ) -> Result<HarnessSnapshot, SnapshotError> {
        let n = self.taken;
        let storage = Arc::new(self.storage.clone());
        let (exclusive, shared) = (format!("chk-{n}/operator"), format!("shared/operator-{n}"));
        let groups = KeyGroupRange(0..max.get());
        let mut writer = TaskStateWriter::new(storage, exclusive, shared, groups, 0);
        let mut state = OperatorState::default();
        snapshot.work.into_iter().try_for_each(|work| work())?;
        for table in snapshot.tables {
            let last = self.last.as_ref();
            let last = last.and_then(|last| last.tables.iter().find(|t| t.name == table.name));
            state.tables.push(writer.table(table, last, true)?);
        }
        for list in snapshot.lists {
            state.lists.push(writer.list(list)?);
        }
        writer.finish()?;
        self.last = Some(state.clone());
        Ok(HarnessSnapshot { storage: self.storage.clone(), state, max })
    }
}

impl<A: Record, B: Record, O: Operator> OperatorHarness<A, B, O> {
    /// Lets a barrier pass and writes what the operator hands over; after the first time, changes only.
    pub fn snapshot(&mut self, max: MaxParallelism) -> Result<HarnessSnapshot, OperatorError> {
        self.flush()?;
        self.snapshots.taken += 1;
        let barrier = Barrier {
            checkpoint: CheckpointId(self.snapshots.taken),
            timestamp: 0,
            kind: SnapshotKind::Checkpoint,
            alignment: Alignment::Aligned,
        };
        let mut snapshot = OperatorSnapshot::default();
        self.operator.snapshot(&barrier, &mut snapshot)?;
        let written = self.snapshots.write(snapshot, max);
        written.map_err(|error| OperatorError::from_error(&error))
    }

    /// Goes on from snapshots of all former subtasks, as one of `parallelism`.
    pub fn restore(
        &mut self,
        snapshots: &[HarnessSnapshot],
        subtask: u32,
        parallelism: u32,
    ) -> Result<(), OperatorError> {
        self.operator.restore(HarnessSnapshot::restored(snapshots, subtask, parallelism)?)
    }
}
