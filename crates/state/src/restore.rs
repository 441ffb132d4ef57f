//! The way back: rows of state files become rows of a table.
//!
//! What is large is read, and checked, by a thread of its own (`ahead`) while the rows before are put.
//!
//! Values may have been written by another version of the program (`RowReader`). Keys may not, unless
//! their rows are the same bytes: a key's bytes decide its key group.

mod ahead;

use crate::backend::StoreError;
use crate::table::KeyedTable;
use crate::table::loading::Loading;
use millstream_checkpoint::handle::TableSchema;
use millstream_checkpoint::snapshot::RestoredTable;
use millstream_checkpoint::state_file::{Block, BlockKind, ReadError};
use millstream_core::key_group::{KeyGroup, MaxParallelism};
use millstream_core::record::{DecodeError, Input, Key, Record, RowReader};

/// Rows are put into the table so many at a time, so that memory is fetched for all of them at once.
const BATCH: usize = 1024;

/// State that cannot be taken over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// It cannot be read.
    #[error("could not restore state `{table}`")]
    Read {
        /// The state.
        table: String,
        /// Why.
        source: ReadError,
    },
    /// It holds something else than this program expects.
    #[error("could not restore state `{table}`: {cause}")]
    Incompatible {
        /// The state.
        table: String,
        /// What differs, and what to do.
        cause: String,
    },
    /// The backend cannot take it.
    #[error("could not restore state `{table}`")]
    Store {
        /// The state.
        table: String,
        /// Why.
        #[source]
        cause: StoreError,
    },
    /// A row does not read back.
    #[error(
        "could not restore state `{table}`: row {row} of a block of key group {group:?}: {cause}"
    )]
    Row {
        /// The state.
        table: String,
        /// The group of the block.
        group: Option<u32>,
        /// The number of the row in its block.
        row: u32,
        /// What is wrong with it.
        cause: String,
    },
}

/// A table that rows are put into.
pub(crate) trait RowTarget<K, V> {
    /// The rows of this block come next.
    fn begin(&mut self, _block: &Block) {}

    /// Gives each key its value, in order.
    fn put_rows(&mut self, hashes: &[u64], keys: &[K], values: &[V]);

    /// Removes keys, whether they are there or not.
    fn remove_rows(&mut self, hashes: &[u64], keys: &[K]);
}

impl<K: Key, V: Record> KeyedTable<K, V> {
    /// Takes over what a snapshot holds for the key groups of this subtask: rows replace those with the
    /// same key, and removed ones take them away. Several tables one after the other are merged.
    pub fn restore(
        &mut self,
        table: RestoredTable,
        max: MaxParallelism,
    ) -> Result<(), RestoreError> {
        restore_rows(&mut Loading::new(self), table, &Self::schema(), max)
    }
}

/// Puts into a table what a snapshot holds, block by block.
pub(crate) fn restore_rows<K: Key, V: Record>(
    target: &mut impl RowTarget<K, V>,
    table: RestoredTable,
    wanted: &TableSchema,
    max: MaxParallelism,
) -> Result<(), RestoreError> {
    let RestoredTable { name, schema, blocks } = table;
    let evolution = evolution(&name, &schema, wanted)?;
    let mut rows = Rows {
        keys: Vec::new(),
        hashes: Vec::new(),
        values: Vec::new(),
        max,
        evolution,
        row: Vec::new(),
    };
    ahead::each(blocks, &mut |next| {
        let block = next.map_err(|source| RestoreError::Read { table: name.clone(), source })?;
        apply(target, &block, &mut rows).map_err(|(row, cause)| RestoreError::Row {
            table: name.clone(),
            group: block.group.map(KeyGroup::index),
            row,
            cause,
        })
    })
}

/// Applies one block. Which row is wrong, and what with it.
fn apply<K: Key, V: Record>(
    target: &mut impl RowTarget<K, V>,
    block: &Block,
    rows: &mut Rows<K, V>,
) -> Result<(), (u32, String)> {
    let mut input = Input::new(&block.payload);
    let mut done = 0;
    target.begin(block);
    while done < block.count {
        let count = (block.count - done).min(BATCH as u32);
        for row in done..done + count {
            let read = rows.read(block, &mut input);
            read.map_err(|cause| (row, cause))?;
        }
        match block.kind {
            BlockKind::Rows => target.put_rows(&rows.hashes, &rows.keys, &rows.values),
            _ => target.remove_rows(&rows.hashes, &rows.keys),
        }
        rows.clear();
        done += count;
    }
    input.finish().map_err(|error| (done, error.to_string()))
}

/// Rows that were read and are not yet in the table.
struct Rows<K, V> {
    keys: Vec<K>,
    hashes: Vec<u64>,
    values: Vec<V>,
    max: MaxParallelism,
    /// Makes values of those that were written, if they differ.
    evolution: Option<RowReader>,
    /// Where it does that.
    row: Vec<u8>,
}

impl<K: Key, V: Record> Rows<K, V> {
    fn clear(&mut self) {
        self.keys.clear();
        self.hashes.clear();
        self.values.clear();
    }

    /// Takes one row of the block off the input.
    fn read(&mut self, block: &Block, input: &mut Input<'_>) -> Result<(), String> {
        let told = |error: DecodeError| error.to_string();
        let key = K::decode(input).map_err(told)?;
        let hash = key.hash64();
        let group = KeyGroup::of_hash(hash, self.max);
        if block.group != Some(group) {
            return Err(format!("its key is of key group {}", group.index()));
        }
        if block.kind == BlockKind::Rows {
            let value = self.value(input).map_err(told)?;
            self.values.push(value);
        }
        self.keys.push(key);
        self.hashes.push(hash);
        Ok(())
    }

    fn value(&mut self, input: &mut Input<'_>) -> Result<V, DecodeError> {
        let Some(evolution) = &self.evolution else { return V::decode(input) };
        self.row.clear();
        evolution.transcode(input, &mut self.row)?;
        let mut row = Input::new(&self.row);
        let value = V::decode(&mut row)?;
        row.finish()?;
        Ok(value)
    }
}

/// How values of the written schema become values of ours; nothing if they are the same bytes.
pub(crate) fn evolution(
    table: &str,
    written: &TableSchema,
    wanted: &TableSchema,
) -> Result<Option<RowReader>, RestoreError> {
    let incompatible =
        |cause: String| RestoreError::Incompatible { table: table.to_owned(), cause };
    let parts =
        [("key", &written.key, &wanted.key), ("namespace", &written.namespace, &wanted.namespace)];
    for (part, written, wanted) in parts {
        let same = RowReader::new(written, wanted).is_ok_and(|reader| reader.is_identity());
        if !same {
            return Err(incompatible(format!(
                "its {part} was written as {written} and is now {wanted}; keys and namespaces \
                 cannot change: give the state another name"
            )));
        }
    }
    let reader = RowReader::new(&written.value, &wanted.value);
    let reader = reader.map_err(|error| incompatible(format!("its value: {error}")))?;
    Ok((!reader.is_identity()).then_some(reader))
}
