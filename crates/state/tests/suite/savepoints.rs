//! What one backend writes for a savepoint the other goes on from, in any number of subtasks.

use super::backing;
use millstream_checkpoint::handle::{OperatorRestore, TableState};
use millstream_checkpoint::snapshot::{OperatorSnapshot, RestoredOperator};
use millstream_checkpoint::state_file::{TaskStateWriter, open_tables};
use millstream_checkpoint::storage::Storage;
use millstream_checkpoint::testing::MemoryStorage;
use millstream_core::key_group::{KeyGroup, KeyGroupRange, MaxParallelism};
use millstream_core::{Record, Str};
use millstream_state::keyed_state::KeyedStateStore;
use millstream_state::{Backing, KeyedState, ListState, MapState, ReducingState, ValueState};
use std::sync::Arc;

/// So many keys.
const KEYS: u64 = 3_000;

#[derive(KeyedState)]
struct Visits {
    count: u64,
    name: Str,
    last: ValueState<i64>,
    #[state(reduce = u64::max)]
    highest: ReducingState<u64>,
    #[state(ttl = "1 h")]
    pages: MapState<Str, u32>,
    items: ListState<u64>,
}

type Store = KeyedStateStore<u64, Visits>;

fn max() -> MaxParallelism {
    MaxParallelism::new(128).expect("within bounds")
}

/// The state of some subtasks.
struct Operator(Vec<(KeyGroupRange, Store)>);

impl Operator {
    fn new(parallelism: u32, backing: impl Fn() -> Option<Backing>) -> Self {
        let groups = |subtask| KeyGroupRange::of_subtask(subtask, max(), parallelism);
        let subtask = |subtask| (groups(subtask), Store::open(backing()));
        Self((0..parallelism).map(subtask).collect())
    }

    /// Calls `f` with the state of a key.
    fn call<R>(&mut self, key: u64, f: impl FnOnce(&mut Visits) -> R) -> R {
        let group = KeyGroup::of_hash(key.hash64(), max());
        let mut stores = self.0.iter_mut();
        let (_, store) = stores.find(|(groups, _)| groups.contains(group)).expect("some subtask");
        store.one(key.hash64(), &key, 0, |state, _| f(state))
    }

    /// As many rounds as `rounds` says leave their marks on every key.
    fn work(&mut self, rounds: std::ops::Range<u64>) {
        for key in 0..KEYS {
            self.call(key, |state| {
                for round in rounds.clone() {
                    state.count += key;
                    state.name = Str::new(&format!("the name of {key} in round {round}"));
                    state.last.set(-(round as i64));
                    state.highest.add(round);
                    state.pages.insert(Str::new(&format!("page {}", round % 3)), round as u32);
                    state.items.push(key * 1_000 + round);
                    if round % 4 == 3 {
                        state.items.pop_front();
                        state.pages.remove(&Str::new("page 1"));
                    }
                }
            });
        }
    }

    /// What every key has, in words.
    fn shown(&mut self) -> Vec<String> {
        let mut shown = |key| {
            self.call(key, |state| {
                let mut pages: Vec<_> = state.pages.iter().collect();
                pages.sort();
                let (items, last) = (state.items.iter().collect::<Vec<_>>(), state.last.get());
                let Visits { count, name, highest, .. } = state;
                format!("{count} {name} {last:?} {:?} {pages:?} {items:?}", highest.get())
            })
        };
        (0..KEYS + 10).map(&mut shown).collect()
    }

    /// A savepoint of all subtasks, or a checkpoint.
    fn save(&mut self, storage: &MemoryStorage, name: &str, native: bool) -> Vec<Vec<TableState>> {
        let subtasks = self.0.iter_mut().enumerate();
        let saved = subtasks.map(|(subtask, (groups, store))| {
            let mut snapshot = OperatorSnapshot::default();
            store.snapshot(max(), native, &mut snapshot);
            let target: Arc<dyn Storage> = Arc::new(storage.clone());
            let path = |directory: &str| format!("{directory}/{name}-{subtask}");
            let (own, shared) = (path("chk-1"), path("shared"));
            let mut writer = TaskStateWriter::new(target, own, shared, groups.clone(), 1_000)
                .with_native(native);
            let tables = snapshot.tables.into_iter();
            let tables = tables.map(|table| writer.table(table, None, native).expect("written"));
            let tables = tables.collect();
            writer.finish().expect("durable");
            tables
        });
        saved.collect()
    }

    /// The same state in as many subtasks as this has.
    fn restore(&mut self, storage: &MemoryStorage, saved: &[Vec<TableState>]) {
        let storage: Arc<dyn Storage> = Arc::new(storage.clone());
        for (groups, store) in &mut self.0 {
            let mut all = RestoredOperator::default();
            for tables in saved {
                let overlaps = |table: &&TableState| {
                    table.groups.0.start < groups.0.end && groups.0.start < table.groups.0.end
                };
                let tables = tables.iter().filter(overlaps).cloned().collect();
                let restore = OperatorRestore { tables, lists: Vec::new() };
                all.tables.extend(open_tables(&storage, &restore, groups).expect("opened").tables);
            }
            store.restore(max(), &mut all).expect("restored");
        }
    }
}

/// From `before` at parallelism 2 to `after` at 1 to 4, and on from there.
fn moves(before: impl Fn() -> Option<Backing>, after: impl Fn() -> Option<Backing>, native: bool) {
    let storage = MemoryStorage::new();
    let mut first = Operator::new(2, before);
    first.work(0..6);
    let saved = first.save(&storage, "a", native);
    let expected = first.shown();
    first.work(6..9);
    let goes_on = first.shown();
    for parallelism in 1..=4 {
        let mut then = Operator::new(parallelism, &after);
        then.restore(&storage, &saved);
        assert_eq!(then.shown(), expected, "at parallelism {parallelism}");
        then.work(6..9);
        assert_eq!(then.shown(), goes_on, "at parallelism {parallelism}, three rounds later");
    }
}

#[test]
fn a_savepoint_of_this_backend_restores_into_the_heap_at_any_parallelism() {
    moves(backing, || None, false);
}

#[test]
fn a_savepoint_of_the_heap_restores_into_this_backend_at_any_parallelism() {
    moves(|| None, backing, false);
}

#[test]
fn a_savepoint_of_this_backend_restores_into_it_at_any_parallelism() {
    moves(backing, backing, false);
}

#[test]
fn a_checkpoint_of_this_backend_restores_into_it_at_any_parallelism() {
    moves(backing, backing, true);
}
