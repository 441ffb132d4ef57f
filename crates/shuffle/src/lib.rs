//! How batches move between tasks.
//!
//! In reading order:
//! - [`batch`], [`element`]: what moves;
//! - [`wake`]: how threads sleep and are woken; [`sync`]: what threads share;
//! - [`subpartition`]: the queue between two tasks;
//! - [`partition`]: all that one task produces for one edge, and how records are routed to it;
//! - [`gate`]: all that one task reads;
//! - [`stored`]: partitions on local disk, which are read when their producers have finished;
//! - [`registry`]: where producers and consumers of one process find each other;
//! - [`wire`]: the same between processes: frames, credit, connections.

pub mod batch;
pub mod edge;
pub mod element;
pub mod gate;
pub mod in_flight;
pub mod partition;
mod prefetch;
pub mod registry;
pub mod stored;
pub mod subpartition;
pub mod sync;
pub mod wake;
pub mod wire;
