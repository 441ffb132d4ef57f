//! The rows of one state as JSON lines: `{"key": …, "value": …}`, or an item per line for lists.
//!
//! A table may be a chain of changes: a key group at a time is gathered, so that memory is bounded by
//! the largest group, and the last change of a row counts.

use super::snapshot::Snapshot;
use millstream::api::error::{Error, ErrorCode, Result};
use millstream_checkpoint::handle::{ListShare, OperatorRestore, TableSchema, TableState};
use millstream_checkpoint::inspect;
use millstream_checkpoint::metadata::VertexState;
use millstream_checkpoint::snapshot::{RestoredOperator, RestoredTable};
use millstream_checkpoint::state_file::{Block, BlockKind, open_tables};
use millstream_core::ids::OperatorId;
use millstream_core::key_group::KeyGroupRange;
use millstream_core::record::{Input, Schema};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;

/// Rows by key and namespace, as they are encoded.
type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// Writes up to `limit` rows to standard output; `false`: there is no such state.
pub(super) fn show(
    snapshot: &Snapshot,
    vertex: &VertexState,
    operator: OperatorId,
    name: &str,
    limit: u64,
) -> Result<bool> {
    let mut out = Lines { out: std::io::stdout().lock(), left: limit };
    let mut found = false;
    for task in &vertex.subtasks {
        let Some(state) = task.operators.get(&operator) else { continue };
        for table in state.tables.iter().filter(|table| table.name == name) {
            found = true;
            show_table(snapshot, table, &mut out)?;
        }
        for list in state.lists.iter().filter(|list| list.name == name) {
            found = true;
            let share = ListShare { list: list.clone(), items: 0..list.items };
            let restore = OperatorRestore { lists: vec![share], ..OperatorRestore::default() };
            let restored = open(snapshot, &restore, &KeyGroupRange(0..0))?;
            for item in restored.lists.iter().flat_map(|list| &list.items) {
                out.write(&shown(list.schema.as_ref(), item)?)?;
            }
        }
    }
    Ok(found)
}

fn show_table<W: Write>(snapshot: &Snapshot, table: &TableState, out: &mut Lines<W>) -> Result<()> {
    let restore = OperatorRestore { tables: vec![table.clone()], ..OperatorRestore::default() };
    for group in table.groups.0.clone() {
        if out.left == 0 {
            break;
        }
        let restored = open(snapshot, &restore, &KeyGroupRange(group..group + 1))?;
        for table in restored.tables {
            let schema = table.schema.clone();
            for (key, value) in gather(table)? {
                out.write(&shown_row(&schema, &key, &value, group)?)?;
            }
        }
    }
    Ok(())
}

fn open(
    snapshot: &Snapshot,
    restore: &OperatorRestore,
    groups: &KeyGroupRange,
) -> Result<RestoredOperator> {
    open_tables(snapshot, restore, groups).map_err(unreadable)
}

/// The rows that a chain of changes leaves.
fn gather(mut table: RestoredTable) -> Result<Rows> {
    let mut rows = Rows::new();
    while let Some(block) = table.blocks.next().map_err(unreadable)? {
        apply(&table.schema, &block, &mut rows).map_err(unreadable)?;
    }
    Ok(rows)
}

fn apply(
    schema: &TableSchema,
    block: &Block,
    rows: &mut Rows,
) -> std::result::Result<(), millstream_core::DecodeError> {
    let mut input = Input::new(&block.payload);
    for _ in 0..block.count {
        let start = input.rest();
        inspect::value(&schema.key, &mut input)?;
        inspect::value(&schema.namespace, &mut input)?;
        let key = start[..start.len() - input.rest().len()].to_vec();
        if block.kind == BlockKind::Removed {
            rows.remove(&key);
            continue;
        }
        let start = input.rest();
        inspect::value(&schema.value, &mut input)?;
        rows.insert(key, start[..start.len() - input.rest().len()].to_vec());
    }
    Ok(())
}

fn shown_row(schema: &TableSchema, key: &[u8], value: &[u8], group: u32) -> Result<Value> {
    let mut input = Input::new(key);
    let mut part = |schema| inspect::value(schema, &mut input).map_err(unreadable);
    let (key, namespace) = (part(&schema.key)?, part(&schema.namespace)?);
    let value = shown(Some(&schema.value), value)?;
    let mut row = json!({ "key": key, "value": value, "group": group });
    if schema.namespace != Schema::Tuple(Vec::new()) {
        row["namespace"] = namespace;
    }
    Ok(row)
}

fn shown(schema: Option<&Schema>, row: &[u8]) -> Result<Value> {
    match schema {
        Some(schema) => inspect::value(schema, &mut Input::new(row)).map_err(unreadable),
        None => Ok(row.iter().copied().collect()),
    }
}

fn unreadable(error: impl std::fmt::Display) -> Error {
    Error::new(ErrorCode::Argument, "could not read the state").why(error.to_string())
}

/// Lines of JSON, up to a number.
struct Lines<W> {
    out: W,
    left: u64,
}

impl<W: Write> Lines<W> {
    /// Whoever reads may have seen enough: a closed pipe ends the output.
    fn write(&mut self, row: &Value) -> Result<()> {
        if self.left == 0 {
            return Ok(());
        }
        self.left -= 1;
        match writeln!(self.out, "{row}") {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => self.left = 0,
            Err(error) => return Err(unreadable(error)),
            Ok(()) => (),
        }
        Ok(())
    }
}
