//! `io.tmp.dirs`: a process that could not spill must not start.

use super::{DirectoryError, make};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Makes each directory that is missing, and checks by writing that each can be written.
pub fn check_temporary_directories(directories: &[PathBuf]) -> Result<(), DirectoryError> {
    let purpose = "io.tmp.dirs";
    if directories.is_empty() {
        return Err(DirectoryError::NoneGiven { purpose });
    }
    directories.iter().try_for_each(|path| {
        make(purpose, path)?;
        probe(path).map_err(|cause| DirectoryError::NotWritable {
            purpose,
            path: path.clone(),
            cause,
        })
    })
}

fn probe(directory: &Path) -> io::Result<()> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = directory.join(format!(".millstream-probe-{}-{number}", std::process::id()));
    let written = File::create_new(&path).and_then(|mut file| file.write_all(b"x"));
    let removed = fs::remove_file(&path);
    written.and(removed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[track_caller]
    fn check_refused(directory: PathBuf, words: &str) {
        let error = check_temporary_directories(std::slice::from_ref(&directory)).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("io.tmp.dirs"), "{text}");
        assert!(text.contains(&*directory.to_string_lossy()), "{text}");
        assert!(text.contains(words), "{text}");
    }

    #[test]
    fn a_missing_directory_is_made_and_nothing_stays_in_it() {
        let scratch = Scratch::new();
        let (first, second) = (scratch.join("a/b"), scratch.join("c"));
        check_temporary_directories(&[first.clone(), second, first.clone()]).unwrap();
        assert_eq!(fs::read_dir(first).unwrap().count(), 0);
    }

    #[test]
    fn a_file_is_refused_by_its_path() {
        let scratch = Scratch::new();
        let file = scratch.join("file");
        fs::write(&file, "").unwrap();
        check_refused(file.clone(), "is not a directory");
        check_refused(file.join("below"), "could not make");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_directory_that_cannot_be_written_is_refused_by_its_path() {
        // Not even root may write in here.
        check_refused(PathBuf::from("/proc/self"), "could not write");
    }

    #[test]
    fn an_empty_list_is_refused() {
        assert!(matches!(check_temporary_directories(&[]), Err(DirectoryError::NoneGiven { .. })));
    }
}
