//! A task with state of every kind, written with the shipped writer of state files and read with the
//! shipped reader: a keyed table with rows of one byte each for key and value, items that belong to
//! some subtask, items that all subtasks get, items that all have alike, and splits that it reads.

use millstream_checkpoint::handle::{
    ListMode, OperatorState, TableSchema, TableState, TaskRestore,
};
use millstream_checkpoint::snapshot::{
    FrozenTable, ListSnapshot, RowSink, SnapshotError, TableSnapshot,
};
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

/// Records of a split.
const RECORDS: u8 = 3;

/// What tasks hold: one, or all of a job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) rows: Rows,
    /// Each is in one subtask.
    pub(super) items: Vec<u8>,
    /// Every subtask gets those of all, and makes one of its own from them.
    pub(super) union: Vec<u8>,
    /// All subtasks have the same.
    pub(super) broadcast: Vec<u8>,
    /// Splits that are being read, and how far.
    pub(super) readers: Vec<(u8, u8)>,
}

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
    pub(super) content: Content,
    /// The splits that it was given, in order.
    pub(super) given: Vec<u32>,
    /// What the newest complete checkpoint refers to, and what the table held.
    base: Option<(TableState, Rows)>,
    /// The same of checkpoints of which nobody knows yet.
    uploads: BTreeMap<CheckpointId, (TableState, Rows)>,
}

impl Task {
    pub(super) fn new(groups: KeyGroupRange) -> Self {
        let content = Content::default();
        Self { groups, content, given: Vec::new(), base: None, uploads: BTreeMap::new() }
    }

    /// Some rows change, some go, an item comes, splits are read.
    pub(super) fn work(&mut self, rng: &mut Rng) {
        let Content { items, union, readers, .. } = &mut self.content;
        items.extend((0..rng.below(3)).map(|_| rng.below(256) as u8));
        union.clear();
        union.extend((0..rng.below(3)).map(|_| rng.below(256) as u8));
        readers.iter_mut().for_each(|(_, at)| *at += rng.below(2) as u8);
        readers.retain(|(_, at)| *at < RECORDS);
        for _ in 0..rng.below(6) {
            let key = rng.below(40) as u8;
            let own = self.groups.0.contains(&group_of(key));
            match rng.below(4) {
                _ if !own => {}
                0 => drop(self.content.rows.remove(&key)),
                _ => drop(self.content.rows.insert(key, rng.below(256) as u8)),
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
                        self.content.rows.extend(rows.map(|row| (row[0], row[1])));
                    }
                    _ => self.content.rows.retain(|key, _| !block.payload.contains(key)),
                }
            }
        }
        let bytes = |name: &str| -> Vec<u8> { restored.items(name).concat() };
        self.content.items = bytes("items");
        self.content.union = bytes("union");
        self.content.broadcast = bytes("broadcast");
        self.content.readers =
            bytes("readers").chunks_exact(2).map(|item| (item[0], item[1])).collect();
        Ok(())
    }

    /// Writes its part of a checkpoint; nothing is durable unless it succeeds.
    pub(super) fn snapshot(
        &mut self,
        storage: Arc<dyn Storage>,
        barrier: &Barrier,
        name: &str,
        inline_bytes_max: u32,
    ) -> Result<OperatorState, SnapshotError> {
        let id = barrier.checkpoint;
        let savepoint = barrier.kind.is_savepoint();
        let base = self.base.as_ref().filter(|_| barrier.kind.is_incremental());
        let content =
            Frozen { rows: self.content.rows.clone(), base: base.map(|(_, rows)| rows.clone()) };
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
        let mut lists = Vec::new();
        for list in self.lists() {
            lists.push(writer.list(list)?);
        }
        writer.finish()?;
        if !savepoint {
            self.uploads.insert(id, (state.clone(), self.content.rows.clone()));
        }
        Ok(OperatorState { tables: vec![state], lists })
    }

    fn lists(&self) -> [ListSnapshot; 4] {
        let list = |name: &str, mode, items: Vec<Vec<u8>>| ListSnapshot {
            name: name.to_owned(),
            mode,
            schema: None,
            items,
        };
        let each = |bytes: &[u8]| bytes.iter().map(|byte| vec![*byte]).collect();
        let Content { items, union, broadcast, readers, .. } = &self.content;
        let readers = readers.iter().map(|(split, at)| vec![*split, *at]).collect();
        [
            list("items", ListMode::Split, each(items)),
            list("union", ListMode::Union, each(union)),
            list("broadcast", ListMode::Broadcast, each(broadcast)),
            list("readers", ListMode::Split, readers),
        ]
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
