//! A control group (version 2) of one child: a limit on its memory, and a way to kill all that it
//! ever started, whatever sessions they moved to.
//!
//! It works where a group was delegated to us, with the memory controller enabled for its children.
//! Elsewhere [`MemoryGroup::create`] says why not, and the child runs without.

use super::spec::MemoryLimit;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

/// A group; removed when dropped.
#[derive(Debug)]
pub(super) struct MemoryGroup {
    directory: PathBuf,
}

impl MemoryGroup {
    /// Makes the group, and opens the file by which the child joins it.
    pub(super) fn create(limit: &MemoryLimit) -> io::Result<(Self, OwnedFd)> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("millstream-{}-{number}", std::process::id());
        let directory = limit.parent_group.join(name);
        fs::create_dir(&directory)?;
        let group = MemoryGroup { directory };
        group.write("memory.max", &limit.bytes.to_string())?;
        // Not on every machine: swap may be off, the kernel old. The limit holds without them.
        let _ = group.write("memory.swap.max", "0");
        let _ = group.write("memory.oom.group", "1");
        let processes =
            OpenOptions::new().write(true).open(group.directory.join("cgroup.procs"))?;
        Ok((group, processes.into()))
    }

    /// Kills every process in it.
    pub(super) fn kill(&self) {
        let _ = self.write("cgroup.kill", "1");
    }

    /// Whether the kernel has killed one of its processes for want of memory.
    pub(super) fn has_run_out_of_memory(&self) -> bool {
        let events = fs::read_to_string(self.directory.join("memory.events")).unwrap_or_default();
        let kills = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
        kills.is_some_and(|count| count.trim() != "0")
    }

    fn write(&self, file: &str, text: &str) -> io::Result<()> {
        write_existing(&self.directory.join(file), text)
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // The kernel refuses as long as a killed process has not quite gone.
        for _ in 0..20 {
            match fs::remove_dir(&self.directory) {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                    thread::sleep(Duration::from_millis(10));
                }
                _ => return,
            }
        }
    }
}

/// The kernel makes the files of a group; one that is not there is a controller that is not enabled.
fn write_existing(path: &Path, text: &str) -> io::Result<()> {
    use std::io::Write;
    let mut file = OpenOptions::new().write(true).open(path)?;
    file.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn without_the_memory_controller_no_group_stays_behind() {
        let scratch = Scratch::new();
        let limit = MemoryLimit { bytes: 1 << 20, parent_group: scratch.path().to_owned() };
        MemoryGroup::create(&limit).unwrap_err();
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_kill_for_want_of_memory_is_read_from_the_events() {
        let scratch = Scratch::new();
        let group = MemoryGroup { directory: scratch.join("group") };
        assert!(!group.has_run_out_of_memory());
        fs::create_dir(&group.directory).unwrap();
        let events = group.directory.join("memory.events");
        fs::write(&events, "low 0\noom 2\noom_kill 0\n").unwrap();
        assert!(!group.has_run_out_of_memory());
        fs::write(&events, "low 0\noom 2\noom_kill 1\noom_group_kill 1\n").unwrap();
        assert!(group.has_run_out_of_memory());
    }
}
