//! [`OperatorStateStore`]: a struct of operator state, as an operator drives it.

use super::{OperatorField, OperatorFieldSpec, OperatorState};
use crate::restore::RestoreError;
use millstream_checkpoint::snapshot::{ListSnapshot, OperatorSnapshot, RestoredOperator};
use millstream_core::job_state::DeclaredState;
use millstream_core::record::{Input, RowReader, Schema};

/// The state of one subtask.
pub struct OperatorStateStore<S> {
    /// What the user's function sees.
    pub state: S,
}

impl<S: OperatorState> OperatorStateStore<S> {
    /// Nothing has been written yet.
    pub fn new() -> Self {
        Self { state: S::open() }
    }

    /// What its snapshots hold, as the job graph names it.
    pub fn states(&mut self) -> Vec<DeclaredState> {
        let mut states = Vec::new();
        self.state.fields(&mut |spec, field| {
            let state = DeclaredState::list(spec.name, field.mode(), Some(field.schema()));
            states.push(state.with_aliases(spec.aliases));
        });
        states
    }

    /// Hands over all state as it is now.
    pub fn snapshot(&mut self, snapshot: &mut OperatorSnapshot) {
        self.state.fields(&mut |spec, field| {
            let (name, mode) = (spec.name.to_owned(), field.mode());
            let (schema, items) = (Some(field.schema()), field.rows());
            snapshot.lists.push(ListSnapshot { name, mode, schema, items });
        });
    }

    /// Takes over what snapshots hold. Fields that this program does not have are dropped.
    pub fn restore(&mut self, restored: &RestoredOperator) -> Result<(), RestoreError> {
        let mut result = Ok(());
        self.state.fields(&mut |spec, field| {
            if result.is_ok() {
                result = restore_field(spec, field, restored);
            }
        });
        result
    }
}

impl<S: OperatorState> Default for OperatorStateStore<S> {
    fn default() -> Self {
        Self::new()
    }
}

fn restore_field(
    spec: OperatorFieldSpec,
    field: &mut dyn OperatorField,
    restored: &RestoredOperator,
) -> Result<(), RestoreError> {
    let is_it = |name: &str| spec.name == name || spec.aliases.contains(&name);
    for list in restored.lists.iter().filter(|list| is_it(&list.name)) {
        let table = list.name.clone();
        let incompatible = |cause| RestoreError::Incompatible { table: table.clone(), cause };
        let Some(schema) = &list.schema else {
            let cause = "its items are bytes of which only the operator that wrote them knows what \
                         they are: give the state another name";
            return Err(incompatible(cause.to_owned()));
        };
        let reader = reader(schema, &field.schema()).map_err(incompatible)?;
        for (number, item) in (0..).zip(&list.items) {
            add(field, &reader, item).map_err(|cause| {
                let (table, row) = (table.clone(), number);
                RestoreError::Row { table, group: None, row, cause }
            })?;
        }
    }
    Ok(())
}

fn reader(written: &Schema, wanted: &Schema) -> Result<RowReader, String> {
    RowReader::new(written, wanted).map_err(|error| format!("its items: {error}"))
}

fn add(field: &mut dyn OperatorField, reader: &RowReader, item: &[u8]) -> Result<(), String> {
    let told = |error: millstream_core::DecodeError| error.to_string();
    let mut row = Vec::new();
    let mut input = Input::new(item);
    if !reader.is_identity() {
        reader.transcode(&mut input, &mut row).map_err(told)?;
        input.finish().map_err(told)?;
        input = Input::new(&row);
    }
    field.add_row(&mut input).map_err(told)?;
    input.finish().map_err(told)
}
