//! [`FrozenStore`]: a table at a barrier. Its files are linked into a directory of their own, which costs
//! no copy, and stay whatever the table does.

use crate::blocks;
use crate::shared::{NAME, Shared, remove};
use millstream_checkpoint::native::{FrozenFile, FrozenFiles};
use millstream_checkpoint::snapshot::{FrozenTable, RowSink, SnapshotError};
use millstream_core::key_group::KeyGroupRange;
use millstream_state::backend::StoreSpec;
use rocksdb::DB;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

/// The files of a table at a barrier.
pub(crate) struct FrozenStore {
    shared: Arc<Shared>,
    spec: StoreSpec,
    directory: PathBuf,
    /// The table had not been used: there is no directory.
    is_empty: bool,
}

impl FrozenStore {
    pub(crate) fn new(
        shared: Arc<Shared>,
        spec: StoreSpec,
        directory: PathBuf,
        is_empty: bool,
    ) -> Self {
        Self { shared, spec, directory, is_empty }
    }

    fn error(&self, what: &str, cause: impl ToString) -> SnapshotError {
        SnapshotError::Operator(format!(
            "could not {what} of state `{}` in {}: {}",
            self.spec.name,
            self.directory.display(),
            cause.to_string()
        ))
    }

    fn list(&self) -> io::Result<Vec<FrozenFile>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let lasting = name.ends_with(".sst");
            // Without a log of writes there is nothing in its files; options are said anew.
            if lasting || name == "CURRENT" || name.starts_with("MANIFEST-") {
                files.push(FrozenFile { name, bytes: entry.metadata()?.len(), lasting });
            }
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(files)
    }
}

/// What may go wrong between a database and a sink.
enum Failure {
    Read(rocksdb::Error),
    Sink(SnapshotError),
}

impl From<rocksdb::Error> for Failure {
    fn from(error: rocksdb::Error) -> Self {
        Self::Read(error)
    }
}

impl FrozenTable for FrozenStore {
    fn write(self: Box<Self>, out: &mut dyn RowSink) -> Result<(), SnapshotError> {
        if self.is_empty {
            return Ok(());
        }
        let failed = |cause: rocksdb::Error| self.error("read the files", cause);
        let options = self.shared.reading_options();
        let db = DB::open_for_read_only(&options, &self.directory, false).map_err(failed)?;
        let all = KeyGroupRange(0..self.spec.max.get());
        let written = blocks::each(&db, self.spec.form, &[], &all, &mut |rows| {
            let group = rows.group.ok_or_else(|| {
                Failure::Sink(self.error("tell the key group of a row", "it is out of bounds"))
            })?;
            out.rows(group, rows.count, &rows.payload).map_err(Failure::Sink)?;
            Ok(true)
        });
        match written {
            Ok(_) => Ok(()),
            Err(Failure::Read(cause)) => Err(failed(cause)),
            Err(Failure::Sink(error)) => Err(error),
        }
    }

    fn files(&mut self) -> Result<Option<FrozenFiles>, SnapshotError> {
        let listed = if self.is_empty { Ok(Vec::new()) } else { self.list() };
        let files = listed.map_err(|cause| self.error("list the files", cause))?;
        Ok(Some(FrozenFiles { backend: NAME, files }))
    }

    fn copy_file(&mut self, name: &str, out: &mut dyn Write) -> Result<(), SnapshotError> {
        let copied =
            File::open(self.directory.join(name)).and_then(|mut file| io::copy(&mut file, out));
        copied.map(|_| ()).map_err(|cause| self.error(&format!("copy file `{name}`"), cause))
    }
}

impl Drop for FrozenStore {
    fn drop(&mut self) {
        remove(&self.directory);
    }
}
