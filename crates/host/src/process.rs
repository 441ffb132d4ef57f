//! Which process a number means: numbers are used again, a number with a start time is not.

use rustix::process::{Pid, test_kill_process};

/// A process as `/proc/PID/stat` tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessInfo {
    /// Its number.
    pub pid: u32,
    /// Its name: the first 15 bytes of its program's.
    pub name: String,
    /// `R`, `S`, `Z` for a zombie, …
    pub state: char,
    /// Its parent's number.
    pub parent: u32,
    /// The number of its process group.
    pub group: u32,
    /// The number of its session.
    pub session: u32,
    /// When it was started, in ticks since the machine was: with the number, its identity.
    pub start_time: u64,
}

impl ProcessInfo {
    /// The process with this number; `None` if there is none, or no `/proc`.
    pub fn of(pid: u32) -> Option<Self> {
        Self::parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// Whether it has ended and only waits for its parent to ask how.
    pub fn is_zombie(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }

    /// `PID (NAME) STATE PPID …`, where NAME may hold blanks and parentheses.
    fn parse(stat: &str) -> Option<Self> {
        let (pid, rest) = stat.split_once(" (")?;
        let (name, rest) = rest.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u32>().ok();
        Some(ProcessInfo {
            pid: pid.parse().ok()?,
            name: name.to_owned(),
            state: fields.first()?.chars().next()?,
            parent: number(1)?,
            group: number(2)?,
            session: number(3)?,
            start_time: fields.get(19)?.parse().ok()?,
        })
    }
}

/// When the process was started, in ticks; `None` if it is not there or there is no `/proc`.
pub fn start_time(pid: u32) -> Option<u64> {
    ProcessInfo::of(pid).map(|process| process.start_time)
}

/// Whether a process with this number exists and has not ended.
pub fn is_alive(pid: u32) -> bool {
    match ProcessInfo::of(pid) {
        Some(process) => !process.is_zombie(),
        None => {
            let number = i32::try_from(pid).ok().and_then(Pid::from_raw);
            // EPERM: it is there and not ours.
            number.is_some_and(|pid| {
                matches!(test_kill_process(pid), Ok(()) | Err(rustix::io::Errno::PERM))
            })
        }
    }
}

/// All processes whose parent is `parent`.
#[cfg(target_os = "linux")]
pub(crate) fn children_of(parent: u32) -> Vec<ProcessInfo> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(ProcessInfo::of).filter(|process| process.parent == parent).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_blanks_and_parentheses_is_read() {
        let stat = "42 (a (b) c) S 7 8 9 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 987654 0 0";
        let process = ProcessInfo::parse(stat).unwrap();
        assert_eq!(process.name, "a (b) c");
        assert_eq!((process.parent, process.group, process.session), (7, 8, 9));
        assert_eq!(process.start_time, 987_654);
        assert!(!process.is_zombie());
    }

    #[test]
    fn this_process_is_alive_and_a_made_up_one_is_not() {
        assert!(is_alive(std::process::id()));
        assert!(!is_alive(0x7fff_fff0));
        assert_eq!(start_time(std::process::id()).is_some(), cfg!(target_os = "linux"));
    }
}
