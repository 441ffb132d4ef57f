//! Rolling aggregates per key: [`Fold`] for those that begin with a value, [`Reduce`] for those
//! that begin with the first record.
//!
//! In STREAMING mode each record gives the aggregate as it then is. In BATCH mode each key gives
//! one record when the input has ended.
//!
//! Their state is one table, [`AGGREGATE`]: key and aggregate.

use crate::context::TaskContext;
use crate::key::{KeySelector, find_keys};
use crate::operator::{Flow, Operator};
use crate::row_state::{restore_rows, snapshot_rows};
use millstream_checkpoint::snapshot::{OperatorSnapshot, RestoredOperator};
use millstream_core::checkpoint::Barrier;
use millstream_core::job_graph::RuntimeMode;
use millstream_core::job_state::DeclaredState;
use millstream_core::key_group::MaxParallelism;
use millstream_core::{Key, OperatorError, Record};
use millstream_shuffle::batch::{AnyBatch, Batch, BoxBatch, cast};
use millstream_state::keyed_rows::{Cursor, KeyedRows};
use std::marker::PhantomData;

/// The name of the state.
pub const AGGREGATE: &str = "aggregate";

/// The state of both, as the job graph names it.
pub fn aggregate_states<K: Key, A: Record>() -> Vec<DeclaredState> {
    vec![DeclaredState::keyed(AGGREGATE, K::schema(), <()>::schema(), A::schema())]
}

/// What both aggregates share: the keys of a batch and their state.
struct Keyed<K, T, A> {
    selector: Box<dyn KeySelector<K, T>>,
    table: KeyedRows<K, A>,
    /// The keys of the batch at hand; kept for its memory.
    keys: Vec<K>,
    emits_changes: bool,
    max_parallelism: MaxParallelism,
    /// Where [`Keyed::finish`] goes on.
    cursor: Cursor,
}

impl<K: Key, T: Record, A: Record> Keyed<K, T, A> {
    fn new(selector: Box<dyn KeySelector<K, T>>, context: &TaskContext) -> Self {
        Self {
            selector,
            table: KeyedRows::open(AGGREGATE, context.backing().as_ref()),
            keys: Vec::new(),
            emits_changes: context.mode == RuntimeMode::Streaming,
            max_parallelism: context.max_parallelism,
            cursor: Cursor::default(),
        }
    }

    /// Finds the keys of the batch; the hashes came with it.
    fn find_keys(&mut self, batch: &Batch<T>) -> Result<(), OperatorError> {
        find_keys(self.selector.as_ref(), batch, &mut self.keys)
    }

    fn restore(&mut self, state: RestoredOperator) -> Result<(), OperatorError> {
        restore_rows(&mut self.table, AGGREGATE, state, self.max_parallelism)
    }

    fn snapshot(&mut self, barrier: &Barrier, state: &mut OperatorSnapshot) {
        snapshot_rows(&mut self.table, AGGREGATE, barrier, state, self.max_parallelism);
    }

    /// In BATCH mode: the keys with their final values, as many as there is room for.
    fn finish(&mut self, out: &mut Vec<(K, A)>, room: usize) -> Flow {
        if self.emits_changes {
            return Flow::Drained;
        }
        let room = room.saturating_sub(out.len());
        let Self { table, cursor, .. } = self;
        let more = table.visit_from(cursor, room, |_, key, value| out.push((key, value)));
        if more { Flow::More } else { Flow::Drained }
    }
}

/// Begins with a value per key and changes it with each record.
pub struct Fold<K, T, A, I, F> {
    keyed: Keyed<K, T, A>,
    init: I,
    add: F,
}

impl<K: Key, T: Record, A: Record, I: Fn() -> A, F: Fn(&mut A, T)> Fold<K, T, A, I, F> {
    /// `init` makes the value of a new key, `add` changes it.
    pub fn new(
        selector: Box<dyn KeySelector<K, T>>,
        init: I,
        add: F,
        context: &TaskContext,
    ) -> Self {
        Self { keyed: Keyed::new(selector, context), init, add }
    }
}

impl<K, T, A, I, F> Operator for Fold<K, T, A, I, F>
where
    K: Key,
    T: Record,
    A: Record,
    I: Fn() -> A,
    F: Fn(&mut A, T),
{
    fn output(&self) -> BoxBatch {
        Box::new(Batch::<(K, A)>::new())
    }

    fn process(
        &mut self,
        input: &mut dyn AnyBatch,
        out: &mut dyn AnyBatch,
        _room: usize,
    ) -> Result<Flow, OperatorError> {
        let (input, out) = (cast::<T>(input), cast::<(K, A)>(out));
        self.keyed.find_keys(input)?;
        let Keyed { table, keys, emits_changes, .. } = &mut self.keyed;
        let mut keys = keys.drain(..);
        let mut records = input.items.drain(..);
        let key = |_| keys.next().expect("a key per hash");
        if *emits_changes {
            out.items.reserve(input.hashes.len());
            table.update_batch(&input.hashes, key, &self.init, |_, key, value| {
                (self.add)(value, records.next().expect("a record per hash"));
                out.items.push((key, value.clone()));
            });
        } else {
            input.timestamps.clear();
            table.update_batch(&input.hashes, key, &self.init, |_, _, value| {
                (self.add)(value, records.next().expect("a record per hash"));
            });
        }
        drop(records);
        input.hashes.clear();
        out.take_timestamps(input);
        Ok(Flow::Drained)
    }

    fn finish(&mut self, out: &mut dyn AnyBatch, room: usize) -> Result<Flow, OperatorError> {
        Ok(self.keyed.finish(&mut cast::<(K, A)>(out).items, room))
    }

    fn restore(&mut self, state: RestoredOperator) -> Result<(), OperatorError> {
        self.keyed.restore(state)
    }

    fn snapshot(
        &mut self,
        barrier: &Barrier,
        state: &mut OperatorSnapshot,
    ) -> Result<(), OperatorError> {
        self.keyed.snapshot(barrier, state);
        Ok(())
    }
}

/// Begins with the first record's value per key and changes it with each further one.
pub struct Reduce<K, T, A, B, F, O, R> {
    keyed: Keyed<K, T, A>,
    begin: B,
    add: F,
    output: O,
    _result: PhantomData<fn() -> R>,
}

impl<K, T, A, B, F, O, R> Reduce<K, T, A, B, F, O, R>
where
    K: Key,
    T: Record,
    A: Record,
    B: Fn(T) -> A,
    F: Fn(A, T) -> A,
    O: Fn(K, A) -> R,
{
    /// `begin` makes the value of a new key's first record, `add` changes it, `output` is what
    /// leaves.
    pub fn new(
        selector: Box<dyn KeySelector<K, T>>,
        begin: B,
        add: F,
        output: O,
        context: &TaskContext,
    ) -> Self {
        let keyed = Keyed::new(selector, context);
        Self { keyed, begin, add, output, _result: PhantomData }
    }
}

impl<K, T, A, B, F, O, R> Operator for Reduce<K, T, A, B, F, O, R>
where
    K: Key,
    T: Record,
    A: Record,
    B: Fn(T) -> A,
    F: Fn(A, T) -> A,
    O: Fn(K, A) -> R,
    R: Record,
{
    fn output(&self) -> BoxBatch {
        Box::new(Batch::<R>::new())
    }

    fn process(
        &mut self,
        input: &mut dyn AnyBatch,
        out: &mut dyn AnyBatch,
        _room: usize,
    ) -> Result<Flow, OperatorError> {
        let (input, out) = (cast::<T>(input), cast::<R>(out));
        self.keyed.find_keys(input)?;
        let Keyed { table, keys, emits_changes, .. } = &mut self.keyed;
        if !*emits_changes {
            input.timestamps.clear();
        }
        let mut records = input.items.drain(..);
        let key = |i: usize| &keys[i];
        table.upsert_batch(&input.hashes, key, |_, key, value: &mut Option<A>| {
            let record = records.next().expect("a record per hash");
            let next = match value.take() {
                None => (self.begin)(record),
                Some(former) => (self.add)(former, record),
            };
            if *emits_changes {
                out.items.push((self.output)(key.clone(), next.clone()));
            }
            *value = Some(next);
        });
        drop(records);
        input.hashes.clear();
        out.take_timestamps(input);
        Ok(Flow::Drained)
    }

    fn finish(&mut self, out: &mut dyn AnyBatch, room: usize) -> Result<Flow, OperatorError> {
        let mut finals = Vec::new();
        let flow = self.keyed.finish(&mut finals, room);
        let out = &mut cast::<R>(out).items;
        out.extend(finals.into_iter().map(|(key, value)| (self.output)(key, value)));
        Ok(flow)
    }

    fn restore(&mut self, state: RestoredOperator) -> Result<(), OperatorError> {
        self.keyed.restore(state)
    }

    fn snapshot(
        &mut self,
        barrier: &Barrier,
        state: &mut OperatorSnapshot,
    ) -> Result<(), OperatorError> {
        self.keyed.snapshot(barrier, state);
        Ok(())
    }
}

#[cfg(test)]
#[path = "aggregate_test.rs"]
mod tests;
