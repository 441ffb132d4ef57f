//! The suite of windows, with state in memory.

mod window_suite;

use millstream_operator::context::StateBackend;
use std::sync::Arc;

fn state_backend() -> Option<Arc<dyn StateBackend>> {
    None
}
