//! Aggregates across a snapshot: what they emit afterwards is what they would have emitted anyway.

use super::*;
use crate::harness::OperatorHarness;
use crate::key::ByValue;
use millstream_checkpoint::handle::{OperatorRestore, TableState};
use millstream_checkpoint::state_file::{TaskStateWriter, open_tables};
use millstream_checkpoint::storage::Storage;
use millstream_checkpoint::testing::MemoryStorage;
use millstream_core::checkpoint::SnapshotKind;
use millstream_core::key_group::{KeyGroup, KeyGroupRange};
use std::collections::BTreeMap;
use std::sync::Arc;

const MAX: u32 = 128;

type Event = (u64, i64);

fn context(subtask: u32, parallelism: u32) -> TaskContext {
    let max_parallelism = MaxParallelism::new(MAX).expect("a maximum");
    TaskContext { subtask, parallelism, max_parallelism, ..TaskContext::alone() }
}

fn key(event: &Event) -> u64 {
    event.0
}

/// All subtasks of an operator.
struct Subtasks<R, O>(Vec<OperatorHarness<Event, R, O>>);

impl<R: Record, O: Operator> Subtasks<R, O> {
    fn new(parallelism: u32, make: impl Fn(&TaskContext) -> O) -> Self {
        let one = |subtask| OperatorHarness::new(make(&context(subtask, parallelism)));
        Self((0..parallelism).map(one).collect())
    }

    /// Sends each record to the subtask of its key; what came out, in any order.
    fn push(&mut self, events: &[Event]) -> Vec<R> {
        let parallelism = self.0.len() as u32;
        let max = MaxParallelism::new(MAX).expect("a maximum");
        let mut out = Vec::new();
        for (subtask, harness) in (0..).zip(&mut self.0) {
            let mine = |event: &&Event| {
                KeyGroup::of_hash(key(event).hash64(), max).owner(max, parallelism) == subtask
            };
            let mine = events.iter().filter(mine).copied();
            harness.push_keyed(mine, key).expect("nothing fails");
            out.append(&mut harness.take_output());
        }
        out
    }

    /// What all subtasks write.
    fn snapshot(&mut self, storage: &MemoryStorage, kind: SnapshotKind) -> Vec<TableState> {
        let parallelism = self.0.len() as u32;
        let max = MaxParallelism::new(MAX).expect("a maximum");
        let mut states = Vec::new();
        for (subtask, harness) in (0..).zip(&mut self.0) {
            let mut writer = TaskStateWriter::new(
                Arc::new(storage.clone()),
                format!("chk-1/{subtask}-of-{parallelism}"),
                format!("shared/{subtask}-of-{parallelism}"),
                KeyGroupRange::of_subtask(subtask, max, parallelism),
                0,
            );
            for table in harness.hand_over(kind).expect("nothing fails").tables {
                let state = writer.table(table, None, kind.is_incremental());
                states.push(state.expect("written"));
            }
            writer.finish().expect("durable");
        }
        states
    }

    fn restore(&mut self, storage: &MemoryStorage, states: &[TableState]) {
        let storage: Arc<dyn Storage> = Arc::new(storage.clone());
        let parallelism = self.0.len() as u32;
        let max = MaxParallelism::new(MAX).expect("a maximum");
        for (subtask, harness) in (0..).zip(&mut self.0) {
            let groups = KeyGroupRange::of_subtask(subtask, max, parallelism);
            let handles = OperatorRestore { tables: states.to_vec(), lists: Vec::new() };
            let restored = open_tables(&storage, &handles, &groups).expect("readable");
            harness.take_over(restored).expect("restorable");
        }
    }
}

fn sorted<R: Ord>(mut results: Vec<R>) -> Vec<R> {
    results.sort();
    results
}

/// Runs straight through, and with a snapshot in the middle from which other subtasks go on.
#[track_caller]
fn check<R: Record + Ord + std::fmt::Debug, O: Operator>(make: impl Fn(&TaskContext) -> O) {
    let events: Vec<Event> = (0..20_000_u64).map(|i| (i * i % 701, i as i64)).collect();
    let (before, after) = events.split_at(12_345);
    for (from, to) in [(1, 1), (1, 3), (3, 2), (2, 5)] {
        for kind in [SnapshotKind::Checkpoint, SnapshotKind::Savepoint] {
            let mut straight = Subtasks::<R, O>::new(from, &make);
            straight.push(before);
            let storage = MemoryStorage::new();
            let states = straight.snapshot(&storage, kind);
            assert_eq!(states.len(), from as usize);
            let expected = straight.push(after);
            let mut restored = Subtasks::<R, O>::new(to, &make);
            restored.restore(&storage, &states);
            assert_eq!(sorted(restored.push(after)), sorted(expected), "{from} to {to}");
        }
    }
}

#[test]
fn a_fold_goes_on_from_a_snapshot_at_any_parallelism() {
    check::<(u64, i64), _>(|context| {
        let add = |sum: &mut i64, event: Event| *sum = sum.wrapping_mul(31) + event.1;
        Fold::new(Box::new(ByValue(key)), || 7_i64, add, context)
    });
}

#[test]
fn a_reduce_goes_on_from_a_snapshot_at_any_parallelism() {
    check::<(u64, Vec<i64>), _>(|context| {
        let add = |mut all: Vec<i64>, event: Event| {
            all.push(event.1);
            if all.len() > 9 { all.split_off(5) } else { all }
        };
        let begin = |event: Event| vec![event.1];
        Reduce::new(Box::new(ByValue(key)), begin, add, |key, all| (key, all), context)
    });
}

#[test]
fn state_of_another_type_is_refused_by_name() {
    let storage = MemoryStorage::new();
    let sums = |context: &TaskContext| {
        let add = |sum: &mut i64, event: Event| *sum += event.1;
        Fold::new(Box::new(ByValue(key)), || 0_i64, add, context)
    };
    let mut old = Subtasks::<(u64, i64), _>::new(1, sums);
    old.push(&[(1, 1)]);
    let states = old.snapshot(&storage, SnapshotKind::Savepoint);
    let add = |texts: &mut String, _: Event| texts.push('x');
    let new = Fold::new(Box::new(ByValue(key)), String::new, add, &context(0, 1));
    let mut new = OperatorHarness::<Event, (u64, String), _>::new(new);
    let storage: Arc<dyn Storage> = Arc::new(storage);
    let handles = OperatorRestore { tables: states, lists: Vec::new() };
    let restored = open_tables(&storage, &handles, &KeyGroupRange(0..MAX)).expect("readable");
    let error = new.take_over(restored).expect_err("a sum is no text").to_string();
    for part in ["`aggregate`", "value", "i64", "string"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn the_snapshot_of_a_combiner_is_empty_because_it_was_flushed() {
    use crate::combine::Combine;
    let combine = Combine::new(
        Box::new(ByValue(key)),
        |event: Event| event.1,
        |sum: &mut i64, event: Event| *sum += event.1,
    );
    let mut harness = OperatorHarness::<Event, (u64, i64), _>::new(combine);
    harness.push_keyed([(1, 1), (2, 5), (1, 2)], key).expect("nothing fails");
    let state = harness.hand_over(SnapshotKind::Checkpoint).expect("nothing fails");
    assert!(state.tables.is_empty() && state.lists.is_empty());
    let all: BTreeMap<u64, i64> = harness.take_output().into_iter().collect();
    assert_eq!(all, BTreeMap::from([(1, 3), (2, 5)]));
}
