//! The suite of state, on the heap.

mod suite;

use millstream_state::Backing;

/// None: the heap.
fn backing() -> Option<Backing> {
    None
}
