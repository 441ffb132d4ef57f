//! `memory_bytes` is what the allocator gave out: counted, not estimated.
//!
//! This file is on the list of files that may hold `unsafe`: it puts a counter before the allocator.
#![allow(unsafe_code)]

use millstream_core::{Key, Record, Str};
use millstream_state::KeyedTable;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Large memory is mapped in units of this and not seen by the counter.
const MAPPED_UNIT: usize = 2 << 20;

/// Counts what each thread has: less than nothing, if it freed what another one allocated.
struct Counting;

thread_local! {
    static ALLOCATED: Cell<isize> = const { Cell::new(0) };
}

fn add(bytes: isize) {
    // A thread that ends frees after its counter is gone; nobody asks it any more.
    let _ = ALLOCATED.try_with(|count| count.set(count.get() + bytes));
}

// SAFETY: everything is done by the system's allocator; the counter allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size() as isize);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        add(-(layout.size() as isize));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(start, layout) };
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Fills a table, changes and removes values, and compares after every step.
fn check<K: Key, V: Record>(keys: u64, key: impl Fn(u64) -> K, value: impl Fn(u64) -> V) {
    let before = ALLOCATED.get();
    let mut table = KeyedTable::new();
    let check = |table: &KeyedTable<K, V>| {
        let allocated = (ALLOCATED.get() - before) as usize;
        let mapped = table.memory_bytes() - allocated;
        assert_eq!(
            mapped % MAPPED_UNIT,
            0,
            "{} counted, {allocated} allocated",
            table.memory_bytes()
        );
        if table.memory_bytes() < MAPPED_UNIT {
            assert_eq!(mapped, 0);
        }
    };
    check(&table);
    for i in 0..3 * keys {
        let key = key(i % keys);
        if i % 11 == 3 {
            table.remove(key.hash64(), &key);
        } else {
            table.put(key.hash64(), &key, &value(i));
        }
        drop(key);
        if i.is_power_of_two() || i % 5_000 == 0 {
            check(&table);
        }
    }
    check(&table);
    table.clear();
    assert_eq!((table.memory_bytes(), ALLOCATED.get()), (0, before));
}

#[test]
fn a_table_of_numbers_counts_its_memory_to_the_byte() {
    check(200_000, |i| i, |i| i);
}

#[test]
fn a_table_of_texts_counts_its_memory_to_the_byte() {
    check(3_000, |i| Str::new(&"key ".repeat(i as usize % 70)), |i| i);
    check(3_000, |i| i, |i| vec![1_u8; i as usize % 3_000]);
    check(30, |i| i as u16, |i| "v".repeat(i as usize * 1_000));
}

#[test]
fn updates_of_a_filled_table_allocate_nothing() {
    let keys: Vec<(Str, u64)> = (0..1_024).map(|i| (Str::new(&i.to_string()), i)).collect();
    let hashes: Vec<u64> = keys.iter().map(Record::hash64).collect();
    let mut table = KeyedTable::<(Str, u64), Option<i64>>::new();
    let mut update = || table.update_batch(&hashes, |i| &keys[i], || None, |_, _, n| *n = Some(1));
    update();
    let before = ALLOCATED.get();
    update();
    assert_eq!(ALLOCATED.get(), before);
}
