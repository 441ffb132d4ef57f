//! [`Materialize`]: applies changes to a table, and gives the rows that are in it when the input ends.
//!
//! Its state is one table, [`ROWS`]. Each row leaves it when it is given out: a barrier between two of
//! them finds in it what is still to be given, so that a restored job gives no row twice.

use crate::change::Change;
use crate::context::TaskContext;
use crate::operator::{Flow, Operator};
use crate::row_state::{restore_rows, snapshot_rows};
use millstream_checkpoint::snapshot::{OperatorSnapshot, RestoredOperator};
use millstream_core::checkpoint::Barrier;
use millstream_core::job_state::DeclaredState;
use millstream_core::key_group::MaxParallelism;
use millstream_core::{Key, OperatorError, Record};
use millstream_shuffle::batch::{AnyBatch, Batch, BoxBatch, cast};
use millstream_state::keyed_rows::{Cursor, KeyedRows};

/// The name of the state.
pub const ROWS: &str = "rows";

/// The state, as the job graph names it.
pub fn materialize_states<K: Key, R: Record>() -> Vec<DeclaredState> {
    vec![DeclaredState::keyed(ROWS, K::schema(), <()>::schema(), R::schema())]
}

/// Keeps the last row of each key.
pub struct Materialize<K, R> {
    rows: KeyedRows<K, R>,
    /// The keys of the batch at hand; kept for its memory.
    keys: Vec<K>,
    /// Where [`Materialize::finish`] goes on.
    cursor: Cursor,
    /// Keys of rows that have been given out.
    given: Vec<(u64, K)>,
    max_parallelism: MaxParallelism,
}

impl<K: Key, R: Record> Materialize<K, R> {
    /// An empty table.
    pub fn new(context: &TaskContext) -> Self {
        Self {
            rows: KeyedRows::open(ROWS, context.backing().as_ref()),
            keys: Vec::new(),
            cursor: Cursor::default(),
            given: Vec::new(),
            max_parallelism: context.max_parallelism,
        }
    }
}

impl<K: Key, R: Record> Operator for Materialize<K, R> {
    fn output(&self) -> BoxBatch {
        Box::new(Batch::<R>::new())
    }

    fn process(
        &mut self,
        input: &mut dyn AnyBatch,
        _out: &mut dyn AnyBatch,
        _room: usize,
    ) -> Result<Flow, OperatorError> {
        let input = cast::<Change<K, R>>(input);
        assert_eq!(input.hashes.len(), input.items.len(), "a keyed stream carries its hashes");
        let Self { rows, keys, .. } = self;
        keys.clear();
        keys.extend(input.items.iter().map(|change| change.key().clone()));
        let mut changes = input.items.drain(..);
        rows.upsert_batch(
            &input.hashes,
            |i| &keys[i],
            |_, _, row| *row = changes.next().expect("a change per hash").into_row(),
        );
        drop(changes);
        input.hashes.clear();
        input.timestamps.clear();
        Ok(Flow::Drained)
    }

    fn finish(&mut self, out: &mut dyn AnyBatch, room: usize) -> Result<Flow, OperatorError> {
        let out = &mut cast::<R>(out).items;
        let room = room.saturating_sub(out.len());
        let Self { rows, cursor, given, .. } = self;
        let more = rows.visit_from(cursor, room, |hash, key, row| {
            out.push(row);
            given.push((hash, key));
        });
        for (hash, key) in given.drain(..) {
            rows.remove(hash, &key);
        }
        Ok(if more { Flow::More } else { Flow::Drained })
    }

    fn restore(&mut self, state: RestoredOperator) -> Result<(), OperatorError> {
        restore_rows(&mut self.rows, ROWS, state, self.max_parallelism)
    }

    fn snapshot(
        &mut self,
        barrier: &Barrier,
        state: &mut OperatorSnapshot,
    ) -> Result<(), OperatorError> {
        snapshot_rows(&mut self.rows, ROWS, barrier, state, self.max_parallelism);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::OperatorHarness;

    type Rows = OperatorHarness<Change<u64, u64>, u64, Materialize<u64, u64>>;

    fn rows(room: usize) -> Rows {
        OperatorHarness::with_room(Materialize::new(&TaskContext::alone()), room)
    }

    #[test]
    fn what_is_given_in_the_end_is_the_last_row_of_each_key_and_none_of_deleted_ones() {
        for room in [1, 3, 1_000] {
            let mut rows = rows(room);
            let key = |change: &Change<u64, u64>| *change.key();
            rows.push_keyed((0..50).map(|n| Change::Upsert(n % 10, n)), key).expect("fits");
            rows.push_keyed([3, 4, 77].map(Change::Delete), key).expect("fits");
            rows.push_keyed([Change::Upsert(4, 4)], key).expect("fits");
            assert!(rows.take_output().is_empty(), "nothing is final before the end");
            rows.finish().expect("nothing fails");
            let mut given = rows.take_output();
            given.sort_unstable();
            assert_eq!(given, [4, 40, 41, 42, 45, 46, 47, 48, 49]);
        }
    }

    #[test]
    fn a_row_that_has_been_given_out_is_no_state_any_more() {
        let mut rows = rows(1_000);
        let changes = (0..5).map(|n| Change::Upsert(n, n));
        rows.push_keyed(changes, |change| *change.key()).expect("fits");
        let operator = rows.operator();
        let mut out = Batch::<u64>::new();
        assert_eq!(operator.finish(&mut out, 2), Ok(Flow::More));
        assert_eq!((out.items.len(), operator.rows.count()), (2, 3));
        assert_eq!(operator.finish(&mut out, 100), Ok(Flow::Drained));
        assert_eq!((out.items.len(), operator.rows.count()), (5, 0));
    }
}
