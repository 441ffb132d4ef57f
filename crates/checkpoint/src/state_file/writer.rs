//! All state that one task writes for one checkpoint.

use super::native::{self, Known};
use super::part::{PartWriter, WrittenPart};
use crate::handle::{
    FilePart, InFlightState, ListMode, ListState, StateFile, TableSchema, TableState,
};
use crate::native::{FrozenFiles, NativeFile, NativeFormat, TableFormat};
use crate::snapshot::{FrozenTable, InFlightSnapshot, ListSnapshot, SnapshotError, TableSnapshot};
use crate::storage::{StateOutput, Storage};
use millstream_core::key_group::KeyGroupRange;
use std::io::Write;
use std::sync::Arc;

/// A chain that is so long is written anew: a restore reads all of it.
const CHAIN_MAX: usize = 8;

/// Writes the tables and lists of a task's operators.
///
/// Each part has a file of its own: `<path>-0`, `<path>-1`, …; a part that is smaller than
/// `inline_max` travels with its handle. Files are durable, and seen by anybody, only once
/// [`finish`](Self::finish) has said so; a writer that is dropped leaves none.
///
/// | snapshot | `incremental` | `previous` |
/// |---|---|---|
/// | checkpoint | true | what the snapshot directly before wrote, if that checkpoint was not given up |
/// | the first after a restore from files that are not ours, full checkpoint | true | nothing |
/// | savepoint | false | nothing |
pub struct TaskStateWriter {
    storage: Arc<dyn Storage>,
    exclusive_path: String,
    shared_path: String,
    groups: KeyGroupRange,
    inline_max: usize,
    /// Tables that lie in files of a backend are written as those.
    native: bool,
    /// Files that are not durable yet.
    outputs: Vec<(String, Box<dyn StateOutput>)>,
    /// Bytes of new parts.
    bytes: u64,
}

impl TaskStateWriter {
    /// `exclusive_path` is below the checkpoint's own directory, `shared_path` below `shared/`; no
    /// attempt may ever use either of them again.
    pub fn new(
        storage: Arc<dyn Storage>,
        exclusive_path: String,
        shared_path: String,
        groups: KeyGroupRange,
        inline_max: usize,
    ) -> Self {
        let (outputs, bytes) = (Vec::new(), 0);
        let native = false;
        Self { storage, exclusive_path, shared_path, groups, inline_max, native, outputs, bytes }
    }

    /// For checkpoints that may refer to files of earlier ones: tables that lie in files of a backend are
    /// written as those, and not as rows.
    pub fn with_native(mut self, native: bool) -> Self {
        self.native = native;
        self
    }

    /// Writes a table. With `incremental`, later checkpoints may build on it, and it builds on
    /// `previous` if that is worth it: only what has changed is written then.
    pub fn table(
        &mut self,
        snapshot: TableSnapshot,
        previous: Option<&TableState>,
        incremental: bool,
    ) -> Result<TableState, SnapshotError> {
        let TableSnapshot { name, schema, mut content } = snapshot;
        let (groups, format) = (self.groups.clone(), TableFormat::Rows);
        let mut table = TableState { name, schema, groups, chain: Vec::new(), format };
        let what = format!("table `{}`", table.name);
        if self.native
            && let Some(frozen) = content.files()?
        {
            let copied = self.copy_files(&what, frozen, content.as_mut(), previous)?;
            (table.chain, table.format) = copied;
            return Ok(table);
        }
        let previous = previous.filter(|previous| incremental && can_grow(previous, &table));
        if let Some(previous) = previous {
            let mut part = self.begin(&what, incremental);
            if content.write_changes(&mut part)? {
                let part = part.finish()?;
                table.chain.clone_from(&previous.chain);
                table.chain.push(self.keep(part));
                return Ok(table);
            }
        }
        let mut part = self.begin(&what, incremental);
        content.write(&mut part)?;
        let part = part.finish()?;
        table.chain.push(self.keep(part));
        Ok(table)
    }

    /// Writes a list.
    pub fn list(&mut self, snapshot: ListSnapshot) -> Result<ListState, SnapshotError> {
        let ListSnapshot { name, mode, schema, items } = snapshot;
        let what = format!("list `{name}`");
        let mut part = self.begin(&what, false);
        for item in &items {
            part.item(item)?;
        }
        let part = part.finish()?;
        Ok(ListState { name, mode, schema, items: items.len() as u64, part: self.keep(part) })
    }

    /// Writes records that a barrier overtook.
    pub fn in_flight(
        &mut self,
        snapshot: InFlightSnapshot,
    ) -> Result<InFlightState, SnapshotError> {
        let InFlightSnapshot { data_set, ship, place, schema, items } = snapshot;
        let (name, mode, schema) = ("records in flight".to_owned(), ListMode::Split, Some(schema));
        let list = self.list(ListSnapshot { name, mode, schema, items })?;
        Ok(InFlightState { data_set, ship, place, list })
    }

    /// Makes all files durable. How many bytes were written, those inside handles included. After a
    /// failure no file is left, as far as the storage still allows it.
    pub fn finish(mut self) -> Result<u64, SnapshotError> {
        let mut durable = Vec::new();
        for (path, output) in self.outputs.drain(..) {
            durable.push(path);
            if let Err(error) = output.finish() {
                for path in durable {
                    // The checkpoint fails for the first reason; what cannot be removed is left to
                    // the clean-up of its directory.
                    let _ = self.storage.delete(&path);
                }
                return Err(error.into());
            }
        }
        Ok(self.bytes)
    }

    /// Copies the files that the snapshot before did not have.
    fn copy_files(
        &mut self,
        what: &str,
        frozen: FrozenFiles,
        content: &mut dyn FrozenTable,
        previous: Option<&TableState>,
    ) -> Result<(Vec<FilePart>, TableFormat), SnapshotError> {
        let known = Known::of(previous, frozen.backend);
        let (mut chain, mut files) = (Vec::new(), Vec::new());
        for file in frozen.files {
            if let Some((part, native)) = known.find(&file) {
                chain.push(part.clone());
                files.push(native.clone());
                continue;
            }
            let path = if file.lasting { &self.shared_path } else { &self.exclusive_path };
            let path = format!("{path}-{}", self.outputs.len());
            let storage = self.storage.as_ref();
            let mut copy = |name: &str, out: &mut dyn Write| content.copy_file(name, out);
            let copied = native::copy(storage, what, path, self.inline_max, &file, &mut copy)?;
            self.bytes += copied.part.bytes;
            self.outputs.extend(copied.output);
            chain.push(copied.part);
            files.push(NativeFile { name: file.name, checksum: copied.checksum });
        }
        let backend = frozen.backend.to_owned();
        Ok((chain, TableFormat::Native(NativeFormat { backend, files })))
    }

    fn begin<'a>(&'a self, what: &'a str, shared: bool) -> PartWriter<'a> {
        let path = if shared { &self.shared_path } else { &self.exclusive_path };
        let path = format!("{path}-{}", self.outputs.len());
        PartWriter::new(self.storage.as_ref(), what, path, &self.groups, self.inline_max)
    }

    fn keep(&mut self, written: WrittenPart) -> FilePart {
        let WrittenPart { part, output } = written;
        self.bytes += part.bytes + part.index_length;
        self.outputs.extend(output);
        part
    }
}

/// Whether changes may be appended to what the snapshot before wrote: the same rows of the same key
/// groups, in files that may be referred to, and neither many parts nor changes worth half the whole.
fn can_grow(previous: &TableState, table: &TableState) -> bool {
    let Some((whole, changes)) = previous.chain.split_first() else { return false };
    let changed: u64 = changes.iter().map(|part| part.bytes).sum();
    previous.name == table.name
        && previous.format == TableFormat::Rows
        && same_rows(&previous.schema, &table.schema)
        && previous.groups == table.groups
        && previous.chain.iter().all(may_be_referred_to)
        && previous.chain.len() < CHAIN_MAX
        && changed <= whole.bytes / 2
}

fn same_rows(a: &TableSchema, b: &TableSchema) -> bool {
    let fingerprints = |schema: &TableSchema| {
        [&schema.key, &schema.namespace, &schema.value].map(|part| part.fingerprint())
    };
    fingerprints(a) == fingerprints(b)
}

pub(super) fn may_be_referred_to(part: &FilePart) -> bool {
    match &part.file {
        StateFile::Inline(_) => true,
        StateFile::File(name) => name.root.is_none() && name.is_shared(),
    }
}
