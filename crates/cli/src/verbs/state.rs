//! `state ls|show|diff`: what is in a checkpoint or savepoint, and what a program would make of it.
//!
//! - [`snapshot`]: the metadata and where its files are;
//! - [`rows`]: the rows of one state, as JSON lines;
//! - [`diff`]: held against a program.

mod diff;
mod rows;
pub(super) mod snapshot;

use crate::arguments::{SnapshotPlace, StateAction, StateShowArguments};
use crate::configuration::storages;
use millstream::api::error::{Error, ErrorCode, Result};
use millstream_checkpoint::handle::{FilePart, ListMode, OperatorState};
use millstream_checkpoint::metadata::{METADATA_FILE, VertexState};
use millstream_checkpoint::native::TableFormat;
use millstream_core::ids::OperatorId;
use snapshot::Snapshot;
use std::collections::BTreeMap;
use std::process::ExitCode;

pub(super) fn state(action: &StateAction) -> Result<ExitCode> {
    match action {
        StateAction::Ls { place } => list(place),
        StateAction::Show(arguments) => show(arguments),
        StateAction::Diff(arguments) => diff::diff(arguments),
    }
}

fn list(place: &SnapshotPlace) -> Result<ExitCode> {
    let snapshot = Snapshot::open(&place.path, storages(&place.definitions)?)?;
    let metadata = &snapshot.metadata;
    println!("{}/{METADATA_FILE}", snapshot.directory);
    let taken = millstream::connectors::nexmark::timestamp::text(metadata.timestamp);
    println!("  {:?} {} of job {}, {taken}", metadata.kind, metadata.checkpoint, metadata.job);
    println!("  {} bytes of state", metadata.bytes());
    for (id, vertex) in &metadata.vertices {
        println!();
        println!("{} ({id})", vertex.name);
        let finished = if vertex.is_finished() { ", finished" } else { "" };
        let (parallelism, max) = (vertex.parallelism(), vertex.max_parallelism.get());
        println!("  parallelism {parallelism}, {max} key groups{finished}");
        for (operator, name) in operators(vertex) {
            list_operator(vertex, operator, &name);
        }
        list_in_flight(vertex);
    }
    Ok(ExitCode::SUCCESS)
}

/// What barriers overtook at the tasks of the vertex.
fn list_in_flight(vertex: &VertexState) {
    let all = || vertex.subtasks.iter().flat_map(|task| &task.in_flight);
    let bytes: u64 = all().map(|state| state.list.part.bytes).sum();
    if bytes > 0 {
        println!("  {bytes} bytes of records in flight, in {} lists", all().count());
    }
}

/// The operators of a chain with their names.
fn operators(vertex: &VertexState) -> Vec<(OperatorId, String)> {
    vertex.operators.iter().map(|id| (*id, vertex.operator_name(*id))).collect()
}

/// What all subtasks hold of one state together.
#[derive(Default)]
struct Sum {
    kind: String,
    rows: Vec<u64>,
    bytes: u64,
}

impl Sum {
    fn add(&mut self, kind: String, rows: u64, bytes: u64) {
        self.kind = kind;
        self.rows.push(rows);
        self.bytes += bytes;
    }
}

fn list_operator(vertex: &VertexState, operator: OperatorId, name: &str) {
    let states = vertex.subtasks.iter().filter_map(|task| task.operators.get(&operator));
    let mut sums = BTreeMap::<String, Sum>::new();
    for state in states {
        add_states(state, &mut sums);
    }
    if sums.is_empty() {
        return;
    }
    println!("  operator `{name}` ({operator})");
    for (name, sum) in sums {
        let rows: u64 = sum.rows.iter().sum();
        let least = sum.rows.iter().min().copied().unwrap_or(0);
        let most = sum.rows.iter().max().copied().unwrap_or(0);
        println!(
            "    {name}: {}; {rows} rows ({least} to {most} per subtask), {} bytes",
            sum.kind, sum.bytes
        );
    }
}

fn add_states(state: &OperatorState, sums: &mut BTreeMap<String, Sum>) {
    let bytes = |part: &FilePart| part.bytes;
    for table in &state.tables {
        let schema = &table.schema;
        let kind = format!("{} → {}", schema.key, schema.value);
        let kind = match &table.format {
            TableFormat::Rows => kind,
            // How many rows are in them only the backend knows.
            TableFormat::Native(format) => format!("{kind}, in files of `{}`", format.backend),
        };
        let rows = table.chain.iter().map(|part| part.rows).sum();
        let sum = sums.entry(table.name.clone()).or_default();
        sum.add(kind, rows, table.chain.iter().map(bytes).sum());
    }
    for list in &state.lists {
        let mode = match list.mode {
            ListMode::Split => "list",
            ListMode::Union => "union list",
            ListMode::Broadcast => "broadcast",
        };
        let item = list.schema.as_ref().map_or("bytes".to_owned(), ToString::to_string);
        let sum = sums.entry(list.name.clone()).or_default();
        sum.add(format!("{mode} of {item}"), list.items, bytes(&list.part));
    }
}

fn show(arguments: &StateShowArguments) -> Result<ExitCode> {
    let place = &arguments.place;
    let snapshot = Snapshot::open(&place.path, storages(&place.definitions)?)?;
    let (vertex, operator) = find_operator(&snapshot, &arguments.operator)?;
    let shown = rows::show(&snapshot, vertex, operator, &arguments.state, arguments.limit)?;
    if !shown {
        return Err(Error::new(
            ErrorCode::Argument,
            format!("operator `{}` has no state `{}`", arguments.operator, arguments.state),
        )
        .next("`millstream state ls` shows what there is"));
    }
    Ok(ExitCode::SUCCESS)
}

/// The operator of this id or, if only one has it, of this name.
fn find_operator<'a>(snapshot: &'a Snapshot, text: &str) -> Result<(&'a VertexState, OperatorId)> {
    let vertices = snapshot.metadata.vertices.values();
    let all = vertices
        .flat_map(|vertex| operators(vertex).into_iter().map(move |(id, name)| (vertex, id, name)));
    let found: Vec<_> =
        all.filter(|(_, id, name)| name == text || id.to_string() == text).collect();
    match found.as_slice() {
        [(vertex, id, _)] => Ok((vertex, *id)),
        [] => Err(Error::new(ErrorCode::Argument, format!("no operator is called `{text}`"))
            .next("`millstream state ls` shows which there are")),
        several => {
            let ids: Vec<String> = several.iter().map(|(_, id, _)| id.to_string()).collect();
            let message = format!("{} operators are called `{text}`", several.len());
            Err(Error::new(ErrorCode::Argument, message)
                .next(format!("name one by its id: {}", ids.join(", "))))
        }
    }
}
