//! What a completed checkpoint refers to: per operator and subtask its states, per state the parts
//! of files that make it up.
//!
//! A table that was snapshotted incrementally is a chain: a whole part first, then what changed
//! since. Later parts win. The files of a backend are a chain as well ([`crate::native`]).

use crate::native::TableFormat;
use millstream_core::checkpoint::CheckpointId;
use millstream_core::ids::{DataSetId, OperatorId};
use millstream_core::job_graph::ShipStrategy;
pub use millstream_core::job_state::ListMode;
use millstream_core::key_group::KeyGroupRange;
use millstream_core::record::Schema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Everything that one task acknowledges, and everything that it gets back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskState {
    /// The states of the chain's operators; those without state are left out.
    pub operators: BTreeMap<OperatorId, OperatorState>,
    /// Splits that the attempt had been given when the barrier passed it: the first so many.
    pub splits: u32,
    /// The task had done all its work: after a restore it only has to say so.
    pub finished: bool,
    /// Records that the barrier overtook.
    #[serde(default)]
    pub in_flight: Vec<InFlightState>,
}

/// Records of one edge that a barrier overtook: sent by its producer before the barrier, and not
/// processed by its consumer when that took its part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InFlightState {
    /// The edge.
    pub data_set: DataSetId,
    /// How records found their consumer.
    pub ship: ShipStrategy,
    /// Where they were.
    pub place: InFlightPlace,
    /// Rows, in the order in which they are to be processed.
    pub list: ListState,
}

/// Where records were that a barrier overtook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum InFlightPlace {
    /// In the queues that the task reads.
    Input,
    /// On their way out of the task: they follow what the consumer has of this task.
    Output {
        /// The subtask that was to get them.
        consumer: u32,
    },
}

/// The states of one operator in one subtask.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorState {
    /// Keyed state, by key group.
    pub tables: Vec<TableState>,
    /// State of the subtask itself.
    pub lists: Vec<ListState>,
}

/// One keyed state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableState {
    /// Its name within the operator.
    pub name: String,
    /// What its rows hold.
    pub schema: TableSchema,
    /// The key groups that the parts cover.
    pub groups: KeyGroupRange,
    /// What the rows are in.
    pub chain: Vec<FilePart>,
    /// How those are to be read.
    #[serde(default)]
    pub format: TableFormat,
}

/// What the rows of a table hold: key, namespace, value, one after the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableSchema {
    /// The key.
    pub key: Schema,
    /// What divides the values of a key, such as a window; an empty tuple for nothing.
    pub namespace: Schema,
    /// The value.
    pub value: Schema,
}

/// A list of items that belongs to a subtask and not to a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListState {
    /// Its name within the operator.
    pub name: String,
    /// What becomes of it when the parallelism changes.
    pub mode: ListMode,
    /// What an item is; nothing for bytes that only the operator understands.
    pub schema: Option<Schema>,
    /// How many items there are.
    pub items: u64,
    /// The items, in order.
    pub part: FilePart,
}

/// A part of a state file: all blocks that its index names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePart {
    /// Where the bytes are.
    pub file: StateFile,
    /// Where the index block is, from the file's begin.
    pub index_offset: u64,
    /// Bytes of the index block with its header.
    pub index_length: u64,
    /// Rows or items in all blocks, deletions included.
    pub rows: u64,
    /// Bytes of all blocks but the index.
    pub bytes: u64,
}

/// Where the bytes of a state file are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StateFile {
    /// Here: a whole state file, small enough to travel with its handle.
    Inline(#[serde(with = "inline")] Vec<u8>),
    /// In a file of its own.
    File(FileName),
}

/// The name of a state file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FileName {
    /// The directory that [`FileName::path`] is below; nothing: that of the checkpoint's own job, or
    /// of the savepoint itself, wherever it has been moved.
    pub root: Option<String>,
    /// `chk-7/…` for a file of one checkpoint, `shared/…` for one that later ones may refer to.
    pub path: String,
    /// The file's length.
    pub bytes: u64,
}

impl FileName {
    /// Later checkpoints may refer to it.
    pub fn is_shared(&self) -> bool {
        self.path.starts_with("shared/")
    }
}

/// The checkpoint that a file was written for, as its path says: `chk-7/…`, `shared/<attempt>-7-0`.
pub fn written_for(path: &str) -> Option<CheckpointId> {
    let (directory, name) = path.split_once('/')?;
    let number = match directory {
        "shared" => name.rsplit('-').nth(1)?,
        _ => directory.strip_prefix("chk-")?,
    };
    number.parse().ok().map(CheckpointId)
}

impl TaskState {
    /// Every file that is referred to, once per reference.
    pub fn files(&self) -> impl Iterator<Item = &FileName> {
        let parts = self.operators.values().flat_map(|operator| {
            let tables = operator.tables.iter().flat_map(|table| &table.chain);
            tables.chain(operator.lists.iter().map(|list| &list.part))
        });
        let parts = parts.chain(self.in_flight.iter().map(|in_flight| &in_flight.list.part));
        parts.filter_map(|part| match &part.file {
            StateFile::Inline(_) => None,
            StateFile::File(name) => Some(name),
        })
    }

    /// Bytes of all blocks that are referred to.
    pub fn bytes(&self) -> u64 {
        let parts = self.operators.values().flat_map(|operator| {
            let tables = operator.tables.iter().flat_map(|table| &table.chain);
            tables.chain(operator.lists.iter().map(|list| &list.part))
        });
        let parts = parts.chain(self.in_flight.iter().map(|in_flight| &in_flight.list.part));
        // Whoever reads a handle has it from others: no number in it can be trusted to be small.
        parts.fold(0, |bytes, part| part.bytes.saturating_add(bytes))
    }
}

/// Bytes in text are hexadecimal digits: a list of numbers would be twice as long.
mod inline {
    use crate::hex;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &Vec<u8>, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() { hex::encode(bytes).serialize(s) } else { bytes.serialize(s) }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<u8>, D::Error> {
        if d.is_human_readable() {
            let text = String::deserialize(d)?;
            hex::decode(&text).map_err(serde::de::Error::custom)
        } else {
            Vec::deserialize(d)
        }
    }
}

/// What a task begins with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskRestore {
    /// The checkpoint that the state comes from. It is complete: what waits for it is committed.
    pub checkpoint: CheckpointId,
    /// Nothing is left to do but to take the state over, to commit, and to end without a record: the
    /// task had done all its work, or the job was stopped with this savepoint.
    pub finished: bool,
    /// What each operator of the chain gets: of several subtasks, if the parallelism changed. Of those
    /// that the checkpoint knew all are here, also those that had no state; others begin afresh.
    pub operators: BTreeMap<OperatorId, OperatorRestore>,
    /// Records to be processed before any that comes, in this order.
    pub in_flight: Vec<InFlightShare>,
}

/// Records that a barrier overtook, for one subtask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InFlightShare {
    /// The task's how many-th input they came through.
    pub gate: u32,
    /// Records of other subtasks are among them: only those of the task's own key groups count.
    pub filter: bool,
    /// The rows.
    pub list: ListState,
}

/// What one operator of one subtask begins with. Of tables it takes its own key groups only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorRestore {
    /// All tables that hold key groups of this subtask.
    pub tables: Vec<TableState>,
    /// Which items of which lists.
    pub lists: Vec<ListShare>,
}

/// Some items of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListShare {
    /// The list, as a subtask wrote it.
    pub list: ListState,
    /// The numbers of the items: from, to.
    pub items: std::ops::Range<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_a_file_says_which_checkpoint_it_was_written_for() {
        assert_eq!(written_for("shared/0f_1_2_3-12-0"), Some(CheckpointId(12)));
        assert_eq!(written_for("chk-7/0f_1_2_3-0"), Some(CheckpointId(7)));
        for path in ["", "chk-7", "chk-x/a", "shared/a", "savepoint-7/a", "photographs/chk-7"] {
            assert_eq!(written_for(path), None, "{path}");
        }
    }
}
