//! User functions with state and timers.
//!
//! - [`function`]: [`KeyedProcessFunction`], which users implement;
//! - [`context`]: [`ProcessContext`], what they see while they do;
//! - [`timer_service`]: timers in event time and in processing time;
//! - [`keyed_process`]: the operator;
//! - [`operator_process`]: functions on records without a key, with state of the subtask;
//! - [`co_process`]: functions of two inputs, keyed and not;
//! - [`broadcast_process`]: functions that read what another stream has broadcast;
//! - [`harness`]: drives a function alone, for tests.

pub mod broadcast_process;
pub mod co_process;
pub mod context;
pub mod function;
pub mod harness;
pub mod keyed_process;
pub mod operator_process;
pub mod timer_service;

pub use broadcast_process::{
    BroadcastProcessFunction, KeyedBroadcastProcess, KeyedBroadcastProcessFunction, OfBroadcast,
};
pub use co_process::{CoProcessFunction, EitherSelector, KeyedCoProcessFunction, OfEither};
pub use context::ProcessContext;
pub use function::{FunctionResult, KeyedProcessFunction, TimeDomain, Timer};
pub use harness::KeyedProcessHarness;
pub use keyed_process::KeyedProcess;
pub use operator_process::{OperatorContext, Process, ProcessFunction};
