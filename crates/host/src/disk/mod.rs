//! The calls of the file system on which the durability of checkpoints and records stands.
//!
//! Each does what it is called. They are gathered here so that tests can have a disk that loses what
//! was not synced when its power fails, after any of them: with the feature `simulated-disk`, a thread
//! that has a [`simulated::SimulatedDisk`] sees that one instead of the machine's. Without the feature
//! each function is the call that it names.

#[cfg(feature = "simulated-disk")]
pub mod simulated;
#[cfg(feature = "simulated-disk")]
pub mod turns;

use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::SystemTime;

/// Goes to the thread's simulated disk, if there is one.
macro_rules! simulated {
    ($disk:ident => $call:expr) => {
        #[cfg(feature = "simulated-disk")]
        if let Some($disk) = simulated::current() {
            return $call;
        }
    };
}

/// What is known of a file or directory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meta {
    pub(crate) is_file: bool,
    pub(crate) is_directory: bool,
    pub(crate) bytes: u64,
    /// Two names with the same identity lead to one file.
    pub(crate) identity: (u64, u64),
    pub(crate) modified: Option<SystemTime>,
}

impl From<std::fs::Metadata> for Meta {
    fn from(meta: std::fs::Metadata) -> Self {
        Self {
            is_file: meta.is_file(),
            is_directory: meta.is_dir(),
            bytes: meta.len(),
            identity: (meta.dev(), meta.ino()),
            modified: meta.modified().ok(),
        }
    }
}

/// An open file.
#[derive(Debug)]
pub(crate) enum File {
    OfMachine(std::fs::File),
    #[cfg(feature = "simulated-disk")]
    Simulated(simulated::Open),
}

impl File {
    /// Makes a file that is not there yet, to be written.
    pub(crate) fn create_new(path: &Path, mode: u32) -> io::Result<Self> {
        simulated!(disk => disk.create_new(path).map(Self::Simulated));
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true).mode(mode).open(path).map(Self::OfMachine)
    }

    /// Opens a file to be read.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        simulated!(disk => disk.open(path).map(Self::Simulated));
        std::fs::File::open(path).map(Self::OfMachine)
    }

    /// What was written survives a power cut when this has returned.
    pub(crate) fn sync(&self) -> io::Result<()> {
        match self {
            Self::OfMachine(file) => file.sync_all(),
            #[cfg(feature = "simulated-disk")]
            Self::Simulated(file) => file.sync(),
        }
    }

    pub(crate) fn bytes(&self) -> io::Result<u64> {
        match self {
            Self::OfMachine(file) => Ok(file.metadata()?.len()),
            #[cfg(feature = "simulated-disk")]
            Self::Simulated(file) => Ok(file.content().len() as u64),
        }
    }

    pub(crate) fn read_exact_at(&self, content: &mut [u8], offset: u64) -> io::Result<()> {
        match self {
            Self::OfMachine(file) => file.read_exact_at(content, offset),
            #[cfg(feature = "simulated-disk")]
            Self::Simulated(file) => file.read_exact_at(content, offset),
        }
    }

    /// Its content from the begin, at most so many bytes.
    pub(crate) fn read_at_most(&self, most: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match self {
            Self::OfMachine(file) => file.take(most).read_to_end(&mut bytes)?,
            #[cfg(feature = "simulated-disk")]
            Self::Simulated(file) => {
                file.content().as_slice().take(most).read_to_end(&mut bytes)?
            }
        };
        Ok(bytes)
    }
}

impl Write for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::OfMachine(file) => file.write(bytes),
            #[cfg(feature = "simulated-disk")]
            Self::Simulated(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a path leads to.
pub(crate) fn metadata(path: &Path) -> io::Result<Meta> {
    simulated!(disk => disk.metadata(path));
    std::fs::metadata(path).map(Meta::from)
}

/// What has this name, even if it is a link.
pub(crate) fn symlink_metadata(path: &Path) -> io::Result<Meta> {
    simulated!(disk => disk.metadata(path));
    std::fs::symlink_metadata(path).map(Meta::from)
}

pub(crate) fn is_directory(path: &Path) -> bool {
    metadata(path).is_ok_and(|meta| meta.is_directory)
}

pub(crate) fn create_directory(path: &Path) -> io::Result<()> {
    simulated!(disk => disk.create_directory(path));
    std::fs::create_dir(path)
}

pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    simulated!(disk => disk.rename(from, to));
    std::fs::rename(from, to)
}

pub(crate) fn hard_link(from: &Path, to: &Path) -> io::Result<()> {
    simulated!(disk => disk.hard_link(from, to));
    std::fs::hard_link(from, to)
}

pub(crate) fn remove_file(path: &Path) -> io::Result<()> {
    simulated!(disk => disk.remove_file(path));
    std::fs::remove_file(path)
}

pub(crate) fn remove_directory_and_content(path: &Path) -> io::Result<()> {
    simulated!(disk => disk.remove_directory_and_content(path));
    std::fs::remove_dir_all(path)
}

/// The names in a directory; those that are not UTF-8 are none of ours.
pub(crate) fn names(directory: &Path) -> io::Result<Vec<String>> {
    simulated!(disk => disk.names(directory));
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        names.extend(entry?.file_name().into_string());
    }
    Ok(names)
}

/// Makes names that were added to or removed from a directory survive a power cut.
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    simulated!(disk => disk.sync_directory(directory));
    std::fs::File::open(directory)?.sync_all()
}
