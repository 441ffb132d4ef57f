//! What is done when a checkpoint is complete: parts get their visible names, those of an earlier job
//! that they replace are removed. Each can be done again without harm, by any subtask.

use super::directory::{remove_file, sync_directory};
use crate::failure::{failure, file_failure};
use millstream_core::{OperatorError, Record};
use millstream_operator::item;
use millstream_operator::sink::Committable;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A step of a commit.
#[derive(Clone, Debug, PartialEq, Record)]
pub(super) enum Commit {
    /// Make a pending part visible.
    Publish(Publish),
    /// Remove a part of an earlier job.
    Remove(Remove),
}

/// Make a pending part visible.
#[derive(Clone, Debug, PartialEq, Record)]
pub(super) struct Publish {
    /// The directory as the system writes it: another process may have another working directory.
    pub(super) directory: Vec<u8>,
    /// The name under which it waits.
    pub(super) pending: String,
    /// The name that it gets.
    pub(super) name: String,
    /// Its length.
    pub(super) bytes: u64,
    /// Whether a part of that name may be replaced.
    pub(super) replace: bool,
    /// The execution that wrote it.
    pub(super) execution: String,
}

/// Remove a part of an earlier job, if it is still that one and not one that has replaced it.
#[derive(Clone, Debug, PartialEq, Record)]
pub(super) struct Remove {
    /// See [`Publish::directory`].
    pub(super) directory: Vec<u8>,
    /// Its name.
    pub(super) name: String,
    /// Which file has that name.
    identity: Identity,
}

/// Tells files of the same name apart.
#[derive(Clone, Debug, PartialEq, Record)]
struct Identity {
    device: u64,
    inode: u64,
    bytes: u64,
    modified_s: i64,
    modified_ns: i64,
}

impl Identity {
    fn of(meta: &Metadata) -> Self {
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            bytes: meta.len(),
            modified_s: meta.mtime(),
            modified_ns: meta.mtime_nsec(),
        }
    }
}

impl Commit {
    pub(super) fn encode(&self) -> Committable {
        Committable(item::encode(self))
    }

    fn decode(committable: &Committable) -> Result<Self, OperatorError> {
        item::decode("which parts are to be made visible", &committable.0)
    }

    /// Does it, for this execution; gives the directory, which is to be synced.
    fn apply(&self, execution: &str) -> Result<PathBuf, OperatorError> {
        let directory = match self {
            Self::Publish(publish) => &publish.directory,
            Self::Remove(remove) => &remove.directory,
        };
        let directory = PathBuf::from(OsStr::from_bytes(directory));
        match self {
            Self::Publish(publish) => publish.apply(&directory, publish.execution == execution)?,
            Self::Remove(remove) => remove.apply(&directory)?,
        }
        Ok(directory)
    }
}

/// Does all of them, for this execution. After an error all are to be done again.
pub(super) fn apply_all(
    committables: &[Committable],
    execution: &str,
) -> Result<(), OperatorError> {
    let mut directories = BTreeSet::new();
    for committable in committables {
        directories.insert(Commit::decode(committable)?.apply(execution)?);
    }
    directories.iter().try_for_each(|directory| sync_directory(directory))
}

impl Publish {
    /// `is_own`: this execution has written it, so nobody can have committed it yet.
    fn apply(&self, directory: &Path, is_own: bool) -> Result<(), OperatorError> {
        let (pending, visible) = (directory.join(&self.pending), directory.join(&self.name));
        if look_at(&pending)?.is_none() {
            return self.check_committed(&pending, &visible, is_own);
        }
        if !self.replace && look_at(&visible)?.is_some() {
            return Err(failure(
                format_args!("rename `{}` to `{}`", pending.display(), visible.display()),
                "there is a part of that name already, from another job",
                "let only one job write into a directory",
            ));
        }
        match fs::rename(&pending, &visible) {
            // Another attempt commits the same checkpoint.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.check_committed(&pending, &visible, is_own)
            }
            Err(error) => {
                Err(file_failure(&format!("rename `{}` to", pending.display()), &visible, &error))
            }
            Ok(()) => Ok(()),
        }
    }

    /// It does not wait any more: fine if it is visible.
    fn check_committed(
        &self,
        pending: &Path,
        visible: &Path,
        is_own: bool,
    ) -> Result<(), OperatorError> {
        let why = match look_at(visible)? {
            Some(meta) if meta.len() == self.bytes => return Ok(()),
            Some(meta) => {
                let (bytes, wanted) = (meta.len(), self.bytes);
                format!("the former is gone, and the latter has {bytes} bytes instead of {wanted}")
            }
            // Committed before the failure, and since then a reader has taken it away.
            None if !is_own && visible.parent().is_some_and(Path::is_dir) => return Ok(()),
            None => "neither of them is there".to_owned(),
        };
        Err(failure(
            format_args!("rename `{}` to `{}`", pending.display(), visible.display()),
            why,
            "leave the files of a running job where they are",
        ))
    }
}

impl Remove {
    /// The removal of the file that has this name now; nothing if there is none.
    pub(super) fn of(directory: &Path, name: String) -> Result<Option<Self>, OperatorError> {
        let identity = look_at(&directory.join(&name))?.as_ref().map(Identity::of);
        let directory = directory.as_os_str().as_bytes().to_vec();
        Ok(identity.map(|identity| Self { directory, name, identity }))
    }

    fn apply(&self, directory: &Path) -> Result<(), OperatorError> {
        let path = directory.join(&self.name);
        match look_at(&path)? {
            Some(meta) if Identity::of(&meta) == self.identity => remove_file(&path),
            _ => Ok(()),
        }
    }
}

/// What has this name; perhaps nothing.
fn look_at(path: &Path) -> Result<Option<Metadata>, OperatorError> {
    match fs::symlink_metadata(path) {
        Ok(meta) => Ok(Some(meta)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(file_failure("look at", path, &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    fn publish(scratch: &Scratch, execution: &str) -> Commit {
        Commit::Publish(Publish {
            directory: scratch.path().as_os_str().as_bytes().to_vec(),
            pending: ".part-0.pending".to_owned(),
            name: "part-0-1".to_owned(),
            bytes: 4,
            replace: false,
            execution: execution.to_owned(),
        })
    }

    #[test]
    fn a_commit_survives_being_encoded() {
        let scratch = Scratch::new();
        scratch.write("old", "x");
        let remove = Remove::of(scratch.path(), "old".to_owned()).expect("it is there");
        for commit in [publish(&scratch, "1"), Commit::Remove(remove.expect("it is there"))] {
            assert_eq!(Commit::decode(&commit.encode()), Ok(commit));
        }
    }

    #[test]
    fn a_part_is_published_once_however_often_it_is_committed() {
        let scratch = Scratch::new();
        scratch.write(".part-0.pending", "abc\n");
        for execution in ["1", "1", "2"] {
            publish(&scratch, "1").apply(execution).expect("it can be done again");
            assert_eq!(scratch.names(), ["part-0-1"]);
        }
    }

    #[test]
    fn a_part_that_a_reader_took_away_does_not_stop_a_restored_job() {
        let scratch = Scratch::new();
        publish(&scratch, "1").apply("2").expect("it was committed before the failure");
        let error = publish(&scratch, "1").apply("1").expect_err("nobody can have committed it");
        assert!(error.message.contains("neither of them is there"), "{error}");
    }

    #[test]
    fn a_file_of_the_same_name_is_not_replaced() {
        let scratch = Scratch::new();
        scratch.write("part-0-1", "foreign\n");
        let error = publish(&scratch, "1").apply("2").expect_err("it is another file");
        assert!(error.message.contains("has 8 bytes instead of 4"), "{error}");
        scratch.write(".part-0.pending", "abc\n");
        let error = publish(&scratch, "1").apply("1").expect_err("it is another file");
        assert!(error.message.contains("from another job; let only one"), "{error}");
        assert_eq!(scratch.names(), [".part-0.pending", "part-0-1"]);
    }

    #[test]
    fn only_the_file_that_was_meant_is_removed() {
        let scratch = Scratch::new();
        let path = scratch.write("part-0", "old");
        let remove = Remove::of(scratch.path(), "part-0".to_owned()).expect("it is there");
        let remove = Commit::Remove(remove.expect("it is there"));
        let fresh = scratch.write("fresh", "new");
        fs::rename(&fresh, &path).expect("they are there");
        remove.apply("1").expect("there is nothing to do");
        assert_eq!(scratch.names(), ["part-0"]);
        let remove = Remove::of(scratch.path(), "part-0".to_owned()).expect("it is there");
        let remove = Commit::Remove(remove.expect("it is there"));
        for _ in 0..2 {
            remove.apply("1").expect("it can be done again");
            assert!(scratch.names().is_empty());
        }
    }
}
