//! Real processes: a cluster is started, used, hurt and stopped.
//!
//! - `harness`: a cluster of its own for each test, in a directory of its own;
//! - `runs`: what works; `faults`: what must end well although something went wrong.

mod faults;
mod harness;
mod runs;
