//! One part file: written under a hidden temporary name, and renamed when it is whole.
//!
//! The life of a part: `create` makes the directory and `.part-3.csv-<execution>.inprogress`;
//! `commit` writes what is left, asks the disk to keep it, renames it to `part-3.csv`, and asks the
//! disk to keep that. Whatever ends a part before that (a failure, a cancellation, a panic) drops
//! it, which removes the temporary file. Only a process that is killed leaves one behind; the next
//! `create` of the same part removes it, so that a killed attempt which still runs cannot commit.

use crate::failure::{failure, file_failure};
use millstream_core::OperatorError;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// So much is gathered before it is written.
const BUFFER_BYTES: usize = 128 * 1024;

/// How the names of temporary files end.
const TEMPORARY: &str = ".inprogress";

/// A part that is being written.
pub(super) struct Part {
    directory: PathBuf,
    /// The name it gets in the end.
    path: PathBuf,
    temporary: PathBuf,
    file: File,
    /// Bytes that have not been written to the file.
    buffer: Vec<u8>,
    committed: bool,
}

impl Part {
    /// Begins the part of this name. `execution` keeps attempts apart.
    pub(super) fn create(
        directory: &Path,
        name: &str,
        execution: &str,
    ) -> Result<Self, OperatorError> {
        let prefix = format!(".{name}-");
        remove_leftovers(directory, &prefix)?;
        let execution = execution.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        let temporary = directory.join(format!("{prefix}{execution}{TEMPORARY}"));
        let file = File::create_new(&temporary)
            .map_err(|error| file_failure("create file", &temporary, &error))?;
        Ok(Self {
            directory: directory.to_owned(),
            path: directory.join(name),
            temporary,
            file,
            buffer: Vec::with_capacity(BUFFER_BYTES),
            committed: false,
        })
    }

    /// Where to append; call [`Part::written`] afterwards.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Something was appended: writes it to the file if it is much.
    #[inline]
    pub(super) fn written(&mut self) -> Result<(), OperatorError> {
        if self.buffer.len() < BUFFER_BYTES { Ok(()) } else { self.write_buffer() }
    }

    fn write_buffer(&mut self) -> Result<(), OperatorError> {
        let written = self.file.write_all(&self.buffer);
        self.buffer.clear();
        written.map_err(|error| file_failure("write file", &self.temporary, &error))
    }

    /// The part is whole: gives it its name.
    pub(super) fn commit(mut self) -> Result<(), OperatorError> {
        self.write_buffer()?;
        self.file
            .sync_all()
            .map_err(|error| file_failure("write file", &self.temporary, &error))?;
        fs::rename(&self.temporary, &self.path).map_err(|error| self.rename_failure(&error))?;
        self.committed = true;
        sync_directory(&self.directory)
    }

    fn rename_failure(&self, error: &io::Error) -> OperatorError {
        let verb = format!("rename `{}` to", self.temporary.display());
        if error.kind() == io::ErrorKind::NotFound {
            let attempted = format!("{verb} `{}`", self.path.display());
            let next = "let only one job write into a directory";
            return failure(attempted, "another attempt or job has removed the former", next);
        }
        file_failure(&verb, &self.path, error)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.committed {
            // Nothing more can be done here; the next attempt tries again.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Makes the directory, if it is not there.
pub(super) fn create_directory(directory: &Path) -> Result<(), OperatorError> {
    match fs::create_dir_all(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(failure(
            format_args!("write files into `{}`", directory.display()),
            "it is a file, not a directory",
            "name a directory: each subtask writes a file of its own in it",
        )),
        other => other.map_err(|error| file_failure("create directory", directory, &error)),
    }
}

/// Makes a change of names in the directory last.
pub(super) fn sync_directory(directory: &Path) -> Result<(), OperatorError> {
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| file_failure("write directory", directory, &error))
}

/// The names in a directory that are text.
pub(super) fn names_in(directory: &Path) -> Result<Vec<String>, OperatorError> {
    let unreadable = |error| file_failure("list directory", directory, &error);
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(unreadable)? {
        names.extend(entry.map_err(unreadable)?.file_name().into_string());
    }
    Ok(names)
}

/// Removes what killed attempts at this part left behind.
fn remove_leftovers(directory: &Path, prefix: &str) -> Result<(), OperatorError> {
    for name in names_in(directory)? {
        let execution = name.strip_prefix(prefix).and_then(|name| name.strip_suffix(TEMPORARY));
        // With a `-` in it, it is the end of another part's name.
        if execution.is_some_and(|execution| !execution.contains('-')) {
            remove_file(&directory.join(name))?;
        }
    }
    Ok(())
}

/// Removes a file that may have gone already.
pub(super) fn remove_file(path: &Path) -> Result<(), OperatorError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(file_failure("remove file", path, &error))
        }
        _ => Ok(()),
    }
}
