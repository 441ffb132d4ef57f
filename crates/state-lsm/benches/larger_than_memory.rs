//! State four times the memory of its backend: read, change, write, at random keys.
//!
//! Ratios of one run: a batch through `KeyedRows`, against a loop of `get` and `put` on a database with the
//! same settings, its own memory of the same size, and the same rows. Both take turns. Beside it, what
//! the process has in memory over what it had before, against the budget.

use millstream_core::Record;
use millstream_core::key_group::MaxParallelism;
use millstream_state::{Backing, KeyedRows};
use millstream_state_lsm::{LsmBackend, LsmConfig};
use rocksdb::{DB, WriteOptions};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Of each backend.
const BUDGET: usize = 64 << 20;

/// A row has a key of 8 bytes and a value of 96, which do not compress.
const ROWS: u64 = 4 * BUDGET as u64 / 104;

/// Records per batch.
const BATCH: usize = 1_024;

/// Records per turn.
const TURN: usize = 64 * BATCH;

/// Turns of each.
const TURNS: usize = 5;

type Value = [u64; 12];

fn config() -> LsmConfig {
    let directory = std::env::var_os("LSM_BENCH_DIR").map_or_else(std::env::temp_dir, Into::into);
    LsmConfig { memory: BUDGET, write_buffer_ratio: 0.5, directory }
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
    let rows: Vec<u64> = (0..ROWS).map(key).collect();
    let fill = |value: &mut Value, key: u64| *value = self::value(key);
    let before = resident();
    let backing = Backing { backend: Arc::new(LsmBackend::new(&config())), max };
    let mut table = KeyedRows::open("bench", Some(&backing));
    let mut most = 0;
    for keys in rows.chunks(TURN) {
        ours(&mut table, keys, fill);
        most = most.max(resident() - before);
    }
    let filled = most;
    let mut word = 1;
    let mut random = || (0..TURN).map(|_| key(next(&mut word) % ROWS)).collect::<Vec<_>>();
    let add = |value: &mut Value, key: u64| value[0] = value[0].wrapping_add(key);
    for _ in 0..TURNS {
        ours(&mut table, &random(), add);
        most = most.max(resident() - before);
    }
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
    let mib = |bytes: usize| bytes as f64 / f64::from(1 << 20);
    println!("rows: {ROWS} of 104 bytes; memory of a backend: {} MiB", BUDGET >> 20);
    println!("bare get and put:   {:8.0} k records/s", per_second(bare));
    println!("batches of state:   {:8.0} k records/s", per_second(ours));
    println!("ratio:              {:8.2}  (0.3 asked)", bare.as_secs_f64() / ours.as_secs_f64());
    println!("memory, filled:     {:8.1} MiB", mib(filled));
    println!("memory, at most:    {:8.1} MiB", mib(most));
    println!("of the budget:      {:8.2}  (1.05 asked)", most as f64 / BUDGET as f64);
}
