//! Reading text allocates nothing in steady state: the blocks are used again.
#![allow(unsafe_code)]

use millstream_connectors::source::{json_lines, text_files};
use millstream_operator::context::TaskContext;
use millstream_operator::source::{Poll, Source, SourceClock};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::PathBuf;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// Counts the allocations of each thread.
struct Counting;

// SAFETY: everything is left to the system's allocator; counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
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

/// A file of so many lines, removed at the end.
struct Lines(PathBuf);

impl Lines {
    fn write(name: &str, count: usize, line: &str) -> Self {
        let name = format!("allocations-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, line.repeat(count)).expect("the temporary directory can be written");
        Self(path)
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Reads everything in batches, and gives how many records there were and how many allocations
/// were made after the first `warm` records.
fn read<T>(source: &impl Source<T>, warm: u64, mut each: impl FnMut(T)) -> (u64, u64) {
    let mut splits = source.splits().expect("the file is there").into_iter();
    let mut reader = source.reader(&TaskContext::alone()).expect("nothing can fail");
    let (mut batch, mut records, mut before) = (Vec::new(), 0, None);
    loop {
        match reader.poll(&mut batch, 1000, SourceClock { now_us: 0 }).expect("it is readable") {
            Poll::NeedSplit => reader.add_split(splits.next()).expect("it is readable"),
            Poll::End => break,
            _ => (),
        }
        records += batch.len() as u64;
        batch.drain(..).for_each(&mut each);
        if records >= warm {
            before.get_or_insert(ALLOCATIONS.get());
        }
    }
    (records, ALLOCATIONS.get() - before.expect("there are that many"))
}

#[test]
fn a_hundred_thousand_lines_cost_at_most_ten_allocations() {
    let lines = Lines::write("text", 120_000, "to be or not to be that is the question whether\n");
    let mut words = 0;
    let (records, allocations) =
        read(&text_files(&lines.0), 20_000, |line| words += line.words().count());
    assert_eq!((records, words), (120_000, 1_320_000));
    assert!(allocations <= 10, "{allocations} allocations");
}

#[test]
fn lines_that_are_held_for_a_while_do_not_cost_allocations_either() {
    let lines = Lines::write("held", 120_000, "to be or not to be that is the question whether\n");
    let mut held = std::collections::VecDeque::with_capacity(30_001);
    let (records, allocations) = read(&text_files(&lines.0), 60_000, |line| {
        held.push_back(line);
        if held.len() > 30_000 {
            held.pop_front();
        }
    });
    assert_eq!(records, 120_000);
    assert!(allocations <= 10, "{allocations} allocations");
}

#[test]
fn json_numbers_cost_no_allocations() {
    let lines = Lines::write("json", 120_000, "[1, 2, 3]\n");
    let source = json_lines::<(u32, u32, u32)>(&lines.0);
    let (records, allocations) = read(&source, 20_000, drop);
    assert_eq!(records, 120_000);
    assert!(allocations <= 10, "{allocations} allocations");
}
