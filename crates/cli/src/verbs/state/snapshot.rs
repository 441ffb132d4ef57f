//! A checkpoint or savepoint: its metadata, and the storage that its files are in.

use millstream::api::error::{Error, ErrorCode, Result};
use millstream::process::storage::Storages;
use millstream_checkpoint::metadata::codec::{HEADER_BYTES, PAYLOAD_BYTES_MAX};
use millstream_checkpoint::metadata::{self, CheckpointMetadata, METADATA_FILE};
use millstream_checkpoint::state_file::StorageRoots;
use millstream_checkpoint::storage::{Storage, StorageError};
use std::sync::Arc;

/// What a checkpoint or savepoint holds.
pub(in crate::verbs) struct Snapshot {
    /// The directory that the metadata file is in, absolute.
    pub directory: String,
    /// What it says.
    pub metadata: CheckpointMetadata,
    /// The directory that files without a root of their own are below.
    root: String,
    storages: Storages,
}

impl Snapshot {
    /// Opens the directory of a checkpoint or savepoint, or its metadata file.
    pub(in crate::verbs) fn open(path: &str, storages: Storages) -> Result<Self> {
        let failed = |why: String| {
            let what = format!("could not read the state in {path}");
            Error::new(ErrorCode::Argument, what)
                .why(why)
                .next("name the directory of a completed checkpoint or of a savepoint")
        };
        let directory = path.trim_end_matches('/');
        let directory = match directory.rsplit_once('/') {
            Some((directory, METADATA_FILE)) => directory,
            None if directory == METADATA_FILE => ".",
            _ => directory,
        };
        let storage = storages.open(directory).map_err(|error| failed(error.to_string()))?;
        let bytes = read(&*storage).map_err(|error| failed(error.to_string()))?;
        let directory = storage.root().trim_end_matches('/').to_owned();
        let metadata = metadata::decode(&bytes, &format!("{directory}/{METADATA_FILE}"))
            .map_err(|error| failed(error.to_string()))?;
        // A savepoint holds its files itself; checkpoints of a job share a directory.
        let root = match directory.rsplit_once('/') {
            Some((parent, _)) if !metadata.kind.is_savepoint() => parent.to_owned(),
            _ => directory.clone(),
        };
        Ok(Self { directory, metadata, root, storages })
    }
}

fn read(storage: &dyn Storage) -> std::result::Result<Vec<u8>, StorageError> {
    let refuse = |cause: &str| StorageError {
        attempt: "read".to_owned(),
        path: format!("{}/{METADATA_FILE}", storage.root()),
        cause: cause.to_owned(),
        unknown: false,
    };
    let length = storage.length(METADATA_FILE)?.ok_or_else(|| refuse("it does not exist"))?;
    if length > PAYLOAD_BYTES_MAX + HEADER_BYTES as u64 {
        return Err(refuse("it is too long for the metadata of a checkpoint"));
    }
    storage.read(METADATA_FILE, 0..length)
}

impl StorageRoots for Snapshot {
    fn at(&self, root: Option<&str>) -> std::result::Result<Arc<dyn Storage>, StorageError> {
        self.storages.open(root.unwrap_or(&self.root))
    }
}
