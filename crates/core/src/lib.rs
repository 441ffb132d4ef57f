//! Ground types of Millstream: what crates on two branches of the tree have to name alike.
//!
//! In reading order:
//! - [`ids`]: every identifier is a type of its own;
//! - [`time`]: event time in milliseconds, monotonic time of the deciding code;
//! - [`record`]: what may be a record or a key, and the row codec;
//! - [`hash`] and [`key_group`]: how a key finds its subtask, a permanent format;
//! - [`checkpoint`]: what a checkpoint is called, and its barrier;
//! - [`job_graph`]: the plan that a client submits;
//! - [`job_state`]: what state its operators declare;
//! - [`accumulator`]: numbers that functions add up; [`metric`]: what they show while they work;
//! - [`status`]: life cycles of jobs and execution attempts;
//! - [`config`]: options, declared once, with Flink's keys;
//! - [`error`]: failures of user code, with the place where the operator was declared;
//! - [`mutant`]: planted bugs, for the simulator.
//!
//! Nothing here does I/O, reads a clock or draws a random number.

// `#[derive(Record)]` names this crate by its path; so that the derive also works in here:
extern crate self as millstream_core;

pub mod accumulator;
pub mod checkpoint;
pub mod config;
pub mod error;
pub mod hash;
pub mod ids;
pub mod job_graph;
pub mod job_state;
pub mod key_group;
pub mod metric;
pub mod mutant;
pub mod record;
pub mod status;
pub mod time;

pub use error::{Location, OperatorError};
pub use key_group::{KeyGroup, KeyGroupRange, MaxParallelism};
pub use record::{DecodeError, Key, Record, Str};
