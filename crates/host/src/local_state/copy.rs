//! One copy: written beside the original, read instead of it.
//!
//! Where the original is a file of the same file system, the copy is another name of it and costs nothing;
//! elsewhere what is written is written twice. Nothing is synced: what a power cut leaves is found out when
//! it is read.

use super::copies::proof_of;
use millstream_checkpoint::local::proof::{Proof, ProofWriter};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// What is beside a copy has this at the end of its name.
pub(super) const PROOF_ENDING: &str = ".proof";

/// State comes in blocks; this joins their headers with them.
const BUFFER_BYTES: usize = 128 * 1024;

/// No proof is longer: that of a file of 2 TiB.
const PROOF_BYTES_MAX: u64 = 64 << 20;

/// A copy that is being made. Dropped before it is finished, it vanishes.
pub(super) struct CopyWriter {
    place: PathBuf,
    hidden: PathBuf,
    proof: Option<ProofWriter>,
    content: Content,
}

/// What becomes the content of a copy.
enum Content {
    /// The original, under another name.
    Link(PathBuf),
    Written(BufWriter<File>),
}

impl CopyWriter {
    /// A copy at `place` of the file `path` below `root`, which is about to be written.
    pub(super) fn create(place: PathBuf, root: &str, path: &str) -> io::Result<Self> {
        let directory = place.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(directory)?;
        let name = place.file_name().unwrap_or_default().to_string_lossy();
        let hidden = place.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
        let content = match same_file_system(Path::new(root), directory) {
            true => Content::Link(Path::new(root).join(path)),
            false => Content::Written(BufWriter::with_capacity(BUFFER_BYTES, begin(&hidden)?)),
        };
        let proof = Some(ProofWriter::new(format!("{root}/{path}")));
        Ok(Self { place, hidden, proof, content })
    }

    /// These bytes follow.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(proof) = &mut self.proof {
            proof.add(bytes);
        }
        match &mut self.content {
            Content::Link(_) => Ok(()),
            Content::Written(file) => file.write_all(bytes),
        }
    }

    /// The original is durable: the copy gets its name, and then its proof.
    pub(super) fn finish(mut self) -> io::Result<()> {
        match &mut self.content {
            Content::Link(original) => {
                remove(&self.hidden)?;
                if fs::hard_link(&*original, &self.hidden).is_err() {
                    // Not every file system has links, nor any number of them.
                    let mut content = File::open(&*original)?;
                    io::copy(&mut content, &mut begin(&self.hidden)?)?;
                }
            }
            Content::Written(file) => file.flush()?,
        }
        fs::rename(&self.hidden, &self.place)?;
        let Some(proof) = self.proof.take() else { return Ok(()) };
        begin(&self.hidden)?.write_all(&proof.finish().encode())?;
        fs::rename(&self.hidden, proof_of(&self.place))
    }
}

/// A new file, never one that is there: that could be another name of an original.
fn begin(path: &Path) -> io::Result<File> {
    remove(path)?;
    OpenOptions::new().write(true).create_new(true).open(path)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

impl Drop for CopyWriter {
    fn drop(&mut self) {
        // There is none of this name once it is finished.
        let _ = fs::remove_file(&self.hidden);
    }
}

/// Whether both are directories of one file system: what is below one can have a name below the other.
fn same_file_system(root: &Path, directory: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).ok().map(|meta| meta.dev());
    root.is_absolute() && device(root).is_some() && device(root) == device(directory)
}

/// A copy that has a proof.
pub(super) struct CopyReader {
    file: File,
    proof: Proof,
}

impl CopyReader {
    /// The copy at `place` of the file `path` below `root`; why it cannot be used.
    pub(super) fn open(place: &Path, root: &str, path: &str) -> Result<Self, String> {
        let absent = |what: &'static str| {
            move |error: io::Error| match error.kind() {
                io::ErrorKind::NotFound => format!("{what} is not there"),
                _ => format!("{what} cannot be read: {error}"),
            }
        };
        let file = File::open(place).map_err(absent("it"))?;
        let mut proof = Vec::new();
        File::open(proof_of(place))
            .and_then(|file| file.take(PROOF_BYTES_MAX).read_to_end(&mut proof))
            .map_err(absent("its proof"))?;
        let proof = Proof::decode(&proof, &format!("{root}/{path}"))?;
        let found = file.metadata().map_err(absent("it"))?.len();
        if found != proof.bytes() {
            return Err(format!("it has {found} bytes, {} were written", proof.bytes()));
        }
        Ok(Self { file, proof })
    }

    /// The length of the file.
    pub(super) fn bytes(&self) -> u64 {
        self.proof.bytes()
    }

    /// These bytes, proven; or why they are not.
    pub(super) fn read(&self, range: &Range<u64>) -> Result<Vec<u8>, String> {
        let outside = || format!("it has no bytes {} to {}", range.start, range.end);
        let chunks = self.proof.covering(range).ok_or_else(outside)?;
        let length = usize::try_from(chunks.end - chunks.start).map_err(|_| outside())?;
        let mut bytes = vec![0; length];
        let read = self.file.read_exact_at(&mut bytes, chunks.start);
        read.map_err(|error| format!("it cannot be read: {error}"))?;
        self.proof.check(chunks.start, &bytes)?;
        bytes.truncate((range.end - chunks.start) as usize);
        bytes.drain(..(range.start - chunks.start) as usize);
        Ok(bytes)
    }
}
