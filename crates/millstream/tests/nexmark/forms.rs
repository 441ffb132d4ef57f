//! The forms of input and output: files of JSON and CSV, the generator, a directory per minute; and what
//! is said of input that is none of them.

use crate::expected::{expected, fixture};
use crate::input::Input;
use crate::job::{EVENTS, Job};
use crate::queries::log_files::{LogRow, partition};
use crate::queries::{QUERIES, Rows};
use crate::scratch::Scratch;
use millstream::connectors::nexmark::Event;
use millstream::prelude::*;
use millstream::sink::{self, Csv, Format};
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};

/// The events as a line of CSV each, by kind.
fn tables() -> Scratch {
    let scratch = Scratch::new();
    let (mut persons, mut auctions, mut bids) = (Vec::new(), Vec::new(), Vec::new());
    for event in EVENTS.iter() {
        let written = match event {
            Event::Person(person) => Csv::new().write(person, &mut persons),
            Event::Auction(auction) => Csv::new().write(auction, &mut auctions),
            Event::Bid(bid) => Csv::new().write(bid, &mut bids),
        };
        written.expect("it has columns");
    }
    scratch.write("person/part-0.csv", persons);
    scratch.write("auction/part-0.csv", auctions);
    scratch.write("bid/part-0.csv", bids);
    scratch
}

fn input(path: &Path) -> Input {
    Input::parse(&path.display().to_string()).expect("it is there")
}

#[test]
fn every_query_gives_the_same_rows_of_csv_files() {
    let scratch = tables();
    let input = input(scratch.path());
    assert_eq!(input, Input::Csv(scratch.path().to_owned()));
    for name in QUERIES {
        let rows = Job::new(name, 2).run_on(input.clone());
        expected(name).check(&format!("{name} of CSV"), rows);
    }
}

#[test]
fn every_query_gives_the_same_rows_of_a_json_file() {
    let scratch = Scratch::new();
    let path = scratch.write("events.json", fixture("events.json.gz"));
    let input = input(&path);
    assert_eq!(input, Input::Json(path));
    for name in QUERIES {
        let rows = Job::new(name, 2).run_on(input.clone());
        expected(name).check(&format!("{name} of JSON"), rows);
    }
}

#[test]
fn a_generator_gives_as_many_events_as_it_is_told() {
    for (text, events, rate) in [
        ("generator", 1_000_000, None),
        ("generator:500", 500, None),
        ("generator:500:100000", 500, Some(100_000)),
    ] {
        let input = Input::parse(text).expect(text);
        assert_eq!(input, Input::Generator { events, rate });
    }
    let input = Input::parse("generator:500:100000").expect("well formed");
    // 46 of 50 are bids.
    assert_eq!(Job::new("q0", 2).run_on(input).len(), 460);
}

#[test]
fn input_that_is_none_is_refused_with_what_to_do() {
    let scratch = Scratch::new();
    scratch.write("half/bid/part-0.csv", "");
    scratch.write("above/csv1/bid/part-0.csv", "");
    scratch.write("events.json.gz", "");
    let path = |name: &str| scratch.path().join(name).display().to_string();
    for (text, summary, next) in [
        ("generator:".to_owned(), "is not `generator[:EVENTS[:PER_SECOND]]`", "generator:1000000"),
        ("generator:0".to_owned(), "is not `generator[", "above 0"),
        ("generator:5:x".to_owned(), "is not `generator[", "above 0"),
        ("generator:5:6:7".to_owned(), "is not `generator[", "above 0"),
        ("generators".to_owned(), "is not `generator[", "above 0"),
        (path("nowhere"), "there is no such file or directory", "generator:1000000"),
        (path("half"), "a directory of tables, but without `person`, `auction`", "CSV files in"),
        (path("above"), "its tables are one level down", "/above/csv1`"),
        (path("events.json.gz"), "compressed files are not read", "`gunzip --keep "),
    ] {
        let error = Input::parse(&text).expect_err(&text);
        assert!(error.summary.contains(summary), "{error}");
        assert!(error.next.as_ref().is_some_and(|text| text.contains(next)), "{error}");
    }
}

#[test]
fn a_line_that_is_no_event_is_named_and_fails_the_job() {
    let scratch = tables();
    let path = scratch.write("bid/part-1.csv", "1,2,three,x,y,2024-01-03 00:00:00.000,z\n");
    let env = Env::with_arguments(Default::default()).expect("embedded");
    let nowhere = Nowhere;
    crate::queries::query("q0", &input(scratch.path()).open(&env), nowhere).expect("it exists");
    let error = env.execute("q0").expect_err("a line is at fault").to_string();
    let place = format!("{}:1:5 ", path.display());
    assert!(error.contains(&place), "`{place}` is not in {error}");
    assert!(error.contains("`three` is not a whole number"), "{error}");
}

#[test]
fn a_query_that_is_none_is_refused_with_those_that_are() {
    let env = Env::with_arguments(Default::default()).expect("embedded");
    let events = Input::parse("generator:1").expect("well formed").open(&env);
    let refused = |name| crate::queries::query(name, &events, Nowhere).expect_err("there is none");
    let next = |name| refused(name).next.clone().unwrap_or_default();
    assert!(next("q6").starts_with("q6 is left out"), "{}", next("q6"));
    assert!(next("q23").starts_with("use one of q0, q1, "), "{}", next("q23"));
}

struct Nowhere;

impl Rows for Nowhere {
    fn rows<R: Record + Serialize>(self, rows: DataStream<R>) {
        rows.sink("nowhere", sink::blackhole());
    }
}

/// Writes q10's files.
struct LogFiles(PathBuf);

impl Rows for LogFiles {
    fn rows<R: Record + Serialize>(self, _rows: DataStream<R>) {
        panic!("only q10 writes log files");
    }

    fn log(self, rows: DataStream<LogRow>) {
        rows.sink("log", sink::csv(self.0).partition_by(partition));
    }
}

/// The lines of all parts, each with the directory that it is in.
fn lines_of(directory: &Path) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    for day in fs::read_dir(directory).expect("it was written").flatten() {
        for minute in fs::read_dir(day.path()).expect("a directory").flatten() {
            for part in fs::read_dir(minute.path()).expect("a directory").flatten() {
                let name = part.file_name().into_string().expect("text");
                assert!(name.starts_with("part-"), "{name} is left over");
                let text = fs::read_to_string(part.path()).expect("UTF-8");
                let path = minute.path();
                let path = path.strip_prefix(directory).expect("it is in it").display().to_string();
                lines.extend(text.lines().map(|line| (path.clone(), line.to_owned())));
            }
        }
    }
    lines
}

#[test]
fn q10_writes_each_bid_once_into_the_directory_of_its_minute_whatever_happens() {
    for crashes in [false, true] {
        let mut job = Job::new("q10", 2);
        if crashes {
            job.takes_a_second().fails_once();
        }
        job.run_into(LogFiles(job.directory()));
        assert_eq!(job.failure.at().is_some(), crashes);
        let lines = lines_of(&job.directory());
        for (path, line) in &lines {
            let columns: Vec<&str> = line.split(',').collect();
            assert_eq!(*path, format!("dt={}/hm={}", columns[5], columns[6]), "{line}");
        }
        let rows = lines.into_iter().map(|(_, line)| line).collect();
        expected("q10").check("the files of q10", rows);
    }
}
