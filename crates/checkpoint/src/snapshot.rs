//! What an operator hands over when a barrier passes, and what it gets back after a restore.
//!
//! A snapshot has two halves. The first is taken on the task's thread and must be short: small state
//! is copied, tables are frozen. The second runs beside the task, on a thread that may block: frozen
//! tables write their rows, by key group, into a state file.

use crate::handle::{InFlightPlace, ListMode, TableSchema};
use crate::native::{FrozenFiles, NativeTable};
use crate::state_file::{Block, ReadError};
use crate::storage::StorageError;
use millstream_core::ids::DataSetId;
use millstream_core::job_graph::ShipStrategy;
use millstream_core::key_group::{KeyGroup, KeyGroupRange};
use millstream_core::record::Schema;
use std::io::Write;

/// What one operator hands over. Empty for an operator without state.
#[derive(Default)]
pub struct OperatorSnapshot {
    /// Keyed state.
    pub tables: Vec<TableSnapshot>,
    /// State of the subtask itself.
    pub lists: Vec<ListSnapshot>,
    /// What has to be done before the snapshot counts, in this order.
    pub work: Vec<BesideTask>,
}

/// Work in the second half of a snapshot, besides writing state: making files of the operator's own
/// durable. If the snapshot is given up before it is written, it is dropped.
pub type BesideTask = Box<dyn FnOnce() -> Result<(), SnapshotError> + Send>;

impl OperatorSnapshot {
    /// There is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty() && self.lists.is_empty() && self.work.is_empty()
    }
}

/// One keyed state, frozen.
pub struct TableSnapshot {
    /// Its name within the operator: the same in every snapshot.
    pub name: String,
    /// What its rows hold.
    pub schema: TableSchema,
    /// Its content at the barrier.
    pub content: Box<dyn FrozenTable>,
}

/// The content of a table at a barrier; the table itself goes on changing.
pub trait FrozenTable: Send {
    /// Writes all rows, group by group in ascending order, and gives what it holds free.
    fn write(self: Box<Self>, out: &mut dyn RowSink) -> Result<(), SnapshotError>;

    /// Writes only what has changed since the snapshot before, if it knows that and if it is much
    /// less; `false`: nothing was written, all is to be written.
    fn write_changes(&mut self, _out: &mut dyn RowSink) -> Result<bool, SnapshotError> {
        Ok(false)
    }

    /// The files that it lies in, if a backend keeps it in such: a checkpoint may have those instead of
    /// rows.
    fn files(&mut self) -> Result<Option<FrozenFiles>, SnapshotError> {
        Ok(None)
    }

    /// Copies one of those files.
    fn copy_file(&mut self, name: &str, _out: &mut dyn Write) -> Result<(), SnapshotError> {
        Err(SnapshotError::Operator(format!("a table without files was asked for `{name}`")))
    }
}

/// Takes rows, sorted by key group.
pub trait RowSink {
    /// `count` rows of a group: key, namespace and value of each, one after the other. Any number of
    /// calls per group, one after the other; at most about [`crate::state_file::BLOCK_BYTES`] each.
    fn rows(&mut self, group: KeyGroup, count: u32, rows: &[u8]) -> Result<(), SnapshotError>;

    /// `count` rows of a group are gone: key and namespace of each. In an increment only.
    fn removed(&mut self, group: KeyGroup, count: u32, keys: &[u8]) -> Result<(), SnapshotError>;
}

/// One list.
pub struct ListSnapshot {
    /// Its name within the operator: the same in every snapshot.
    pub name: String,
    /// What becomes of it when the parallelism changes.
    pub mode: ListMode,
    /// What an item is; nothing for bytes that only the operator understands.
    pub schema: Option<Schema>,
    /// The items, each as its row.
    pub items: Vec<Vec<u8>>,
}

/// Records of one edge that a barrier overtook, as rows.
pub struct InFlightSnapshot {
    /// The edge.
    pub data_set: DataSetId,
    /// How records find their consumer.
    pub ship: ShipStrategy,
    /// Where they were.
    pub place: InFlightPlace,
    /// What a record is.
    pub schema: Schema,
    /// Runs of rows, in the order in which they are to be processed; see `docs/state-format.md`.
    pub items: Vec<Vec<u8>>,
}

/// A snapshot that could not be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// The storage said no.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The operator said no.
    #[error("{0}")]
    Operator(String),
}

/// What an operator begins with.
#[derive(Default)]
pub struct RestoredOperator {
    /// Keyed state; several with the same name if the parallelism changed.
    pub tables: Vec<RestoredTable>,
    /// State of subtasks, with the items that this one gets.
    pub lists: Vec<RestoredList>,
}

/// One keyed state to be read.
pub struct RestoredTable {
    /// Its name within the operator.
    pub name: String,
    /// What its rows hold.
    pub schema: TableSchema,
    /// Blocks in the order in which they are to be applied; of this subtask's key groups only.
    pub blocks: Box<dyn BlockSource>,
}

/// Gives blocks of a table, of one subtask's key groups.
pub trait BlockSource: Send {
    /// The next block; nothing: that was all.
    fn next(&mut self) -> Result<Option<Block>, ReadError>;

    /// The key groups of the subtask.
    fn groups(&self) -> &KeyGroupRange;

    /// The files that the table is in, if they are a backend's: it has no blocks then.
    fn native(&mut self) -> Option<&mut dyn NativeTable> {
        None
    }
}

/// One list to be taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoredList {
    /// Its name within the operator.
    pub name: String,
    /// What an item is.
    pub schema: Option<Schema>,
    /// The items, each as its row.
    pub items: Vec<Vec<u8>>,
}

impl RestoredOperator {
    /// All items of the lists of this name, in order.
    pub fn items(&self, name: &str) -> Vec<Vec<u8>> {
        let lists = self.lists.iter().filter(|list| list.name == name);
        lists.flat_map(|list| list.items.iter().cloned()).collect()
    }

    /// Takes out the tables of this name.
    pub fn take_tables(&mut self, name: &str) -> Vec<RestoredTable> {
        self.tables.extract_if(.., |table| table.name == name).collect()
    }
}
