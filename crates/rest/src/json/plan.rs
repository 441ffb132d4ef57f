//! `JobPlanInfo`.

use millstream_core::ids::{JobId, JobVertexId};
use millstream_core::job_graph::{
    ExchangeMode, JobEdge, JobGraph, JobVertex, RuntimeMode, ShipStrategy,
};
use serde::Serialize;
use std::collections::BTreeMap;

/// A plan alone.
#[derive(Serialize)]
pub(crate) struct PlanBody {
    plan: Plan,
}

/// A job graph as dashboards draw it: consumers before their producers, as in Flink.
#[derive(Serialize)]
pub(crate) struct Plan {
    jid: JobId,
    name: String,
    #[serde(rename = "type")]
    mode: RuntimeMode,
    nodes: Vec<Node>,
}

#[derive(Serialize)]
struct Node {
    id: JobVertexId,
    operator: &'static str,
    parallelism: u32,
    operator_strategy: &'static str,
    /// HTML: the chain as a tree.
    description: String,
    optimizer_properties: BTreeMap<String, String>,
    inputs: Vec<Input>,
}

#[derive(Serialize)]
struct Input {
    id: JobVertexId,
    num: usize,
    exchange: &'static str,
    ship_strategy: ShipStrategy,
    local_strategy: &'static str,
    caching: &'static str,
}

impl PlanBody {
    pub(crate) fn of(job: JobId, graph: &JobGraph) -> Self {
        Self { plan: Plan::of(job, graph) }
    }
}

impl Plan {
    pub(crate) fn of(job: JobId, graph: &JobGraph) -> Self {
        let nodes = graph.vertices.iter().enumerate().rev();
        let nodes = nodes.map(|(index, vertex)| Node {
            id: vertex.id,
            operator: "",
            parallelism: vertex.parallelism,
            operator_strategy: "",
            description: description(vertex),
            optimizer_properties: BTreeMap::new(),
            inputs: inputs(graph, index),
        });
        Self { jid: job, name: graph.name.clone(), mode: graph.mode, nodes: nodes.collect() }
    }
}

fn inputs(graph: &JobGraph, vertex: usize) -> Vec<Input> {
    let edges = graph.inputs_of(vertex).map(|(_, edge)| edge).enumerate();
    edges.map(|(num, edge)| input(graph, num, edge)).collect()
}

fn input(graph: &JobGraph, num: usize, edge: &JobEdge) -> Input {
    let exchange = match edge.exchange {
        ExchangeMode::Pipelined => "pipelined_bounded",
        ExchangeMode::Blocking => "blocking",
    };
    let id = graph.vertices[edge.source].id;
    Input { id, num, exchange, ship_strategy: edge.ship, local_strategy: "", caching: "" }
}

/// `source<br/>+- map<br/>   +- sink<br/>`
fn description(vertex: &JobVertex) -> String {
    let lines = vertex.operators.iter().enumerate().map(|(depth, operator)| {
        let indent = match depth {
            0 => String::new(),
            depth => format!("{}+- ", "   ".repeat(depth - 1)),
        };
        format!("{indent}{}<br/>", escaped(&operator.name))
    });
    lines.collect()
}

/// Names come from users, and dashboards show descriptions as HTML.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}
