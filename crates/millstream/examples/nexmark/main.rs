//! Nexmark, an auction site:
//! `nexmark --query qN --input events.json|generator[:EVENTS] [--output DIR] [--parallelism N]`.
//!
//! Queries q0 to q5, q7 to q9, q11, q12, q14, q18, q19, q21 and q22. Rows are CSV without a header; without
//! `--output` they go into a blackhole.

mod queries;

use millstream::connectors::nexmark::{Config, Event, generator};
use millstream::prelude::*;
use millstream::{sink, source};
use serde::Serialize;

millstream::allocator!();

/// Events of a generator that is not told how many.
const EVENTS: u64 = 1_000_000;

fn main() -> Result<()> {
    let env = Env::from_args()?;
    let query = env.arg("query")?;
    let output = env.arg_opt("output");
    let events = events(&env)?;
    match query.as_str() {
        "q0" => write(queries::q0(events), output),
        "q1" => write(queries::q1(events), output),
        "q2" => write(queries::q2(events), output),
        "q3" => write(queries::q3(events), output),
        "q4" => write(queries::q4(events), output),
        "q5" => write(queries::q5(events), output),
        "q7" => write(queries::q7(events), output),
        "q8" => write(queries::q8(events), output),
        "q9" => write(queries::q9(events), output),
        "q11" => write(queries::q11(events), output),
        "q12" => write(queries::q12(events), output),
        "q14" => write(queries::q14(events), output),
        "q18" => write(queries::q18(events), output),
        "q19" => write(queries::q19(events), output),
        "q21" => write(queries::q21(events), output),
        "q22" => write(queries::q22(events), output),
        other => {
            let next = "use q0 to q5, q7 to q9, q11, q12, q14, q18, q19, q21 or q22";
            return Err(Error::argument(format!("there is no `--query {other}`")).next(next));
        }
    }
    env.execute(&query)?;
    Ok(())
}

fn events(env: &Env) -> Result<DataStream<Event>> {
    let input = env.arg("input")?;
    let Some(count) = input.strip_prefix("generator") else {
        return Ok(env.source("events", source::json_lines::<Event>(input)));
    };
    let count = match count.strip_prefix(':') {
        None => EVENTS,
        Some(count) => count
            .parse()
            .map_err(|_| Error::argument(format!("`--input {input}` is not a number of events")))?,
    };
    Ok(env.source("events", generator(Config::default()).source(Some(count))))
}

fn write<T: Record + Serialize>(rows: DataStream<T>, output: Option<String>) {
    match output {
        Some(directory) => rows.sink("rows", sink::csv(directory)),
        None => rows.sink("rows", sink::blackhole()),
    };
}
