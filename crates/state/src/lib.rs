//! Keyed state: the heap backend, and state structs on top of it.
//!
//! [`keyed_state`] is what users declare: structs with `#[derive(KeyedState)]`. It stands on:
//! - [`table`]: one value per key, below; `entry_table`: any number of rows per key, with names that
//!   `entry_key` puts together; [`timers`]: times per key, in order; [`window_table`]: values per key and
//!   stretch of time.
//!
//! [`KeyedTable`] holds one value per key of one subtask and is driven by batches. In reading order:
//! - [`table`]: what operators call: find or make, update, get, remove, iterate;
//! - [`snapshot`]: a table as it was at a barrier, written by another thread; [`restore`]: the way back;
//! - `index`: from a hash to row numbers, by way of `bucket`s of one cache line;
//! - `pages`: rows of one size in pages that stay where they are;
//! - `changes`, `bits`: what an increment holds; which rows are live;
//! - `cell`: how a record lies in a row; `slabs`: where encodings go that are too long for it;
//! - `parallel`: a few works at once, for those who go through all rows;
//! - `memory`: zeroed memory, on huge pages once it is large, and the prefetch instruction.
//!
//! Values are kept as their encoded rows, so a snapshot needs no access to the user's types, and
//! memory is known to the byte.
//!
//! Tables that do not lie on the heap are [`backend`]'s: [`keyed_rows`] is either of both, `entry_rows`
//! what maps and lists need of either; `stored` drives a backend by bytes.
//!
//! `unsafe` is allowed in `memory.rs`, `pages` and `bucket.rs` (and in `tests/accounting.rs`, which counts
//! what the allocator gives). Nothing outside them relies on an index being right: what they give
//! out is checked or in bounds by construction.

pub mod backend;
mod bits;
mod bucket;
mod cell;
mod changes;
pub mod entry_key;
mod entry_rows;
mod entry_table;
mod index;
pub mod keyed_rows;
pub mod keyed_state;
mod memory;
pub mod operator_state;
mod pages;
mod parallel;
pub mod restore;
mod slabs;
pub mod snapshot;
mod stored;
pub mod table;
pub mod timers;
pub mod window_table;

// `#[derive(KeyedState)]` and its like name this crate by its path; so that the derive also works in here:
extern crate self as millstream_state;

pub use backend::{Backing, StateBackend};
pub use keyed_rows::KeyedRows;
pub use keyed_state::{
    AggregateFunction, AggregatingState, KeyedState, ListState, MapState, ReducingState, ValueState,
};
pub use millstream_derive::{KeyedState, OperatorState};
pub use operator_state::{BroadcastState, OperatorState, SplitListState, UnionListState};
pub use snapshot::FrozenKeyedTable;
pub use table::KeyedTable;
pub use timers::TimerQueue;
