//! Moves records of 100 bytes from one slot to another: `shuffle --records N`.
//!
//! Source and sink are in slot sharing groups of their own. On a cluster of two TaskManagers with one
//! slot each every record crosses from one job process to the other:
//!
//! ```sh
//! millstream cluster start --taskmanagers 2 --slots 1
//! millstream run target/release/examples/shuffle --records 50000000
//! ```

use millstream::prelude::*;
use millstream::{sink, source};

millstream::allocator!();

/// 100 bytes on the wire.
#[derive(Clone, Record)]
struct Wide {
    index: u64,
    payload: [u8; 92],
}

fn main() -> Result<()> {
    let env = Env::from_args()?;
    let records = env.arg_parsed::<u64>("records")?.unwrap_or(50_000_000);
    env.source(
        "records",
        source::generator(Some(records), |index| Wide { index, payload: [7; 92] }),
    )
    .set_parallelism(1)
    .slot_sharing_group("here")
    .rebalance()
    .filter(|record| record.index != u64::MAX)
    .name("taken")
    .set_parallelism(1)
    .slot_sharing_group("there")
    .sink("nowhere", sink::blackhole())
    .set_parallelism(1);
    env.execute("shuffle")?;
    Ok(())
}
