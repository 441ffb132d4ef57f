//! The suite of windows, with state on local disk.

#[path = "../../operator/tests/window_suite/mod.rs"]
mod window_suite;

mod common;

use millstream_operator::context::StateBackend;
use std::sync::Arc;

/// Of each property; each opens a dozen databases.
const CASES: u32 = 8;

fn state_backend() -> Option<Arc<dyn StateBackend>> {
    common::backing().map(|backing| backing.backend)
}
