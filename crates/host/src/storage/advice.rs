//! What people can do about an error of a file system.

use std::io;

/// Why something failed, and what can be done.
pub(super) struct Cause(pub(super) String);

impl From<&str> for Cause {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<String> for Cause {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<io::Error> for Cause {
    fn from(error: io::Error) -> Self {
        match advice(&error) {
            Some(advice) => Self(format!("{error}; {advice}")),
            None => Self(error.to_string()),
        }
    }
}

/// The number of "Input/output error", which has no name of its own.
const EIO: i32 = 5;

fn advice(error: &io::Error) -> Option<&'static str> {
    use io::ErrorKind as K;
    match error.kind() {
        K::StorageFull | K::QuotaExceeded | K::FileTooLarge => {
            Some("make room there, or choose another directory")
        }
        K::ReadOnlyFilesystem => Some("mount it for writing, or choose another directory"),
        K::PermissionDenied => Some("let the user of this process in, or choose another directory"),
        K::NotADirectory => Some("move away what is in its place, or choose another directory"),
        _ if error.raw_os_error() == Some(EIO) => {
            Some("the disk fails: the kernel's log says more")
        }
        _ => None,
    }
}
