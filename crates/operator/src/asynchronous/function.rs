//! [`AsyncFunction`]: what a user writes to ask somebody outside about each record.

use crate::context::TaskContext;
use crate::process::function::FunctionResult;
use millstream_core::Record;
use std::error::Error;

/// What a call gives. Any error is one, and `Err("in words".into())` too.
pub type AsyncResult<O> = Result<O, Box<dyn Error + Send + Sync>>;

/// Asks somebody outside about each record, without waiting: many calls are under way at a time.
///
/// Each subtask has a clone of its own. A record whose answer has not been given on when a checkpoint is
/// taken is part of the checkpoint, and asked about again after a restore: calls have to be ones that do
/// no harm the second time.
pub trait AsyncFunction<T: Record>: Clone + Send + 'static {
    /// What it gives.
    type Out: Record;

    /// Before the first record of a subtask: the place to connect.
    fn open(&mut self, _context: &TaskContext) -> FunctionResult {
        Ok(())
    }

    /// Begins a call. The future runs elsewhere, beside many others, in a `tokio` runtime: it must not
    /// block its thread.
    fn call(&mut self, record: T) -> impl Future<Output = AsyncResult<Self::Out>> + Send + 'static;

    /// No answer has come within the timeout, retries included: what is given instead. An error, as
    /// without this, fails the task.
    fn on_timeout(&mut self, _record: T) -> AsyncResult<Self::Out> {
        Err("no answer has come; give calls more time with `AsyncOptions::timeout`, or say with \
             `AsyncFunction::on_timeout` what to give instead"
            .into())
    }

    /// After the last record of a subtask, if it got so far.
    fn close(&mut self) -> FunctionResult {
        Ok(())
    }
}

/// A closure that gives a future.
#[derive(Clone)]
pub struct AsyncFn<F>(pub F);

impl<T, U, E, Fut, F> AsyncFunction<T> for AsyncFn<F>
where
    T: Record,
    U: Record,
    E: Into<Box<dyn Error + Send + Sync>>,
    Fut: Future<Output = Result<U, E>> + Send + 'static,
    F: Fn(T) -> Fut + Clone + Send + 'static,
{
    type Out = U;

    fn call(&mut self, record: T) -> impl Future<Output = AsyncResult<U>> + Send + 'static {
        let answer = (self.0)(record);
        async move { answer.await.map_err(Into::into) }
    }
}
