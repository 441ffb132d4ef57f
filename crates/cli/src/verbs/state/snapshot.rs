//! A checkpoint or savepoint on disk: its metadata, and the storage that its files are in.

use millstream::api::error::{Error, ErrorCode, Result};
use millstream_checkpoint::metadata::{self, CheckpointMetadata, METADATA_FILE};
use millstream_checkpoint::state_file::StorageRoots;
use millstream_checkpoint::storage::{Storage, StorageError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a checkpoint or savepoint holds.
pub(in crate::verbs) struct Snapshot {
    /// The metadata file.
    pub file: PathBuf,
    /// What it says.
    pub metadata: CheckpointMetadata,
    /// The directory that files without a root of their own are below.
    root: String,
}

impl Snapshot {
    /// Opens the directory of a checkpoint or savepoint, or its metadata file.
    pub(in crate::verbs) fn open(path: &Path) -> Result<Self> {
        let file = if path.is_dir() { path.join(METADATA_FILE) } else { path.to_owned() };
        let failed = |why: String| {
            let what = format!("could not read the state in {}", path.display());
            Error::new(ErrorCode::Argument, what)
                .why(why)
                .next("name the directory of a completed checkpoint or of a savepoint")
        };
        let bytes =
            std::fs::read(&file).map_err(|error| failed(format!("{}: {error}", file.display())))?;
        let metadata = metadata::decode(&bytes, &file.display().to_string())
            .map_err(|error| failed(error.to_string()))?;
        let directory = file.parent().unwrap_or(Path::new(".")).to_owned();
        // A savepoint holds its files itself; checkpoints of a job share a directory.
        let root = match metadata.kind.is_savepoint() {
            true => directory,
            false => directory.join(".."),
        };
        let root = std::fs::canonicalize(&root).unwrap_or(root).display().to_string();
        Ok(Self { file, metadata, root })
    }
}

impl StorageRoots for Snapshot {
    fn at(&self, root: Option<&str>) -> std::result::Result<Arc<dyn Storage>, StorageError> {
        millstream_host::storage::open(root.unwrap_or(&self.root))
    }
}
