//! In a steady flow between processes nothing is allocated, on no thread: neither for batches nor
//! for frames.
#![cfg(not(shuttle))]
#![allow(unsafe_code)]

mod support;

use millstream_shuffle::batch::{Batch, BoxBatch, cast};
use millstream_shuffle::wake::Wake;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use support::*;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

/// Counts the allocations of all threads.
struct Counting;

// SAFETY: everything is left to the system's allocator; counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`; `alloc` took it from `System`.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const BATCHES: u64 = 20_000;
const STEP: u64 = 256;

#[test]
fn at_most_one_allocation_for_ten_thousand_records() {
    let producer = ProducerProcess::start();
    let consumer = ConsumerProcess::start();
    let wake = Wake::new();
    let mut writer = producer.partition::<[u64; 8]>(0, 2, &wake);
    let mut readers: Vec<_> =
        (0..2).map(|part| consumer.reader::<[u64; 8]>(&producer.address(), &[0], part)).collect();
    let mut second = readers.pop().expect("there are two");
    let mut first = readers.pop().expect("there are two");
    let thread = thread::spawn(move || {
        let mut batch: BoxBatch = Box::new(Batch::<[u64; 8]>::new());
        let mut before = 0;
        for number in 0..BATCHES {
            if number == BATCHES / 2 {
                before = ALLOCATIONS.load(Ordering::Relaxed);
            }
            cast::<[u64; 8]>(batch.as_mut()).items.extend((0..STEP).map(|i| [number + i; 8]));
            await_room(&mut writer, &wake);
            writer.write(&mut batch);
        }
        let after = ALLOCATIONS.load(Ordering::Relaxed);
        while !writer.flush() {
            await_room(&mut writer, &wake);
        }
        writer.finish();
        after - before
    });
    let other = thread::spawn(move || drain(&mut second));
    let records = drain(&mut first) + other.join().expect("no panic");
    assert_eq!(records, BATCHES * STEP);
    let allocations = thread.join().expect("no panic");
    let records = BATCHES / 2 * STEP;
    assert!(allocations <= records / 10_000, "{allocations} for {records} records");
}

/// Reads to the end and keeps nothing; how many records there were.
fn drain(reader: &mut Reader<[u64; 8]>) -> u64 {
    let mut buffer: BoxBatch = Box::new(Batch::<[u64; 8]>::new());
    reader.drain(&mut buffer)
}
