//! A range of a file, and how files and directories become ranges: at plan time, once.

use crate::failure::{failure, file_failure};
use millstream_core::OperatorError;
use millstream_core::job_graph::SourceSplit;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The first byte of an encoded split.
const VERSION: u8 = 1;

/// A split is at most so long, unless the user says otherwise.
const SPLIT_BYTES_MAX: u64 = 64 << 20;

/// A split is at least so long, unless the user says otherwise or the file is smaller.
const SPLIT_BYTES_MIN: u64 = 4 << 20;

/// Small inputs are cut into about so many splits, so that all subtasks get some.
const SPLITS_WANTED: u64 = 64;

/// The lines of a file that begin in a range of bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileSplit {
    /// The file. Absolute: another process reads it.
    pub(crate) path: PathBuf,
    /// The first byte.
    pub(crate) start: u64,
    /// The first byte after the range.
    pub(crate) end: u64,
}

impl FileSplit {
    /// Version (one byte), start and end (little-endian), path as the system writes it.
    pub(crate) fn encode(&self) -> SourceSplit {
        let mut bytes = vec![VERSION];
        bytes.extend(self.start.to_le_bytes());
        bytes.extend(self.end.to_le_bytes());
        bytes.extend(self.path.as_os_str().as_bytes());
        SourceSplit(bytes)
    }

    /// What [`FileSplit::encode`] wrote.
    pub(crate) fn decode(split: &SourceSplit) -> Result<Self, OperatorError> {
        let SourceSplit(bytes) = split;
        let unreadable = |why: String| {
            failure("read the description of a file split", why, "run the same build on all sides")
        };
        let (version, rest) =
            bytes.split_first().ok_or_else(|| unreadable("it is empty".to_owned()))?;
        if *version != VERSION {
            return Err(unreadable(format!("it has version {version}, known is {VERSION}")));
        }
        let parts = rest.split_first_chunk::<8>().and_then(|(start, rest)| {
            rest.split_first_chunk::<8>().map(|(end, path)| (*start, *end, path))
        });
        let (start, end, path) =
            parts.ok_or_else(|| unreadable(format!("it ends after {} bytes", bytes.len())))?;
        Ok(Self {
            path: PathBuf::from(OsStr::from_bytes(path)),
            start: u64::from_le_bytes(start),
            end: u64::from_le_bytes(end),
        })
    }
}

/// The splits of files and directories, in the order of the paths and of the names in them.
pub(crate) fn splits_of(
    paths: &[PathBuf],
    split_bytes: Option<u64>,
) -> Result<Vec<FileSplit>, OperatorError> {
    let mut files = Vec::new();
    for path in paths {
        let path = local(path)?;
        let meta = fs::metadata(&path).map_err(|error| missing(&path, &error))?;
        add_files(&path, &meta, &mut Vec::new(), &mut files)?;
    }
    // A directory and a file in it may both have been named.
    let mut seen = BTreeSet::new();
    files.retain(|(path, _)| seen.insert(path.clone()));
    let total: u64 = files.iter().map(|(_, len)| len).sum();
    let split_bytes = split_bytes
        .unwrap_or_else(|| (total / SPLITS_WANTED).clamp(SPLIT_BYTES_MIN, SPLIT_BYTES_MAX));
    Ok(files.iter().flat_map(|(path, len)| cut(path, *len, split_bytes)).collect())
}

/// An absolute local path of what the user wrote.
fn local(path: &Path) -> Result<PathBuf, OperatorError> {
    let text = path.as_os_str().to_string_lossy();
    let attempted = || format!("read text files from `{text}`");
    let path = match text.split_once("://") {
        Some(("file", rest)) => Path::new(rest),
        Some((scheme, _)) => {
            return Err(failure(
                attempted(),
                format!("`{scheme}` is not a local file system"),
                "this source reads local paths only",
            ));
        }
        None => path,
    };
    std::path::absolute(path)
        .map_err(|error| failure(attempted(), error, "give the path of a file or directory"))
}

fn missing(path: &Path, error: &std::io::Error) -> OperatorError {
    let text = path.to_string_lossy();
    if error.kind() == std::io::ErrorKind::NotFound && text.contains(['*', '?']) {
        let next = "name a file or a directory: patterns are not expanded";
        return failure(format_args!("read text files from `{text}`"), error, next);
    }
    file_failure("read text files from", path, error)
}

/// Adds a file, or the files in a directory, with their lengths. `above`: the real paths of the
/// directories that this one is in.
fn add_files(
    path: &Path,
    meta: &Metadata,
    above: &mut Vec<PathBuf>,
    files: &mut Vec<(PathBuf, u64)>,
) -> Result<(), OperatorError> {
    if meta.is_file() {
        files.push((path.to_owned(), meta.len()));
        return Ok(());
    }
    if !meta.is_dir() {
        return Err(failure(
            format_args!("read text files from `{}`", path.display()),
            "it is neither a file nor a directory",
            "a pipe or device cannot be read in parts: write it to a file first",
        ));
    }
    let unreadable = |error| file_failure("list directory", path, &error);
    let real = fs::canonicalize(path).map_err(unreadable)?;
    if above.contains(&real) {
        // A link to a directory around itself: its files are being listed already.
        return Ok(());
    }
    above.push(real);
    let entries = fs::read_dir(path).map_err(unreadable)?;
    let mut entries = entries.collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        if matches!(entry.file_name().as_bytes().first(), Some(b'.' | b'_')) {
            continue;
        }
        let path = entry.path();
        let meta = fs::metadata(&path).map_err(|error| missing(&path, &error))?;
        if meta.is_file() || meta.is_dir() {
            add_files(&path, &meta, above, files)?;
        }
    }
    above.pop();
    Ok(())
}

/// Cuts a file of so many bytes into splits that differ by a byte at most.
fn cut(path: &Path, len: u64, split_bytes: u64) -> impl Iterator<Item = FileSplit> {
    let count = len.div_ceil(split_bytes.max(1));
    let bound = move |i: u64| (u128::from(len) * u128::from(i) / u128::from(count)) as u64;
    (0..count).map(move |i| FileSplit { path: path.to_owned(), start: bound(i), end: bound(i + 1) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn a_split_survives_being_encoded() {
        let split = FileSplit { path: "/data/caf\u{e9} 1.txt".into(), start: 7, end: u64::MAX };
        assert_eq!(FileSplit::decode(&split.encode()), Ok(split));
    }

    #[test]
    fn a_split_of_another_version_or_cut_short_is_refused() {
        for (bytes, why) in [
            (vec![], "it is empty"),
            (vec![2, 0], "version 2, known is 1"),
            (vec![1, 0], "2 bytes"),
        ] {
            let error = FileSplit::decode(&SourceSplit(bytes)).expect_err("refused");
            assert!(error.message.contains(why), "{error}");
        }
    }

    #[test]
    fn the_files_of_a_directory_are_found_below_it_in_order_and_hidden_ones_are_not() {
        let scratch = Scratch::new();
        for file in ["b.txt", "a/2", "a/1", "a/.hidden", "_temporary/x", ".git/x", "empty"] {
            scratch.write(file, if file == "empty" { "" } else { "line\n" });
        }
        std::os::unix::fs::symlink(scratch.path(), scratch.path().join("a/loop"))
            .expect("a link is made");
        let directory = [scratch.path().to_owned()];
        let splits = splits_of(&directory, None).expect("it is readable");
        let names: Vec<_> = splits
            .iter()
            .map(|split| split.path.strip_prefix(scratch.path()).expect("below it"))
            .collect();
        assert_eq!(names, [Path::new("a/1"), Path::new("a/2"), Path::new("b.txt")]);
        let twice = [scratch.path().join("b.txt"), scratch.path().to_owned()];
        assert_eq!(splits_of(&twice, None).expect("it is readable").len(), 3);
    }

    #[test]
    fn splits_cover_a_file_without_gaps() {
        for (len, split_bytes) in [(1, 1), (10, 3), (100, 64), (64, 64), (1 << 40, 64 << 20)] {
            let splits: Vec<_> = cut(Path::new("/x"), len, split_bytes).collect();
            assert_eq!(splits.first().map(|split| split.start), Some(0));
            assert_eq!(splits.last().map(|split| split.end), Some(len));
            assert!(splits.windows(2).all(|pair| pair[0].end == pair[1].start));
            assert!(splits.iter().all(|split| split.end - split.start <= split_bytes));
        }
    }

    #[track_caller]
    fn check_refused(path: &str, expected: &[&str]) {
        let error = splits_of(&[path.into()], None).expect_err("it cannot be read");
        for part in expected {
            assert!(error.message.contains(part), "{error}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_told_with_path_reason_and_advice() {
        check_refused("/no/such/file", &["`/no/such/file`", "No such file", "check the path"]);
        check_refused("/no/such/*.txt", &["patterns are not expanded"]);
        check_refused("s3://bucket/key", &["`s3` is not a local file system"]);
        check_refused("/dev/null", &["neither a file nor a directory"]);
        check_refused("", &["give the path"]);
    }
}
