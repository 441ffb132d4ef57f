//! Tables in the files of a backend: how they are handed over at a barrier and taken back.
//!
//! A backend whose tables are files need not write rows for a checkpoint: the files will do, and those
//! that have not changed since the checkpoint before are there already. Such a table is a chain of
//! parts like any other, one per file, so whoever counts references to files knows nothing of backends.
//! Only the same backend can read them. Savepoints never hold any.

use crate::snapshot::SnapshotError;
use crate::state_file::ReadError;
use millstream_core::key_group::KeyGroupRange;
use serde::{Deserialize, Serialize};
use std::io::Write;

/// How the parts of a table are to be read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TableFormat {
    /// They are state files: the whole first, then the changes; later parts win.
    #[default]
    Rows,
    /// They are files of a backend, one each.
    Native(NativeFormat),
}

/// Files of a backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NativeFormat {
    /// Which: the word of `state.backend.type`.
    pub backend: String,
    /// What the backend calls them, part by part.
    pub files: Vec<NativeFile>,
}

/// One file of a backend, as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NativeFile {
    /// What the backend calls it.
    pub name: String,
    /// Its XXH3-64.
    pub checksum: u64,
}

/// What a backend hands over instead of rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrozenFiles {
    /// Which backend.
    pub backend: &'static str,
    /// The files.
    pub files: Vec<FrozenFile>,
}

/// One file that a backend hands over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrozenFile {
    /// What the backend calls it.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// In all snapshots of this table, a file of this name and length is the same file.
    pub lasting: bool,
}

/// Copies a file that a backend hands over.
pub type CopyFile<'a> = &'a mut dyn FnMut(&str, &mut dyn Write) -> Result<(), SnapshotError>;

/// A table in the files of a backend, to be taken back.
pub trait NativeTable {
    /// Which backend wrote them: the word of `state.backend.type`.
    fn backend(&self) -> &str;

    /// The key groups whose rows they may hold.
    fn written(&self) -> &KeyGroupRange;

    /// The names of the files and their lengths.
    fn files(&self) -> Vec<(String, u64)>;

    /// Copies a file, by its number, and checks it. After an error, what was copied is worthless.
    fn copy(&mut self, file: usize, out: &mut dyn Write) -> Result<(), ReadError>;
}
