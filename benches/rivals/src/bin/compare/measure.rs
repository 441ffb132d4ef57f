//! Runs one program once: what it says about itself, else what the kernel saw.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use millstream_rivals::Result;
use millstream_rivals::usage;
use serde_json::Value;

use crate::cluster;
use crate::flink;

/// How often a program's memory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What one run gave.
#[derive(Clone, Copy, Default)]
pub(crate) struct Figures {
    pub(crate) seconds: f64,
    pub(crate) cpu_seconds: f64,
    pub(crate) peak_rss_kb: f64,
    /// Zero if the program did not say.
    pub(crate) records: f64,
    /// Zero unless it is a latency.
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

/// Runs a program to its end and reads the lines of its output that hold figures.
pub(crate) fn run(mut command: Command, time_limit: Duration) -> Result<Figures> {
    let started = Instant::now();
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let (pid, over) = (child.id(), AtomicBool::new(false));
    let (lines, peak_rss_kb) = thread::scope(|scope| {
        let peak = scope.spawn(|| watch_peak(pid, &over));
        let lines = lines_with_figures(&mut child, time_limit);
        over.store(true, Ordering::Relaxed);
        (lines, peak.join().expect("reading files does not panic"))
    });
    let (lines, in_time) = lines?;
    let (status, usage) = usage::wait(child)?;
    let seconds = started.elapsed().as_secs_f64();
    if !in_time {
        return Err(format!("took longer than {} s", time_limit.as_secs()).into());
    }
    if !status.success() {
        return Err(status.to_string().into());
    }
    let from_outside =
        Figures { seconds, cpu_seconds: usage.cpu_seconds, peak_rss_kb, ..Default::default() };
    Ok(read_lines(&lines, from_outside))
}

/// The peak that was seen last. What `wait4` says begins with the memory of this program.
fn watch_peak(pid: u32, over: &AtomicBool) -> f64 {
    let mut peak: f64 = 0.0;
    while !over.load(Ordering::Relaxed) {
        thread::sleep(LOOK_EVERY);
        peak = peak.max(cluster::peak_rss_kb(pid));
    }
    peak
}

/// Reads the output until it is closed, which a guard thread brings about when time is over.
fn lines_with_figures(child: &mut Child, limit: Duration) -> Result<(Vec<String>, bool)> {
    let output = child.stdout.take().expect("the output was piped");
    let pid = child.id();
    let (done, waiting) = mpsc::channel::<()>();
    let guard = thread::spawn(move || match waiting.recv_timeout(limit) {
        // The child has not been waited for, so the id is still its own.
        Err(RecvTimeoutError::Timeout) => {
            usage::kill(pid);
            false
        }
        _ => true,
    });
    let mut found = Vec::new();
    for line in BufReader::new(output).lines() {
        let line = line?;
        if line.starts_with('{') || flink::is_figures(&line) {
            found.push(line);
        }
    }
    drop(done);
    let in_time = guard.join().expect("the guard does not panic");
    Ok((found, in_time))
}

/// The figures of the last line; of latencies, which each subtask of a sink prints, the worst.
pub(crate) fn read_lines(lines: &[String], from_outside: Figures) -> Figures {
    let all: Vec<Figures> = lines.iter().map(|line| read_line(line, from_outside)).collect();
    let worst = |figure: fn(&Figures) -> f64| all.iter().map(figure).fold(0.0, f64::max);
    Figures {
        p50_us: worst(|line| line.p50_us),
        p99_us: worst(|line| line.p99_us),
        ..all.last().copied().unwrap_or(from_outside)
    }
}

/// Takes each figure from the line if it has it.
fn read_line(line: &str, from_outside: Figures) -> Figures {
    if flink::is_figures(line) {
        return flink::read_figures(line);
    }
    let said: Value = serde_json::from_str(line).unwrap_or_default();
    let figure = |name: &str, otherwise: f64| said[name].as_f64().unwrap_or(otherwise);
    Figures {
        seconds: figure("seconds", from_outside.seconds),
        cpu_seconds: figure("cpu_seconds", from_outside.cpu_seconds),
        peak_rss_kb: figure("peak_rss_kb", from_outside.peak_rss_kb),
        records: figure("records", 0.0),
        p50_us: figure("p50_us", 0.0),
        p99_us: figure("p99_us", 0.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_line_does_not_say_is_taken_from_outside() {
        let from_outside = Figures { seconds: 9.0, peak_rss_kb: 7.0, ..Default::default() };
        let figures = read_line(r#"{"bench":"wordcount","seconds":1.5}"#, from_outside);
        assert_eq!(figures.seconds, 1.5);
        assert_eq!(figures.peak_rss_kb, 7.0);
    }

    #[test]
    fn of_several_subtasks_the_slowest_counts() {
        let line = |p50: u32| format!(r#"{{"bench":"latency","p50_us":{p50},"p99_us":9}}"#);
        let figures = read_lines(&[line(7), line(5)], Figures::default());
        assert_eq!((figures.p50_us, figures.p99_us), (7.0, 9.0));
    }

    #[test]
    fn a_program_that_hangs_is_ended() {
        let mut command = Command::new("sleep");
        command.arg("60");
        let error = run(command, Duration::from_millis(50)).err().unwrap();
        assert_eq!(error.to_string(), "took longer than 0 s");
    }
}
