//! Random walks: whatever is done to a table, it agrees with a `BTreeMap` to which the same was done.
//! Run for each backend.

use super::backing;
use millstream_core::{Key, Record, Str};
use millstream_state::keyed_rows::{Cursor, KeyedRows};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fmt::Debug;

/// No keys yet, in the backend whose turn it is.
fn table<K: Key, V: Record>() -> KeyedRows<K, V> {
    KeyedRows::open("table", backing().as_ref())
}

/// One call; keys are numbers that the type under test turns into its own.
#[derive(Clone, Debug)]
enum Call {
    Update(Vec<(u16, u16)>),
    Upsert(Vec<(u16, u16)>),
    Put(u16, u16),
    Get(u16),
    Remove(u16),
    RemoveRange(u16, u16),
    Clear,
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let key = || prop_oneof![0..20_u16, 0..3_000_u16];
    let batch = || vec((key(), any::<u16>()), 0..400);
    let call = prop_oneof![
        6 => batch().prop_map(Call::Update),
        4 => batch().prop_map(Call::Upsert),
        2 => (key(), any::<u16>()).prop_map(|(key, n)| Call::Put(key, n)),
        2 => key().prop_map(Call::Get),
        4 => key().prop_map(Call::Remove),
        2 => (key(), 0..300_u16).prop_map(|(key, n)| Call::RemoveRange(key, n)),
        1 => Just(Call::Clear),
    ];
    vec(call, 1..40)
}

/// Honest hashes, and such that share buckets, tags or everything.
fn bent(kind: u8, hash: u64) -> u64 {
    match kind {
        0 => hash,
        1 => 0xFFFF_FF00 | hash & 0xFF,
        2 => (hash & 3) << 30,
        _ => u64::MAX,
    }
}

struct Model<K, V> {
    table: KeyedRows<K, V>,
    expected: BTreeMap<K, V>,
    hash_kind: u8,
}

impl<K: Key + Ord + Debug, V: Record + PartialEq + Debug> Model<K, V> {
    fn hash(&self, key: &K) -> u64 {
        bent(self.hash_kind, key.hash64())
    }

    fn hashes(&self, keys: &[K]) -> Vec<u64> {
        keys.iter().map(|key| self.hash(key)).collect()
    }

    fn update(&mut self, keys: &[K], init: impl Fn() -> V, change: impl Fn(usize, &mut V)) {
        let hashes = self.hashes(keys);
        let mut seen = Vec::new();
        self.table.update_batch(
            &hashes,
            |i| &keys[i],
            &init,
            |i, key, value| {
                assert_eq!(key, &keys[i]);
                change(i, value);
                seen.push(value.clone());
            },
        );
        for (i, key) in keys.iter().enumerate() {
            let value = self.expected.entry(key.clone()).or_insert_with(&init);
            change(i, value);
            assert_eq!(*value, seen[i]);
        }
    }

    fn upsert(&mut self, keys: &[K], change: impl Fn(usize, &mut Option<V>)) {
        let hashes = self.hashes(keys);
        let mut seen = Vec::new();
        self.table.upsert_batch(
            &hashes,
            |i| keys[i].clone(),
            |i, key, value| {
                assert_eq!(key, &keys[i]);
                seen.push(value.clone());
                change(i, value);
            },
        );
        for (i, key) in keys.iter().enumerate() {
            let mut value = self.expected.remove(key);
            assert_eq!(value, seen[i]);
            change(i, &mut value);
            if let Some(value) = value {
                self.expected.insert(key.clone(), value);
            }
        }
    }

    fn remove(&mut self, key: &K) {
        assert_eq!(self.table.remove(self.hash(key), key), self.expected.remove(key));
    }

    fn check(&mut self) {
        assert_eq!(self.table.count(), self.expected.len());
        let (mut all, mut cursor) = (BTreeMap::new(), Cursor::default());
        let mut show = |hash, key: K, value| {
            assert_eq!(hash, key.hash64());
            assert_eq!(all.insert(key, value), None);
        };
        while self.table.visit_from(&mut cursor, 700, &mut show) {}
        assert_eq!(all, self.expected);
    }
}

/// Makes the calls on a table and on a map.
fn walk<K: Key + Ord + Debug, V: Record + PartialEq + Debug>(
    calls: &[Call],
    hash_kind: u8,
    key: impl Fn(u16) -> K,
    value: impl Fn(u16) -> V,
    change: impl Fn(&mut V, u16),
) {
    let mut model = Model { table: table(), expected: BTreeMap::new(), hash_kind };
    for call in calls {
        match call {
            Call::Update(batch) => {
                let keys: Vec<K> = batch.iter().map(|(k, _)| key(*k)).collect();
                model.update(&keys, || value(0), |i, value| change(value, batch[i].1));
            }
            Call::Upsert(batch) => {
                let keys: Vec<K> = batch.iter().map(|(k, _)| key(*k)).collect();
                model.upsert(&keys, |i, old| match (batch[i].1, &mut *old) {
                    (n, _) if n % 3 == 0 => *old = None,
                    (n, Some(old)) => change(old, n),
                    (n, None) => *old = Some(value(n)),
                });
            }
            Call::Put(k, n) => {
                let (key, value) = (key(*k), value(*n));
                model.table.put(model.hash(&key), &key, &value);
                model.expected.insert(key, value);
            }
            Call::Get(k) => {
                let key = key(*k);
                assert_eq!(
                    model.table.get(model.hash(&key), &key),
                    model.expected.get(&key).cloned()
                );
            }
            Call::Remove(k) => model.remove(&key(*k)),
            Call::RemoveRange(k, n) => (*k..*k + *n).for_each(|k| model.remove(&key(k))),
            Call::Clear => {
                model.table = table();
                model.expected.clear();
            }
        }
        model.check();
    }
}

/// A text of 0 to 60 bytes, different for each number.
fn text(n: u16) -> String {
    format!("{}{n}", "é".repeat(usize::from(n % 23)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_table_of_numbers_is_a_map(calls in calls(), hash_kind in 0..4_u8) {
        walk(&calls, hash_kind, u64::from, i64::from, |value, n| *value = value.wrapping_mul(31) + i64::from(n));
    }

    #[test]
    fn a_table_of_words_is_a_map(calls in calls(), hash_kind in 0..4_u8) {
        walk(&calls, hash_kind, |k| Str::new(&text(k)), u64::from, |value, n| *value ^= u64::from(n) << 20);
    }

    #[test]
    fn a_table_of_pairs_with_growing_lists_is_a_map(calls in calls(), hash_kind in 0..4_u8) {
        let key = |k: u16| (text(k), k);
        walk(&calls, hash_kind, key, |n| vec![n; usize::from(n % 30)], |value, n| {
            if n % 7 == 0 { value.clear() } else { value.push(n) }
        });
    }

    #[test]
    fn a_table_of_wide_rows_is_a_map(calls in calls(), hash_kind in 0..4_u8) {
        let key = |k: u16| [u64::from(k); 9];
        walk(&calls, hash_kind, key, |n| Some(Str::new(&text(n))), |value, n| {
            *value = (n % 5 != 0).then(|| Str::new(&text(n.rotate_left(5))));
        });
    }
}
