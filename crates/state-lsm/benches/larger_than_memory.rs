//! State four times the memory of its backend: read, change, write, at random keys.
//!
//! Ratios of one run: a batch through `KeyedRows`, against a loop of `get` and `put` on a database with the
//! same settings, its own memory of the same size, and the same rows. Both take turns. Before that, what
//! the process has in memory over what it had before, against the budget: looked at every few
//! milliseconds while the state is filled and changed for as long as it takes to change each row twice.
//!
//! `LSM_BENCH_MIB`: the budget; `LSM_BENCH_DIR`: where the files are.

use millstream_core::Record;
use millstream_core::key_group::MaxParallelism;
use millstream_state::{Backing, KeyedRows};
use millstream_state_lsm::{LsmBackend, LsmConfig};
use rocksdb::{DB, WriteOptions};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// MiB of each backend, unless the environment says something else.
const BUDGET_MIB: usize = 64;

/// A row has a key of 8 bytes and a value of 96, which do not compress.
const ROW_BYTES: usize = 104;

/// Records per batch.
const BATCH: usize = 1_024;

/// Records per turn.
const TURN: usize = 64 * BATCH;

/// Turns of each.
const TURNS: usize = 5;

type Value = [u64; 12];

fn config() -> LsmConfig {
    let directory = std::env::var_os("LSM_BENCH_DIR").map_or_else(std::env::temp_dir, Into::into);
    let mib = std::env::var("LSM_BENCH_MIB").ok().map(|mib| mib.parse().expect("a number"));
    let memory = mib.unwrap_or(BUDGET_MIB) << 20;
    LsmConfig { memory, write_buffer_ratio: 0.5, directory }
}

fn next(word: &mut u64) -> u64 {
    *word ^= *word << 13;
    *word ^= *word >> 7;
    *word ^= *word << 17;
    *word
}

/// A key that says nothing about its neighbours.
fn key(row: u64) -> u64 {
    row.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

fn value(row: u64) -> Value {
    let mut word = row | 1 << 63;
    std::array::from_fn(|_| next(&mut word))
}

/// Looks at the memory of this process all the time.
#[derive(Default)]
struct Watch {
    most: AtomicUsize,
    is_over: AtomicBool,
}

impl Watch {
    fn look(&self) {
        while !self.is_over.load(Ordering::Relaxed) {
            self.most.fetch_max(resident(), Ordering::Relaxed);
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Anonymous memory of this process.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("there");
    line.trim().trim_end_matches(" kB").trim().parse::<usize>().expect("a number") << 10
}

fn ours(table: &mut KeyedRows<u64, Value>, keys: &[u64], change: impl Fn(&mut Value, u64)) {
    for keys in keys.chunks(BATCH) {
        let hashes: Vec<u64> = keys.iter().map(Record::hash64).collect();
        table.update_batch(&hashes, |i| keys[i], || [0; 12], |_, key, value| change(value, key));
    }
}

fn bare(db: &DB, unlogged: &WriteOptions, keys: &[u64], change: impl Fn(&mut Value, u64)) {
    let mut row = Vec::new();
    for key in keys {
        // In the same order on disk as ours: by key group, which is a part of the hash.
        let mut name = [0; 10];
        name[..2].copy_from_slice(&((key.hash64() >> 57) as u16).to_be_bytes());
        name[2..].copy_from_slice(&key.to_le_bytes());
        let found = db.get_pinned(name).expect("read");
        let mut value = found.map_or([0; 12], |bytes| {
            std::array::from_fn(|i| {
                u64::from_le_bytes(bytes[8 * i..8 * i + 8].try_into().expect("eight bytes"))
            })
        });
        change(&mut value, *key);
        row.clear();
        value.encode(&mut row);
        db.put_opt(name, &row, unlogged).expect("written");
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn per_second(time: Duration) -> f64 {
    TURN as f64 / time.as_secs_f64() / 1e3
}

fn main() {
    let max = MaxParallelism::new(128).expect("within bounds");
    let budget = config().memory;
    let count = (4 * budget / ROW_BYTES) as u64;
    let rows: Vec<u64> = (0..count).map(key).collect();
    let fill = |value: &mut Value, key: u64| *value = self::value(key);
    let before = resident();
    let watch = Watch::default();
    let over = |bytes: usize| bytes.saturating_sub(before);
    let backend = Arc::new(LsmBackend::new(&config()));
    let mut table = KeyedRows::open("bench", Some(&Backing { backend: backend.clone(), max }));
    let mut word = 1;
    let mut random = || (0..TURN).map(|_| key(next(&mut word) % count)).collect::<Vec<_>>();
    let add = |value: &mut Value, key: u64| value[0] = value[0].wrapping_add(key);
    let (mut filled, mut counted) = (0, 0);
    thread::scope(|scope| {
        scope.spawn(|| watch.look());
        for keys in rows.chunks(TURN) {
            ours(&mut table, keys, fill);
        }
        filled = over(watch.most.load(Ordering::Relaxed));
        for _ in 0..(2 * count as usize).div_ceil(TURN) {
            ours(&mut table, &random(), add);
            counted = counted.max(backend.memory_bytes());
        }
        watch.is_over.store(true, Ordering::Relaxed);
    });
    let most = over(watch.most.load(Ordering::Relaxed));
    let mib = |bytes: usize| bytes as f64 / f64::from(1 << 20);
    println!("rows: {count} of {ROW_BYTES} bytes; memory of a backend: {} MiB", budget >> 20);
    println!("memory, filled:     {:8.1} MiB", mib(filled));
    println!(
        "memory, at most:    {:8.1} MiB, of which RocksDB counts {:.1}",
        mib(most),
        mib(counted)
    );
    println!("of the budget:      {:8.2}  (1.05 asked)", most as f64 / budget as f64);
    let other = LsmBackend::new(&config());
    let directory = config().directory.join(format!("millstream-bare-{}", std::process::id()));
    let db = DB::open(&other.database_options(), &directory).expect("opened");
    let mut unlogged = WriteOptions::default();
    unlogged.disable_wal(true);
    bare(&db, &unlogged, &rows, fill);
    let (mut our_times, mut bare_times) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        let keys = random();
        let start = Instant::now();
        ours(&mut table, &keys, add);
        our_times.push(start.elapsed());
        let start = Instant::now();
        bare(&db, &unlogged, &keys, add);
        bare_times.push(start.elapsed());
    }
    drop(db);
    let _ = std::fs::remove_dir_all(&directory);
    let (ours, bare) = (median(our_times), median(bare_times));
    println!("bare get and put:   {:8.0} k records/s", per_second(bare));
    println!("batches of state:   {:8.0} k records/s", per_second(ours));
    println!("ratio:              {:8.2}  (0.3 asked)", bare.as_secs_f64() / ours.as_secs_f64());
}
