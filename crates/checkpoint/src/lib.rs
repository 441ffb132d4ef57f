//! Checkpoints, the half that decides and describes: it opens no file and knows no clock.
//!
//! In reading order:
//! - [`handle`]: what a completed checkpoint refers to, down to the block of a file;
//! - [`storage`]: where state files live; implemented by those who may touch disks and networks;
//! - [`state_file`]: what is in a state file: blocks with length and checksum, and their index;
//! - [`snapshot`]: what an operator hands over when a barrier passes, and what it gets back.

pub mod handle;
pub mod snapshot;
pub mod state_file;
pub mod storage;
