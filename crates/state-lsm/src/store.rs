//! [`LsmStore`]: one table of one subtask, a database of its own.

use crate::frozen::FrozenStore;
use crate::shared::{Shared, remove};
use crate::taken;
use millstream_checkpoint::native::NativeTable;
use millstream_checkpoint::snapshot::FrozenTable;
use millstream_core::key_group::KeyGroupRange;
use millstream_state::backend::{Change, RowStore, ShowRow, StoreError, StoreSpec, TakenOver};
use rocksdb::checkpoint::Checkpoint;
use rocksdb::{DB, DEFAULT_COLUMN_FAMILY_NAME, Error, ReadOptions, WriteBatch, WriteOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One table. The database is opened when it is first used.
pub(crate) struct LsmStore {
    shared: Arc<Shared>,
    spec: StoreSpec,
    directory: PathBuf,
    db: Option<DB>,
    unlogged: WriteOptions,
}

impl LsmStore {
    pub(crate) fn new(shared: Arc<Shared>, spec: StoreSpec) -> Self {
        let directory = shared.place(&spec.name);
        let mut unlogged = WriteOptions::default();
        unlogged.disable_wal(true);
        Self { shared, spec, directory, db: None, unlogged }
    }

    fn error(&self, attempt: &'static str, cause: impl ToString) -> StoreError {
        store_error(&self.spec, &self.directory, attempt, cause)
    }

    /// The database.
    fn db(&mut self) -> Result<&DB, StoreError> {
        if self.db.is_none() {
            let opened = std::fs::create_dir_all(&self.directory)
                .map_err(|error| error.to_string())
                .and_then(|()| {
                    let options = self.shared.options();
                    // Named, so that it can be asked for.
                    let columns = [(DEFAULT_COLUMN_FAMILY_NAME, options.clone())];
                    DB::open_cf_with_opts(&options, &self.directory, columns)
                        .map_err(Error::into_string)
                });
            self.db = Some(opened.map_err(|cause| self.error("open", cause))?);
        }
        Ok(self.db.as_ref().expect("just opened"))
    }

    /// Leaves only rows of these key groups of those that were written.
    fn clip(&mut self, written: &KeyGroupRange, groups: &KeyGroupRange) -> Result<(), Error> {
        let (Some(db), unlogged) = (&self.db, &self.unlogged) else { return Ok(()) };
        let column = db.cf_handle(DEFAULT_COLUMN_FAMILY_NAME).expect("opened by name");
        let outside = [
            written.0.start..groups.0.start.min(written.0.end),
            groups.0.end.max(written.0.start)..written.0.end,
        ];
        for range in outside.into_iter().filter(|range| !range.is_empty()) {
            let [from, to] = [range.start, range.end].map(taken::first_key);
            db.delete_range_cf_opt(&column, from, to, unlogged)?;
        }
        Ok(())
    }
}

/// An error with the table's name and place.
pub(crate) fn store_error(
    spec: &StoreSpec,
    directory: &Path,
    attempt: &'static str,
    cause: impl ToString,
) -> StoreError {
    let (table, place) = (spec.name.clone(), directory.display().to_string());
    StoreError { attempt, table, place, cause: cause.to_string() }
}

/// The first bytes after all those that begin with the prefix; nothing: there are none.
fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte < u8::MAX)?;
    let mut after = prefix[..=last].to_vec();
    after[last] += 1;
    Some(after)
}

impl RowStore for LsmStore {
    fn get_many(
        &mut self,
        keys: &[&[u8]],
        found: &mut dyn FnMut(usize, &[u8]),
    ) -> Result<(), StoreError> {
        let db = self.db()?;
        let result = if let [key] = keys {
            db.get_pinned(key).map(|row| row.into_iter().for_each(|row| found(0, &row)))
        } else {
            let column = db.cf_handle(DEFAULT_COLUMN_FAMILY_NAME).expect("opened by name");
            let rows = db.batched_multi_get_cf(&column, keys.iter().copied(), true);
            rows.into_iter().enumerate().try_for_each(|(i, row)| {
                if let Some(row) = row? {
                    found(i, &row);
                }
                Ok(())
            })
        };
        result.map_err(|cause| self.error("read", cause))
    }

    fn write(&mut self, changes: &[Change<'_>]) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        for (key, value) in changes {
            match value {
                Some(value) => batch.put(key, value),
                None => batch.delete(key),
            }
        }
        self.db()?;
        let db = self.db.as_ref().expect("just opened");
        db.write_opt(batch, &self.unlogged).map_err(|cause| self.error("change", cause))
    }

    fn scan(&mut self, from: &[u8], prefix: &[u8], row: ShowRow<'_>) -> Result<(), StoreError> {
        let mut options = ReadOptions::default();
        if let Some(end) = successor(prefix) {
            options.set_iterate_upper_bound(end);
        }
        let mut rows = self.db()?.raw_iterator_opt(options);
        rows.seek(from.max(prefix));
        while let Some((key, value)) = rows.item() {
            if row(key, value).is_break() {
                break;
            }
            rows.next();
        }
        let status = rows.status();
        drop(rows);
        status.map_err(|cause| self.error("read", cause))
    }

    fn last(&mut self, prefix: &[u8], key: &mut dyn FnMut(&[u8])) -> Result<(), StoreError> {
        let mut rows = self.db()?.raw_iterator();
        match successor(prefix) {
            Some(end) => {
                rows.seek_for_prev(&end);
                if rows.key() == Some(end.as_slice()) {
                    rows.prev();
                }
            }
            None => rows.seek_to_last(),
        }
        if let Some(last) = rows.key().filter(|last| last.starts_with(prefix)) {
            key(last);
        }
        let status = rows.status();
        drop(rows);
        status.map_err(|cause| self.error("read", cause))
    }

    fn memory_bytes(&self) -> usize {
        let property = rocksdb::properties::CUR_SIZE_ALL_MEM_TABLES;
        let bytes = self.db.as_ref().and_then(|db| db.property_int_value(property).ok().flatten());
        bytes.unwrap_or(0) as usize
    }

    /// Takes as long as it takes to write what is in memory: RocksDB's checkpoints are of files.
    fn freeze(&mut self) -> Result<Box<dyn FrozenTable>, StoreError> {
        let linked = self.shared.place(&self.spec.name);
        if let Some(db) = &self.db {
            let made = Checkpoint::new(db).and_then(|links| links.create_checkpoint(&linked));
            made.map_err(|cause| self.error("link the files of", cause))?;
        }
        let is_empty = self.db.is_none();
        let (shared, spec) = (self.shared.clone(), self.spec.clone());
        Ok(Box::new(FrozenStore::new(shared, spec, linked, is_empty)))
    }

    fn take_over(
        &mut self,
        native: &mut dyn NativeTable,
        groups: &KeyGroupRange,
        as_they_are: bool,
    ) -> Result<TakenOver, StoreError> {
        taken::check(native, &self.spec, &self.directory)?;
        if native.files().is_empty() {
            return Ok(TakenOver::Whole);
        }
        if as_they_are && self.db.is_none() {
            taken::fetch(native, &self.spec, &self.directory)?;
            self.db()?;
            let clipped = self.clip(native.written(), groups);
            return clipped
                .map(|()| TakenOver::Whole)
                .map_err(|cause| self.error("leave foreign key groups out of", cause));
        }
        let aside = self.shared.place(&self.spec.name);
        taken::fetch(native, &self.spec, &aside)?;
        let rows = taken::open(self.shared.clone(), &self.spec, aside, groups.clone())?;
        Ok(TakenOver::Rows(Box::new(rows)))
    }
}

impl Drop for LsmStore {
    fn drop(&mut self) {
        if let Some(db) = self.db.take() {
            // Nobody will read what a compaction that is under way would write.
            db.cancel_all_background_work(true);
        }
        remove(&self.directory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_with_the_prefix_lies_at_or_after_its_successor() {
        assert_eq!(successor(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(successor(&[1, 255, 255]), Some(vec![2]));
        assert_eq!(successor(&[255, 255]), None);
        assert_eq!(successor(&[]), None);
    }
}
