//! The machine in one line, and how busy it is.

use std::fs;
use std::thread;

/// Processor, cores, memory, kernel, huge pages, build.
pub(crate) fn describe() -> String {
    let cores = thread::available_parallelism().map_or(0, |cores| cores.get());
    let memory_gb = field("/proc/meminfo", "MemTotal")
        .and_then(|text| text.trim_end_matches(" kB").parse::<u64>().ok())
        .unwrap_or(0)
        >> 20;
    let processor = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "processor?".to_owned());
    let kernel = read("/proc/sys/kernel/osrelease");
    let huge_pages = read("/sys/kernel/mm/transparent_hugepage/enabled");
    let huge_pages = huge_pages
        .split_once('[')
        .and_then(|(_, rest)| rest.split_once(']'))
        .map_or("unknown", |(chosen, _)| chosen);
    let allocator = if cfg!(feature = "mimalloc") { "mimalloc" } else { "the system's" };
    format!(
        "machine: {processor}, {cores} cores, {memory_gb} GB, Linux {kernel}, huge pages \
         {huge_pages}; rivals' allocator: {allocator}; load average {}",
        load_average()
    )
}

/// The last minute's.
pub(crate) fn load_average() -> String {
    read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned()
}

fn field(path: &str, name: &str) -> Option<String> {
    read(path).lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        (found.trim() == name).then(|| value.trim().to_owned())
    })
}

fn read(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.trim().to_owned()
}
