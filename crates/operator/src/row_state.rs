//! How operators whose state is one table take it over and hand it over.

use millstream_checkpoint::snapshot::{OperatorSnapshot, RestoredOperator};
use millstream_core::checkpoint::Barrier;
use millstream_core::key_group::MaxParallelism;
use millstream_core::{Key, OperatorError, Record};
use millstream_state::keyed_rows::KeyedRows;

/// Takes over what snapshots hold under this name.
pub(crate) fn restore_rows<K: Key, V: Record>(
    rows: &mut KeyedRows<K, V>,
    name: &str,
    mut state: RestoredOperator,
    max: MaxParallelism,
) -> Result<(), OperatorError> {
    for table in state.take_tables(name) {
        rows.restore(table, max).map_err(|error| OperatorError::from_error(&error))?;
    }
    Ok(())
}

/// Adds the rows as they are now under this name. A savepoint is no base of later increments.
pub(crate) fn snapshot_rows<K: Key, V: Record>(
    rows: &mut KeyedRows<K, V>,
    name: &str,
    barrier: &Barrier,
    state: &mut OperatorSnapshot,
    max: MaxParallelism,
) {
    let base = !barrier.kind.is_savepoint();
    state.tables.push(rows.freeze(name, max, base));
}
