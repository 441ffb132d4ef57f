//! Who goes on with which state, when a job begins from a checkpoint: perhaps with other parallelism,
//! other chains, fewer or more operators.
//!
//! State belongs to operators, and operators are known by their ids; in which vertex an operator was
//! does not count. Of keyed state a subtask gets the tables that hold key groups of its own. Lists
//! that are split stay where they were if the parallelism is the same, and are dealt out evenly and
//! in order if not. Of union lists everybody gets everything, of broadcast lists one copy.
//!
//! Records that barriers overtook are dealt out in [`in_flight`].
//!
//! Max parallelism is fixed by keyed state: a job that names none adopts it.

mod in_flight;

use crate::compatibility::Comparison;
use crate::handle::{ListMode, ListShare, ListState, OperatorRestore, OperatorState, TaskRestore};
use crate::metadata::{CheckpointMetadata, VertexState};
use crate::mutant;
use in_flight::{InputEdge, Reader};
use millstream_core::ids::{JobVertexId, OperatorId};
use millstream_core::job_graph::{JobGraph, JobVertex};
use millstream_core::key_group::{KeyGroupRange, MaxParallelism};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Why a job cannot go on from a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the job cannot go on from checkpoint {checkpoint}: {problem}")]
pub struct CannotRestore {
    /// Which.
    pub checkpoint: u64,
    /// The whole story, with what to do.
    pub problem: String,
}

/// A checkpoint, dealt out to the subtasks of a job.
#[derive(Clone, Debug)]
pub struct Reassignment {
    metadata: Arc<CheckpointMetadata>,
    /// Where an operator's state is: its vertex.
    operators: BTreeMap<OperatorId, JobVertexId>,
    /// By vertex of the job, in its order.
    vertices: Vec<Vertex>,
}

#[derive(Clone, Debug)]
struct Vertex {
    parallelism: u32,
    max_parallelism: MaxParallelism,
    operators: Vec<OperatorId>,
    /// Which subtasks had done all their work.
    finished: Vec<bool>,
    inputs: Vec<InputEdge>,
}

impl Reassignment {
    /// Deals a checkpoint out to a job.
    pub fn new(
        metadata: Arc<CheckpointMetadata>,
        graph: &JobGraph,
        ignore_unclaimed: bool,
    ) -> Result<Self, CannotRestore> {
        let checkpoint = metadata.checkpoint.0;
        let refuse = |problem| CannotRestore { checkpoint, problem };
        let operators = owners(&metadata);
        let comparison = Comparison::new(&metadata, graph);
        if !ignore_unclaimed && let Some(problem) = comparison.unclaimed() {
            return Err(refuse(problem));
        }
        if let Some(problem) = comparison.refusal() {
            return Err(refuse(problem));
        }
        let inputs: Vec<Vec<InputEdge>> = (0..graph.vertices.len())
            .map(|vertex| in_flight::inputs_of(graph, vertex, &operators))
            .collect();
        if let Some(problem) = in_flight::problem(&metadata, graph, &inputs, ignore_unclaimed) {
            return Err(refuse(problem));
        }
        let vertices = graph.vertices.iter().zip(inputs).enumerate();
        let vertices = vertices.map(|(index, (vertex, inputs))| {
            let is_source = graph.inputs_of(index).next().is_none();
            let sources: BTreeSet<JobVertexId> =
                vertex.operators.iter().filter_map(|op| operators.get(&op.id).copied()).collect();
            let sources: Vec<(JobVertexId, &VertexState)> =
                sources.into_iter().map(|id| (id, &metadata.vertices[&id])).collect();
            Ok(Vertex {
                parallelism: vertex.parallelism,
                max_parallelism: max_parallelism(vertex, &sources)?,
                operators: vertex.operators.iter().map(|operator| operator.id).collect(),
                finished: finished(vertex, is_source, &sources)?,
                inputs,
            })
        });
        let vertices: Result<Vec<Vertex>, String> = vertices.collect();
        let vertices = vertices.map_err(refuse)?;
        lists_agree(&metadata).map_err(refuse)?;
        Ok(Self { operators, vertices, metadata })
    }

    /// The checkpoint.
    pub fn metadata(&self) -> &Arc<CheckpointMetadata> {
        &self.metadata
    }

    /// The number of key groups of a vertex: the job's own, or that of its state.
    pub fn max_parallelism(&self, vertex: usize) -> MaxParallelism {
        self.vertices[vertex].max_parallelism
    }

    /// Whether the subtask had done all its work.
    pub fn is_finished(&self, vertex: usize, subtask: u32) -> bool {
        self.vertices[vertex].finished[subtask as usize]
    }

    /// The numbers of the vertex's splits that have been given to readers before.
    pub fn seen_splits(&self, vertex: &JobVertex) -> BTreeSet<u32> {
        let known = vertex.operators.first().and_then(|head| self.operators.get(&head.id));
        let Some(known) = known else { return BTreeSet::new() };
        if mutant::on("seen_splits_forgotten") {
            return BTreeSet::new();
        }
        let splits: Vec<&[u8]> = vertex.splits.iter().map(|split| split.0.as_slice()).collect();
        self.metadata.vertices[known].splits.among(&splits)
    }

    /// What a subtask begins with.
    pub fn task(&self, vertex: usize, subtask: u32) -> TaskRestore {
        let target = &self.vertices[vertex];
        let known = target.operators.iter().filter(|id| self.operators.contains_key(id));
        let operators = known.map(|id| (*id, self.operator(target, *id, subtask)));
        let (parallelism, max_parallelism) = (target.parallelism, target.max_parallelism);
        let reader = Reader { subtask, parallelism, max_parallelism };
        TaskRestore {
            checkpoint: self.metadata.checkpoint,
            finished: target.finished[subtask as usize],
            operators: operators.collect(),
            in_flight: in_flight::shares(&self.metadata, &target.inputs, &reader),
        }
    }

    fn operator(&self, target: &Vertex, operator: OperatorId, subtask: u32) -> OperatorRestore {
        let Some(source) = self.operators.get(&operator).map(|id| &self.metadata.vertices[id])
        else {
            return OperatorRestore::default();
        };
        let states: Vec<Option<&OperatorState>> =
            source.subtasks.iter().map(|state| state.operators.get(&operator)).collect();
        let (parallelism, max) = (target.parallelism, target.max_parallelism);
        let mut own = KeyGroupRange::of_subtask(subtask, max, parallelism);
        if mutant::on("keygroup_off_by_one") {
            own.0.start += 1;
        }
        let tables = states.iter().flatten().flat_map(|state| &state.tables);
        let tables = tables.filter(|table| overlap(&table.groups, &own)).cloned().collect();
        let lists = list_names(&states).into_iter();
        let lists = lists.flat_map(|name| shares(&states, name, subtask, parallelism)).collect();
        OperatorRestore { tables, lists }
    }
}

/// The vertex of every operator that the checkpoint knows.
fn owners(metadata: &CheckpointMetadata) -> BTreeMap<OperatorId, JobVertexId> {
    let vertices = metadata.vertices.iter();
    vertices.flat_map(|(id, vertex)| vertex.operators.iter().map(|op| (*op, *id))).collect()
}

/// The number of key groups that the vertex runs with.
fn max_parallelism(
    vertex: &JobVertex,
    sources: &[(JobVertexId, &VertexState)],
) -> Result<MaxParallelism, String> {
    let (name, own) = (&vertex.name, vertex.max_parallelism);
    let mut result = own;
    for (_, source) in sources.iter().filter(|(_, source)| is_keyed(source, vertex)) {
        let stored = source.max_parallelism;
        if stored.get() < vertex.parallelism {
            return Err(format!(
                "`{name}` has parallelism {}, and its state was written with max parallelism {}, \
                 which bounds it for ever: use a parallelism of at most that",
                vertex.parallelism,
                stored.get()
            ));
        }
        let chosen = own != MaxParallelism::default_for(vertex.parallelism);
        if (chosen || result != own) && result != stored {
            return Err(format!(
                "`{name}` has max parallelism {}, and its state was written with {}, which cannot \
                 be changed: set pipeline.max-parallelism to {} or leave it out",
                result.get(),
                stored.get(),
                stored.get()
            ));
        }
        result = stored;
    }
    Ok(result)
}

/// Keyed state of the source belongs to an operator of the vertex.
fn is_keyed(source: &VertexState, vertex: &JobVertex) -> bool {
    let states = source.subtasks.iter().flat_map(|subtask| &subtask.operators);
    let mut keyed = states.filter(|(_, state)| !state.tables.is_empty());
    keyed.any(|(id, _)| vertex.operators.iter().any(|operator| operator.id == *id))
}

/// Which subtasks had done all their work.
fn finished(
    vertex: &JobVertex,
    is_source: bool,
    sources: &[(JobVertexId, &VertexState)],
) -> Result<Vec<bool>, String> {
    let all = |value: bool| vec![value; vertex.parallelism as usize];
    if sources.is_empty() || !sources.iter().any(|(_, s)| s.subtasks.iter().any(|t| t.finished)) {
        return Ok(all(false));
    }
    let head = vertex.operators.first().filter(|_| is_source);
    if let Some(new) = head
        && !sources.iter().any(|(_, source)| source.operators.contains(&new.id))
    {
        return Err(format!(
            "operators of `{}` had done all their work, and its source `{}` is new: nothing that it \
             reads could reach them; give the source its former uid or name, or those operators others",
            vertex.name, new.name
        ));
    }
    if sources.iter().all(|(_, source)| source.is_finished()) {
        return Ok(all(true));
    }
    match sources {
        [(_, source)] if source.parallelism() == vertex.parallelism => {
            Ok(source.subtasks.iter().map(|subtask| subtask.finished).collect())
        }
        [(_, source)] => Err(format!(
            "some of the {} subtasks of `{}` had come to the end of their input, so their number \
             cannot become {}: restore with parallelism {}, and rescale once all have ended or none",
            source.parallelism(),
            vertex.name,
            vertex.parallelism,
            source.parallelism()
        )),
        _ => Err(format!(
            "the operators of `{}` were in several vertices, of which some had come to the end of \
             their input and others not: restore with the former chaining",
            vertex.name
        )),
    }
}

/// Lists of one name are of one mode.
fn lists_agree(metadata: &CheckpointMetadata) -> Result<(), String> {
    for vertex in metadata.vertices.values() {
        let mut modes: BTreeMap<(OperatorId, &str), ListMode> = BTreeMap::new();
        for (operator, state) in vertex.subtasks.iter().flat_map(|subtask| &subtask.operators) {
            for list in &state.lists {
                let mode = *modes.entry((*operator, list.name.as_str())).or_insert(list.mode);
                if mode != list.mode {
                    return Err(format!(
                        "list `{}` of operator {operator} (in `{}`) is {mode:?} in one subtask and \
                         {:?} in another",
                        list.name, vertex.name, list.mode
                    ));
                }
            }
        }
    }
    Ok(())
}

fn overlap(a: &KeyGroupRange, b: &KeyGroupRange) -> bool {
    a.0.start < b.0.end && b.0.start < a.0.end
}

/// The names of an operator's lists, in the order in which they first come.
fn list_names<'a>(states: &[Option<&'a OperatorState>]) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for list in states.iter().flatten().flat_map(|state| &state.lists) {
        if !names.contains(&list.name.as_str()) {
            names.push(&list.name);
        }
    }
    names
}

/// What a subtask gets of the lists of one name.
fn shares(
    states: &[Option<&OperatorState>],
    name: &str,
    subtask: u32,
    parallelism: u32,
) -> Vec<ListShare> {
    let lists = (0_u32..).zip(states).flat_map(|(from, state)| {
        let lists = state.iter().flat_map(|state| &state.lists);
        lists.filter(|list| list.name == name).map(move |list| (from, list))
    });
    let lists: Vec<(u32, &ListState)> = lists.collect();
    let whole = |list: &ListState| ListShare { list: list.clone(), items: 0..list.items };
    let same = states.len() == parallelism as usize;
    match lists.first().map(|(_, list)| list.mode) {
        None => Vec::new(),
        Some(ListMode::Union) if !mutant::on("union_list_is_dealt") => {
            lists.iter().map(|(_, list)| whole(list)).collect()
        }
        Some(ListMode::Split | ListMode::Broadcast) if same && lists.len() == states.len() => {
            let own = lists.iter().filter(|(from, _)| *from == subtask);
            own.map(|(_, list)| whole(list)).collect()
        }
        Some(ListMode::Broadcast) => {
            let copy = lists[subtask as usize % lists.len()].1;
            vec![whole(copy)]
        }
        Some(ListMode::Split) if same => {
            let own = lists.iter().filter(|(from, _)| *from == subtask);
            own.map(|(_, list)| whole(list)).collect()
        }
        Some(ListMode::Split | ListMode::Union) => deal(&lists, subtask, parallelism),
    }
}

/// The subtask's part of all items, one after the other: all parts are equally long, or one apart.
fn deal(lists: &[(u32, &ListState)], subtask: u32, parallelism: u32) -> Vec<ListShare> {
    let total: u64 = lists.iter().map(|(_, list)| list.items).sum();
    let bound = |subtask: u32| {
        let bound = u128::from(total) * u128::from(subtask) / u128::from(parallelism);
        bound as u64
    };
    let lost = u64::from(mutant::on("dealt_item_is_lost") && subtask + 1 < parallelism);
    let (begin, end) = (bound(subtask), bound(subtask + 1).saturating_sub(lost));
    let mut shares = Vec::new();
    let mut first = 0;
    for (_, list) in lists {
        let next = first + list.items;
        let items = begin.max(first)..end.min(next);
        if items.start < items.end {
            let items = items.start - first..items.end - first;
            shares.push(ListShare { list: (*list).clone(), items });
        }
        first = next;
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handle::TaskState;
    use crate::metadata::testing::{graph, list, sample, table};
    use millstream_core::job_graph::SourceSplit;
    use proptest::prelude::*;

    fn restore(graph_text: &str, metadata: CheckpointMetadata) -> Result<Reassignment, String> {
        let restored = Reassignment::new(Arc::new(metadata), &graph(graph_text), false);
        restored.map_err(|error| error.to_string())
    }

    #[test]
    fn with_the_same_parallelism_everybody_gets_what_was_its_own() {
        let plan = restore("source:2:1 sum:2:2", sample()).expect("fits");
        let task = plan.task(0, 1);
        let [share] = &task.operators[&OperatorId(1)].lists[..] else { panic!("{task:?}") };
        assert_eq!((share.list.part.rows, share.items.clone()), (2, 0..2));
        let tables = |subtask| plan.task(1, subtask).operators[&OperatorId(2)].tables.clone();
        assert_eq!(tables(0)[0].groups.0, 0..64);
        assert_eq!(tables(1)[0].groups.0, 64..128);
        assert!(!plan.task(1, 0).finished);
    }

    #[test]
    fn an_operator_finds_its_state_in_another_chain() {
        let plan = restore("all:2:1+2", sample()).expect("fits");
        let task = plan.task(0, 0);
        assert_eq!(task.operators.len(), 2);
        let plan = restore("other:1:9 source:1:1 sum:3:2", sample()).expect("fits");
        // It is new: of those that the checkpoint knew even the stateless are named.
        assert!(plan.task(0, 0).operators.is_empty());
        assert_eq!(plan.task(1, 0).operators[&OperatorId(1)].lists.len(), 2);
    }

    #[test]
    fn state_that_nobody_claims_is_refused_unless_it_may_be_left_behind() {
        let error = restore("source:2:1", sample()).expect_err("the sum is missing");
        assert!(error.contains("(sum), which the job does not have"), "{error}");
        assert!(Reassignment::new(Arc::new(sample()), &graph("source:2:1"), true).is_ok());
    }

    #[test]
    fn max_parallelism_is_the_states_unless_somebody_chose_another() {
        let plan = restore("source:2:1 sum:100:2", sample()).expect("adopts 128");
        assert_eq!(plan.max_parallelism(1).get(), 128);
        let error = restore("source:2:1 sum:129:2", sample()).expect_err("too many");
        assert!(error.contains("`sum` has parallelism 129, and its state was"), "{error}");
        let error = restore("source:2:1 sum:2:2:256", sample()).expect_err("chosen");
        assert!(
            error.contains("max parallelism 256, and its state was written with 128"),
            "{error}"
        );
        // Without keyed state it does not matter.
        let plan = restore("source:2:1:512 sum:2:2", sample()).expect("fits");
        assert_eq!(plan.max_parallelism(0).get(), 512);
    }

    fn with_finished(finished: [bool; 2]) -> CheckpointMetadata {
        let mut metadata = sample();
        let source = metadata.vertices.get_mut(&JobVertexId(1)).expect("the source");
        for (subtask, finished) in source.subtasks.iter_mut().zip(finished) {
            subtask.finished = finished;
        }
        metadata
    }

    #[test]
    fn whoever_was_finished_stays_finished() {
        let plan = restore("source:2:1 sum:2:2", with_finished([true, false])).expect("fits");
        assert_eq!([plan.is_finished(0, 0), plan.is_finished(0, 1)], [true, false]);
        assert!(plan.task(0, 0).finished && !plan.task(1, 0).finished);
        let plan = restore("source:3:1 sum:2:2", with_finished([true, true])).expect("all ended");
        assert!((0..3).all(|subtask| plan.is_finished(0, subtask)));
        let error = restore("source:3:1 sum:2:2", with_finished([true, false])).expect_err("half");
        assert!(error.contains("restore with parallelism 2"), "{error}");
        let error = restore("all:2:1+2", with_finished([true, true])).expect_err("mixed");
        assert!(error.contains("restore with the former chaining"), "{error}");
    }

    #[test]
    fn a_new_source_before_operators_that_were_finished_is_refused() {
        let metadata = with_finished([true, true]);
        let error = restore("new:2:9+1 sum:2:2", metadata).expect_err("nothing would be read");
        assert!(
            error.contains("of `new` had done all their work, and its source `op9`"),
            "{error}"
        );
    }

    #[test]
    fn of_operators_that_the_checkpoint_knew_all_are_named_and_of_others_none() {
        let mut metadata = sample();
        let source = metadata.vertices.get_mut(&JobVertexId(1)).expect("the source");
        source.subtasks.iter_mut().for_each(|subtask| subtask.operators.clear());
        let plan = restore("new:2:9 source:2:1 sum:2:2", metadata).expect("fits");
        assert!(plan.task(0, 0).operators.is_empty(), "it begins afresh");
        assert_eq!(plan.task(1, 0).operators, [(OperatorId(1), OperatorRestore::default())].into());
    }

    #[test]
    fn splits_that_were_seen_are_known_again() {
        let plan = restore("source:2:1 sum:2:2", sample()).expect("fits");
        let mut graph = graph("source:2:1 sum:2:2");
        graph.vertices[0].splits = (0..5).map(|split| SourceSplit(vec![split])).collect();
        assert_eq!(plan.seen_splits(&graph.vertices[0]), [0, 1, 3, 4].into());
        graph.vertices[0].splits.insert(0, SourceSplit(vec![77]));
        assert_eq!(plan.seen_splits(&graph.vertices[0]), [1, 2, 4, 5].into());
        assert_eq!(plan.seen_splits(&graph.vertices[1]), [].into());
    }

    /// One vertex: keyed tables and lists of all modes, in so many subtasks.
    fn written(parallelism: u32, max: u32, items: &[u64]) -> CheckpointMetadata {
        let max = MaxParallelism::new(max).expect("within bounds");
        let subtask = |subtask: u32| {
            let groups = KeyGroupRange::of_subtask(subtask, max, parallelism);
            let items = items[subtask as usize];
            let lists = vec![
                list("split", ListMode::Split, items),
                list("union", ListMode::Union, items),
                list("broadcast", ListMode::Broadcast, 3),
            ];
            let tables = vec![table("t", groups.0, &format!("shared/{subtask}"))];
            let state = OperatorState { tables, lists };
            TaskState { operators: [(OperatorId(1), state)].into(), ..TaskState::default() }
        };
        let mut metadata = sample();
        let mut vertex = metadata.vertices.remove(&JobVertexId(1)).expect("the source");
        vertex.max_parallelism = max;
        vertex.subtasks = (0..parallelism).map(subtask).collect();
        metadata.vertices = [(JobVertexId(1), vertex)].into();
        metadata
    }

    /// Which file a list came from is told by the bytes of its part, in these tests.
    fn items_of(shares: &[ListShare], name: &str) -> u64 {
        let shares = shares.iter().filter(|share| share.list.name == name);
        shares.map(|share| share.items.end - share.items.start).sum()
    }

    proptest! {
        #[test]
        fn every_key_group_and_every_item_is_in_exactly_one_place(
            before in 1..9_u32, after in 1..9_u32, max in 16..200_u32,
            items in proptest::collection::vec(0..7_u64, 8),
        ) {
            let max = MaxParallelism::new(max).expect("within bounds");
            let metadata = written(before, max.get(), &items);
            let graph = graph(&format!("a:{after}:1:{}", max.get()));
            let plan = Reassignment::new(Arc::new(metadata), &graph, false).expect("fits");
            let total: u64 = items[..before as usize].iter().sum();
            let (mut dealt, mut groups) = (Vec::new(), Vec::new());
            for subtask in 0..after {
                let task = plan.task(0, subtask);
                let state = &task.operators[&OperatorId(1)];
                let own = KeyGroupRange::of_subtask(subtask, max, after);
                // Its own groups, each from exactly one table.
                for group in own.0.clone() {
                    let tables = state.tables.iter();
                    let holders = tables.filter(|table| table.groups.0.contains(&group)).count();
                    prop_assert_eq!(holders, 1, "group {}", group);
                    groups.push(group);
                }
                for table in &state.tables {
                    prop_assert!(overlap(&table.groups, &own), "a table without need");
                }
                dealt.push(items_of(&state.lists, "split"));
                prop_assert_eq!(items_of(&state.lists, "union"), total);
                prop_assert_eq!(items_of(&state.lists, "broadcast"), 3);
            }
            prop_assert_eq!(groups, (0..max.get()).collect::<Vec<_>>());
            prop_assert_eq!(dealt.iter().sum::<u64>(), total);
            if before != after {
                let (least, most) = (dealt.iter().min(), dealt.iter().max());
                prop_assert!(most.zip(least).is_some_and(|(most, least)| most - least <= 1));
            }
        }

        #[test]
        fn dealt_items_follow_each_other_without_gap_or_overlap(
            after in 1..9_u32, items in proptest::collection::vec(0..7_u64, 1..6),
        ) {
            let lists: Vec<ListState> =
                items.iter().map(|items| list("l", ListMode::Split, *items)).collect();
            let lists: Vec<(u32, &ListState)> = (0..).zip(&lists).collect();
            let mut seen: Vec<(u64, u64)> = Vec::new();
            for subtask in 0..after {
                for share in deal(&lists, subtask, after) {
                    seen.extend(share.items.map(|item| (share.list.items, item)));
                }
            }
            let all = items.iter().flat_map(|items| (0..*items).map(|item| (*items, item)));
            prop_assert_eq!(seen, all.collect::<Vec<_>>());
        }
    }
}
