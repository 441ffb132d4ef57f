//! How much memory there is, and how much a process has.
//!
//! What cannot be known is `None`: outside of Linux nearly everything.

use std::fs::read_to_string;
use std::path::Path;

/// The resident size of this process, in bytes.
pub fn resident_bytes() -> Option<u64> {
    resident_bytes_at("/proc/self/statm")
}

/// The resident size of another process, in bytes.
pub fn resident_bytes_of(pid: u32) -> Option<u64> {
    resident_bytes_at(&format!("/proc/{pid}/statm"))
}

/// What a process has for itself of its resident size: without the pages of files, which the kernel
/// can take back, and without what it shares.
pub fn private_bytes_of(pid: u32) -> Option<u64> {
    let statm = read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let mut pages = statm.split_ascii_whitespace().skip(1).map(|number| number.parse::<u64>().ok());
    let (resident, shared) = (pages.next()??, pages.next()??);
    Some(resident.saturating_sub(shared) * rustix::param::page_size() as u64)
}

/// The memory of this machine, in bytes.
pub fn physical_bytes() -> Option<u64> {
    physical_in(&read_to_string("/proc/meminfo").ok()?)
}

/// The smallest limit that a control group above this process sets, in bytes; `None` if none does.
/// Reads version 2, and version 1 where the machine still has it.
pub fn control_group_bytes() -> Option<u64> {
    let mounts = read_to_string("/proc/self/mountinfo").ok()?;
    let membership = read_to_string("/proc/self/cgroup").ok()?;
    let version_2 = mount_point(&mounts, "cgroup2", None)
        .zip(group_path(&membership, ""))
        .and_then(|(root, path)| smallest_limit(Path::new(root), path, "memory.max"));
    let version_1 = mount_point(&mounts, "cgroup", Some("memory"))
        .zip(group_path(&membership, "memory"))
        .and_then(|(root, path)| smallest_limit(Path::new(root), path, "memory.limit_in_bytes"));
    version_2.into_iter().chain(version_1).min()
}

/// What this process may use at most: the machine's memory or its control group's, if that is less.
pub fn available_bytes() -> Option<u64> {
    physical_bytes().into_iter().chain(control_group_bytes()).min()
}

/// How often the kernel has killed a process of this machine for want of memory.
pub(crate) fn out_of_memory_kills() -> Option<u64> {
    let counters = read_to_string("/proc/vmstat").ok()?;
    counters.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

fn resident_bytes_at(path: &str) -> Option<u64> {
    let pages: u64 = read_to_string(path).ok()?.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

fn physical_in(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// Where a file system of this type, and with this option if one is asked for, is mounted:
/// `36 35 0:26 / /sys/fs/cgroup rw,… shared:9 - cgroup2 cgroup2 rw`.
fn mount_point<'a>(mounts: &'a str, kind: &str, option: Option<&str>) -> Option<&'a str> {
    mounts.lines().find_map(|line| {
        let (mount, file_system) = line.split_once(" - ")?;
        let mut fields = file_system.split(' ');
        let (found, options) = (fields.next()?, fields.nth(1).unwrap_or_default());
        let fits = found == kind && option.is_none_or(|o| options.split(',').any(|x| x == o));
        if fits { mount.split(' ').nth(4) } else { None }
    })
}

/// This process's group in `/proc/self/cgroup`: `0::/path` in version 2, `4:memory:/path` in 1.
fn group_path<'a>(membership: &'a str, controller: &str) -> Option<&'a str> {
    membership.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        controllers.split(',').any(|found| found == controller).then_some(path)
    })
}

/// The smallest number in files of this name from the group up to the root. In a container the
/// path may name directories that only the host can see; the root is then the container's own.
fn smallest_limit(root: &Path, path: &str, file: &str) -> Option<u64> {
    let group = root.join(path.trim_start_matches('/'));
    let groups = group.ancestors().take_while(|directory| directory.starts_with(root));
    let limits = groups.filter_map(|directory| {
        let text = read_to_string(directory.join(file)).ok()?;
        text.trim().parse::<u64>().ok()
    });
    // Version 1 writes "no limit" as the largest number of whole pages.
    limits.filter(|limit| *limit < i64::MAX as u64 / 2).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_is_smaller_than_its_machine() {
        let resident = resident_bytes().unwrap();
        assert!(100_000 < resident && resident < physical_bytes().unwrap());
        assert!(resident_bytes_of(std::process::id()).unwrap() > 100_000);
        assert!(available_bytes().unwrap() <= physical_bytes().unwrap());
        assert_eq!(resident_bytes_of(0x7fff_fff0), None);
        let before = private_bytes_of(std::process::id()).unwrap();
        let touched = vec![1_u8; 64 << 20];
        let after = private_bytes_of(std::process::id()).unwrap();
        assert!(after > before + (32 << 20), "{before}, then {after}");
        drop(touched);
        assert_eq!(private_bytes_of(0x7fff_fff0), None);
    }

    #[test]
    fn the_total_of_meminfo_is_read() {
        assert_eq!(
            physical_in("MemTotal:       24684092 kB\nMemFree: 1 kB"),
            Some(24684092 * 1024)
        );
        assert_eq!(physical_in("nothing"), None);
    }

    #[test]
    fn the_smallest_limit_on_the_way_up_counts() {
        let scratch = Scratch::new();
        let inner = scratch.join("a/b");
        std::fs::create_dir_all(&inner).unwrap();
        std::fs::write(inner.join("memory.max"), "max\n").unwrap();
        assert_eq!(smallest_limit(scratch.path(), "/a/b", "memory.max"), None);
        std::fs::write(scratch.join("a/memory.max"), "1000\n").unwrap();
        assert_eq!(smallest_limit(scratch.path(), "/a/b", "memory.max"), Some(1000));
        std::fs::write(inner.join("memory.max"), "900\n").unwrap();
        assert_eq!(smallest_limit(scratch.path(), "/a/b", "memory.max"), Some(900));
        std::fs::write(scratch.join("memory.max"), "9223372036854771712").unwrap();
        assert_eq!(smallest_limit(scratch.path(), "/", "memory.max"), None);
    }

    #[test]
    fn groups_of_both_versions_are_found() {
        let mounts = "30 1 0:1 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      31 1 0:2 / /sys/fs/cgroup/unified rw shared:1 - cgroup2 cgroup2 rw";
        assert_eq!(mount_point(mounts, "cgroup2", None), Some("/sys/fs/cgroup/unified"));
        assert_eq!(mount_point(mounts, "cgroup", Some("memory")), Some("/sys/fs/cgroup/memory"));
        let membership = "8:pids:/p\n4:cpu,memory:/m\n0::/u";
        assert_eq!(group_path(membership, ""), Some("/u"));
        assert_eq!(group_path(membership, "memory"), Some("/m"));
    }
}
