//! The medians of one contestant.

use crate::contestant::Contestant;
use crate::measure::Figures;
use crate::series::median;

/// The medians that a table shows.
#[derive(Clone, Copy, Default)]
pub(crate) struct Row {
    pub(crate) seconds: f64,
    /// Of the fastest run: far from the median, something else was running.
    pub(crate) seconds_min: f64,
    pub(crate) cpu_seconds: f64,
    pub(crate) peak_mb: f64,
    pub(crate) records: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

impl Row {
    pub(crate) fn new(contestant: &Contestant, runs: &[Figures]) -> Self {
        let said = median(runs, |run| run.records);
        Self {
            seconds: median(runs, |run| run.seconds),
            seconds_min: runs.iter().map(|run| run.seconds).fold(f64::INFINITY, f64::min),
            cpu_seconds: median(runs, |run| run.cpu_seconds),
            peak_mb: median(runs, |run| run.peak_rss_kb) / 1024.0,
            records: contestant.records.map_or(said, |records| records as f64),
            p50_us: median(runs, |run| run.p50_us),
            p99_us: median(runs, |run| run.p99_us),
        }
    }

    pub(crate) fn per_second(&self) -> f64 {
        self.records / self.seconds
    }

    pub(crate) fn per_cpu_second(&self) -> f64 {
        self.records / self.cpu_seconds
    }
}
