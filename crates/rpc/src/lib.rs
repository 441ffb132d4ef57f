//! Typed messages between endpoints, and what carries them.
//!
//! In reading order:
//! - [`protocol`]: what endpoints say to each other, pure data;
//! - [`machine`]: the shape of deciding code: inputs and time in, effects out;
//! - [`heartbeat`], [`registration`]: the two small machines that every endpoint contains.
//!
//! With the feature `shell`: the tokio loop that drives machines, connections and gateways.

pub mod heartbeat;
pub mod machine;
pub mod protocol;
pub mod registration;
#[cfg(feature = "shell")]
pub mod shell;
