//! BATCH mode: keyed operators get their records sorted by keys, so that they hold the state of a few keys
//! at a time, however many there are.
//!
//! - [`sorted_input`]: the operator around a keyed operator;
//! - [`sorter`]: sorts more than fits in memory; `run_file`: the sorted parts of it on local disk.

mod run_file;
pub mod sorted_input;
pub mod sorter;

pub use sorted_input::SortedInput;
