//! All results as one Markdown table.

use crate::benchmark::{Benchmark, Kind};
use crate::contestant::{Absence, Contestant, How};
use crate::row::Row;
use crate::series::Series;

/// The columns.
pub(crate) const HEAD: &str = "| benchmark | engine | M records/s | fastest run | CPU s \
     | M records per CPU s | peak MB | ratio | ratio per CPU s | p50 µs | p99 µs | asked |\n\
     |---|---|---|---|---|---|---|---|---|---|---|---|\n";

/// The rows of one benchmark. The first contestant that ran is the reference.
pub(crate) fn render(benchmark: &Benchmark, series: &[Series]) -> String {
    let rows = rows(benchmark, series);
    let reference = rows.first().map(|(_, row)| *row).unwrap_or_default();
    let mut text = String::new();
    for (contestant, series) in benchmark.contestants.iter().zip(series) {
        let row = rows.iter().find(|(name, _)| *name == contestant.name).map(|(_, row)| row);
        text += &match (series, row) {
            (Series::Absent(absence), _) => absent(benchmark, contestant, absence),
            (Series::Ran(_), None) => String::new(),
            (Series::Ran(_), Some(row)) => {
                let cells = match benchmark.kind {
                    Kind::Throughput => throughput(row, &reference),
                    Kind::Latency => latency(contestant, row, &reference),
                };
                let bounds = benchmark.bounds.iter().filter(|bound| bound.of == contestant.name);
                let asked: Vec<String> = bounds.filter_map(|bound| bound.judge(&rows)).collect();
                let name = name(contestant, row, &reference);
                format!("| {} | {name} | {cells} | {} |\n", benchmark.name, asked.join("; "))
            }
        };
    }
    text
}

fn rows(benchmark: &Benchmark, series: &[Series]) -> Vec<(String, Row)> {
    let mut rows: Vec<(String, Row)> = Vec::new();
    for (contestant, series) in benchmark.contestants.iter().zip(series) {
        if let Series::Ran(runs) = series {
            let mut row = Row::new(contestant, runs);
            // Who has not counted has done what the reference did.
            if let (true, Some((_, reference))) = (row.records == 0.0, rows.first()) {
                row.records = reference.records;
            }
            rows.push((contestant.name.clone(), row));
        }
    }
    rows
}

/// The contestant's name; whoever has counted other records than the reference is shown up.
fn name(contestant: &Contestant, row: &Row, reference: &Row) -> String {
    if contestant.records.is_some() || row.records == reference.records || row.p50_us > 0.0 {
        return contestant.name.clone();
    }
    format!("{} (counted {} of {} records!)", contestant.name, row.records, reference.records)
}

fn throughput(row: &Row, reference: &Row) -> String {
    format!(
        "{:.1} | {:.1} | {:.2} | {:.1} | {:.0} | {:.2} | {:.2} | | ",
        row.per_second() / 1e6,
        row.records / row.seconds_min / 1e6,
        row.cpu_seconds,
        row.per_cpu_second() / 1e6,
        row.peak_mb,
        row.per_second() / reference.per_second(),
        row.per_cpu_second() / reference.per_cpu_second(),
    )
}

fn latency(contestant: &Contestant, row: &Row, reference: &Row) -> String {
    let used = match contestant.how {
        // Flink's latency job does not say what it used.
        How::Flink => "– | | –".to_owned(),
        _ => format!("{:.2} | | {:.0}", row.cpu_seconds, row.peak_mb),
    };
    let ratio = row.p50_us / reference.p50_us;
    format!(" | | {used} | {ratio:.2} | | {:.1} | {:.1}", row.p50_us, row.p99_us)
}

fn absent(benchmark: &Benchmark, contestant: &Contestant, absence: &Absence) -> String {
    let why = match absence {
        Absence::Missing(reason) => format!("SKIPPED: {reason}"),
        Absence::Failed(reason) => format!("FAILED: {reason}"),
    };
    let empty = " |".repeat(10);
    format!("| {} | {} | {why} |{empty}\n", benchmark.name, contestant.name)
}
