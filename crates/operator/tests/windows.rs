//! The suite of windows, with state in memory.

mod window_suite;

use millstream_operator::context::StateBackend;
use std::sync::Arc;

/// Of each property.
const CASES: u32 = 200;

fn state_backend() -> Option<Arc<dyn StateBackend>> {
    None
}
