//! A disk for checkpoints that can be made to fail: it fills up, turns read-only, or goes away.
//!
//! Filling and remounting take a file system of its own, which only an administrator may mount. Without
//! one the directory goes away instead, which anybody can arrange.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What happens to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No byte is free.
    Full,
    /// It can only be read.
    ReadOnly,
    /// A file is where the directory was.
    Gone,
}

/// A directory `checkpoints`, on a file system of its own if that is possible.
pub(crate) struct Disk {
    root: PathBuf,
    mounted: bool,
}

/// Large enough for what the tests store, small enough to be filled at once.
const SIZE: &str = "size=96m";

impl Disk {
    pub(crate) fn new(root: PathBuf) -> Self {
        std::fs::create_dir_all(&root).expect("a directory");
        let own = ["-t", "tmpfs", "-o", SIZE, "tmpfs"];
        let mounted = mount_succeeds(Command::new("mount").args(own).arg(&root));
        if !mounted {
            eprintln!("SKIPPED: a full and a read-only disk, since no file system can be mounted");
        }
        let disk = Self { root, mounted };
        std::fs::create_dir_all(disk.directory()).expect("a directory");
        disk
    }

    /// Where checkpoints go.
    pub(crate) fn directory(&self) -> PathBuf {
        self.root.join("checkpoints")
    }

    /// What can be made to happen here.
    pub(crate) fn faults(&self) -> &'static [Fault] {
        if self.mounted { &[Fault::Full, Fault::ReadOnly, Fault::Gone] } else { &[Fault::Gone] }
    }

    /// From now on it fails, until the result is dropped.
    pub(crate) fn fail(&self, fault: Fault) -> Failing<'_> {
        match fault {
            Fault::Full => fill(&self.filler()),
            Fault::ReadOnly => self.remount("ro"),
            Fault::Gone => {
                std::fs::rename(self.directory(), self.away()).expect("it can be renamed");
                File::create(self.directory()).expect("a file in its place");
            }
        }
        Failing { disk: self, fault }
    }

    fn heal(&self, fault: Fault) {
        match fault {
            Fault::Full => std::fs::remove_file(self.filler()).expect("it can be removed"),
            Fault::ReadOnly => self.remount("rw"),
            Fault::Gone => {
                std::fs::remove_file(self.directory()).expect("it can be removed");
                std::fs::rename(self.away(), self.directory()).expect("it can be renamed");
            }
        }
    }

    /// Turning read-only is refused for as long as a file is open for writing, so it is tried often.
    fn remount(&self, how: &str) {
        for _ in 0..2_000 {
            let option = format!("remount,{how}");
            if mount_succeeds(Command::new("mount").args(["-o", &option]).arg(&self.root)) {
                return;
            }
        }
        panic!("{} cannot be remounted {how}", self.root.display());
    }

    fn filler(&self) -> PathBuf {
        self.root.join("filler")
    }

    fn away(&self) -> PathBuf {
        self.root.join("checkpoints-away")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.mounted {
            let _ = Command::new("umount").args(["--lazy"]).arg(&self.root).status();
        }
        let _ = std::fs::remove_dir_all(&self.root);
    }
}

/// A disk that fails for as long as this lives.
pub(crate) struct Failing<'a> {
    disk: &'a Disk,
    fault: Fault,
}

impl Drop for Failing<'_> {
    fn drop(&mut self) {
        self.disk.heal(self.fault);
    }
}

fn mount_succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

/// Writes until nothing fits any more.
fn fill(path: &Path) {
    let mut file = File::create(path).expect("a file");
    for size in [1 << 20, 1 << 12, 1] {
        let bytes = vec![0; size];
        while file.write_all(&bytes).is_ok() {}
    }
}
