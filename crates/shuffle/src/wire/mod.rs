//! Exchanges between processes: frames, credit and connections.
//!
//! The consumer's process dials the data port of the producer's worker and asks for subpartitions;
//! one connection carries all channels between the two processes in that direction. Data threads
//! encode and decode; two threads per connection only move bytes. A producer sends a data frame only
//! against credit, so what is under way per channel is bounded, and a full consumer holds back the
//! producer and nobody else.
//!
//! In reading order:
//! - [`frame`]: what crosses a connection;
//! - [`preface`]: the clear 32 bytes that tell a worker which job process is meant;
//! - [`outbox`]: frames on their way to the writer thread;
//! - [`view`]: a subpartition as a consumer in another process sees it;
//! - [`server`]: the producers' end of a connection;
//! - [`client`]: the consumers' end;
//! - [`network`]: all connections of a process.

pub mod client;
pub mod frame;
pub mod network;
pub mod outbox;
pub mod preface;
pub mod server;
pub mod view;

pub use client::RemoteChannel;
pub use network::{Network, NetworkConfig};
pub use preface::Preface;
