//! State structs through their store: what a function leaves in a field is what it finds there at the
//! key's next call, and nowhere else. Run for each backend.

use super::backing;
use millstream_core::{Record, Str};
use millstream_state::keyed_state::{KeyedStateStore, StateTable};
use millstream_state::{
    AggregateFunction, AggregatingState, KeyedState, ListState, MapState, ReducingState, ValueState,
};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

struct Average;

impl AggregateFunction for Average {
    type In = i64;
    type Accumulator = (i64, u64);
    type Out = i64;

    fn create_accumulator() -> (i64, u64) {
        (0, 0)
    }

    fn add((sum, count): &mut (i64, u64), value: i64) {
        *sum += value;
        *count += 1;
    }

    fn merge((sum, count): &mut (i64, u64), other: (i64, u64)) {
        *sum += other.0;
        *count += other.1;
    }

    fn get_result((sum, count): &(i64, u64)) -> i64 {
        sum / *count as i64
    }
}

#[derive(KeyedState)]
struct All {
    count: u64,
    #[state(default = 100)]
    limit: i64,
    name: String,
    value: ValueState<Str>,
    #[state(reduce = i64::max)]
    highest: ReducingState<i64>,
    average: AggregatingState<Average>,
    pages: MapState<Str, u32>,
    items: ListState<u64>,
}

/// No keys yet, in the backend whose turn it is.
fn store<S: KeyedState>() -> KeyedStateStore<u64, S> {
    KeyedStateStore::open(backing())
}

/// Calls `f` with the state of a key.
fn call<S: KeyedState, R>(
    store: &mut KeyedStateStore<u64, S>,
    key: u64,
    now: i64,
    f: impl FnOnce(&mut S) -> R,
) -> R {
    store.one(key.hash64(), &key, now, |state, _| f(state))
}

#[test]
fn each_key_has_its_own_fields_of_every_kind() {
    let mut store = store::<All>();
    for round in 1..=3_u64 {
        for key in 0..500 {
            call(&mut store, key, 0, |state| {
                assert_eq!((state.count, state.items.len()), (round - 1, round as usize - 1));
                state.count += 1;
                state.limit -= key as i64;
                state.name.push_str(&key.to_string());
                state.value.set(Str::new(&format!("{key}/{round}")));
                state.highest.add(key as i64 * (2 - round as i64));
                state.average.add(round as i64 * 10);
                state.pages.update(Str::new("all"), || 0, |n| *n += 1);
                state.pages.insert(Str::new(&format!("page {round} of key {key}")), key as u32);
                state.items.push(round);
            });
        }
    }
    for key in 0..500 {
        call(&mut store, key, 0, |state| {
            assert_eq!((state.count, state.limit), (3, 100 - 3 * key as i64));
            assert_eq!(state.name, key.to_string().repeat(3));
            assert_eq!(state.value.get(), Some(&Str::new(&format!("{key}/3"))));
            assert_eq!(state.highest.get(), Some(&(key as i64)));
            assert_eq!(state.average.get(), Some(20));
            assert_eq!(state.pages.get(&Str::new("all")), Some(3));
            assert_eq!(state.pages.len(), 4);
            assert_eq!(state.items.iter().collect::<Vec<_>>(), [1, 2, 3]);
        });
    }
}

#[test]
fn a_key_that_is_cleared_begins_anew_and_takes_no_memory() {
    let mut store = store::<All>();
    let fill = |state: &mut All| {
        state.count = 7;
        state.value.set(Str::new("x"));
        state.pages.insert(Str::new("a"), 1);
        state.items.extend([1, 2]);
    };
    call(&mut store, 1, 0, fill);
    call(&mut store, 2, 0, fill);
    store.one(1_u64.hash64(), &1, 0, |state, cleared| {
        cleared.clear(state);
        assert_eq!((state.count, state.limit, state.value.get()), (0, 100, None));
        assert!(state.pages.is_empty() && state.items.is_empty());
    });
    assert_eq!(store.rows(), 1);
    call(&mut store, 1, 0, |state| assert_eq!((state.count, state.pages.len()), (0, 0)));
    call(&mut store, 2, 0, |state| assert_eq!((state.count, state.pages.len()), (7, 1)));
    store.one(2_u64.hash64(), &2, 0, |state, cleared| {
        cleared.clear(state);
        state.count = 1;
    });
    call(&mut store, 2, 0, |state| assert_eq!((state.count, state.items.len()), (1, 0)));
}

#[test]
fn a_key_that_is_only_looked_at_takes_no_row() {
    let mut store = store::<All>();
    for key in 0..100 {
        call(&mut store, key, 0, |state| assert_eq!((state.count, state.pages.len()), (0, 0)));
    }
    assert_eq!(store.rows(), 0);
}

#[test]
fn calls_stop_where_the_function_breaks() {
    let mut store = store::<All>();
    let keys: Vec<u64> = (0..300).collect();
    let hashes: Vec<u64> = keys.iter().map(Record::hash64).collect();
    let done = store.each(
        &hashes,
        |i| &keys[i],
        0,
        |i, _, state, _| {
            state.count += 1;
            if i == 200 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        },
    );
    assert_eq!((done, store.rows()), (201, 201));
}

#[derive(KeyedState)]
struct Passing {
    #[state(ttl = "1 s")]
    value: ValueState<u64>,
    #[state(ttl = "1 s", update = "read_write")]
    read: ValueState<u64>,
    #[state(ttl = "1 s", visibility = "return_expired_if_not_cleaned_up")]
    shown: ValueState<u64>,
    #[state(ttl = "1 s")]
    pages: MapState<u64, u64>,
    #[state(ttl = "1 s", update = "read_write")]
    items: ListState<u64>,
}

#[test]
fn state_expires_field_by_field_and_entry_by_entry() {
    let mut store = store::<Passing>();
    call(&mut store, 7, 0, |state| {
        state.value.set(1);
        state.read.set(2);
        state.shown.set(3);
        state.pages.insert(1, 1);
        state.items.extend([1, 2]);
    });
    call(&mut store, 7, 900, |state| {
        assert_eq!((state.value.get(), state.read.get()), (Some(&1), Some(&2)));
        state.pages.insert(2, 2);
        assert_eq!(state.items.iter().next(), Some(1));
    });
    call(&mut store, 7, 1_000, |state| {
        assert_eq!((state.value.get(), state.read.get()), (None, Some(&2)));
        assert_eq!(state.shown.get(), Some(&3));
        assert_eq!(state.pages.iter().collect::<Vec<_>>(), [(2, 2)]);
        assert_eq!((state.pages.len(), state.pages.get(&1)), (1, None));
        assert_eq!(state.items.iter().collect::<Vec<_>>(), [1]);
    });
    call(&mut store, 7, 10_000, |state| {
        assert_eq!((state.read.get(), state.pages.len(), state.items.len()), (None, 0, 0));
    });
}

#[test]
fn what_has_expired_is_removed_even_if_nobody_asks_for_it() {
    let mut store = store::<Passing>();
    for key in 0..1_000 {
        call(&mut store, key, 0, |state| {
            state.value.set(key);
            state.pages.insert(key, key);
            state.items.push(key);
        });
    }
    let entries = |store: &mut KeyedStateStore<u64, Passing>| {
        let mut rows = 0;
        store.tables(&mut |table: &mut dyn StateTable| rows += table.rows());
        rows
    };
    assert_eq!((store.rows(), entries(&mut store)), (1_000, 2_000));
    for _ in 0..11 {
        store.sweep(999, 100);
    }
    assert_eq!((store.rows(), entries(&mut store)), (1_000, 2_000));
    for _ in 0..11 {
        store.sweep(1_000, 100);
    }
    assert_eq!((store.rows(), entries(&mut store)), (0, 0));
}

#[test]
fn maps_and_lists_agree_with_plain_ones_whatever_is_done_to_them() {
    let mut store = store::<All>();
    let mut maps = BTreeMap::<u64, BTreeMap<Str, u32>>::new();
    let mut lists = BTreeMap::<u64, Vec<u64>>::new();
    let mut word = 1_u64;
    for i in 0..20_000_u64 {
        word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (key, n, what) = (word >> 60, word >> 40 & 31, word >> 33 & 15);
        let (map, list) = (maps.entry(key).or_default(), lists.entry(key).or_default());
        let entry = Str::new(&format!("entry with a name of some length {n}"));
        call(&mut store, key, 0, |state| match what {
            0..=5 => {
                state.pages.insert(entry.clone(), i as u32);
                map.insert(entry.clone(), i as u32);
            }
            6..=8 => assert_eq!(state.pages.remove(&entry), map.remove(&entry)),
            9 => {
                state.pages.retain(|_, value| value % 3 != 0);
                map.retain(|_, value| *value % 3 != 0);
            }
            10..=12 => {
                state.items.push(i);
                list.push(i);
            }
            13 => assert_eq!(state.items.pop_front(), (!list.is_empty()).then(|| list.remove(0))),
            14 if n == 0 => {
                state.pages.clear();
                map.clear();
                state.items.clear();
                list.clear();
            }
            _ => assert_eq!(state.pages.get(&entry), map.get(&entry).copied()),
        });
        call(&mut store, key, 0, |state| {
            let mut entries: Vec<_> = state.pages.iter().collect();
            entries.sort();
            let expected: Vec<_> = map.clone().into_iter().collect();
            assert_eq!((state.pages.len(), entries), (map.len(), expected));
            assert_eq!(state.items.iter().collect::<Vec<_>>(), *list);
        });
    }
}
