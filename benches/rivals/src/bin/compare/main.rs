//! Runs the same job in our engine, by hand and in other libraries, and prints one table for each.
//!
//! ```text
//! compare [BENCHMARK ...] [--runs 5] [--ours DIR] [-D key=value ...] [--timeout 600]
//!         [--text FILE] [--scale 1.0] [--seconds 10]
//! ```
//!
//! A benchmark is named by the beginning of its name: `wordcount` runs `wordcount` and
//! `wordcount-p2`, no name runs all of them. Contestants take turns (A B C A B C …), a row shows
//! medians. A program of ours that is not built is said, not an error.

mod benchmark;
mod contestant;
mod flink;
mod launcher;
mod machine;
mod measure;
mod series;
mod table;

use std::path::PathBuf;
use std::time::Duration;

use benchmark::{Benchmark, Sizes};
use flink::Flink;
use launcher::Launcher;
use millstream_rivals::Result;
use millstream_rivals::arguments::Arguments;

fn main() -> Result<()> {
    let mut arguments = Arguments::of_process()?;
    let runs = arguments.value("runs", 5)?;
    let sizes = Sizes::from_arguments(&mut arguments)?;
    let launcher = launcher(&mut arguments, &sizes)?;
    let benchmarks = benchmark::selected(&sizes, &arguments.words())?;
    arguments.finish()?;

    println!("{}", machine::describe());
    if let Err(reason) = &launcher.flink {
        println!("flink: {reason}");
    }
    if benchmarks.iter().any(|benchmark| benchmark.reads_text) {
        launcher.provide_text(sizes.text_mb, sizes.vocabulary)?;
    }
    for benchmark in &benchmarks {
        compare(benchmark, &launcher, runs);
    }
    Ok(())
}

fn launcher(arguments: &mut Arguments, sizes: &Sizes) -> Result<Launcher> {
    let program = std::env::current_exe()?;
    let rivals = program.parent().expect("a program is in a folder");
    let ours = match arguments.text("ours") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/release/examples"),
    };
    let text = match arguments.text("text") {
        Some(file) => PathBuf::from(file),
        None => rivals.join(format!("rivals-data/text-{}.txt", sizes.text_mb)),
    };
    Ok(Launcher {
        rivals: rivals.to_owned(),
        ours,
        ours_configuration: arguments.all("D"),
        flink: Flink::find(),
        text,
        time_limit: Duration::from_secs(arguments.value("timeout", 600)?),
    })
}

fn compare(benchmark: &Benchmark, launcher: &Launcher, runs: usize) {
    let load_before = machine::load_average();
    let series = series::run(benchmark, launcher, runs);
    println!("\n## {}\n\n{}\n", benchmark.name, benchmark.about);
    print!("{}", table::render(benchmark, &series));
    let load_after = machine::load_average();
    println!(
        "\nMedians of {runs} runs in turns; load average {load_before} before, {load_after} after."
    );
}
