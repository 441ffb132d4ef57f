//! Where records come from.
//!
//! Each source is a value with builder methods, made by a function of this module:
//! - [`collection`](fn@collection): records that the program holds;
//! - [`generator`](fn@generator) and [`generator_with_due`]: records made from their index, at full
//!   speed or at a rate;
//! - [`text_files`](fn@text_files): the lines of files;
//! - [`json_lines`](fn@json_lines): a JSON value per line of files;
//! - [`csv_lines`](fn@csv_lines): lines of values between commas;
//! - [`socket_text`](fn@socket_text): the lines that a TCP server sends.

mod collection;
mod csv_lines;
mod current_split;
mod generator;
mod indices;
mod json_lines;
mod lines_of_files;
#[cfg(test)]
mod replay_test;
mod socket_text;
mod splits_at_once;
#[cfg(test)]
mod splits_test;
mod text_files;

pub use collection::{Collection, collection};
pub use csv_lines::{CsvLines, Fields, csv_lines};
pub use generator::{DueGenerator, Generator, generator, generator_with_due};
pub use json_lines::{JsonLines, json_lines};
pub use socket_text::{SocketText, socket_text};
pub use text_files::{TextFiles, text_files};
