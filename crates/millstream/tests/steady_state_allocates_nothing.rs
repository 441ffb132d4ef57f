//! In steady state the engine allocates nothing per record: batches, buffers and blocks go round.
//!
//! Each job runs twice, once over more records than the other; what the longer run allocates more is
//! the price of the additional records. At most one allocation per 10,000 records is allowed.
#![allow(unsafe_code)]

use millstream::prelude::*;
use millstream::{sink, source};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts allocations of the whole process.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call is passed on to the system's allocator as it came; counting changes nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are the system allocator's conditions.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `alloc` above, which took it from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as for `alloc` and `dealloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations are counted for the whole process: one job at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Allocations per 10,000 additional records.
fn price(run: impl Fn(u64)) -> f64 {
    const FEW: u64 = 2_000_000;
    const MANY: u64 = 8_000_000;
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let count = |records| {
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        run(records);
        ALLOCATIONS.load(Ordering::Relaxed) - before
    };
    count(FEW);
    let (few, many) = (count(FEW), count(MANY));
    many.saturating_sub(few) as f64 / ((MANY - FEW) / 10_000) as f64
}

fn env(parallelism: u32) -> Env {
    let args = millstream::api::args::Args::parse([format!("--parallelism={parallelism}")]);
    Env::with_arguments(args.expect("well formed")).expect("embedded")
}

#[test]
fn a_keyed_sum_allocates_nothing_per_record() {
    for parallelism in [1, 2] {
        let price = price(|records| {
            let env = env(parallelism);
            env.source("numbers", source::generator(Some(records), |i| (i % 1000, i as i64)))
                .key_by(|(key, _)| *key)
                .sum(|(_, value)| *value)
                .name("sum")
                .sink("sums", sink::blackhole());
            env.execute("keyed sum").expect("the job finishes");
        });
        assert!(price <= 1.0, "p={parallelism}: {price} allocations per 10,000 records");
    }
}

#[test]
fn counting_words_of_files_allocates_nothing_per_record() {
    let directory = std::env::temp_dir().join(format!("millstream-words-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("there is a temporary directory");
    for parallelism in [1, 2] {
        let price = price(|words| {
            let path = directory.join(format!("{words}.txt"));
            if !path.exists() {
                let line = "the quick brown fox jumps over the lazy dog again\n";
                std::fs::write(&path, line.repeat(words as usize / 10)).expect("there is room");
            }
            let env = env(parallelism);
            // Asking for a split takes messages; splits of real files are as large as this.
            env.source("text", source::text_files(&path).split_bytes(64 << 20))
                .flat_map(|line| line.words())
                .key_by_ref(|word| word)
                .count()
                .name("count")
                .sink("counts", sink::blackhole());
            env.execute("word count").expect("the job finishes");
        });
        assert!(price <= 1.0, "p={parallelism}: {price} allocations per 10,000 records");
    }
    std::fs::remove_dir_all(&directory).expect("it is ours");
}
