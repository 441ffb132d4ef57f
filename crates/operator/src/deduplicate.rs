//! [`Deduplicate`]: one record of each key, the first or the last by some order.
//!
//! What is kept of a key is the place of its record in that order, not the record: state stays small.
//! It is one table, [`ORDER`].

use crate::context::TaskContext;
use crate::key::{KeySelector, find_keys};
use crate::operator::{Flow, Operator};
use crate::row_state::{restore_rows, snapshot_rows};
use millstream_checkpoint::snapshot::{OperatorSnapshot, RestoredOperator};
use millstream_core::checkpoint::Barrier;
use millstream_core::job_state::DeclaredState;
use millstream_core::key_group::MaxParallelism;
use millstream_core::{Key, OperatorError, Record};
use millstream_shuffle::batch::{AnyBatch, Batch, BoxBatch, cast};
use millstream_state::keyed_rows::KeyedRows;
use std::marker::PhantomData;

/// The name of the state.
pub const ORDER: &str = "order";

/// The state, as the job graph names it.
pub fn deduplicate_states<K: Key, N: Record>() -> Vec<DeclaredState> {
    vec![DeclaredState::keyed(ORDER, K::schema(), <()>::schema(), N::schema())]
}

/// Which record of a key it is that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The least in order; of equal ones the one that came first.
    First,
    /// The greatest in order; of equal ones the one that came last.
    Last,
}

/// Gives each record that counts more than all before it of its key.
pub struct Deduplicate<K, T, N, F, O, R> {
    selector: Box<dyn KeySelector<K, T>>,
    keep: Keep,
    order: F,
    output: O,
    best: KeyedRows<K, N>,
    /// The keys of the batch at hand; kept for its memory.
    keys: Vec<K>,
    max_parallelism: MaxParallelism,
    _result: PhantomData<fn() -> R>,
}

impl<K, T, N, F, O, R> Deduplicate<K, T, N, F, O, R>
where
    K: Key,
    T: Record,
    N: Record + PartialOrd,
    F: Fn(&T) -> N,
    O: Fn(K, T) -> R,
{
    /// `order` is the place of a record, `output` what leaves.
    pub fn new(
        selector: Box<dyn KeySelector<K, T>>,
        keep: Keep,
        order: F,
        output: O,
        context: &TaskContext,
    ) -> Self {
        Self {
            selector,
            keep,
            order,
            output,
            best: KeyedRows::open(ORDER, context.backing().as_ref()),
            keys: Vec::new(),
            max_parallelism: context.max_parallelism,
            _result: PhantomData,
        }
    }
}

impl<K, T, N, F, O, R> Operator for Deduplicate<K, T, N, F, O, R>
where
    K: Key,
    T: Record,
    N: Record + PartialOrd,
    F: Fn(&T) -> N,
    O: Fn(K, T) -> R,
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
        let Self { selector, keep, order, output, best, keys, .. } = self;
        find_keys(selector.as_ref(), input, keys)?;
        let timestamps = &input.timestamps;
        let mut records = input.items.drain(..);
        best.upsert_batch(
            &input.hashes,
            |i| &keys[i],
            |i, key, best| {
                let record = records.next().expect("a record per hash");
                let place = order(&record);
                let counts = match (&*best, *keep) {
                    (None, _) => true,
                    (Some(best), Keep::First) => place < *best,
                    (Some(best), Keep::Last) => place >= *best,
                };
                if counts {
                    *best = Some(place);
                    out.items.push(output(key.clone(), record));
                    out.stamp(out.items.len() - 1, timestamps.get(i).copied());
                }
            },
        );
        drop(records);
        out.stamp(out.items.len(), None);
        input.hashes.clear();
        input.timestamps.clear();
        Ok(Flow::Drained)
    }

    fn restore(&mut self, state: RestoredOperator) -> Result<(), OperatorError> {
        restore_rows(&mut self.best, ORDER, state, self.max_parallelism)
    }

    fn snapshot(
        &mut self,
        barrier: &Barrier,
        state: &mut OperatorSnapshot,
    ) -> Result<(), OperatorError> {
        snapshot_rows(&mut self.best, ORDER, barrier, state, self.max_parallelism);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::OperatorHarness;
    use crate::key::ByValue;

    type Reading = (u64, i64, char);

    /// What is given of readings `(key, order, name)`.
    #[track_caller]
    fn check(keep: Keep, expected: &str) {
        let readings =
            [(1, 5, 'a'), (2, 9, 'b'), (1, 5, 'c'), (1, 4, 'd'), (2, 9, 'e'), (1, 6, 'f')];
        let key = |reading: &Reading| reading.0;
        let operator = Deduplicate::new(
            Box::new(ByValue(key)),
            keep,
            |reading: &Reading| reading.1,
            |_: u64, reading: Reading| reading.2,
            &TaskContext::alone(),
        );
        let mut harness = OperatorHarness::<Reading, char, _>::new(operator);
        harness.push_keyed_at(readings.into_iter().zip(10..), key).expect("nothing fails");
        let (given, times): (String, Vec<i64>) = harness.take_timed_output().into_iter().unzip();
        assert_eq!(given, expected);
        let came: Vec<i64> = expected.bytes().map(|name| i64::from(name - b'a') + 10).collect();
        assert_eq!(times, came, "each has the time of its record");
    }

    #[test]
    fn a_record_passes_if_it_is_before_all_former_ones_of_its_key() {
        check(Keep::First, "abd");
    }

    #[test]
    fn a_record_passes_if_it_is_behind_all_former_ones_of_its_key_or_level_with_them() {
        check(Keep::Last, "abcef");
    }
}
