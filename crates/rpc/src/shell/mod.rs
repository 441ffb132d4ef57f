//! The shell: carries messages, timers and work for machines. It contains no protocol.
//!
//! In reading order:
//! - [`frame`]: how messages cross a connection;
//! - [`system`]: the endpoints of one process and its connections to others;
//! - [`connection`]: one peer: dialling, asking, noticing its loss;
//! - [`endpoint`]: the loop that drives one machine;
//! - [`link`]: frames between a task executor and a job process.

// The wall between deciding and doing runs here: the shell reads the clocks.
#![allow(clippy::disallowed_methods)]

pub mod connection;
pub mod endpoint;
pub mod frame;
pub mod link;
pub mod system;

pub use endpoint::{EndpointHandle, Performer, spawn_endpoint};
pub use system::{Probe, RpcSystem};
