//! Contestants in turns: A B C A B C …, so that what disturbs one disturbs all.

use crate::benchmark::Benchmark;
use crate::contestant::{Absence, Contestant};
use crate::launcher::Launcher;
use crate::measure::Figures;

/// What became of a contestant.
pub(crate) enum Series {
    /// One entry per run.
    Ran(Vec<Figures>),
    Absent(Absence),
}

/// Runs every contestant so many times. One that cannot run does not get another turn.
pub(crate) fn run(benchmark: &Benchmark, launcher: &Launcher, runs: usize) -> Vec<Series> {
    let contestants = &benchmark.contestants;
    let mut all: Vec<Series> =
        contestants.iter().map(|contestant| warm_up(contestant, launcher)).collect();
    for turn in 1..=runs {
        for (contestant, series) in contestants.iter().zip(&mut all) {
            let Series::Ran(figures) = series else { continue };
            eprintln!("{}: {} {turn}/{runs}", benchmark.name, contestant.name);
            match launcher.launch(contestant) {
                Ok(more) => figures.push(more),
                Err(absence) => *series = Series::Absent(absence),
            }
        }
    }
    all
}

fn warm_up(contestant: &Contestant, launcher: &Launcher) -> Series {
    for _ in 0..contestant.warmup_runs() {
        if let Err(absence) = launcher.launch(contestant) {
            return Series::Absent(absence);
        }
    }
    Series::Ran(Vec::new())
}

/// The median of one figure.
pub(crate) fn median(runs: &[Figures], figure: impl Fn(&Figures) -> f64) -> f64 {
    let mut values: Vec<f64> = runs.iter().map(figure).collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        let runs = [4.0, 1.0, 2.0, 3.0].map(|seconds| Figures { seconds, ..Default::default() });
        assert_eq!(median(&runs, |run| run.seconds), 2.5);
    }
}
