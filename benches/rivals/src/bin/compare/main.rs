//! Runs the same jobs in our engine, by hand and in other libraries, and prints one table.
//!
//! ```text
//! compare [BENCHMARK ...] [--only BENCHMARK] [--without flink|timely|renoir] [--runs 5]
//!         [--ours DIR] [-D key=value ...] [--timeout 600] [--text FILE] [--events FILE]
//!         [--scale 1.0] [--seconds 10]
//! ```
//!
//! A benchmark is named by the beginning of its name: `wordcount` runs `wordcount` and
//! `wordcount-p2`, no name runs all of them; `--only` means exactly one. Contestants take turns (A B C A B C …), a row shows
//! medians. A program of ours that is not built is said, not an error.

mod benchmark;
mod bound;
mod cluster;
mod contestant;
mod flink;
mod launcher;
mod machine;
mod measure;
mod row;
mod series;
mod table;

use std::path::PathBuf;
use std::time::Duration;

use benchmark::Sizes;
use cluster::Cluster;
use flink::Flink;
use launcher::Launcher;
use millstream_rivals::Result;
use millstream_rivals::arguments::Arguments;

fn main() -> Result<()> {
    let mut arguments = Arguments::of_process()?;
    let runs = arguments.value("runs", 5)?;
    let sizes = Sizes::from_arguments(&mut arguments)?;
    let launcher = launcher(&mut arguments, &sizes)?;
    let benchmarks = benchmark::selected(&sizes, &arguments.words(), &arguments.all("only"))?;
    arguments.finish()?;

    println!("{}", machine::describe());
    if let Err(reason) = &launcher.flink {
        println!("flink: {reason}");
    }
    if benchmarks.iter().any(|benchmark| benchmark.reads_text) {
        launcher.provide_text(sizes.text_mb, sizes.vocabulary)?;
    }
    if benchmarks.iter().any(|benchmark| benchmark.reads_events) {
        launcher.provide_events(sizes.events_copies)?;
    }
    let mut table = table::HEAD.to_owned();
    for benchmark in &benchmarks {
        let series = series::run(benchmark, &launcher, runs);
        let rows = table::render(benchmark, &series);
        eprint!("{rows}");
        table += &rows;
    }
    println!(
        "\n{table}\nMedians of {runs} runs in turns; load average {} after.\n",
        machine::load_average()
    );
    for benchmark in &benchmarks {
        println!("- {}: {}", benchmark.name, benchmark.about);
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
    let events = match arguments.text("events") {
        Some(file) => PathBuf::from(file),
        None => {
            rivals.join(format!("rivals-data/events-{}/json1/part-0.json", sizes.events_copies))
        }
    };
    std::fs::create_dir_all(rivals.join("rivals-data"))?;
    Ok(Launcher {
        cluster: Cluster::new(
            ours.parent().map_or_else(PathBuf::new, |folder| folder.join("millstream")),
            rivals.join("rivals-data/home"),
        ),
        without: arguments.all("without"),
        events,
        rivals: rivals.to_owned(),
        ours,
        ours_configuration: arguments.all("D"),
        flink: Flink::find(),
        text,
        time_limit: Duration::from_secs(arguments.value("timeout", 600)?),
    })
}
