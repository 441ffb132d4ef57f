//! Failures in one form: what was attempted and on what, why it failed, and what to do next.

use millstream_core::OperatorError;
use std::fmt::Display;
use std::io;
use std::path::Path;

/// `could not <attempted>: <why>; <next>`.
pub(crate) fn failure(
    attempted: impl Display,
    why: impl Display,
    next: impl Display,
) -> OperatorError {
    OperatorError::new(format!("could not {attempted}: {why}; {next}"))
}

/// A failure of the operating system with a file or directory.
pub(crate) fn file_failure(verb: &str, path: &Path, error: &io::Error) -> OperatorError {
    let next = match error.kind() {
        io::ErrorKind::NotFound => "check the path: it has to exist on every machine with a task",
        io::ErrorKind::PermissionDenied => {
            "give the user that runs this process access to it, or choose another path"
        }
        io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory => "check the path",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free some space, or choose a path on another file system"
        }
        io::ErrorKind::ReadOnlyFilesystem => "choose a path on a file system that can be written",
        _ => "check the path and the file system's health",
    };
    failure(format_args!("{verb} `{}`", path.display()), error, next)
}
