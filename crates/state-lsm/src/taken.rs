//! The way back: files of a checkpoint become a database again, or rows where they cannot: where a
//! subtask goes on with the key groups of several, or with values of another shape.

use crate::blocks;
pub(crate) use crate::blocks::first_key;
use crate::shared::{NAME, Shared, remove};
use crate::store::store_error;
use millstream_checkpoint::native::NativeTable;
use millstream_checkpoint::snapshot::BlockSource;
use millstream_checkpoint::state_file::{Block, BlockKind, ReadError};
use millstream_core::key_group::KeyGroupRange;
use millstream_state::backend::{KeyForm, StoreError, StoreSpec};
use rocksdb::DB;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Whether the files are ours, and their names no more than names.
pub(crate) fn check(
    native: &dyn NativeTable,
    spec: &StoreSpec,
    directory: &Path,
) -> Result<(), StoreError> {
    let refuse = |cause: String| Err(store_error(spec, directory, "take over", cause));
    if native.backend() != NAME {
        return refuse(format!(
            "its files are of the state backend `{}`, this one is `{NAME}`",
            native.backend()
        ));
    }
    let is_plain = |name: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
        !name.is_empty() && !name.starts_with('.') && name.chars().all(plain)
    };
    match native.files().into_iter().find(|(name, _)| !is_plain(name)) {
        Some((name, _)) => refuse(format!("`{name}` is no name of a file of RocksDB")),
        None => Ok(()),
    }
}

/// Copies all files into a directory.
pub(crate) fn fetch(
    native: &mut dyn NativeTable,
    spec: &StoreSpec,
    directory: &Path,
) -> Result<(), StoreError> {
    let failed = |cause: String| store_error(spec, directory, "fetch", cause);
    fs::create_dir_all(directory).map_err(|error| failed(error.to_string()))?;
    for (number, (name, _)) in native.files().into_iter().enumerate() {
        let mut file = File::create(directory.join(&name))
            .map_err(|error| failed(format!("file `{name}`: {error}")))?;
        native.copy(number, &mut file).map_err(|error| failed(error.to_string()))?;
    }
    Ok(())
}

/// The rows of a database that lies aside.
pub(crate) struct AsideRows {
    /// Keeps the directory around it.
    _shared: Arc<Shared>,
    db: DB,
    directory: PathBuf,
    table: String,
    form: KeyForm,
    groups: KeyGroupRange,
    /// The next key; nothing at the end.
    next: Option<Vec<u8>>,
}

/// Opens what was fetched.
pub(crate) fn open(
    shared: Arc<Shared>,
    spec: &StoreSpec,
    directory: PathBuf,
    groups: KeyGroupRange,
) -> Result<AsideRows, StoreError> {
    let db = DB::open_for_read_only(&shared.reading_options(), &directory, false)
        .map_err(|cause| store_error(spec, &directory, "open", cause))?;
    let (table, form, next) = (spec.name.clone(), spec.form, Some(Vec::new()));
    Ok(AsideRows { _shared: shared, db, directory, table, form, groups, next })
}

impl BlockSource for AsideRows {
    fn next(&mut self) -> Result<Option<Block>, ReadError> {
        let Some(from) = self.next.take() else { return Ok(None) };
        let mut block = None;
        let next = blocks::each(&self.db, self.form, &from, &self.groups, &mut |rows| {
            let (group, count, payload) = (rows.group, rows.count, rows.payload.clone());
            block = Some(Block { kind: BlockKind::Rows, group, count, payload });
            Ok::<bool, rocksdb::Error>(false)
        });
        self.next = next.map_err(|cause| ReadError::Local {
            path: format!("{} (state `{}`)", self.directory.display(), self.table),
            cause: cause.to_string(),
        })?;
        Ok(block)
    }

    fn groups(&self) -> &KeyGroupRange {
        &self.groups
    }
}

impl Drop for AsideRows {
    fn drop(&mut self) {
        remove(&self.directory);
    }
}
