//! A job whose output can be watched over failures:
//! `recovery_probe --output HOST:PORT [--keys K] [--rate R]`.
//!
//! Counts numbers per key with about 100 bytes of state each, and sends every thousandth key's count
//! to a socket at once: whoever listens there sees when output stops and when it goes on.
//! `benches/rivals` has a program that listens, kills workers, and tells how long that took.

use millstream::prelude::*;
use millstream::{sink, source};

millstream::allocator!();

/// Counters per key: 96 bytes.
const COUNTERS: usize = 12;

fn main() -> Result<()> {
    let env = Env::from_args()?;
    let keys = env.arg_parsed::<u64>("keys")?.unwrap_or(1_000_000).max(1);
    let rate = env.arg_parsed::<u64>("rate")?.unwrap_or(200_000).max(1);
    let output = env.arg("output")?;

    env.source("numbers", source::generator(None, |id| id).rate(rate))
        .key_by(move |id| id % keys)
        .fold(
            || [0; COUNTERS],
            |counters: &mut [u64; COUNTERS], id| counters[(id % COUNTERS as u64) as usize] += 1,
        )
        .name("count")
        .filter(|(key, _)| key % 1000 == 0)
        .map(|(key, counters)| format!("{key} {}", counters.iter().sum::<u64>()))
        .sink("probe", sink::socket_text(output));
    env.execute("recovery probe")?;
    Ok(())
}
