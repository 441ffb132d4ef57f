//! A program that is only planned: the JobManager runs it to learn its job graph, and submits that
//! itself (REST `/jars/:id/run`).

use crate::cached_files;
use crate::launch::passed_environment;
use millstream_api::error::{Error, ErrorCode, Result};
use millstream_api::executor::{JobClient, PipelineExecutor};
use millstream_core::ids::ContentHash;
use millstream_core::job_graph::Program;
use millstream_operator::plan::Plan;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Writes the first job's graph into a file and ends the process.
pub struct PlanningExecutor {
    /// The file.
    pub file: PathBuf,
}

impl PipelineExecutor for PlanningExecutor {
    fn submit(&self, plan: Plan, plan_values: &BTreeMap<String, Vec<u8>>) -> Result<JobClient> {
        for warning in &plan.warnings {
            eprintln!("warning: {warning}");
        }
        crate::state_backend::check_on_cluster(&plan.graph.configuration)?;
        cached_files::refuse(&plan.cached_files)?;
        let mut graph = plan.graph;
        graph.program = Some(this_program(ContentHash(0), 0, Vec::new(), plan_values));
        let failed = |why: String| {
            Error::new(ErrorCode::Process, "the plan cannot be written")
                .at(self.file.display().to_string())
                .why(why)
        };
        let text = serde_json::to_vec(&graph).map_err(|error| failed(error.to_string()))?;
        std::fs::write(&self.file, text).map_err(|error| failed(error.to_string()))?;
        std::process::exit(0)
    }
}

/// This program as job processes start it.
pub(crate) fn this_program(
    artefact: ContentHash,
    execute_ordinal: u32,
    earlier_results: Vec<Vec<u8>>,
    plan_values: &BTreeMap<String, Vec<u8>>,
) -> Program {
    let path = std::env::current_exe().unwrap_or_default();
    let file_name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Program {
        artefact,
        file_name,
        arguments: std::env::args().skip(1).collect(),
        environment: passed_environment(),
        execute_ordinal,
        earlier_results,
        plan_values: plan_values.clone(),
        cached_files: Vec::new(),
    }
}
