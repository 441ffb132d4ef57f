//! What the table promises, shown on tables of all kinds of rows. `tests/model.rs` has the random walks.

use super::*;
use millstream_core::Str;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Adds `by` to the count of each key, and returns what was emitted.
fn count<K: Key>(table: &mut KeyedTable<K, u64>, keys: &[K], by: u64) -> Vec<(K, u64)> {
    let hashes: Vec<u64> = keys.iter().map(Record::hash64).collect();
    let mut out = Vec::new();
    table.update_batch(
        &hashes,
        |i| keys[i].clone(),
        || 0,
        |_, key, value| {
            *value += by;
            out.push((key, *value));
        },
    );
    out
}

fn contents<K: Key + Ord, V: Record>(table: &KeyedTable<K, V>) -> Vec<(K, V)> {
    let mut all = Vec::new();
    table.for_each(|hash, key, value| {
        assert_eq!(hash, key.hash64());
        all.push((key, value));
    });
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

/// The same story for any kind of key: come, stay while the table grows, be counted, go.
#[track_caller]
fn check_keys<K: Key + Ord + std::fmt::Debug>(n: usize, key: impl Fn(usize) -> K) {
    let keys: Vec<K> = (0..n).map(key).collect();
    let mut table = KeyedTable::new();
    for round in 1..=3 {
        let out = count(&mut table, &keys, 1);
        let expected: Vec<_> = keys.iter().map(|key| (key.clone(), round)).collect();
        assert_eq!(out, expected);
    }
    assert_eq!(table.len(), n);
    let (gone, kept) = keys.split_at(n / 2);
    for key in gone {
        assert_eq!(table.remove(key.hash64(), key), Some(3));
        assert_eq!(table.remove(key.hash64(), key), None);
        assert_eq!(table.get(key.hash64(), key), None);
    }
    let mut expected: Vec<_> = kept.iter().map(|key| (key.clone(), 3)).collect();
    expected.sort();
    assert_eq!(contents(&table), expected);

    let full = table.memory_bytes();
    count(&mut table, gone, 7);
    assert_eq!(table.len(), n);
    assert!(table.memory_bytes() <= full, "rows of removed keys are given out again");
    table.clear();
    assert_eq!((table.len(), table.memory_bytes(), contents(&table).len()), (0, 0, 0));
}

#[test]
fn keys_of_every_kind_come_grow_and_go() {
    check_keys(1, |_| ());
    check_keys(200, |i| i as u8);
    check_keys(100_000, |i| i as u64);
    check_keys(3_000, |i| (i as u32, i as u16, i % 2 == 0));
    check_keys(1_000, |i| [i as u64; 20]);
    check_keys(3_000, |i| Str::new(&"x".repeat(i % 40)).to_string() + &i.to_string());
    check_keys(3_000, |i| Str::new(&format!("{}{i}", "long ".repeat(i % 9))));
    check_keys(3_000, |i| (Str::new(&i.to_string()), i as u64));
    check_keys(500, |i| vec![i as u16; i]);
}

#[test]
fn keys_that_are_a_prefix_of_each_other_or_of_zeros_are_different() {
    check_keys(60, |i| vec![0_u8; i]);
    check_keys(60, |i| Str::new(&"\0".repeat(i)));
    check_keys(60, |i| "a".repeat(i));
}

#[test]
fn keys_may_be_given_by_reference() {
    let keys = ["a", "b", "a"].map(Str::new);
    let hashes = keys.each_ref().map(Record::hash64);
    let mut table = KeyedTable::<Str, u32>::new();
    let mut seen = Vec::new();
    table.update_batch(
        &hashes,
        |i| &keys[i],
        || 10,
        |i, key, value| {
            *value += 1;
            seen.push((i, key.as_str(), *value));
        },
    );
    assert_eq!(seen, [(0, "a", 11), (1, "b", 11), (2, "a", 12)]);
}

#[test]
fn one_key_many_times_in_a_batch_is_updated_in_order() {
    for keys in [vec![5_u64; 1_000], (0..1_000).map(|i| i % 3).collect()] {
        let mut table = KeyedTable::new();
        let mut expected = std::collections::BTreeMap::new();
        for (key, value) in count(&mut table, &keys, 1) {
            let count = expected.entry(key).or_insert(0);
            *count += 1;
            assert_eq!(value, *count);
        }
    }
}

#[test]
fn values_that_vary_in_size_read_back_at_every_size_and_reuse_their_slots() {
    let mut table = KeyedTable::<u32, Vec<u8>>::new();
    let lengths = [0, 1, 21, 22, 23, 24, 40, 500, 20_000, 300, 22, 70_000, 3];
    let mut after_first = None;
    for round in 0..5 {
        for length in lengths {
            for key in 0..50_u32 {
                let value = vec![round ^ key as u8; length + key as usize % 5];
                table.put(key.hash64(), &key, &value);
                assert_eq!(table.get(key.hash64(), &key), Some(value.clone()));
                if key % 3 == 0 {
                    assert_eq!(table.remove(key.hash64(), &key), Some(value));
                }
            }
        }
        assert_eq!(*after_first.get_or_insert(table.memory_bytes()), table.memory_bytes());
    }
    assert_eq!(table.len(), 33);
}

#[test]
fn absence_is_a_value_to_upsert() {
    let mut table = KeyedTable::<u64, String>::new();
    let keys = [1_u64, 2, 1, 1, 2, 1];
    let hashes = keys.map(|key| key.hash64());
    let mut seen = Vec::new();
    table.upsert_batch(
        &hashes,
        |i| keys[i],
        |i, key, value| {
            seen.push(value.clone());
            let old = value.take();
            if i != 2 {
                *value = Some(old.unwrap_or_default() + &key.to_string());
            }
        },
    );
    let seen: Vec<_> = seen.iter().map(Option::as_deref).collect();
    assert_eq!(seen, [None, None, Some("1"), None, Some("2"), Some("1")]);
    assert_eq!(contents(&table), [(1, "11".to_owned()), (2, "22".to_owned())]);
}

#[test]
fn a_row_that_changes_hands_within_a_block_is_not_taken_for_its_old_key() {
    for others in [0, 40_000] {
        let mut table = KeyedTable::<u64, u64>::new();
        count(&mut table, &(1_000..1_000 + others).collect::<Vec<_>>(), 9);
        count(&mut table, &[0], 1);
        // 0 goes, 2 gets its row, 0 comes back elsewhere: all within what is located at once. A freed
        // row begins with the number of the next one, which is 0: it still looks like the key.
        let keys = [0_u64, 0, 2, 0, 2, 0, 0];
        let hashes = keys.map(|key| key.hash64());
        let mut seen = Vec::new();
        table.upsert_batch(
            &hashes,
            |i| keys[i],
            |i, _, value| {
                seen.push(*value);
                *value = (i > 1).then(|| value.unwrap_or(0) + 10);
            },
        );
        assert_eq!(seen, [Some(1), None, None, None, Some(10), Some(10), Some(20)]);
        assert_eq!(table.len() as u64, others + 2);
    }
}

#[test]
fn a_table_beyond_the_cache_agrees_with_a_map() {
    const KEYS: u64 = 60_000;
    let mut table = KeyedTable::<u64, u64>::new();
    let mut expected = std::collections::BTreeMap::new();
    for batch in 0..200_u64 {
        let key = |i: usize| (batch * 1_000 + i as u64).hash64() % KEYS;
        let hashes: Vec<u64> = (0..1_000).map(|i| key(i).hash64()).collect();
        if batch % 3 == 2 {
            let change = |key: u64, value: &mut Option<u64>| {
                *value = value
                    .take()
                    .filter(|value| value % 2 == 0)
                    .or(key.is_multiple_of(5).then_some(8));
            };
            table.upsert_batch(&hashes, key, |_, key, value| change(*key, value));
            for i in 0..1_000 {
                let mut value = expected.remove(&key(i));
                change(key(i), &mut value);
                value.map(|value| expected.insert(key(i), value));
            }
        } else {
            table.update_batch(&hashes, key, || 1, |i, _, value| *value = *value * 7 + i as u64);
            for i in 0..1_000 {
                let value = expected.entry(key(i)).or_insert(1_u64);
                *value = *value * 7 + i as u64;
            }
        }
    }
    assert!(table.core.index.memory_bytes() > NEAR_BYTES);
    assert_eq!(contents(&table), expected.into_iter().collect::<Vec<_>>());
}

/// Hashes that agree in all or in what names the bucket.
const UNFORTUNATE: [fn(u64) -> u64; 5] =
    [|_| 0, |_| u64::MAX, |key| key << 32, |key| 0xFFFF_F000 | key, |key| (key % 3) << 30];

#[test]
fn hashes_that_collide_cost_time_and_nothing_else() {
    for hash in UNFORTUNATE {
        let keys: Vec<u64> = (0..2_000).map(|i| i % 1_500).collect();
        let hashes: Vec<u64> = keys.iter().map(|key| hash(*key)).collect();
        let mut table = KeyedTable::<u64, u64>::new();
        for _ in 0..2 {
            table.update_batch(&hashes, |i| keys[i], || 0, |_, _, value| *value += 1);
        }
        assert_eq!(table.len(), 1_500);
        for key in 0..1_500 {
            let expected = if key < 500 { 4 } else { 2 };
            assert_eq!(table.get(hash(key), &key), Some(expected));
        }
        for key in (0..1_500).rev() {
            assert!(table.remove(hash(key), &key).is_some());
        }
        assert!(table.is_empty());
        table.update_batch(&hashes, |i| keys[i], || 0, |_, _, value| *value += 1);
        assert_eq!(table.len(), 1_500);
    }
}

#[test]
fn a_function_that_panics_leaves_its_element_and_the_later_ones_undone() {
    let keys: Vec<u64> = (0..300).map(|i| i % 150).collect();
    let hashes: Vec<u64> = keys.iter().map(Record::hash64).collect();
    for (at, known) in [(0, false), (200, true), (149, false)] {
        let mut table = KeyedTable::<u64, Str>::new();
        let result = catch_unwind(AssertUnwindSafe(|| {
            table.update_batch(
                &hashes,
                |i| keys[i],
                || Str::new("0"),
                |i, _, value| {
                    *value = Str::new(&format!("{value}, a text that is longer than a cell"));
                    assert!(i != at, "the user's function fails");
                },
            );
        }));
        assert!(result.is_err());
        let value = table.get(hashes[at], &keys[at]).map(String::from);
        let texts = value.as_deref().map(|text| text.split(", ").count());
        assert_eq!(texts, Some(if known { 2 } else { 1 }));
        assert_eq!(table.len(), (at + 1).min(150));
        // The table goes on.
        table.update_batch(&hashes, |i| keys[i], Str::empty, |_, _, value| *value = Str::new("x"));
        assert!(contents(&table).iter().all(|(_, value)| value == "x"));
        assert_eq!(table.len(), 150);
    }
}

#[test]
fn an_upsert_that_panics_makes_no_key() {
    let mut table = KeyedTable::<u64, u64>::new();
    let result = catch_unwind(AssertUnwindSafe(|| {
        table.upsert_batch(
            &[7_u64.hash64()],
            |_| 7,
            |_, _, value| {
                *value = Some(1);
                panic!("the user's function fails");
            },
        );
    }));
    assert!(result.is_err());
    assert!(table.is_empty());
}

#[test]
fn a_table_without_row_numbers_says_what_to_do_and_stays_usable() {
    let mut table = KeyedTable::<u64, u64>::new();
    table.core.rows.limit(100);
    let keys: Vec<u64> = (0..101).collect();
    let error = catch_unwind(AssertUnwindSafe(|| count(&mut table, &keys, 1))).unwrap_err();
    let text = error.downcast_ref::<String>().expect("a text");
    assert!(
        text.contains("keyed state is full") && text.contains("raise the parallelism"),
        "{text}"
    );
    assert_eq!(table.len(), 100);
    assert_eq!(table.remove(3_u64.hash64(), &3), Some(1));
    count(&mut table, &[100], 1);
    assert_eq!(contents(&table).len(), 100);
}

#[test]
fn small_tables_are_small() {
    let mut table = KeyedTable::<u64, i64>::new();
    assert_eq!(table.memory_bytes(), 0);
    table.put(1_u64.hash64(), &1, &1);
    assert!(table.memory_bytes() < 2_048, "{}", table.memory_bytes());
    for key in 0..1_000_u64 {
        table.put(key.hash64(), &key, &1);
    }
    assert!(table.memory_bytes() < 40 << 10, "{}", table.memory_bytes());
}

#[test]
fn a_snapshot_holds_copies_of_what_is_written_to_and_takes_them_with_it() {
    let keys: Vec<u64> = (0..100_000).collect();
    let mut table = KeyedTable::<u64, String>::new();
    let fill = |table: &mut KeyedTable<u64, String>, keys: &[u64], length: usize| {
        for key in keys {
            table.put(key.hash64(), key, &"x".repeat(length));
        }
    };
    fill(&mut table, &keys, 100);
    let before = table.memory_bytes();
    let max = MaxParallelism::default_for(1);
    let first = table.freeze(max, false);
    assert_eq!(first.copied_bytes(), 0);
    // One row: its page and that of its slot.
    fill(&mut table, &[5], 101);
    let of_one = first.copied_bytes();
    assert!((1..=128 << 10).contains(&of_one), "{of_one}");
    fill(&mut table, &[5], 102);
    assert_eq!(first.copied_bytes(), of_one, "a page is copied once");
    // A second snapshot shares what both need and has nothing of what was before it.
    let second = table.freeze(max, false);
    fill(&mut table, &[5], 103);
    assert_eq!((first.copied_bytes(), second.copied_bytes()), (of_one, of_one));
    drop(first);
    drop(second);
    fill(&mut table, &keys, 104);
    assert!(table.memory_bytes() <= before + 1024, "nothing of them is left");
}

#[test]
fn a_snapshot_outlives_its_table() {
    struct Count(u32);

    impl millstream_checkpoint::snapshot::RowSink for Count {
        fn rows(
            &mut self,
            _group: millstream_core::key_group::KeyGroup,
            count: u32,
            _rows: &[u8],
        ) -> Result<(), millstream_checkpoint::snapshot::SnapshotError> {
            self.0 += count;
            Ok(())
        }

        fn removed(
            &mut self,
            _group: millstream_core::key_group::KeyGroup,
            _count: u32,
            _keys: &[u8],
        ) -> Result<(), millstream_checkpoint::snapshot::SnapshotError> {
            unreachable!("a whole snapshot removes nothing")
        }
    }

    use millstream_checkpoint::snapshot::FrozenTable;
    let mut table = KeyedTable::<u64, String>::new();
    for key in 0..20_000_u64 {
        table.put(key.hash64(), &key, &format!("a value that lies in a slab: {key}"));
    }
    let frozen = table.freeze(MaxParallelism::default_for(1), true);
    table.put(7_u64.hash64(), &7, &String::new());
    drop(table);
    let mut count = Count(0);
    Box::new(frozen).write(&mut count).expect("a count takes everything");
    assert_eq!(count.0, 20_000);
}
