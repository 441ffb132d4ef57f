//! Which paths there can be below a storage's root.
//!
//! Paths come out of metadata files, which anybody may have written: none may lead out of the root.

use super::refused;
use millstream_checkpoint::storage::StorageError;
use std::path::{Path, PathBuf};

/// No path is longer; file systems allow 4,096 with the root.
const BYTES_MAX: usize = 2048;

/// The place of a file below the root.
pub(crate) fn file_below(attempt: &str, root: &Path, path: &str) -> Result<PathBuf, StorageError> {
    if path.is_empty() {
        return Err(refused(attempt, root, "the path of a file has to follow"));
    }
    below(attempt, root, path)
}

/// The place of a file or directory below the root; an empty path is the root itself.
pub(super) fn below(attempt: &str, root: &Path, path: &str) -> Result<PathBuf, StorageError> {
    match objection(path) {
        Some(why) => Err(refused(attempt, root.join(format!("./{path}")), why)),
        None if path.is_empty() => Ok(root.to_owned()),
        None => Ok(root.join(path)),
    }
}

/// Why this cannot be a path of a storage.
fn objection(path: &str) -> Option<&'static str> {
    let names = || path.split('/');
    if path.is_empty() {
        None
    } else if path.len() > BYTES_MAX {
        Some("the path is longer than 2048 bytes")
    } else if path.starts_with('/') {
        Some("the path is not relative")
    } else if names().any(str::is_empty) {
        Some("the path has an empty name in it")
    } else if names().any(|name| name == "." || name == "..") {
        Some("the path has `.` or `..` in it")
    } else if names().any(is_hidden) {
        Some("names that begin with a dot are those of files that are being written")
    } else if path.contains('\0') {
        Some("the path has a NUL byte in it")
    } else {
        None
    }
}

/// Files that are being written have such names; a storage does not show them.
pub(super) fn is_hidden(name: &str) -> bool {
    name.starts_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_below_the_root() {
        let root = Path::new("/state");
        for path in ["chk-7/_metadata", "shared/0f", "a b/\u{e9}"] {
            assert_eq!(file_below("read", root, path), Ok(root.join(path)));
        }
        let long = "x".repeat(BYTES_MAX + 1);
        for path in ["..", "a/../b", "/etc/passwd", "a//b", "a/", "./a", ".a", "a/.b", "\0", &long]
        {
            let error = below("read", root, path).expect_err("refused");
            assert!(error.path.starts_with("/state/"), "{error}");
            assert!(!error.unknown);
        }
    }

    #[test]
    fn only_a_directory_may_be_the_root_itself() {
        let root = Path::new("/state");
        assert_eq!(below("list", root, ""), Ok(root.to_owned()));
        let error = file_below("read", root, "").expect_err("refused");
        let expected = "could not read `/state`: the path of a file has to follow";
        assert_eq!(error.to_string(), expected);
    }
}
