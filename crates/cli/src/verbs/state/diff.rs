//! `state diff`: what a program would make of a checkpoint or savepoint, or what differs between two.

use super::snapshot::Snapshot;
use crate::arguments::StateDiffArguments;
use crate::configuration::storages;
use crate::verbs::jobs::plan_of;
use millstream::api::error::Result;
use millstream::core::job_graph::JobGraph;
use millstream_checkpoint::compatibility::Comparison;
use millstream_checkpoint::metadata::METADATA_FILE;
use millstream_checkpoint::reassign::Reassignment;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

/// Fails (exit code 1) if the state could not be restored.
pub(super) fn diff(arguments: &StateDiffArguments) -> Result<ExitCode> {
    let storages = storages(&arguments.planning.definitions)?;
    let snapshot = Snapshot::open(&arguments.path, storages.clone())?;
    let other = Path::new(&arguments.program);
    let is_snapshot = arguments.program.contains("://")
        || other.is_dir()
        || other.file_name().is_some_and(|name| name == METADATA_FILE);
    let (comparison, problem) = if is_snapshot {
        let later = Snapshot::open(&arguments.program, storages)?;
        let comparison = Comparison::between(&snapshot.metadata, &later.metadata);
        let problem = comparison.unclaimed().or_else(|| comparison.refusal());
        (comparison, problem)
    } else {
        let graph = plan_of(other, &arguments.arguments, &arguments.planning)?;
        let comparison = Comparison::new(&snapshot.metadata, &graph);
        let problem = problem(&snapshot, &graph, arguments.allow_non_restored_state);
        (comparison, problem)
    };
    match arguments.json {
        true => print_json(&comparison, problem.as_deref()),
        false => print_text(&comparison, problem.as_deref()),
    }
    Ok(if problem.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Why the program could not go on from the snapshot.
fn problem(snapshot: &Snapshot, graph: &JobGraph, allow_non_restored: bool) -> Option<String> {
    let metadata = Arc::new(snapshot.metadata.clone());
    let dealt = Reassignment::new(metadata, graph, allow_non_restored);
    dealt.err().map(|error| error.problem)
}

fn print_json(comparison: &Comparison, problem: Option<&str>) {
    let value = serde_json::json!({
        "restorable": problem.is_none(),
        "problem": problem,
        "operators": comparison.operators,
    });
    println!("{value:#}");
}

fn print_text(comparison: &Comparison, problem: Option<&str>) {
    print!("{comparison}");
    match problem {
        None => println!("it can be restored"),
        Some(problem) => println!("it cannot be restored: {problem}"),
    }
}
