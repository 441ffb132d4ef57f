//! Sources, sinks and formats that need no service: files, sockets, JSON lines, generators.
//!
//! In reading order:
//! - [`source`]: where records come from;
//! - [`sink`]: where they go;
//! - [`text`]: lines and words that are slices of shared blocks;
//! - [`nexmark`]: the events of the Nexmark benchmark, and a generator of them;
//! - [`harness`]: runs a source or a sink alone, for tests.
//!
//! A source or sink is a value, made by a function and refined by methods:
//!
//! ```
//! use millstream_connectors::harness::{read_all, write_all};
//! use millstream_connectors::{sink, source};
//!
//! let numbers = source::generator(Some(3), |n| n).rate(1_000_000);
//! let collected = sink::collect();
//! write_all(&collected, read_all(&numbers, 1)?)?;
//! assert_eq!(collected.take(), [0, 1, 2]);
//! # Ok::<(), millstream_core::OperatorError>(())
//! ```

mod connect;
mod failure;
pub mod harness;
pub mod nexmark;
#[cfg(test)]
mod scratch;
pub mod sink;
pub mod source;
pub mod text;
