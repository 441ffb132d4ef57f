//! The suite of state, in a backend that is a sorted map: what the state crate makes of a backend,
//! without one that does anything else.

mod sorted_map;
mod suite;

use millstream_core::key_group::MaxParallelism;
use millstream_state::Backing;
use std::sync::Arc;

fn backing() -> Option<Backing> {
    let max = MaxParallelism::new(128).expect("within bounds");
    Some(Backing { backend: Arc::new(sorted_map::SortedMaps), max })
}
