//! `--all --report`: what each query costs.
//!
//! Each query runs twice, each time in a process of its own: as fast as it can, for the first columns,
//! and with events of the generator at half of that rate, for the latencies. Processor time and memory
//! are those of the whole process, with reading or making the events. A latency is from when the event
//! was due that a row came of to when the row or change was there; of a row of a window, from when an
//! event was due by which its window is over (four seconds behind its end).

use crate::figures::{cpu_seconds, peak_bytes};
use crate::input::{self, Events, Input};
use crate::queries::{QUERIES, Rows, query};
use millstream::api::args::Args;
use millstream::clock::{due_at_us, now_us};
use millstream::connectors::nexmark::{Config, Event, Nexmark, generator};
use millstream::prelude::*;
use millstream::{sink, source};
use serde::{Deserialize, Serialize};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Latencies are measured for so many seconds, and of queries with windows for so many.
const SECONDS: u64 = 4;
const WINDOW_SECONDS: u64 = 22;

/// What comes in so many first microseconds does not count: threads start, memory grows.
const WARM_UP_US: u64 = 1_000_000;

/// A window is over when an event is due so long after it.
const OUT_OF_ORDER_US: u64 = 4_000_000;

/// No rate is higher when latencies are measured.
const RATE_MAX: u64 = 2_000_000;

/// A table of all queries.
pub(crate) struct Report {
    /// The arguments of each process.
    arguments: Vec<String>,
    input: Input,
    queries: Vec<String>,
}

/// What one process tells.
#[derive(Serialize, Deserialize)]
struct Measured {
    seconds: f64,
    cpu_seconds: f64,
    peak_bytes: u64,
    /// Microseconds, if there were rows.
    p50_us: Option<u64>,
    p99_us: Option<u64>,
}

impl Report {
    /// What the command line asks for, if it has `--all`.
    pub(crate) fn asked_for() -> Result<Option<Self>> {
        let mut arguments: Vec<String> = std::env::args().skip(1).collect();
        let given = arguments.len();
        arguments.retain(|argument| argument != "--all");
        if arguments.len() == given {
            return Ok(None);
        }
        let given = arguments.len();
        arguments.retain(|argument| argument != "--report");
        if arguments.len() == given {
            return Err(Error::argument("`--all` without `--report`")
                .next("say `--all --report`, or run one query with `--query q0`"));
        }
        let mut args = Args::parse(arguments.clone())?;
        if args.get("input").is_none() {
            arguments.extend(["--input".to_owned(), format!("generator:{}", input::EVENTS)]);
            args = Args::parse(arguments.clone())?;
        }
        let queries = match args.get("queries") {
            None => QUERIES.map(str::to_owned).to_vec(),
            Some(names) => names.split(',').map(str::to_owned).collect(),
        };
        let input = Input::parse(&args.require("input")?)?;
        Ok(Some(Self { arguments, input, queries }))
    }

    /// Runs all queries and prints a line for each.
    pub(crate) fn print(self) -> Result<()> {
        let events = input::count(&self.input).map_err(|error| {
            Error::argument("the input cannot be counted").why(error.to_string())
        })?;
        println!(
            "| query | events/s | events/s per core | cores x seconds | peak memory, MB | p50 | p99 |"
        );
        println!("|---|---|---|---|---|---|---|");
        for name in &self.queries {
            let fast = self.run(name, "throughput", None)?;
            let per_second = events as f64 / fast.seconds;
            let rate = (per_second as u64 / 2).clamp(1, RATE_MAX);
            let seconds = if has_windows(name) { WINDOW_SECONDS } else { SECONDS };
            let generator = format!("generator:{}:{rate}", rate * seconds);
            let paced = self.run(name, "latency", Some(&generator))?;
            println!(
                "| {name} | {per_second:.0} | {:.0} | {:.2} | {} | {} | {} |",
                events as f64 / fast.cpu_seconds,
                fast.cpu_seconds,
                fast.peak_bytes >> 20,
                shown(paced.p50_us),
                shown(paced.p99_us),
            );
        }
        Ok(())
    }

    /// Runs one query in a process of its own.
    fn run(&self, name: &str, measure: &str, input: Option<&str>) -> Result<Measured> {
        let failed = |why: String| {
            Error::argument(format!("`--query {name} --measure {measure}` gave no figures"))
                .why(why)
        };
        let mut arguments = self.arguments.clone();
        arguments.extend(["--query", name, "--measure", measure].map(str::to_owned));
        if let Some(input) = input {
            arguments.extend(["--input", input].map(str::to_owned));
        }
        let program = std::env::current_exe().map_err(|error| failed(error.to_string()))?;
        let output = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .map_err(|error| failed(error.to_string()))?;
        if !output.status.success() {
            return Err(failed(output.status.to_string()));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let line = text.lines().last().unwrap_or_default();
        serde_json::from_str(line).map_err(|error| failed(error.to_string()))
    }
}

/// Whether rows come when windows in event time are over.
fn has_windows(name: &str) -> bool {
    ["q5", "q7", "q8", "q11"].contains(&name)
}

fn shown(micros: Option<u64>) -> String {
    match micros {
        None => "–".to_owned(),
        Some(micros @ ..10_000) => format!("{micros} us"),
        Some(micros) => format!("{} ms", micros / 1_000),
    }
}

/// Runs one query, and prints its figures.
pub(crate) fn measure(env: &Env, name: &str, input: Input, measure: &str) -> Result<()> {
    // The report hands its own arguments on.
    let _ = env.arg_opt("queries");
    let latencies = sink::collect().records_max(1 << 28);
    match (measure, input) {
        ("throughput", input) => query(name, &input.open(env), Drop)?,
        ("latency", Input::Generator { events, rate: Some(rate) }) => {
            env.configure("pipeline.auto-watermark-interval", "1 ms");
            let events = live(env, events, rate);
            let rows = Timed { name: name.to_owned(), latencies: latencies.clone() };
            query(name, &events, rows)?;
        }
        (other, _) => {
            let next = "`throughput`, or `latency` with `--input generator:EVENTS:PER_SECOND`";
            return Err(Error::argument(format!("`--measure {other}` is not possible")).next(next));
        }
    }
    let began = Instant::now();
    env.execute(name)?;
    let seconds = began.elapsed().as_secs_f64();
    let mut latencies: Vec<u64> = latencies.take();
    latencies.sort_unstable();
    let at = |share: f64| {
        let last = latencies.len().saturating_sub(1);
        latencies.get((last as f64 * share) as usize).copied()
    };
    let figures = Measured {
        seconds,
        cpu_seconds: cpu_seconds(),
        peak_bytes: peak_bytes(),
        p50_us: at(0.5),
        p99_us: at(0.99),
    };
    println!("{}", serde_json::to_string(&figures).expect("numbers have a form"));
    Ok(())
}

/// Events that happen when they come. The time beside each is in microseconds, until a query gives it
/// another.
fn live(env: &Env, count: u64, rate: u64) -> Events {
    let nexmark = generator(Config::default());
    let due = source::generator_with_due(Some(count), rate, move |index, due_us| {
        let due_us = due_at_us(due_us);
        (due_us, happening(&nexmark, index, due_us))
    });
    let times = WatermarkStrategy::no_watermarks()
        .with_timestamp_assigner(|(due_us, _): &(u64, Event)| *due_us as Timestamp);
    let events = env
        .source("events", due)
        .assign_timestamps_and_watermarks(times)
        .name("due")
        .map(|(_, event)| event)
        .name("events as they come");
    Events::Mixed(events)
}

/// The event of this index at another time.
fn happening(nexmark: &Nexmark, index: u64, time_us: u64) -> Event {
    let time = (time_us / 1_000) as Timestamp;
    let mut event = nexmark.event(index);
    match &mut event {
        Event::Person(person) => person.date_time = time,
        Event::Bid(bid) => bid.date_time = time,
        Event::Auction(auction) => {
            auction.expires += time - auction.date_time;
            auction.date_time = time;
        }
    }
    event
}

/// Drops what comes.
struct Drop;

impl Rows for Drop {
    fn rows<R: Record + Serialize>(self, rows: DataStream<R>) {
        rows.sink("rows", sink::blackhole());
    }

    fn changes<K: Key, R: Record + Serialize>(self, changes: DataStream<Change<K, R>>) {
        changes.sink("changes", sink::blackhole());
    }
}

/// Collects latencies.
struct Timed {
    name: String,
    latencies: sink::Collector<u64>,
}

impl Timed {
    fn collect<R: Record>(self, rows: DataStream<R>) {
        let row_is_due: fn(u64) -> u64 = match self.name.as_str() {
            name if has_windows(name) => |time: u64| (time + 1) * 1_000 + OUT_OF_ORDER_US,
            "q12" => |time: u64| (time + 1) * 1_000,
            _ => |time: u64| time,
        };
        let begins = now_us() + WARM_UP_US;
        rows.process(Latency { row_is_due, begins })
            .name("latency")
            .sink("latencies", self.latencies);
    }
}

impl Rows for Timed {
    fn rows<R: Record + Serialize>(self, rows: DataStream<R>) {
        self.collect(rows);
    }

    fn changes<K: Key, R: Record + Serialize>(self, changes: DataStream<Change<K, R>>) {
        self.collect(changes);
    }
}

/// How long ago a row could have been there at the earliest, in microseconds.
#[derive(Clone)]
struct Latency {
    /// When that was, of the time beside a row.
    row_is_due: fn(u64) -> u64,
    begins: u64,
}

impl<R: Record> ProcessFunction<R> for Latency {
    type State = ();
    type Out = u64;

    fn process(&mut self, _row: R, ctx: &mut OperatorContext<'_, (), u64>) -> FunctionResult {
        let (now, time) = (now_us(), ctx.timestamp());
        let due = time.and_then(|time| u64::try_from(time).ok()).map(self.row_is_due);
        // At the end of the input windows fire that are not over yet.
        if let Some(due) = due.filter(|due| (self.begins..=now).contains(due)) {
            ctx.emit(now - due);
        }
        Ok(())
    }
}
