//! What is done with the directory of parts itself.

use crate::failure::{failure, file_failure};
use millstream_core::OperatorError;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// Makes the directory, if it is not there.
pub(super) fn create_directory(directory: &Path) -> Result<(), OperatorError> {
    if directory.is_dir() {
        return Ok(());
    }
    let existing = directory.ancestors().find(|above| above.is_dir());
    fs::create_dir_all(directory).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => failure(
            format_args!("write files into `{}`", directory.display()),
            "it is a file, not a directory",
            "name a directory: each subtask writes files of its own in it",
        ),
        _ => file_failure("create directory", directory, &error),
    })?;
    // The entry of each one that was made is in the one above it.
    for above in directory.ancestors().skip(1) {
        sync_directory(above)?;
        if Some(above) == existing {
            break;
        }
    }
    Ok(())
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

/// All directories below one, however deep; none if it is not there. Links are not followed, and what is
/// hidden is left alone.
pub(super) fn directories_in(directory: &Path) -> Result<Vec<PathBuf>, OperatorError> {
    let unreadable = |error| file_failure("list directory", directory, &error);
    let (mut found, mut open) = (Vec::new(), vec![directory.to_owned()]);
    while let Some(above) = open.pop() {
        let entries = match fs::read_dir(&above) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries.map_err(unreadable)?,
        };
        for entry in entries {
            let entry = entry.map_err(unreadable)?;
            let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            if !is_hidden && entry.file_type().map_err(unreadable)?.is_dir() {
                found.push(entry.path());
                open.push(entry.path());
            }
        }
    }
    Ok(found)
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
