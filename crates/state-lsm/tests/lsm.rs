//! The suite of state, on local disk.

#[path = "../../state/tests/suite/mod.rs"]
mod suite;

mod common;

use common::backing;
