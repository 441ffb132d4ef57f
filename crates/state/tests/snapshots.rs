//! Random walks with snapshots: whatever happens to a table while it is frozen, written, given up or
//! restored, each snapshot holds what the table held when it was taken.

use millstream_checkpoint::handle::{OperatorRestore, TableState};
use millstream_checkpoint::snapshot::TableSnapshot;
use millstream_checkpoint::state_file::{TaskStateWriter, open_tables};
use millstream_checkpoint::storage::Storage;
use millstream_checkpoint::testing::MemoryStorage;
use millstream_core::key_group::{KeyGroupRange, MaxParallelism};
use millstream_core::{Key, Record, Str};
use millstream_state::{FrozenKeyedTable, KeyedTable};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

fn max() -> MaxParallelism {
    MaxParallelism::new(128).expect("a maximum")
}

/// What happens to the table and to the snapshots in flight.
#[derive(Clone, Debug)]
enum Event {
    /// Each key's value is changed by the number.
    Update(Vec<(u16, u16)>),
    /// Each key comes or goes.
    Upsert(Vec<(u16, u16)>),
    /// A range of keys goes.
    Remove(u16, u16),
    /// A snapshot; a base for the next or not.
    Freeze(bool),
    /// The oldest snapshot in flight is written.
    Write,
    /// The oldest snapshot in flight is given up.
    GiveUp,
    Clear,
    /// The table starts anew from the last snapshot that was written, in so many subtasks.
    Restore(u32),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let key = || prop_oneof![0..20_u16, 0..1_500_u16];
    let event = prop_oneof![
        6 => vec((key(), any::<u16>()), 0..400).prop_map(Event::Update),
        4 => vec((key(), any::<u16>()), 0..100).prop_map(Event::Upsert),
        4 => (key(), 0..60_u16).prop_map(|(key, n)| Event::Remove(key, n)),
        6 => any::<bool>().prop_map(Event::Freeze),
        2 => Just(Event::Freeze(true)),
        8 => Just(Event::Write),
        1 => Just(Event::GiveUp),
        1 => Just(Event::Clear),
        1 => (1..5_u32).prop_map(Event::Restore),
    ];
    // A filled table first, so that increments are small.
    vec(event, 1..40).prop_map(|mut events| {
        events.insert(0, Event::Update((0..1_500).map(|key| (key, key)).collect()));
        events
    })
}

/// A snapshot in flight, and what it must hold.
struct InFlight<K, V> {
    frozen: FrozenKeyedTable,
    base: bool,
    expected: BTreeMap<K, V>,
}

struct Walk<K, V> {
    table: KeyedTable<K, V>,
    expected: BTreeMap<K, V>,
    storage: MemoryStorage,
    in_flight: Vec<InFlight<K, V>>,
    /// What the snapshot directly before the next base wrote.
    previous: Option<TableState>,
    written: Option<(TableState, BTreeMap<K, V>)>,
    writes: u32,
    increments: u32,
}

impl<K: Key + Ord + Debug, V: Record + PartialEq + Debug> Walk<K, V> {
    fn new() -> Self {
        Self {
            table: KeyedTable::new(),
            expected: BTreeMap::new(),
            storage: MemoryStorage::new(),
            in_flight: Vec::new(),
            previous: None,
            written: None,
            writes: 0,
            increments: 0,
        }
    }

    fn update(&mut self, keys: &[K], init: impl Fn() -> V, change: impl Fn(usize, &mut V)) {
        let hashes: Vec<u64> = keys.iter().map(Record::hash64).collect();
        self.table.update_batch(&hashes, |i| &keys[i], &init, |i, _, value| change(i, value));
        for (i, key) in keys.iter().enumerate() {
            change(i, self.expected.entry(key.clone()).or_insert_with(&init));
        }
    }

    fn upsert(&mut self, keys: &[K], change: impl Fn(usize, &mut Option<V>)) {
        let hashes: Vec<u64> = keys.iter().map(Record::hash64).collect();
        self.table.upsert_batch(&hashes, |i| &keys[i], |i, _, value| change(i, value));
        for (i, key) in keys.iter().enumerate() {
            let mut value = self.expected.remove(key);
            change(i, &mut value);
            value.map(|value| self.expected.insert(key.clone(), value));
        }
    }

    fn remove(&mut self, key: &K) {
        assert_eq!(self.table.remove(key.hash64(), key), self.expected.remove(key));
    }

    fn freeze(&mut self, base: bool) {
        let frozen = self.table.freeze(max(), base);
        self.in_flight.push(InFlight { frozen, base, expected: self.expected.clone() });
    }

    /// Writes as a task does: each base on the one before, if that was written.
    fn write(&mut self, InFlight { frozen, base, expected }: InFlight<K, V>) {
        self.writes += 1;
        let n = self.writes;
        let mut writer = TaskStateWriter::new(
            Arc::new(self.storage.clone()),
            format!("chk-{n}/task"),
            format!("shared/task-{n}"),
            KeyGroupRange(0..128),
            if n.is_multiple_of(2) { 0 } else { 20 << 10 },
        );
        let schema = KeyedTable::<K, V>::schema();
        let snapshot = TableSnapshot { name: "table".into(), schema, content: Box::new(frozen) };
        let previous = self.previous.take().filter(|_| base);
        let state = writer.table(snapshot, previous.as_ref(), base).expect("written");
        writer.finish().expect("durable");
        self.increments += u32::from(state.chain.len() > 1);
        assert_eq!(self.read(&state, 1), expected);
        self.written = Some((state.clone(), expected));
        self.previous = base.then_some(state);
    }

    /// Restores in so many subtasks; all that is there, once.
    fn read(&self, state: &TableState, parallelism: u32) -> BTreeMap<K, V> {
        let mut all = BTreeMap::new();
        for subtask in 0..parallelism {
            let groups = KeyGroupRange::of_subtask(subtask, max(), parallelism);
            let mut table = KeyedTable::new();
            restore(&mut table, &self.storage, std::slice::from_ref(state), &groups);
            table.for_each(|_, key, value| assert_eq!(all.insert(key, value), None));
        }
        all
    }

    fn check(&self) {
        let mut all = BTreeMap::new();
        self.table.for_each(|_, key, value| assert_eq!(all.insert(key, value), None));
        assert_eq!(all, self.expected);
    }

    fn step(&mut self, event: &Event, play: &impl Play<K, V>) {
        match event {
            Event::Update(batch) => {
                let keys: Vec<K> = batch.iter().map(|(k, _)| play.key(*k)).collect();
                let change = |i: usize, value: &mut V| play.change(value, batch[i].1);
                self.update(&keys, || play.value(0), change);
            }
            Event::Upsert(batch) => {
                let keys: Vec<K> = batch.iter().map(|(k, _)| play.key(*k)).collect();
                self.upsert(&keys, |i, old| match (batch[i].1, &mut *old) {
                    (n, _) if n % 3 == 0 => *old = None,
                    (n, Some(old)) => play.change(old, n),
                    (n, None) => *old = Some(play.value(n)),
                });
            }
            Event::Remove(k, n) => (*k..k + n).for_each(|k| self.remove(&play.key(k))),
            Event::Freeze(base) => self.freeze(*base),
            Event::Write if !self.in_flight.is_empty() => {
                let snapshot = self.in_flight.remove(0);
                self.write(snapshot);
            }
            Event::GiveUp if !self.in_flight.is_empty() => {
                if self.in_flight.remove(0).base {
                    self.previous = None;
                }
            }
            Event::Write | Event::GiveUp => (),
            Event::Clear => {
                self.table.clear();
                self.expected.clear();
            }
            Event::Restore(parallelism) => {
                let Some((state, expected)) = self.written.clone() else { return };
                assert_eq!(self.read(&state, *parallelism), expected);
                self.in_flight.clear();
                self.table = KeyedTable::new();
                restore(&mut self.table, &self.storage, &[state], &KeyGroupRange(0..128));
                (self.expected, self.previous) = (expected, None);
            }
        }
    }
}

fn restore<K: Key, V: Record>(
    table: &mut KeyedTable<K, V>,
    storage: &MemoryStorage,
    states: &[TableState],
    groups: &KeyGroupRange,
) {
    let storage: Arc<dyn Storage> = Arc::new(storage.clone());
    let handles = OperatorRestore { tables: states.to_vec(), lists: Vec::new() };
    let mut restored = open_tables(&storage, &handles, groups).expect("readable");
    for part in restored.take_tables("table") {
        table.restore(part, max()).expect("restorable");
    }
}

/// How numbers become keys and values.
trait Play<K, V> {
    fn key(&self, n: u16) -> K;
    fn value(&self, n: u16) -> V;
    fn change(&self, value: &mut V, n: u16);
}

struct Fns<A, B, C>(A, B, C);

impl<K, V, A: Fn(u16) -> K, B: Fn(u16) -> V, C: Fn(&mut V, u16)> Play<K, V> for Fns<A, B, C> {
    fn key(&self, n: u16) -> K {
        self.0(n)
    }

    fn value(&self, n: u16) -> V {
        self.1(n)
    }

    fn change(&self, value: &mut V, n: u16) {
        self.2(value, n);
    }
}

fn walk<K: Key + Ord + Debug, V: Record + PartialEq + Debug>(
    events: &[Event],
    play: &impl Play<K, V>,
) {
    let mut walk = Walk::new();
    for event in events {
        walk.step(event, play);
        walk.check();
    }
    while !walk.in_flight.is_empty() {
        walk.step(&Event::Write, play);
    }
}

/// A text of 0 to 60 bytes, different for each number.
fn text(n: u16) -> String {
    format!("{}{n}", "é".repeat(usize::from(n % 23)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn snapshots_of_numbers_hold_what_the_table_held(events in events()) {
        walk(&events, &Fns(u64::from, i64::from, |value: &mut i64, n| {
            *value = value.wrapping_mul(31) + i64::from(n);
        }));
    }

    #[test]
    fn snapshots_of_rows_that_share_a_word_hold_what_the_table_held(events in events()) {
        walk(&events, &Fns(|k| k, |n| n, |value: &mut u16, n| *value ^= n));
    }

    #[test]
    fn snapshots_of_words_hold_what_the_table_held(events in events()) {
        walk(&events, &Fns(|k| Str::new(&text(k)), u64::from, |value: &mut u64, n| {
            *value ^= u64::from(n) << 20;
        }));
    }

    #[test]
    fn snapshots_of_growing_lists_hold_what_the_table_held(events in events()) {
        let key = |k: u16| (text(k), k);
        walk(&events, &Fns(key, |n| vec![n; usize::from(n % 30)], |value: &mut Vec<u16>, n| {
            if n % 7 == 0 { value.clear() } else { value.push(n) }
        }));
    }

    #[test]
    fn snapshots_of_long_values_hold_what_the_table_held(events in events()) {
        let long = |n: u16| vec![n as u8; if n % 500 == 1 { 20_000 } else { usize::from(n % 90) }];
        walk(&events, &Fns(|k| [u64::from(k); 9], long, |value: &mut Vec<u8>, n| *value = long(n)));
    }
}

#[test]
fn small_changes_of_a_large_table_are_written_as_increments() {
    let mut walk = Walk::<u64, u64>::new();
    let all: Vec<u64> = (0..50_000).collect();
    walk.update(&all, || 0, |_, value| *value += 1);
    for round in 0..7_u64 {
        walk.freeze(true);
        let snapshot = walk.in_flight.remove(0);
        walk.write(snapshot);
        let some: Vec<u64> = (0..50).map(|i| i * 997 + round).collect();
        walk.update(&some, || 0, |_, value| *value += 1);
        walk.remove(&(round * 13 + 5));
    }
    let (state, _) = walk.written.as_ref().expect("written");
    assert_eq!((walk.increments, state.chain.len()), (6, 7));
    for part in &state.chain[1..] {
        assert!((51..=51 * 4).contains(&part.rows), "{}", part.rows);
    }
    // A savepoint in between is whole and disturbs nothing.
    walk.freeze(false);
    let savepoint = walk.in_flight.remove(0);
    let previous = walk.previous.clone();
    walk.write(savepoint);
    assert_eq!(walk.written.as_ref().expect("written").0.chain.len(), 1);
    walk.previous = previous;
    walk.update(&[1, 2, 3], || 0, |_, value| *value += 1);
    walk.freeze(true);
    let snapshot = walk.in_flight.remove(0);
    walk.write(snapshot);
    assert_eq!(walk.written.as_ref().expect("written").0.chain.len(), 8);
}

#[test]
fn tables_of_several_subtasks_are_merged() {
    let mut walk = Walk::<u64, u64>::new();
    let mut states = Vec::new();
    for subtask in 0..3 {
        let groups = KeyGroupRange::of_subtask(subtask, max(), 3);
        let mine = |key: &u64| {
            groups.contains(millstream_core::key_group::KeyGroup::of_hash(key.hash64(), max()))
        };
        let keys: Vec<u64> = (0..10_000).filter(mine).collect();
        walk.table.clear();
        walk.expected.clear();
        walk.update(&keys, || 7, |i, value| *value += i as u64);
        walk.freeze(false);
        let snapshot = walk.in_flight.remove(0);
        walk.write(snapshot);
        states.push(walk.written.as_ref().expect("written").0.clone());
    }
    let mut seen = 0;
    for subtask in 0..2 {
        let mut table = KeyedTable::<u64, u64>::new();
        let groups = KeyGroupRange::of_subtask(subtask, max(), 2);
        restore(&mut table, &walk.storage, &states, &groups);
        seen += table.len();
    }
    assert_eq!(seen, 10_000);
}

#[test]
fn values_of_an_older_program_are_taken_over_and_keys_are_not_changed() {
    #[derive(Clone, Debug, PartialEq, Record)]
    struct Old {
        count: u32,
        gone: String,
    }
    #[derive(Clone, Debug, PartialEq, Record)]
    struct New {
        #[record(default = -1)]
        added: i64,
        count: u64,
    }
    let mut walk = Walk::<Str, Old>::new();
    let keys: Vec<Str> = (0..3_000).map(|n| Str::new(&text(n))).collect();
    let init = || Old { count: 5, gone: "x".repeat(30) };
    walk.update(&keys, init, |i, value| value.count += i as u32);
    walk.freeze(true);
    let snapshot = walk.in_flight.remove(0);
    walk.write(snapshot);
    let (state, old) = walk.written.clone().expect("written");
    let mut table = KeyedTable::<Str, New>::new();
    restore(&mut table, &walk.storage, std::slice::from_ref(&state), &KeyGroupRange(0..128));
    assert_eq!(table.len(), old.len());
    table.for_each(|_, key, value| {
        assert_eq!(value, New { added: -1, count: u64::from(old[&key].count) });
    });
    let storage: Arc<dyn Storage> = Arc::new(walk.storage.clone());
    let handles = OperatorRestore { tables: vec![state], lists: Vec::new() };
    let open = || {
        let restored = open_tables(&storage, &handles, &KeyGroupRange(0..128));
        restored.expect("readable").take_tables("table").remove(0)
    };
    let error = KeyedTable::<u64, Old>::new().restore(open(), max()).expect_err("another key");
    let error = error.to_string();
    assert!(error.contains("its key was written as string and is now u64"), "{error}");
    let error = KeyedTable::<Str, u64>::new().restore(open(), max()).expect_err("another value");
    let error = error.to_string();
    assert!(error.contains("`table`") && error.contains("its value"), "{error}");
}

/// Written by another thread while the table goes on; run under Miri as well.
#[test]
fn a_table_may_change_while_another_thread_writes_it() {
    let (keys, rounds) = if cfg!(miri) { (300_u64, 3) } else { (40_000, 40) };
    let mut table = KeyedTable::<u64, Str>::new();
    let hashes: Vec<u64> = (0..keys).map(|key| key.hash64()).collect();
    let value =
        |key: u64, round: u64| Str::new(&format!("{round} {}", "x".repeat(key as usize % 60)));
    let update = |table: &mut KeyedTable<u64, Str>, round: u64, part: std::ops::Range<u64>| {
        let range = part.start as usize..part.end as usize;
        table.update_batch(
            &hashes[range],
            |i| part.start + i as u64,
            Str::empty,
            |_, key, text| *text = value(key, round),
        );
    };
    update(&mut table, 0, 0..keys);
    for round in 0..rounds {
        let frozen = table.freeze(max(), round % 3 == 0);
        let storage = MemoryStorage::new();
        let target: Arc<dyn Storage> = Arc::new(storage.clone());
        let thread = std::thread::spawn(move || {
            let groups = KeyGroupRange(0..128);
            let mut writer = TaskStateWriter::new(target, "chk-1/t".into(), "s".into(), groups, 0);
            let schema = KeyedTable::<u64, Str>::schema();
            let snapshot =
                TableSnapshot { name: "table".into(), schema, content: Box::new(frozen) };
            let state = writer.table(snapshot, None, false).expect("written");
            writer.finish().expect("durable");
            state
        });
        for part in 0..10 {
            update(&mut table, round + 1, keys * part / 10..keys * (part + 1) / 10);
        }
        let state = thread.join().expect("no panic");
        let mut restored = KeyedTable::<u64, Str>::new();
        restore(&mut restored, &storage, &[state], &KeyGroupRange(0..128));
        assert_eq!(restored.len() as u64, keys);
        restored.for_each(|_, key, text| assert_eq!(text, value(key, round)));
    }
}
