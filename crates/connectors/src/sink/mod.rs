//! Where records go.
//!
//! Each sink is a value with builder methods, made by a function of this module:
//! - [`print`](fn@print): standard output;
//! - [`blackhole`](fn@blackhole): nowhere;
//! - [`collect`](fn@collect): a vector in this process;
//! - [`text_files`], [`csv`](fn@csv), [`json_lines`]: files in a directory, each record exactly once;
//!   and [`files`](fn@files) for any [`Format`];
//! - [`socket_text`](fn@socket_text): lines to a TCP server.
//!
//! What a record looks like is said by a [`Format`]: [`DisplayLines`], [`DebugLines`], [`Csv`],
//! [`JsonLines`].

mod blackhole;
mod collect;
mod csv;
mod files;
mod for_each;
mod format;
mod print;
mod socket_text;

pub use blackhole::{Blackhole, blackhole};
pub use collect::{Collector, collect};
pub use csv::Csv;
pub use files::{Files, PartitionedFiles, csv, files, json_lines, text_files};
pub use for_each::{ForEach, for_each};
pub use format::{DebugLines, DisplayLines, Format, JsonLines};
pub use print::{Print, print};
pub use socket_text::{SocketText, socket_text};
