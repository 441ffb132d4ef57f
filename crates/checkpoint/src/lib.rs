//! Checkpoints, the half that decides and describes: it opens no file and knows no clock.
//!
//! In reading order:
//! - [`config`]: how a job takes checkpoints, and what it goes on from;
//! - [`handle`]: what a completed checkpoint refers to, down to the block of a file;
//! - [`metadata`]: the file that makes a checkpoint complete;
//! - [`storage`]: where state files live; implemented by those who may touch disks and networks;
//! - [`files`]: what is done with the files of a whole checkpoint;
//! - [`pointer`]: small records that are changed by compare-and-set;
//! - [`state_file`]: what is in a state file: blocks with length and checksum, and their index;
//! - [`local`]: copies of those that a worker keeps for itself;
//! - [`snapshot`]: what an operator hands over when a barrier passes, and what it gets back;
//! - [`native`]: tables that are handed over in the files of a backend;
//! - [`alignment`]: when a task that reads several channels takes its part;
//! - [`coordinator`]: when a checkpoint is taken, when it is complete, what is deleted;
//! - [`registry`]: which shared files are still needed;
//! - [`reassign`]: who goes on with which state;
//! - [`compatibility`]: what a program would make of a checkpoint;
//! - [`inspect`]: rows of state for people;
//! - [`testing`]: a storage in memory.

pub mod alignment;
pub mod compatibility;
pub mod config;
pub mod coordinator;
pub mod files;
pub mod handle;
mod hex;
pub mod inspect;
pub mod local;
pub mod metadata;
pub mod mutant;
pub mod native;
pub mod pointer;
pub mod reassign;
pub mod registry;
pub mod snapshot;
pub mod state_file;
pub mod storage;
pub mod testing;
