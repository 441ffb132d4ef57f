//! Keyed state that is larger than memory: the state backend `rocksdb`, on local disk.
//!
//! Each table of a subtask is a RocksDB database of its own, without a write-ahead log: what counts
//! after a failure is the last checkpoint. All databases of a process share one budget of memory
//! ([`LsmConfig::memory`]) for cached blocks and for what is not on disk yet.
//!
//! In reading order:
//! - [`config`]: the memory and the directory;
//! - `allocator`: where RocksDB's memory comes from;
//! - `shared`: what the tables of a process share; [`backend`]: the face to the state crate;
//! - `store`: one table, as the state crate drives it;
//! - `frozen`: a table at a barrier: its files, linked aside; written as rows for savepoints, and copied as
//!   files for incremental checkpoints;
//! - `taken`: the way back from such files, also where key groups have moved;
//! - `blocks`: the rows of a database as blocks of a state file.

mod allocator;
pub mod backend;
mod blocks;
pub mod config;
mod frozen;
mod shared;
mod store;
mod taken;

pub use backend::LsmBackend;
pub use config::LsmConfig;
