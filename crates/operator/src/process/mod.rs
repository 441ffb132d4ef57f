//! User functions with state and timers.
//!
//! - [`function`]: [`KeyedProcessFunction`], which users implement;
//! - [`context`]: [`ProcessContext`], what they see while they do;
//! - [`timer_service`]: timers in event time and in processing time;
//! - [`keyed_process`]: the operator;
//! - [`harness`]: drives a function alone, for tests.

pub mod context;
pub mod function;
pub mod harness;
pub mod keyed_process;
pub mod timer_service;

pub use context::ProcessContext;
pub use function::{FunctionResult, KeyedProcessFunction, TimeDomain, Timer};
pub use harness::KeyedProcessHarness;
pub use keyed_process::KeyedProcess;
