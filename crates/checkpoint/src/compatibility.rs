//! Holds a program against a checkpoint, state by state: what it would keep, change, add and leave
//! behind, and what it cannot read. The same comparison refuses a job before anything of it is started
//! ([`reassign`](crate::reassign)) and is shown by `millstream state diff`.

use crate::handle::{ListMode, OperatorState, TableSchema};
use crate::metadata::CheckpointMetadata;
use millstream_core::error::Location;
use millstream_core::ids::OperatorId;
use millstream_core::job_graph::{JobGraph, OperatorInfo};
use millstream_core::job_state::{DeclaredState, ProgramSchema, StateShape};
use millstream_core::record::{FieldChange, RowReader, Schema};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// What becomes of the states of a checkpoint in a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// First those of the program, in its order; then those that it does not have.
    pub operators: Vec<OperatorComparison>,
}

/// What becomes of the states of one operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OperatorComparison {
    /// The operator.
    pub id: OperatorId,
    /// What people call it.
    pub name: String,
    /// Its line, if the program has it.
    pub declared_at: Option<Location>,
    /// Who has it.
    pub fate: OperatorFate,
    /// Its states, by name.
    pub states: Vec<StateComparison>,
}

/// Who has an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OperatorFate {
    /// Both the checkpoint and the program.
    Kept,
    /// The program alone.
    New,
    /// The checkpoint alone.
    Gone,
}

/// What becomes of one state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StateComparison {
    /// Its name: the program's, if it has it.
    pub name: String,
    /// What becomes of it.
    #[serde(flatten)]
    pub fate: StateFate,
}

/// What becomes of a state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "fate", rename_all = "lowercase")]
pub enum StateFate {
    /// It stays as it is. What only its operator understands is held against it when that begins.
    Kept,
    /// The program reads it, in other words.
    Changed {
        /// The name that it was written under, if that is another.
        renamed_from: Option<String>,
        /// What becomes of its fields.
        fields: Vec<FieldChange>,
    },
    /// It is new, and begins empty.
    Added,
    /// The program does not have it: it is left behind.
    Dropped,
    /// The program cannot read it.
    Refused {
        /// The part that differs: the key, a field of the value.
        place: String,
        /// What was written.
        written: String,
        /// What the program has there.
        wanted: String,
        /// What can be done.
        advice: String,
    },
}

impl Comparison {
    /// Holds the program of this graph against a checkpoint.
    pub fn new(metadata: &CheckpointMetadata, graph: &JobGraph) -> Self {
        Self::of(metadata, graph.vertices.iter().flat_map(|vertex| &vertex.operators))
    }

    /// Holds a later checkpoint against a former one.
    pub fn between(former: &CheckpointMetadata, later: &CheckpointMetadata) -> Self {
        let mut comparison = Self::of(former, as_declared(later).iter());
        comparison.operators.iter_mut().for_each(|operator| operator.declared_at = None);
        comparison
    }

    fn of<'a>(
        metadata: &CheckpointMetadata,
        program: impl Iterator<Item = &'a OperatorInfo>,
    ) -> Self {
        let mut written = written_states(metadata);
        let mut operators: Vec<_> =
            program.map(|operator| compare(operator, written.remove(&operator.id))).collect();
        operators.extend(written.into_iter().filter(|(_, former)| former.has_state()).map(gone));
        Self { operators }
    }

    /// The first state that the program cannot read, in words.
    pub fn refusal(&self) -> Option<String> {
        self.operators.iter().find_map(OperatorComparison::refusal)
    }

    /// The first operator with state that the program does not have, in words.
    pub fn unclaimed(&self) -> Option<String> {
        let gone = self.operators.iter().find(|operator| operator.fate == OperatorFate::Gone)?;
        Some(format!(
            "it holds state of operator {} ({}), which the job does not have; give the \
             operator its former uid or name, or leave its state behind with \
             execution.state-recovery.ignore-unclaimed-state: true (-n)",
            gone.id, gone.name
        ))
    }
}

impl OperatorComparison {
    fn refusal(&self) -> Option<String> {
        let refused =
            self.states.iter().find(|state| matches!(state.fate, StateFate::Refused { .. }))?;
        let place = match &self.declared_at {
            Some(line) => format!("operator `{}` declared at {line}", self.name),
            None => format!("operator `{}`", self.name),
        };
        Some(format!("{place} cannot read state `{}`: {}", refused.name, refused.fate))
    }
}

/// What a checkpoint holds of one operator.
#[derive(Default)]
struct Former<'a> {
    name: String,
    /// What was written under a name; more than one kind if subtasks did not agree.
    states: BTreeMap<&'a str, Vec<Written<'a>>>,
}

/// What was written of one state.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Written<'a> {
    Keyed(&'a TableSchema),
    List(ListMode, Option<&'a Schema>),
}

impl<'a> Former<'a> {
    fn has_state(&self) -> bool {
        !self.states.is_empty()
    }

    fn add(&mut self, state: &'a OperatorState) {
        let tables = state.tables.iter();
        let tables = tables.map(|table| (table.name.as_str(), Written::Keyed(&table.schema)));
        let lists = state.lists.iter();
        let lists =
            lists.map(|list| (list.name.as_str(), Written::List(list.mode, list.schema.as_ref())));
        for (name, written) in tables.chain(lists) {
            let known = self.states.entry(name).or_default();
            if !known.contains(&written) {
                known.push(written);
            }
        }
    }
}

fn written_states(metadata: &CheckpointMetadata) -> BTreeMap<OperatorId, Former<'_>> {
    let mut operators = BTreeMap::<OperatorId, Former<'_>>::new();
    for vertex in metadata.vertices.values() {
        for id in &vertex.operators {
            operators.entry(*id).or_default().name = vertex.operator_name(*id);
        }
        for (id, state) in vertex.subtasks.iter().flat_map(|subtask| &subtask.operators) {
            operators.entry(*id).or_default().add(state);
        }
    }
    operators
}

fn compare(operator: &OperatorInfo, former: Option<Former<'_>>) -> OperatorComparison {
    let fate = if former.is_some() { OperatorFate::Kept } else { OperatorFate::New };
    let mut states = former.unwrap_or_default().states;
    let mut result = Vec::new();
    for declared in operator.states.iter().flatten() {
        let names = std::iter::once(&declared.name).chain(&declared.aliases);
        let found: Vec<_> = names.filter_map(|name| states.remove_entry(name.as_str())).collect();
        result
            .push(StateComparison { name: declared.name.clone(), fate: fate_of(declared, &found) });
    }
    // An operator that does not say what state it has may know what to do with it.
    let rest = if operator.states.is_some() { StateFate::Dropped } else { StateFate::Kept };
    result.extend(
        states
            .into_keys()
            .map(|name| StateComparison { name: name.to_owned(), fate: rest.clone() }),
    );
    OperatorComparison {
        id: operator.id,
        name: operator.name.clone(),
        declared_at: Some(operator.declared_at.clone()),
        fate,
        states: result,
    }
}

fn gone((id, former): (OperatorId, Former<'_>)) -> OperatorComparison {
    let states = former
        .states
        .into_keys()
        .map(|name| StateComparison { name: name.to_owned(), fate: StateFate::Dropped });
    let (name, fate) = (former.name, OperatorFate::Gone);
    OperatorComparison { id, name, declared_at: None, fate, states: states.collect() }
}

/// What becomes of a declared state that was found under these names.
fn fate_of(declared: &DeclaredState, found: &[(&str, Vec<Written<'_>>)]) -> StateFate {
    let Some((name, _)) = found.first() else { return StateFate::Added };
    let renamed_from = (*name != declared.name).then(|| (*name).to_owned());
    let mut fields = Vec::new();
    for written in found.iter().flat_map(|(_, written)| written) {
        match changes(declared, *written) {
            Err(refused) => return refused,
            Ok(changes) => {
                let new = changes.into_iter().filter(|change| !fields.contains(change));
                fields.extend(new.collect::<Vec<_>>());
            }
        }
    }
    match renamed_from.is_none() && fields.is_empty() {
        true => StateFate::Kept,
        false => StateFate::Changed { renamed_from, fields },
    }
}

const OTHER_NAME: &str = "give the state another name";

fn changes(declared: &DeclaredState, written: Written<'_>) -> Result<Vec<FieldChange>, StateFate> {
    match (&declared.shape, written) {
        (StateShape::Keyed { key, namespace, value }, Written::Keyed(schema)) => {
            same("its key", &schema.key, key)?;
            same("its namespace", &schema.namespace, namespace)?;
            rows(&schema.value, value)
        }
        (StateShape::List { mode, item }, Written::List(former, schema)) if *mode == former => {
            match (schema, item) {
                (Some(schema), Some(item)) => rows(schema, item),
                _ => Ok(Vec::new()),
            }
        }
        (wanted, written) => Err(StateFate::Refused {
            place: "its kind".to_owned(),
            written: written.to_string(),
            wanted: shape(wanted).to_owned(),
            advice: OTHER_NAME.to_owned(),
        }),
    }
}

/// Keys stay what they are: their bytes decide where their state is.
fn same(place: &str, written: &Schema, wanted: &ProgramSchema) -> Result<(), StateFate> {
    match RowReader::new(written, &wanted.0) {
        Ok(reader) if reader.is_identity() => Ok(()),
        _ => Err(StateFate::Refused {
            place: place.to_owned(),
            written: written.to_string(),
            wanted: wanted.0.to_string(),
            advice: format!("keys and namespaces cannot change: {OTHER_NAME}"),
        }),
    }
}

fn rows(written: &Schema, wanted: &ProgramSchema) -> Result<Vec<FieldChange>, StateFate> {
    RowReader::changes(written, &wanted.0).map_err(|error| StateFate::Refused {
        place: error.place,
        written: error.written,
        wanted: error.wanted,
        advice: error.advice,
    })
}

fn shape(shape: &StateShape) -> &'static str {
    match shape {
        StateShape::Keyed { .. } => "keyed state",
        StateShape::List { mode, .. } => list(*mode),
    }
}

fn list(mode: ListMode) -> &'static str {
    match mode {
        ListMode::Split => "a list that is split",
        ListMode::Union => "a union list",
        ListMode::Broadcast => "broadcast state",
    }
}

impl fmt::Display for Written<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keyed(_) => "keyed state",
            Self::List(mode, _) => list(*mode),
        })
    }
}

impl fmt::Display for StateFate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kept => f.write_str("keep"),
            Self::Changed { renamed_from: Some(name), .. } => write!(f, "rename from `{name}`"),
            Self::Changed { .. } => f.write_str("change"),
            Self::Added => f.write_str("add"),
            Self::Dropped => f.write_str("drop"),
            Self::Refused { place, written, wanted, advice } => {
                write!(f, "{place}: written as {written}, now {wanted}: {advice}")
            }
        }
    }
}

/// For people: a line per state, and one per field that changes.
impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stateful = self.operators.iter().filter(|operator| !operator.states.is_empty());
        for operator in stateful {
            write!(f, "operator `{}` ({})", operator.name, operator.id)?;
            match (operator.fate, &operator.declared_at) {
                (OperatorFate::Gone, _) => writeln!(f, ", which the program does not have")?,
                (OperatorFate::New, Some(line)) => writeln!(f, ", new, declared at {line}")?,
                (_, Some(line)) => writeln!(f, ", declared at {line}")?,
                (OperatorFate::New, None) => writeln!(f, ", new")?,
                (OperatorFate::Kept, None) => writeln!(f)?,
            }
            for StateComparison { name, fate } in &operator.states {
                match fate {
                    StateFate::Refused { .. } => writeln!(f, "  {name}: REFUSE: {fate}")?,
                    _ => writeln!(f, "  {name}: {fate}")?,
                }
                if let StateFate::Changed { fields, .. } = fate {
                    fields.iter().try_for_each(|field| writeln!(f, "    {field}"))?;
                }
            }
        }
        Ok(())
    }
}

/// The operators of a checkpoint as if a program declared them with the states that it holds. All
/// fields have defaults, which nobody will ask for.
fn as_declared(metadata: &CheckpointMetadata) -> Vec<OperatorInfo> {
    let operators = written_states(metadata).into_iter().map(|(id, former)| OperatorInfo {
        id,
        name: former.name,
        declared_at: Location::default(),
        states: Some(former.states.iter().filter_map(declared).collect()),
    });
    operators.collect()
}

fn declared((name, written): (&&str, &Vec<Written<'_>>)) -> Option<DeclaredState> {
    let defaulted = |schema: &Schema| {
        let mut schema = schema.clone();
        schema.for_each_field(&mut |field| field.default = Some(Vec::new()));
        schema
    };
    Some(match written.first()? {
        Written::Keyed(TableSchema { key, namespace, value }) => {
            DeclaredState::keyed(name, key.clone(), namespace.clone(), defaulted(value))
        }
        Written::List(mode, item) => DeclaredState::list(name, *mode, item.map(defaulted)),
    })
}

#[cfg(test)]
#[path = "compatibility_test.rs"]
mod tests;
