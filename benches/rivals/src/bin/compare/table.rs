//! A benchmark's results as a Markdown table.

use std::fmt::Write;

use crate::benchmark::{Benchmark, Kind};
use crate::contestant::{Absence, Contestant, How};
use crate::measure::Figures;
use crate::series::{Series, median};

/// The medians that a table shows.
struct Row {
    seconds: f64,
    /// Of the fastest run: far from the median, something else was running.
    seconds_min: f64,
    cpu_seconds: f64,
    peak_mb: f64,
    records: f64,
    p50_us: f64,
    p99_us: f64,
}

impl Row {
    fn new(contestant: &Contestant, runs: &[Figures]) -> Self {
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

    fn records_per_second(&self) -> f64 {
        self.records / self.seconds
    }

    fn records_per_cpu_second(&self) -> f64 {
        self.records / self.cpu_seconds
    }
}

/// The whole table. The first contestant that ran is the reference.
pub(crate) fn render(benchmark: &Benchmark, series: &[Series]) -> String {
    let mut text = head(benchmark.kind).to_owned();
    let mut reference: Option<Row> = None;
    for (contestant, series) in benchmark.contestants.iter().zip(series) {
        let row = match series {
            Series::Absent(absence) => {
                text += &absent(contestant, absence);
                continue;
            }
            Series::Ran(runs) => Row::new(contestant, runs),
        };
        // Who has not counted has done what the reference did.
        let records = match (&reference, row.records) {
            (Some(reference), 0.0) => reference.records,
            _ => row.records,
        };
        let row = Row { records, ..row };
        let reference = reference.get_or_insert(Row { ..row });
        text += &match benchmark.kind {
            Kind::Throughput => throughput(&name(contestant, &row, reference), &row, reference),
            Kind::Latency => latency(contestant, &row, reference),
        };
    }
    text
}

fn head(kind: Kind) -> &'static str {
    match kind {
        Kind::Throughput => {
            "| contestant | M records/s | fastest run | CPU s | M records per CPU s | peak MB \
             | ratio | ratio per CPU s |\n|---|---|---|---|---|---|---|---|\n"
        }
        Kind::Latency => {
            "| contestant | p50 µs | p99 µs | CPU s | peak MB | p50 ratio | p99 ratio |\n\
             |---|---|---|---|---|---|---|\n"
        }
    }
}

/// The contestant's name; whoever has counted other records than the reference is shown up.
fn name(contestant: &Contestant, row: &Row, reference: &Row) -> String {
    if contestant.records.is_some() || row.records == reference.records {
        return contestant.name.clone();
    }
    format!("{} (counted {} of {} records!)", contestant.name, row.records, reference.records)
}

fn throughput(name: &str, row: &Row, reference: &Row) -> String {
    format!(
        "| {name} | {:.1} | {:.1} | {:.2} | {:.1} | {:.0} | {:.2} | {:.2} |\n",
        row.records_per_second() / 1e6,
        row.records / row.seconds_min / 1e6,
        row.cpu_seconds,
        row.records_per_cpu_second() / 1e6,
        row.peak_mb,
        row.records_per_second() / reference.records_per_second(),
        row.records_per_cpu_second() / reference.records_per_cpu_second(),
    )
}

fn latency(contestant: &Contestant, row: &Row, reference: &Row) -> String {
    let mut text = format!("| {} | {:.1} | {:.1} | ", contestant.name, row.p50_us, row.p99_us);
    // Flink's latency job does not say what it used.
    match contestant.how {
        How::Flink => text += "– | – ",
        _ => write!(text, "{:.2} | {:.0} ", row.cpu_seconds, row.peak_mb)
            .expect("writing to a string succeeds"),
    }
    let (p50, p99) = (row.p50_us / reference.p50_us, row.p99_us / reference.p99_us);
    text + &format!("| {p50:.2} | {p99:.2} |\n")
}

fn absent(contestant: &Contestant, absence: &Absence) -> String {
    match absence {
        Absence::Missing(reason) => format!("| {} | not here: {reason} |\n", contestant.name),
        Absence::Failed(reason) => format!("| {} | failed: {reason} |\n", contestant.name),
    }
}
