//! A task with one keyed table: rows of one byte each for key and value, written with the shipped
//! writer of state files and read with the shipped reader.

use millstream_checkpoint::handle::{TableSchema, TableState, TaskRestore};
use millstream_checkpoint::snapshot::{FrozenTable, RowSink, SnapshotError, TableSnapshot};
use millstream_checkpoint::state_file::{
    BlockKind, ReadError, StorageRoots, TaskStateWriter, open_tables,
};
use millstream_checkpoint::storage::{Storage, StorageError};
use millstream_core::checkpoint::{Barrier, CheckpointId};
use millstream_core::ids::OperatorId;
use millstream_core::key_group::{KeyGroup, KeyGroupRange};
use millstream_core::record::Schema;
use millstream_rpc::machine::Rng;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Key groups.
pub(super) const GROUPS: u32 = 8;

/// What a table holds.
pub(super) type Rows = BTreeMap<u8, u8>;

pub(super) const OPERATOR: OperatorId = OperatorId(100);

/// The key group of a key.
fn group_of(key: u8) -> u32 {
    u32::from(key) % GROUPS
}

fn group_number(group: u32) -> KeyGroup {
    KeyGroup::new(group).expect("there are few")
}

/// One subtask.
#[derive(Debug)]
pub(super) struct Task {
    groups: KeyGroupRange,
    pub(super) rows: Rows,
    /// What the newest complete checkpoint refers to, and what the table held.
    base: Option<(TableState, Rows)>,
    /// The same of checkpoints of which nobody knows yet.
    uploads: BTreeMap<CheckpointId, (TableState, Rows)>,
}

impl Task {
    pub(super) fn new(groups: KeyGroupRange) -> Self {
        Self { groups, rows: Rows::new(), base: None, uploads: BTreeMap::new() }
    }

    /// Some rows change, some go.
    pub(super) fn work(&mut self, rng: &mut Rng) {
        for _ in 0..rng.below(6) {
            let key = rng.below(40) as u8;
            let own = self.groups.0.contains(&group_of(key));
            match rng.below(4) {
                _ if !own => {}
                0 => drop(self.rows.remove(&key)),
                _ => drop(self.rows.insert(key, rng.below(256) as u8)),
            }
        }
    }

    /// Takes its state over.
    pub(super) fn restore(&mut self, restore: &TaskRestore, own: &str) -> Result<(), ReadError> {
        let Some(operator) = restore.operators.get(&OPERATOR) else { return Ok(()) };
        let roots = Roots(own.to_owned());
        let mut restored = open_tables(&roots, operator, &self.groups)?;
        for mut table in restored.take_tables("table") {
            while let Some(block) = table.blocks.next()? {
                match block.kind {
                    BlockKind::Rows => {
                        let rows = block.payload.chunks_exact(2);
                        self.rows.extend(rows.map(|row| (row[0], row[1])));
                    }
                    _ => self.rows.retain(|key, _| !block.payload.contains(key)),
                }
            }
        }
        Ok(())
    }

    /// Writes its part of a checkpoint; nothing is durable unless it succeeds.
    pub(super) fn snapshot(
        &mut self,
        storage: Arc<dyn Storage>,
        barrier: &Barrier,
        name: &str,
        inline_bytes_max: u32,
    ) -> Result<TableState, SnapshotError> {
        let id = barrier.checkpoint;
        let savepoint = barrier.kind.is_savepoint();
        let base = self.base.as_ref().filter(|_| barrier.kind.is_incremental());
        let content = Frozen { rows: self.rows.clone(), base: base.map(|(_, rows)| rows.clone()) };
        let plain = Schema::plain("u8");
        let namespace = Schema::Tuple(Vec::new());
        let schema = TableSchema { key: plain.clone(), namespace, value: plain };
        let content = Box::new(content);
        let table = TableSnapshot { name: "table".to_owned(), schema, content };
        let (exclusive, shared) = (format!("chk-{id}/{name}"), format!("shared/{name}-{id}"));
        let groups = self.groups.clone();
        let inline = inline_bytes_max as usize;
        let mut writer = TaskStateWriter::new(storage, exclusive, shared, groups, inline);
        let state = writer.table(table, base.map(|(state, _)| state), !savepoint)?;
        writer.finish()?;
        if !savepoint {
            self.uploads.insert(id, (state.clone(), self.rows.clone()));
        }
        Ok(state)
    }

    /// A checkpoint is complete: the next may build on it.
    pub(super) fn completed(&mut self, id: CheckpointId) {
        let later = self.uploads.split_off(&CheckpointId(id.0 + 1));
        let due = std::mem::replace(&mut self.uploads, later);
        if let Some((_, newest)) = due.into_iter().next_back() {
            self.base = Some(newest);
        }
    }

    pub(super) fn aborted(&mut self, id: CheckpointId) {
        self.uploads.remove(&id);
    }
}

/// A table at a barrier, and what it held at the one that it may build on.
struct Frozen {
    rows: Rows,
    base: Option<Rows>,
}

impl Frozen {
    fn rows_of(&self, group: u32, changed_only: bool) -> Vec<u8> {
        let base = self.base.as_ref().filter(|_| changed_only);
        let rows = self.rows.iter().filter(|(key, _)| group_of(**key) == group);
        let rows = rows.filter(|(key, value)| base.and_then(|b| b.get(*key)) != Some(*value));
        rows.flat_map(|(key, value)| [*key, *value]).collect()
    }
}

impl FrozenTable for Frozen {
    fn write(self: Box<Self>, out: &mut dyn RowSink) -> Result<(), SnapshotError> {
        for group in 0..GROUPS {
            let rows = self.rows_of(group, false);
            if !rows.is_empty() {
                out.rows(group_number(group), rows.len() as u32 / 2, &rows)?;
            }
        }
        Ok(())
    }

    fn write_changes(&mut self, out: &mut dyn RowSink) -> Result<bool, SnapshotError> {
        let Some(base) = &self.base else { return Ok(false) };
        for group in 0..GROUPS {
            let gone = base.keys().filter(|key| group_of(**key) == group);
            let gone = gone.filter(|key| !self.rows.contains_key(key)).copied();
            let gone: Vec<u8> = gone.collect();
            if !gone.is_empty() {
                out.removed(group_number(group), gone.len() as u32, &gone)?;
            }
            let rows = self.rows_of(group, true);
            if !rows.is_empty() {
                out.rows(group_number(group), rows.len() as u32 / 2, &rows)?;
            }
        }
        Ok(true)
    }
}

/// Local directories by their root.
struct Roots(String);

impl StorageRoots for Roots {
    fn at(&self, root: Option<&str>) -> Result<Arc<dyn Storage>, StorageError> {
        millstream_host::storage::local(Path::new(root.unwrap_or(&self.0)))
    }
}
