//! `JobConfigInfo`.

use millstream_core::config::is_secret;
use millstream_core::ids::JobId;
use millstream_core::job_graph::JobGraph;
use serde::Serialize;
use std::collections::BTreeMap;

/// How a job was configured.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct JobConfig {
    jid: JobId,
    name: String,
    execution_config: ExecutionConfig,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct ExecutionConfig {
    restart_strategy: String,
    job_parallelism: u32,
    object_reuse_mode: bool,
    /// The job's own configuration, without secrets.
    user_config: BTreeMap<String, String>,
}

impl JobConfig {
    pub(crate) fn of(job: JobId, graph: &JobGraph) -> Self {
        let greatest = graph.vertices.iter().map(|vertex| vertex.parallelism).max();
        let set = graph.configuration.get("parallelism.default").and_then(|p| p.parse().ok());
        let execution_config = ExecutionConfig {
            restart_strategy: restart_strategy(&graph.configuration),
            job_parallelism: set.or(greatest).unwrap_or(1),
            object_reuse_mode: false,
            user_config: graph.configuration.iter().map(shown).collect(),
        };
        Self { jid: job, name: graph.name.clone(), execution_config }
    }
}

/// Flink's words for a job that sets none.
fn restart_strategy(configuration: &BTreeMap<String, String>) -> String {
    let own = configuration.get("restart-strategy.type");
    own.map_or("Cluster level default restart strategy", String::as_str).to_owned()
}

fn shown((key, value): (&String, &String)) -> (String, String) {
    let value = if is_secret(key) { "******" } else { value };
    (key.clone(), value.to_owned())
}
