//! Asynchronous calls to the outside, many of them under way at a time: a lookup in a database, a request
//! to a service.
//!
//! - [`function`]: what users write; [`options`]: order, capacity, timeout and retries;
//! - [`runtime`]: who makes the calls: never the thread of a slot;
//! - `completions`: how their answers come back;
//! - [`wait`]: the operator.

mod completions;
pub mod function;
pub mod options;
pub mod runtime;
pub mod wait;

pub use function::{AsyncFn, AsyncFunction, AsyncResult};
pub use options::{AsyncOptions, AsyncRetry};
pub use runtime::{AsyncCall, AsyncRuntime, BoxedFuture, LocalRuntime, Spawn};
pub use wait::AsyncWait;
