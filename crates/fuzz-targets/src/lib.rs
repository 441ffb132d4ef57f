//! What the fuzzer does with bytes: one function per decoder, each with the properties that must hold.
//!
//! A decoder never panics, takes less than a second, and takes memory in proportion to what it was
//! given, however much the bytes claim. What it has understood can be written and read again; where
//! there is one way to write a value, the bytes come back.
//!
//! The programs that call these functions are `fuzz/` (which looks for bytes) and `tests/replay.rs`
//! (which calls them with the bytes that are kept in `fuzz/corpus` and `fuzz/crashes`). Each takes
//! [`Counting`] for its allocator. A function says whether the bytes were understood.

mod checkpoint;
mod configuration;
mod counting;
mod host;
mod job_graph;
mod kinds;
mod limits;
mod rpc;
mod schemas;
mod shuffle;

pub use checkpoint::ORIGIN;
pub use counting::{Counting, bytes_counted};
pub use kinds::record;
pub use limits::check;

/// A decoder that is fuzzed.
pub struct Target {
    /// Its name, which is also that of its directories.
    pub name: &'static str,
    /// Gives it bytes; whether they were understood.
    pub run: fn(&[u8]) -> bool,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "record", run: kinds::record },
    Target { name: "batch", run: shuffle::batch },
    Target { name: "inspect", run: schemas::inspect },
    Target { name: "evolution", run: schemas::evolution },
    Target { name: "rpc_frame", run: rpc::frame },
    Target { name: "rpc_message", run: rpc::message },
    Target { name: "job_link", run: rpc::job_link },
    Target { name: "job_graph", run: job_graph::job_graph },
    Target { name: "shuffle_frame", run: shuffle::frame },
    Target { name: "in_flight", run: shuffle::in_flight },
    Target { name: "blob_request", run: host::blob_request },
    Target { name: "blob_reply", run: host::blob_reply },
    Target { name: "config_file", run: configuration::config_file },
    Target { name: "checkpoint_metadata", run: checkpoint::metadata },
    Target { name: "state_file", run: checkpoint::state_file },
    Target { name: "ha_record", run: checkpoint::ha_record },
    Target { name: "local_proof", run: checkpoint::local_proof },
];

/// The target of this name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
