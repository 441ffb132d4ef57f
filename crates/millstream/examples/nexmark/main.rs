//! Nexmark, an auction site: all queries but q6.
//!
//! - `nexmark --query qN --input INPUT [--output DIR] [--parallelism N]` runs a query;
//! - `nexmark --all --report [--input INPUT] [--queries q0,q5] [--parallelism N]` runs all of them, or
//!   these, each in a process of its own, and prints a table: see [`report`].
//!
//! `INPUT` is a file of JSON lines (or a directory of them), a directory with CSV files in `person`,
//! `auction` and `bid`, or `generator[:EVENTS[:PER_SECOND]]`. With `memory:EVENTS` they are made before the
//! clock starts, and a line with what the query took is printed: see [`memory`].
//!
//! Rows are CSV without a header. Those of queries whose results change are written when the input has
//! ended. Without `--output` rows and changes go into a blackhole. q10 writes into a directory per day
//! and minute.

mod figures;
mod input;
mod memory;
mod queries;
mod report;

use input::{Events, Input};
use memory::InMemory;
use millstream::prelude::*;
use millstream::sink;
use queries::log_files::{LogRow, partition};
use queries::{Rows, query};
use serde::Serialize;

millstream::allocator!();

fn main() -> Result<()> {
    if let Some(report) = report::Report::asked_for()? {
        return report.print();
    }
    let env = Env::from_args()?;
    let name = env.arg("query")?;
    let input = env.arg("input")?;
    if let Some(measure) = env.arg_opt("measure") {
        return report::measure(&env, &name, Input::parse(&input)?, &measure);
    }
    let events = match InMemory::asked_for(&input)? {
        Some(events) => Events::Mixed(env.source("events", events)),
        None => Input::parse(&input)?.open(&env),
    };
    let output = env.arg_opt("output");
    query(&name, &events, Write { output })?;
    env.execute(&name)?;
    Ok(())
}

/// Writes rows into files, or drops them.
struct Write {
    output: Option<String>,
}

impl Rows for Write {
    fn rows<R: Record + Serialize>(self, rows: DataStream<R>) {
        match self.output {
            Some(directory) => rows.sink("rows", sink::csv(directory)),
            None => rows.sink("rows", sink::blackhole()),
        };
    }

    fn changes<K: Key, R: Record + Serialize>(self, changes: DataStream<Change<K, R>>) {
        match self.output {
            Some(_) => self.rows(changes.materialize().name("final rows")),
            None => drop(changes.sink("changes", sink::blackhole())),
        }
    }

    fn log(self, rows: DataStream<LogRow>) {
        match self.output {
            Some(directory) => {
                rows.sink("rows", sink::csv(directory).partition_by(partition));
            }
            None => self.rows(rows),
        }
    }
}
