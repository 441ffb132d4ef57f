//! A running sum per key: `keyed_sum --records N --keys K`.
//!
//! Record `i` has the key `splitmix64(i) mod K` and the value `i`; sums go into a blackhole.

use millstream::prelude::*;
use millstream::{sink, source};

millstream::allocator!();

/// The output function of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
fn splitmix64(i: u64) -> u64 {
    let z = i.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn main() -> Result<()> {
    let env = Env::from_args()?;
    let records = env.arg_parsed::<u64>("records")?.unwrap_or(100_000_000);
    let keys = env.arg_parsed::<u64>("keys")?.unwrap_or(1_000_000).max(1);

    env.source(
        "numbers",
        source::generator(Some(records), move |i| (splitmix64(i) % keys, i as i64)),
    )
    .key_by(|(key, _)| *key)
    .sum(|(_, value)| *value)
    .name("sum")
    .sink("sums", sink::blackhole());
    env.execute("keyed_sum")?;
    Ok(())
}
