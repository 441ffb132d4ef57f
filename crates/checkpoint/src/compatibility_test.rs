//! What is said of a program that is held against a checkpoint.

use super::*;
use crate::metadata::testing::{graph, list, sample};
use millstream_core::ids::JobVertexId;
use millstream_core::record::Field;

fn row(fields: &[(&str, &str)]) -> Schema {
    let field = |&(name, kind): &(&str, &str)| Field {
        name: name.to_owned(),
        aliases: Vec::new(),
        schema: Schema::plain(kind),
        default: None,
    };
    Schema::Struct { name: "Row".to_owned(), fields: fields.iter().map(field).collect() }
}

/// The checkpoint of a program whose operator 2 has a state of this row.
fn written(value: Schema) -> CheckpointMetadata {
    let mut metadata = sample();
    let sum = metadata.vertices.get_mut(&JobVertexId(2)).expect("the sum");
    for state in sum.subtasks.iter_mut().filter_map(|s| s.operators.get_mut(&OperatorId(2))) {
        state.tables.iter_mut().for_each(|table| table.schema.value = value.clone());
        state.lists.clear();
    }
    metadata
}

fn name_of_table() -> String {
    let metadata = sample();
    let sum = &metadata.vertices[&JobVertexId(2)].subtasks[0].operators[&OperatorId(2)];
    sum.tables[0].name.clone()
}

/// Operator 2 of the program declares these.
fn program(states: Vec<DeclaredState>) -> JobGraph {
    let mut graph = graph("source:2:1 sum:2:2");
    graph.vertices[1].operators[0].states = Some(states);
    graph
}

fn keyed(value: Schema) -> DeclaredState {
    DeclaredState::keyed(&name_of_table(), Schema::plain("u64"), Schema::Tuple(vec![]), value)
}

fn fates(metadata: &CheckpointMetadata, graph: &JobGraph) -> Vec<(String, StateFate)> {
    let comparison = Comparison::new(metadata, graph);
    let operator = comparison.operators.into_iter().find(|op| op.id == OperatorId(2));
    let states = operator.expect("the program has it").states.into_iter();
    states.map(|state| (state.name, state.fate)).collect()
}

#[test]
fn a_program_that_has_not_changed_keeps_everything() {
    let value = row(&[("total", "u32")]);
    let states = fates(&written(value.clone()), &program(vec![keyed(value)]));
    assert_eq!(states, [(name_of_table(), StateFate::Kept)]);
}

#[test]
fn fields_are_renamed_widened_added_and_dropped() {
    let mut wanted = row(&[("seconds", "u64"), ("limit", "i64")]);
    if let Schema::Struct { fields, .. } = &mut wanted {
        fields[0].aliases = vec!["total".to_owned()];
        fields[1].default = Some(vec![0; 8]);
    }
    let metadata = written(row(&[("total", "u32"), ("gone", "bool")]));
    let comparison = Comparison::new(&metadata, &program(vec![keyed(wanted)]));
    assert_eq!(comparison.refusal(), None);
    let text = comparison.to_string();
    let expected = format!(
        "  {}: change\n    rename `total` to `seconds`\n    widen `seconds` from u32 to u64\n    \
         add `limit`: i64, with its default\n    drop `gone`: bool\n",
        name_of_table()
    );
    assert!(text.contains(&expected), "{text}");
}

#[test]
fn what_cannot_be_read_is_refused_with_both_types_and_what_to_do() {
    let metadata = written(row(&[("total", "u32")]));
    let graph = program(vec![keyed(row(&[("total", "string")]))]);
    let refusal = Comparison::new(&metadata, &graph).refusal().expect("refused");
    let expected = format!(
        "operator `op2` declared at main.rs:1 cannot read state `{}`: field `total`: written as \
         u32, now string: numbers can only be widened",
        name_of_table()
    );
    assert!(refusal.starts_with(&expected), "{refusal}");
}

#[test]
fn keys_and_kinds_cannot_change() {
    let value = row(&[("total", "u32")]);
    let name = name_of_table();
    let text = DeclaredState::keyed(&name, Schema::plain("string"), Schema::Tuple(vec![]), value);
    let refused = |state| {
        let metadata = written(row(&[("total", "u32")]));
        Comparison::new(&metadata, &program(vec![state])).refusal().expect("refused")
    };
    let refusal = refused(text);
    assert!(refusal.contains("its key: written as u64, now string: keys and"), "{refusal}");
    let refusal = refused(DeclaredState::list(&name, ListMode::Union, None));
    assert!(refusal.contains("its kind: written as keyed state, now a union list"), "{refusal}");
}

#[test]
fn states_come_and_go_and_are_renamed_as_a_whole() {
    let value = row(&[("total", "u32")]);
    let name = name_of_table();
    let mut renamed = keyed(value.clone()).with_aliases(&[&name]);
    renamed.name = "sums".to_owned();
    let new = DeclaredState::list("new", ListMode::Split, Some(value.clone()));
    let fates = fates(&written(value.clone()), &program(vec![renamed, new]));
    let changed = StateFate::Changed { renamed_from: Some(name.clone()), fields: Vec::new() };
    assert_eq!(fates, [("sums".to_owned(), changed), ("new".to_owned(), StateFate::Added)]);
    let fates = super::tests::fates(&written(value), &program(Vec::new()));
    assert_eq!(fates, [(name, StateFate::Dropped)]);
}

#[test]
fn an_operator_that_does_not_say_what_it_has_keeps_everything() {
    let mut metadata = sample();
    let source = metadata.vertices.get_mut(&JobVertexId(1)).expect("the source");
    let state = source.subtasks[0].operators.get_mut(&OperatorId(1)).expect("it has state");
    state.lists.push(list("own", ListMode::Union, 1));
    let comparison = Comparison::new(&metadata, &graph("source:2:1 sum:2:2"));
    let states = &comparison.operators[0].states;
    assert!(states.len() > 1 && states.iter().all(|state| state.fate == StateFate::Kept));
}

#[test]
fn operators_that_only_one_side_has_are_told() {
    let comparison = Comparison::new(&sample(), &graph("source:2:1 other:2:9"));
    let fates: Vec<_> = comparison.operators.iter().map(|op| (op.id.0, op.fate)).collect();
    let expected = [(1, OperatorFate::Kept), (9, OperatorFate::New), (2, OperatorFate::Gone)];
    assert_eq!(fates, expected);
    assert!(comparison.unclaimed().is_some_and(|text| text.contains("(sum)")));
}

#[test]
fn two_checkpoints_are_held_against_each_other() {
    let (former, later) =
        (written(row(&[("a", "u32")])), written(row(&[("a", "u64"), ("b", "u8")])));
    let text = Comparison::between(&former, &later).to_string();
    assert!(text.contains("widen `a` from u32 to u64") && text.contains("add `b`: u8"), "{text}");
    assert!(Comparison::between(&later, &former).refusal().is_some());
}
