//! The clock, and the one line of JSON that every program prints when it is done.
//!
//! Our own programs print lines of the same shape when `MILLSTREAM_BENCH_JSON=1`.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::usage::Usage;

/// Measures from its start until it is asked.
pub struct Clock {
    started: Instant,
    cpu_seconds: f64,
}

/// What a job cost between the start of the clock and its end.
pub struct Cost {
    /// Wall time.
    pub seconds: f64,
    /// User and system time, with children that have been waited for.
    pub cpu_seconds: f64,
    /// Peak of this process since it started, plus the peak of its largest child.
    pub peak_rss_kb: u64,
}

impl Clock {
    /// Starts the clock; what this process did before is not counted, its memory is.
    pub fn start() -> Self {
        Self { started: Instant::now(), cpu_seconds: cpu_seconds() }
    }

    /// What has been used since the start.
    pub fn stop(&self) -> Cost {
        Cost {
            seconds: self.started.elapsed().as_secs_f64(),
            cpu_seconds: cpu_seconds() - self.cpu_seconds,
            peak_rss_kb: Usage::of_self().peak_rss_kb + Usage::of_children().peak_rss_kb,
        }
    }
}

fn cpu_seconds() -> f64 {
    Usage::of_self().cpu_seconds + Usage::of_children().cpu_seconds
}

/// The line of a job that runs as fast as it can.
#[derive(Serialize, Deserialize)]
pub struct Throughput {
    /// What was done, for example `wordcount`.
    pub bench: String,
    /// Who did it, for example `timely`.
    #[serde(rename = "impl")]
    pub implementation: String,
    /// How, for example `plain` or `combined`.
    pub variant: String,
    /// Parallelism.
    pub p: u64,
    /// Input records.
    pub records: u64,
    /// Wall time of the job.
    pub seconds: f64,
    /// User and system time of the job.
    pub cpu_seconds: f64,
    /// Peak resident memory of the process.
    pub peak_rss_kb: u64,
}

impl Throughput {
    /// Puts a job's name and its cost together.
    pub fn new(
        (bench, implementation, variant): (&str, &str, &str),
        p: usize,
        records: u64,
        cost: Cost,
    ) -> Self {
        Self {
            bench: bench.to_owned(),
            implementation: implementation.to_owned(),
            variant: variant.to_owned(),
            p: p as u64,
            records,
            seconds: cost.seconds,
            cpu_seconds: cost.cpu_seconds,
            peak_rss_kb: cost.peak_rss_kb,
        }
    }

    /// Prints the line.
    pub fn print(&self) {
        print(self);
    }
}

/// The line of a job that is fed at a fixed rate.
#[derive(Serialize, Deserialize)]
pub struct Latency {
    /// Always `latency`.
    pub bench: String,
    /// Who did it.
    #[serde(rename = "impl")]
    pub implementation: String,
    /// How, for example `processes`.
    pub variant: String,
    /// Parallelism.
    pub p: u64,
    /// Records per second that were due.
    pub rate: u64,
    /// Records that were measured, after the warm-up.
    pub records: u64,
    /// Median from the moment a record was due to its arrival at the sink.
    pub p50_us: f64,
    /// The same, 99th percentile.
    pub p99_us: f64,
    /// User and system time of the job.
    pub cpu_seconds: f64,
    /// Peak resident memory of the process.
    pub peak_rss_kb: u64,
}

impl Latency {
    /// Prints the line.
    pub fn print(&self) {
        print(self);
    }
}

fn print(line: &impl Serialize) {
    let line = serde_json::to_string(line).expect("numbers and text always serialise");
    println!("{line}");
}
