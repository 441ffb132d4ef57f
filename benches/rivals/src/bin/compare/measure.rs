//! Runs one program once: what it says about itself, else what the kernel saw.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use millstream_rivals::Result;
use millstream_rivals::usage;
use serde_json::Value;

use crate::flink;

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

/// Runs a program to its end and reads the last line of its output that holds figures.
pub(crate) fn run(mut command: Command, time_limit: Duration) -> Result<Figures> {
    let started = Instant::now();
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let (line, in_time) = last_line_with_figures(&mut child, time_limit)?;
    let (status, usage) = usage::wait(child)?;
    let seconds = started.elapsed().as_secs_f64();
    if !in_time {
        return Err(format!("took longer than {} s", time_limit.as_secs()).into());
    }
    if !status.success() {
        return Err(status.to_string().into());
    }
    let from_outside = Figures {
        seconds,
        cpu_seconds: usage.cpu_seconds,
        peak_rss_kb: usage.peak_rss_kb as f64,
        ..Default::default()
    };
    Ok(match line {
        Some(line) => read_line(&line, from_outside),
        None => from_outside,
    })
}

/// Reads the output until it is closed, which a guard thread brings about when time is over.
fn last_line_with_figures(child: &mut Child, limit: Duration) -> Result<(Option<String>, bool)> {
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
    let mut last = None;
    for line in BufReader::new(output).lines() {
        let line = line?;
        if line.starts_with('{') || flink::is_figures(&line) {
            last = Some(line);
        }
    }
    drop(done);
    let in_time = guard.join().expect("the guard does not panic");
    Ok((last, in_time))
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
    fn a_program_that_hangs_is_ended() {
        let mut command = Command::new("sleep");
        command.arg("60");
        let error = run(command, Duration::from_millis(50)).err().unwrap();
        assert_eq!(error.to_string(), "took longer than 0 s");
    }
}
