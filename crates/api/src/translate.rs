//! From the stream graph to a plan: parallelism and slot sharing are settled, operators are
//! chained into vertices, identities are given, and the factories find their vertices.
//!
//! Identity of an operator: XXH3-128 of its `uid`, else of the name that the user gave, else of
//! its kind and its inputs' identities. The vertex has the identity of its head.

use crate::error::{Error, ErrorCode, Result};
use crate::settings::{RuntimeExecutionMode, Settings};
use crate::stream_graph::{
    Chaining, NodeBody, NodeId, Ship, SideTag, StreamEdge, StreamGraph, StreamNode, forward,
};
use millstream_core::config::{Configuration, catalog};
use millstream_core::hash::xxh3_128;
use millstream_core::ids::{DataSetId, JobVertexId, OperatorId};
use millstream_core::job_graph::{
    ExchangeMode, JobEdge, JobGraph, JobVertex, OperatorInfo, PlanEntry, PlanSignature,
    RuntimeMode, ShipStrategy,
};
use millstream_core::key_group::{MAX_PARALLELISM_LIMIT, MaxParallelism};
use millstream_operator::context::{OperatorLabel, RoutingLabel};
use millstream_operator::plan::{
    ChainedOperator, Head, OutputOf, Plan, PlannedOutput, RouterContext, SideOutput, VertexPlan,
};
use millstream_shuffle::partition::RoundRobinRouter;
use std::collections::{BTreeMap, BTreeSet};

/// The slot sharing group of operators that neither set one nor have inputs.
const DEFAULT_GROUP: &str = "default";

/// What was settled for one node.
struct Settled {
    id: OperatorId,
    parallelism: u32,
    max_parallelism: MaxParallelism,
    group: String,
    /// The vertex whose chain it is in.
    vertex: usize,
}

/// Translates a program's graph.
pub fn plan(name: &str, graph: StreamGraph, settings: &Settings) -> Result<Plan> {
    let mut nodes = graph.nodes;
    if nodes.is_empty() {
        let summary = format!("job `{name}` has no operators");
        let next = "declare a source and a sink before `execute`";
        return Err(Error::new(ErrorCode::EmptyPlan, summary).next(next));
    }
    let mode = runtime_mode(&nodes, settings)?;
    let ids = operator_ids(&nodes)?;
    check_side_outputs(&nodes)?;
    check_states(&nodes)?;
    let mut settled: Vec<Settled> = Vec::new();
    for (node, id) in nodes.iter().zip(&ids) {
        let (parallelism, max_parallelism) = parallelism(node, settings)?;
        let group = slot_sharing_group(node, &settled);
        settled.push(Settled { id: *id, parallelism, max_parallelism, group, vertex: 0 });
    }
    let signature = signature(&nodes, &ids);
    let warnings = warnings(&nodes);
    settle_ships(&mut nodes, &settled)?;
    let chained = chain(&nodes, &mut settled, settings);
    let mut builder = Builder::of(exchange_mode(mode, settings)?);
    for (index, node) in nodes.into_iter().enumerate() {
        builder.add(node, &settled, index, chained[index])?;
    }
    let graph = JobGraph {
        name: name.to_owned(),
        vertices: builder.job_vertices,
        edges: builder.edges,
        mode,
        configuration: settings.configuration.clone(),
        signature,
        program: None,
    };
    let cached_files = settings.cached_files.clone().into();
    Ok(Plan { graph, vertices: builder.vertex_plans, warnings, cached_files })
}

fn runtime_mode(nodes: &[StreamNode], settings: &Settings) -> Result<RuntimeMode> {
    const KEY: &str = "execution.runtime-mode";
    let configured = match settings.configuration.get(KEY).map(|text| text.to_uppercase()) {
        None => RuntimeExecutionMode::Streaming,
        Some(text) => match text.as_str() {
            "STREAMING" => RuntimeExecutionMode::Streaming,
            "BATCH" => RuntimeExecutionMode::Batch,
            "AUTOMATIC" => RuntimeExecutionMode::Automatic,
            other => {
                let summary = format!("`{KEY}: {other}` is not a runtime mode");
                let next = "use STREAMING, BATCH or AUTOMATIC";
                return Err(Error::new(ErrorCode::Configuration, summary).next(next));
            }
        },
    };
    let endless = nodes.iter().find(|n| matches!(n.body, NodeBody::Source { bounded: false, .. }));
    match (settings.mode.unwrap_or(configured), endless) {
        (RuntimeExecutionMode::Streaming, _) | (RuntimeExecutionMode::Automatic, Some(_)) => {
            Ok(RuntimeMode::Streaming)
        }
        (RuntimeExecutionMode::Batch | RuntimeExecutionMode::Automatic, None) => {
            Ok(RuntimeMode::Batch)
        }
        (RuntimeExecutionMode::Batch, Some(source)) => {
            let summary = "BATCH mode needs sources that end";
            let next = "use STREAMING or AUTOMATIC, or bound the source";
            Err(Error::new(ErrorCode::UnboundedInBatch, summary)
                .at_operator(&source.name, &source.declared_at)
                .next(next))
        }
    }
}

/// When consumers of a task's output start.
fn exchange_mode(mode: RuntimeMode, settings: &Settings) -> Result<ExchangeMode> {
    if mode == RuntimeMode::Streaming {
        return Ok(ExchangeMode::Pipelined);
    }
    let wrong = |summary: String| {
        let next = "use ALL_EXCHANGES_BLOCKING or ALL_EXCHANGES_PIPELINED";
        Error::new(ErrorCode::Configuration, summary).next(next)
    };
    let configuration = Configuration(settings.configuration.clone());
    let configured = configuration.get(&catalog::BATCH_SHUFFLE_MODE);
    let text = configured.map_err(|error| wrong(error.to_string()))?;
    match text.trim().to_uppercase().as_str() {
        "ALL_EXCHANGES_BLOCKING" => Ok(ExchangeMode::Blocking),
        "ALL_EXCHANGES_PIPELINED" => Ok(ExchangeMode::Pipelined),
        _ => {
            let key = catalog::BATCH_SHUFFLE_MODE.key;
            Err(wrong(format!("`{key}: {text}` is not a way to exchange records")))
        }
    }
}

fn operator_ids(nodes: &[StreamNode]) -> Result<Vec<OperatorId>> {
    let mut ids: Vec<OperatorId> = Vec::new();
    let mut owners: BTreeMap<OperatorId, usize> = BTreeMap::new();
    for (index, node) in nodes.iter().enumerate() {
        let chosen = node.uid.as_ref().map(|uid| format!("uid\0{uid}"));
        let chosen = chosen.or_else(|| node.named.then(|| format!("name\0{}", node.name)));
        let id = match chosen {
            Some(text) => {
                let id = OperatorId(xxh3_128(text.as_bytes()));
                if let Some(other) = owners.get(&id) {
                    return Err(duplicate(&nodes[*other], node));
                }
                id
            }
            None => structural_id(node, &ids, &owners),
        };
        owners.insert(id, index);
        ids.push(id);
    }
    Ok(ids)
}

/// Side outputs are read of operators that can have them, and as one type each.
fn check_side_outputs(nodes: &[StreamNode]) -> Result<()> {
    let mut types: BTreeMap<(usize, &str), &SideTag> = BTreeMap::new();
    for node in nodes {
        let sides = node.inputs.iter().filter_map(|edge| Some((edge.from.0, edge.side.as_ref()?)));
        for (from, side) in sides {
            let producer = &nodes[from];
            let wrong = |summary: String| {
                let error = Error::new(ErrorCode::SideOutput, summary);
                error.at_operator(&producer.name, &producer.declared_at)
            };
            if !producer.gives_sides {
                let summary = format!(
                    "side output `{}` is read, but only functions that get a context give any",
                    side.name
                );
                return Err(wrong(summary).next("use `process`"));
            }
            let first = *types.entry((from, &side.name)).or_insert(side);
            if first.type_name != side.type_name {
                let summary = format!(
                    "side output `{}` is read as {} and as {}",
                    side.name, first.type_name, side.type_name
                );
                return Err(wrong(summary).next("use one tag, or two names"));
            }
        }
    }
    Ok(())
}

/// State is kept under its name: keyed state and that of the subtask do not share one.
fn check_states(nodes: &[StreamNode]) -> Result<()> {
    for node in nodes {
        let mut names = BTreeSet::new();
        for state in node.states.iter().flatten() {
            if !names.insert(&state.name) {
                let summary = format!("two states are called `{}`", state.name);
                return Err(Error::new(ErrorCode::DuplicateState, summary)
                    .at_operator(&node.name, &node.declared_at)
                    .next("rename one of the two fields"));
            }
        }
    }
    Ok(())
}

/// Made of the kind and the inputs; equal ones are told apart by a number.
fn structural_id(
    node: &StreamNode,
    ids: &[OperatorId],
    owners: &BTreeMap<OperatorId, usize>,
) -> OperatorId {
    let inputs: Vec<String> = node.inputs.iter().map(|e| ids[e.from.0].to_string()).collect();
    let text = format!("structure\0{}\0{}", node.kind, inputs.join(","));
    (0..)
        .map(|n: u32| OperatorId(xxh3_128(format!("{text}\0{n}").as_bytes())))
        .find(|id| !owners.contains_key(id))
        .expect("numbers do not run out")
}

fn duplicate(first: &StreamNode, second: &StreamNode) -> Error {
    let (what, name) = match &second.uid {
        Some(uid) => ("uid", uid),
        None => ("name", &second.name),
    };
    Error::new(ErrorCode::DuplicateOperator, format!("two operators have the {what} `{name}`"))
        .attempted("give every operator an identity of its own")
        .at(format!("declared at {} and at {}", first.declared_at, second.declared_at))
        .next("rename one of them, or tell them apart with `.uid(\"...\")`")
}

fn parallelism(node: &StreamNode, settings: &Settings) -> Result<(u32, MaxParallelism)> {
    let wrong = |summary: String| {
        Error::new(ErrorCode::Parallelism, summary).at_operator(&node.name, &node.declared_at)
    };
    let default = default_parallelism(settings)?;
    let parallelism = match (node.parallelism, node.parallelism_max) {
        (Some(set), Some(max)) if set > max => {
            let summary = format!("parallelism {set} is above {max}, all that it can use");
            return Err(wrong(summary));
        }
        (Some(set), _) => set,
        (None, Some(max)) => default.min(max),
        (None, None) => default,
    };
    if parallelism == 0 {
        return Err(wrong("parallelism 0 runs nothing".to_owned()).next("use 1 or more"));
    }
    let max_parallelism = match node.max_parallelism.or(settings.max_parallelism) {
        None if parallelism <= MAX_PARALLELISM_LIMIT => MaxParallelism::default_for(parallelism),
        None => {
            let summary = format!("parallelism {parallelism} is above {MAX_PARALLELISM_LIMIT}");
            return Err(wrong(summary));
        }
        Some(set) => MaxParallelism::new(set).ok_or_else(|| {
            wrong(format!("max parallelism {set} is not within 1 and {MAX_PARALLELISM_LIMIT}"))
        })?,
    };
    if parallelism > max_parallelism.get() {
        let summary =
            format!("parallelism {parallelism} is above max parallelism {}", max_parallelism.get());
        return Err(wrong(summary).next("lower the one or raise the other"));
    }
    Ok((parallelism, max_parallelism))
}

fn default_parallelism(settings: &Settings) -> Result<u32> {
    const KEY: &str = "parallelism.default";
    if let Some(parallelism) = settings.parallelism {
        return Ok(parallelism);
    }
    match settings.configuration.get(KEY) {
        None => Ok(1),
        Some(text) => text.parse().ok().filter(|p| *p > 0).ok_or_else(|| {
            Error::new(ErrorCode::Configuration, format!("`{KEY}: {text}` is not a number above 0"))
        }),
    }
}

fn slot_sharing_group(node: &StreamNode, settled: &[Settled]) -> String {
    if let Some(group) = &node.slot_sharing_group {
        return group.clone();
    }
    let mut groups = node.inputs.iter().map(|edge| &settled[edge.from.0].group);
    match groups.next() {
        Some(first) if groups.all(|group| group == first) => first.clone(),
        _ => DEFAULT_GROUP.to_owned(),
    }
}

fn signature(nodes: &[StreamNode], ids: &[OperatorId]) -> PlanSignature {
    let entries = nodes.iter().zip(ids).map(|(node, id)| {
        let mut text = node.kind.clone();
        for edge in &node.inputs {
            let ship = edge.ship.as_ref().map_or("straight", |ship| ship.signature.as_str());
            text.push_str(&format!("; from {} by {ship}", nodes[edge.from.0].name));
            text.push_str(&format!(" ({})", ids[edge.from.0]));
            if let Some(side) = &edge.side {
                text.push_str(&format!(" side output {} {}", side.name, side.schema));
            }
            if let Some(lift) = &edge.lift {
                text.push_str(&format!(" into input {}", lift.input));
            }
        }
        if node.chaining != Chaining::Always {
            text.push_str(&format!("; chaining {:?}", node.chaining));
        }
        let (operator, name, declared_at) = (*id, node.name.clone(), node.declared_at.clone());
        PlanEntry { operator, name, declared_at, text }
    });
    PlanSignature { entries: entries.collect() }
}

fn warnings(nodes: &[StreamNode]) -> Vec<String> {
    let nameless = nodes.iter().filter(|n| n.stateful && n.uid.is_none() && !n.named);
    let warning = |node: &StreamNode| {
        format!(
            "stateful operator `{}` declared at {} has neither name nor uid: \
             its state is lost when the program around it changes; add `.name(\"...\")`",
            node.name, node.declared_at
        )
    };
    let lossy_sources =
        nodes.iter().filter(|n| matches!(n.body, NodeBody::Source { replays: false, .. }));
    let lossy = |node: &StreamNode| {
        format!(
            "source `{}` declared at {} cannot read anything twice: after a failure records are \
             missing, although the job takes checkpoints",
            node.name, node.declared_at
        )
    };
    nameless.map(warning).chain(lossy_sources.map(lossy)).collect()
}

/// Gives every edge a way to travel.
fn settle_ships(nodes: &mut [StreamNode], settled: &[Settled]) -> Result<()> {
    for index in 0..nodes.len() {
        let parallelism = settled[index].parallelism;
        for at in 0..nodes[index].inputs.len() {
            let edge = &nodes[index].inputs[at];
            let from = settled[edge.from.0].parallelism;
            match &edge.ship {
                None if from == parallelism => nodes[index].inputs[at].ship = Some(forward()),
                None => nodes[index].inputs[at].ship = Some(rebalance()),
                Some(ship) if ship.strategy == ShipStrategy::Forward && from != parallelism => {
                    let node = &nodes[index];
                    let summary = format!(
                        "`forward` from {from} subtasks of `{}` to {parallelism}",
                        nodes[edge.from.0].name
                    );
                    let error = Error::new(ErrorCode::Parallelism, summary);
                    let error = error.at_operator(&node.name, &node.declared_at);
                    return Err(error.next("use `rescale` or equal parallelism"));
                }
                Some(_) => (),
            }
        }
    }
    Ok(())
}

fn rebalance() -> Ship {
    Ship::new(ShipStrategy::Rebalance, "rebalance", |edge: &RouterContext| {
        Box::new(RoundRobinRouter::new(edge.task.subtask))
    })
}

/// Which nodes run in the same task as the node before them.
fn chain(nodes: &[StreamNode], settled: &mut [Settled], settings: &Settings) -> Vec<bool> {
    let mut uses = vec![0; nodes.len()];
    let main = |edge: &&StreamEdge| edge.side.is_none();
    for edge in nodes.iter().flat_map(|node| &node.inputs).filter(main) {
        uses[edge.from.0] += 1;
    }
    let mut chained = Vec::new();
    let mut vertices = 0;
    for index in 0..nodes.len() {
        let joins = match &nodes[index].inputs[..] {
            [edge] => {
                edge.side.is_none()
                    && edge.lift.is_none()
                    && uses[edge.from.0] == 1
                    && !settings.chaining_disabled
                    && may_chain(&nodes[edge.from.0], &nodes[index], edge)
                    && settled[edge.from.0].parallelism == settled[index].parallelism
                    && settled[edge.from.0].group == settled[index].group
            }
            _ => false,
        };
        settled[index].vertex = if joins {
            settled[nodes[index].inputs[0].from.0].vertex
        } else {
            vertices += 1;
            vertices - 1
        };
        chained.push(joins);
    }
    chained
}

fn may_chain(from: &StreamNode, to: &StreamNode, edge: &StreamEdge) -> bool {
    let forward = edge.ship.as_ref().is_some_and(|ship| ship.strategy == ShipStrategy::Forward);
    forward && from.chaining != Chaining::Never && to.chaining == Chaining::Always
}

/// Collects vertices and edges.
struct Builder {
    /// When consumers start.
    exchange: ExchangeMode,
    /// The indices of nodes in their chains; nothing for sources.
    positions: Vec<Option<usize>>,
    job_vertices: Vec<JobVertex>,
    vertex_plans: Vec<VertexPlan>,
    edges: Vec<JobEdge>,
}

impl Builder {
    fn of(exchange: ExchangeMode) -> Self {
        Self {
            exchange,
            positions: Vec::new(),
            job_vertices: Vec::new(),
            vertex_plans: Vec::new(),
            edges: Vec::new(),
        }
    }

    fn add(
        &mut self,
        node: StreamNode,
        settled: &[Settled],
        index: usize,
        chained: bool,
    ) -> Result<()> {
        let here = &settled[index];
        let label = OperatorLabel {
            name: node.name.as_str().into(),
            declared_at: node.declared_at.clone(),
        };
        let info = OperatorInfo {
            id: here.id,
            name: node.name.clone(),
            declared_at: node.declared_at,
            states: node.states,
        };
        if !chained {
            self.begin_vertex(here);
            if node.inputs.iter().any(|edge| edge.lift.is_some()) {
                let lifts = node.inputs.iter().map(|edge| edge.lift.clone());
                self.vertex_plans[here.vertex].lifts = lifts.collect();
            }
            self.add_edges(node.inputs, &label, settled, here.vertex);
        }
        let (job_vertex, plan) =
            (&mut self.job_vertices[here.vertex], &mut self.vertex_plans[here.vertex]);
        if chained {
            job_vertex.name.push_str(" -> ");
        }
        job_vertex.name.push_str(&info.name);
        job_vertex.operators.push(info);
        plan.output_type = node.output_type;
        let is_operator = matches!(node.body, NodeBody::Operator { .. });
        self.positions.push(is_operator.then_some(plan.operators.len()));
        match node.body {
            NodeBody::Source { factory, splits, .. } => {
                job_vertex.splits = splits().map_err(|error| {
                    Error::new(ErrorCode::Source, "a source cannot be planned")
                        .at_operator(&label.name, &label.declared_at)
                        .why(error.message)
                })?;
                plan.head = Head::Source(label, factory);
            }
            NodeBody::Operator { factory, input_type } => {
                if !chained {
                    plan.head = Head::Exchange(input_type);
                }
                plan.operators.push(ChainedOperator { label, factory, sides: Vec::new() });
            }
        }
        Ok(())
    }

    fn begin_vertex(&mut self, head: &Settled) {
        debug_assert_eq!(head.vertex, self.job_vertices.len());
        self.job_vertices.push(JobVertex {
            id: JobVertexId(head.id.0),
            name: String::new(),
            parallelism: head.parallelism,
            max_parallelism: head.max_parallelism,
            slot_sharing_group: head.group.clone(),
            operators: Vec::new(),
            splits: Vec::new(),
        });
        let nothing = millstream_shuffle::partition::BatchPrototype::of::<()>();
        self.vertex_plans.push(VertexPlan {
            head: Head::Exchange(nothing.clone()),
            lifts: Vec::new(),
            operators: Vec::new(),
            outputs: Vec::new(),
            output_type: nothing,
        });
    }

    fn add_edges(
        &mut self,
        inputs: Vec<StreamEdge>,
        consumer: &OperatorLabel,
        settled: &[Settled],
        target: usize,
    ) {
        for (at, edge) in inputs.into_iter().enumerate() {
            let source = settled[edge.from.0].vertex;
            let (from, to) = (self.job_vertices[source].id, self.job_vertices[target].id);
            let ship = edge.ship.expect("every edge has been given a way to travel");
            self.edges.push(JobEdge {
                data_set: DataSetId(xxh3_128(format!("{from}\0{to}\0{at}").as_bytes())),
                source,
                target,
                ship: ship.strategy,
                exchange: self.exchange,
            });
            let label = |function| RoutingLabel { operator: consumer.clone(), function };
            let (label, router) = (ship.function.map(label), ship.router);
            let of = self.output_of(edge.from, edge.side, source);
            self.vertex_plans[source].outputs.push(PlannedOutput { of, label, router });
        }
    }

    /// Whose records an edge carries; a side output that is read for the first time is added.
    fn output_of(&mut self, from: NodeId, side: Option<SideTag>, vertex: usize) -> OutputOf {
        let (Some(side), Some(at)) = (side, self.positions[from.0]) else { return OutputOf::Chain };
        let sides = &mut self.vertex_plans[vertex].operators[at].sides;
        let known = sides.iter().position(|known| known.name == side.name);
        let index = known.unwrap_or_else(|| {
            let SideTag { name, output_type, .. } = side;
            sides.push(SideOutput { name, output_type });
            sides.len() - 1
        });
        OutputOf::Side(at, index)
    }
}
