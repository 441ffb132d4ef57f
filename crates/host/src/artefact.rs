//! Looks at a user's program before anybody starts it.
//!
//! A program that cannot run is refused where it is submitted, with what was found, what was
//! expected and what to do: each failure has its own words. One pass over the file gives its content
//! hash and the version of the engine's protocol that it was linked with.
//!
//! [`elf`] reads the executable's headers; [`job_link`] is the marker of the protocol.

pub mod elf;
pub mod job_link;

use crate::ErrorKind;
use elf::{Elf, ElfError};
use millstream_core::hash::Hasher128;
use millstream_core::ids::ContentHash;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

pub use job_link::{JOB_LINK_MARKER, job_link_marker};

/// An artefact may not be longer.
pub const ARTEFACT_BYTES_MAX: u64 = 1 << 30;

const PIECE_BYTES: usize = 256 << 10;

/// The kind of processor that a program is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// `x86_64-*`.
    X86_64,
    /// `aarch64-*`.
    Aarch64,
    /// Any other, by its number in the ELF registry.
    Other(u16),
}

impl Machine {
    /// This machine's.
    pub fn here() -> Self {
        match std::env::consts::ARCH {
            "x86_64" => Machine::X86_64,
            "aarch64" => Machine::Aarch64,
            _ => Machine::Other(0),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Machine::X86_64 => f.write_str("x86-64"),
            Machine::Aarch64 => f.write_str("aarch64"),
            Machine::Other(number) => write!(f, "machine number {number}"),
        }
    }
}

/// Who loads a program: its C library, and the path of the loader that has to be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Libc {
    /// GNU's.
    Glibc {
        /// `/lib64/ld-linux-x86-64.so.2`.
        loader: PathBuf,
    },
    /// musl's, linked dynamically.
    Musl {
        /// `/lib/ld-musl-x86_64.so.1`.
        loader: PathBuf,
    },
    /// Nobody: it is all in the file and runs on any Linux.
    Static,
    /// Another one.
    Other {
        /// Its loader.
        loader: PathBuf,
    },
}

impl Libc {
    fn of(loader: Option<PathBuf>) -> Self {
        let Some(loader) = loader else { return Libc::Static };
        let name = loader.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match name {
            name if name.starts_with("ld-linux") => Libc::Glibc { loader },
            name if name.starts_with("ld-musl") => Libc::Musl { loader },
            _ => Libc::Other { loader },
        }
    }

    /// The loader, if the program needs one.
    pub fn loader(&self) -> Option<&Path> {
        match self {
            Libc::Static => None,
            Libc::Glibc { loader } | Libc::Musl { loader } | Libc::Other { loader } => Some(loader),
        }
    }
}

/// What a program turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArtefactInfo {
    /// Where it is, for messages.
    pub path: PathBuf,
    /// How long it is.
    pub bytes: u64,
    /// What is in it.
    pub hash: ContentHash,
    /// What runs it.
    pub machine: Machine,
    /// What loads it.
    pub libc: Libc,
    /// The version of the job link that it was linked with; `None` if it is no Millstream program.
    pub job_link: Option<u32>,
}

/// Why a file is no program that we can run.
#[derive(Debug, thiserror::Error)]
pub enum ArtefactError {
    /// It is not there.
    #[error(
        "there is no file {path}; build the program and give the path of its executable, for \
             example target/release/my-job"
    )]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// The file system said no.
    #[error("could not read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// A directory, a device, …
    #[error(
        "{path} is not a file; give the path of the executable itself, for example \
             target/release/my-job"
    )]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// Too long.
    #[error(
        "{path} has {bytes} bytes, more than the {ARTEFACT_BYTES_MAX} that are taken; build it \
             with --release, or strip it (strip = true in the profile)"
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// How long it is.
        bytes: u64,
    },
    /// Not to be executed.
    #[error("{path} may not be executed; if it is the right file, run chmod +x on it")]
    NotExecutable {
        /// The file.
        path: PathBuf,
    },
    /// A shell script, a Python program, …
    #[error("{path} is a script (it begins with #!); give the executable that it starts")]
    Script {
        /// The file.
        path: PathBuf,
    },
    /// Something else that we know.
    #[error(
        "{path} is {what}, not a 64-bit Linux executable; build it on Linux, or with --target \
             x86_64-unknown-linux-gnu or aarch64-unknown-linux-gnu"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// Something that we do not know.
    #[error(
        "{path} is not a Linux executable (no ELF header); give the file that cargo build put \
             under target/release"
    )]
    NotElf {
        /// The file.
        path: PathBuf,
    },
    /// An ELF file, but a part of a program.
    #[error("{path} is {what}, not a program; give the executable (a crate with a main function)")]
    NotAProgram {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// It ends early or contradicts itself.
    #[error("{path} is damaged: {what}; copy or build it again")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// For another processor.
    #[error(
        "{path} is built for {found}, and this machine is {expected}; build it with --target \
             {}",
        target_for(expected)
    )]
    WrongMachine {
        /// The file.
        path: PathBuf,
        /// What it is for.
        found: Machine,
        /// What is here.
        expected: Machine,
    },
    /// Its loader is not installed.
    #[error("{path} needs the loader {loader}, which this machine does not have; {remedy}",
            loader = loader.display(), remedy = loader_remedy(loader))]
    LoaderMissing {
        /// The file.
        path: PathBuf,
        /// What it asks for.
        loader: PathBuf,
    },
    /// No marker.
    #[error(
        "{path} is not a Millstream program: it does not contain the engine's job link; call \
             execute on a StreamExecutionEnvironment of the crate millstream in its main"
    )]
    NoJobLink {
        /// The file.
        path: PathBuf,
    },
    /// A marker of a version that this engine does not speak.
    #[error("{path} speaks version {found} of the job link, this cluster versions {min} to {max}; {}",
            if found < min { "build it again with the present millstream crate" }
            else { "upgrade the cluster, or build it with an older millstream crate" })]
    JobLinkVersion {
        /// The file.
        path: PathBuf,
        /// What it speaks.
        found: u32,
        /// The oldest that is understood.
        min: u32,
        /// The newest.
        max: u32,
    },
}

impl ArtefactError {
    /// Who has to act.
    pub fn kind(&self) -> ErrorKind {
        match self {
            ArtefactError::Read { .. } => ErrorKind::Machine,
            ArtefactError::Damaged { .. } => ErrorKind::Corrupt,
            _ => ErrorKind::Request,
        }
    }
}

/// Reads the file once; it is fine for this machine's processor if this succeeds.
///
/// The loader is checked apart ([`ArtefactInfo::check_loader`]), where the program is to run.
pub fn inspect(path: &Path) -> Result<ArtefactInfo, ArtefactError> {
    inspect_for(path, Machine::here())
}

/// The same for a cluster of other machines.
pub fn inspect_for(path: &Path, machine: Machine) -> Result<ArtefactInfo, ArtefactError> {
    let (file, bytes) = open(path)?;
    let elf = read_elf(path, &file, bytes, machine)?;
    let (hash, job_link) = read_content(path, file.take(bytes))?;
    let (path, libc) = (path.to_owned(), Libc::of(elf.loader));
    Ok(ArtefactInfo { path, bytes, hash, machine, libc, job_link })
}

/// Looks at the headers alone: whether this machine can run the file. Here a script is as good as a
/// program: the kernel starts its interpreter.
///
/// To be asked before a file is executed. The C library's `execvp`, which the standard library calls,
/// hands to `/bin/sh` what the kernel cannot run, and a program for another processor is a very
/// strange shell script.
pub fn check_runs_here(path: &Path) -> Result<(), ArtefactError> {
    let (file, bytes) = open(path)?;
    match read_elf(path, &file, bytes, Machine::here()) {
        Ok(elf) => check_loader(path, elf.loader.as_deref()),
        Err(ArtefactError::Script { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

impl ArtefactInfo {
    /// Whether the loader that the program asks for is on this machine.
    pub fn check_loader(&self) -> Result<(), ArtefactError> {
        check_loader(&self.path, self.libc.loader())
    }

    /// The version of the job link, if it is one of `min..=max`.
    pub fn check_job_link(&self, min: u32, max: u32) -> Result<u32, ArtefactError> {
        let path = || self.path.clone();
        let found = self.job_link.ok_or_else(|| ArtefactError::NoJobLink { path: path() })?;
        if found < min || max < found {
            return Err(ArtefactError::JobLinkVersion { path: path(), found, min, max });
        }
        Ok(found)
    }
}

/// The XXH3-128 hash of a file, read in pieces.
pub fn content_hash(path: &Path) -> io::Result<ContentHash> {
    let mut hasher = Hasher128::new();
    for_each_piece(File::open(path)?, |piece| hasher.update(piece))?;
    Ok(ContentHash(hasher.finish()))
}

fn check_loader(path: &Path, loader: Option<&Path>) -> Result<(), ArtefactError> {
    match loader {
        Some(loader) if !loader.exists() => {
            let (path, loader) = (path.to_owned(), loader.to_owned());
            Err(ArtefactError::LoaderMissing { path, loader })
        }
        _ => Ok(()),
    }
}

fn open(path: &Path) -> Result<(File, u64), ArtefactError> {
    let failed = |cause: io::Error| match cause.kind() {
        io::ErrorKind::NotFound => ArtefactError::Missing { path: path.to_owned() },
        _ => ArtefactError::Read { path: path.to_owned(), cause },
    };
    // Before opening: opening a pipe would wait for its writer.
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(ArtefactError::NotAFile { path: path.to_owned() });
    }
    let file = File::open(path).map_err(failed)?;
    let bytes = file.metadata().map_err(failed)?.len();
    if ARTEFACT_BYTES_MAX < bytes {
        return Err(ArtefactError::TooLarge { path: path.to_owned(), bytes });
    }
    Ok((file, bytes))
}

/// What the file is, from its first bytes; whether it may be executed; whether it is for `expected`.
fn read_elf(path: &Path, file: &File, bytes: u64, expected: Machine) -> Result<Elf, ArtefactError> {
    let read = |cause| ArtefactError::Read { path: path.to_owned(), cause };
    let mut start = [0; 8];
    let found = file.read_at(&mut start, 0).map_err(read)?;
    if let Some(what) = foreign_format(&start[..found]) {
        return Err(ArtefactError::Foreign { path: path.to_owned(), what });
    }
    if start.starts_with(b"#!") {
        return Err(ArtefactError::Script { path: path.to_owned() });
    }
    let elf = elf::read(file, bytes).map_err(|error| match error {
        ElfError::NotElf => ArtefactError::NotElf { path: path.to_owned() },
        ElfError::Foreign(what) => ArtefactError::Foreign { path: path.to_owned(), what },
        ElfError::NotAProgram(what) => ArtefactError::NotAProgram { path: path.to_owned(), what },
        ElfError::Damaged(what) => ArtefactError::Damaged { path: path.to_owned(), what },
        ElfError::Read(cause) => read(cause),
    })?;
    let mode = file.metadata().map_err(read)?.permissions().mode();
    if mode & 0o111 == 0 {
        return Err(ArtefactError::NotExecutable { path: path.to_owned() });
    }
    if elf.machine != expected {
        let found = elf.machine;
        return Err(ArtefactError::WrongMachine { path: path.to_owned(), found, expected });
    }
    Ok(elf)
}

fn read_content(
    path: &Path,
    content: impl Read,
) -> Result<(ContentHash, Option<u32>), ArtefactError> {
    let mut hasher = Hasher128::new();
    let mut search = job_link::Search::default();
    for_each_piece(content, |piece| {
        hasher.update(piece);
        search.feed(piece);
    })
    .map_err(|cause| ArtefactError::Read { path: path.to_owned(), cause })?;
    Ok((ContentHash(hasher.finish()), search.found()))
}

fn for_each_piece(mut content: impl Read, mut each: impl FnMut(&[u8])) -> io::Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match content.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(count) => each(&piece[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
            Err(error) => return Err(error),
        }
    }
}

fn foreign_format(start: &[u8]) -> Option<&'static str> {
    const FORMATS: [(&[u8], &str); 7] = [
        (b"\xcf\xfa\xed\xfe", "a macOS executable"),
        (b"\xca\xfe\xba\xbe", "a macOS universal executable or a Java class"),
        (b"MZ", "a Windows executable"),
        (b"PK\x03\x04", "a zip or jar file"),
        (b"\0asm", "a WebAssembly module"),
        (b"\x1f\x8b", "a gzip file"),
        (b"!<arch>", "a static library"),
    ];
    FORMATS.iter().find(|(magic, _)| start.starts_with(magic)).map(|(_, what)| *what)
}

fn target_for(machine: &Machine) -> &'static str {
    match machine {
        Machine::Aarch64 => "aarch64-unknown-linux-gnu",
        _ => "x86_64-unknown-linux-gnu",
    }
}

fn loader_remedy(loader: &Path) -> &'static str {
    match Libc::of(Some(loader.to_owned())) {
        Libc::Musl { .. } => "build it statically, or with a -linux-gnu target",
        _ => "build it with a -linux-musl target (static), or install the library",
    }
}

#[cfg(test)]
mod tests;
