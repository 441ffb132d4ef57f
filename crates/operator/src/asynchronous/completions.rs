//! How answers of asynchronous calls come back to the thread of the slot: through a box of mails, which
//! wakes it.
//!
//! There is at most one answer per call that was begun, so the box needs no bound of its own. Whoever
//! answers fills the box, raises the flag and then wakes; the reader lowers the flag before it empties the
//! box. So what is in the box while the reader sleeps has its flag, and what comes after its last look
//! wakes it.

use millstream_core::OperatorError;
use millstream_shuffle::sync::atomic::{AtomicBool, Ordering};
use millstream_shuffle::sync::{Arc, Mutex, lock};
use millstream_shuffle::wake::Wake;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

/// The answer to one call.
pub(super) struct Answer<R> {
    /// The record.
    pub(super) id: u64,
    /// The how many-th call for it, from 1.
    pub(super) call: u32,
    pub(super) result: Result<R, OperatorError>,
}

/// Answers that have not been looked at.
pub(super) struct Completions<R> {
    answers: Mutex<Vec<Answer<R>>>,
    /// There is one.
    filled: AtomicBool,
    wake: Wake,
}

impl<R> Completions<R> {
    pub(super) fn new(wake: Wake) -> Self {
        Self { answers: Mutex::default(), filled: AtomicBool::new(false), wake }
    }

    fn post(&self, answer: Answer<R>) {
        lock(&self.answers).push(answer);
        self.filled.store(true, Ordering::Release);
        self.wake.wake();
    }

    /// Everything that has come since the last time.
    pub(super) fn take(&self) -> Vec<Answer<R>> {
        match self.filled.swap(false, Ordering::Acquire) {
            true => std::mem::take(&mut *lock(&self.answers)),
            false => Vec::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.filled.load(Ordering::Acquire)
    }
}

/// Answers once, whatever becomes of the call.
pub(super) struct Answering<R> {
    completions: Arc<Completions<R>>,
    id: u64,
    call: u32,
    answered: bool,
}

impl<R> Answering<R> {
    pub(super) fn new(completions: Arc<Completions<R>>, id: u64, call: u32) -> Self {
        Self { completions, id, call, answered: false }
    }

    /// Runs the call and tells what came of it.
    pub(super) async fn after(
        mut self,
        call: impl Future<Output = Result<R, OperatorError>> + Send + 'static,
    ) {
        let result = Caught(Box::pin(call)).await;
        self.tell(result);
    }

    fn tell(&mut self, result: Result<R, OperatorError>) {
        if !std::mem::replace(&mut self.answered, true) {
            self.completions.post(Answer { id: self.id, call: self.call, result });
        }
    }
}

impl<R> Drop for Answering<R> {
    /// Nobody waits for a call that was cancelled; one whose runtime has dropped it has failed.
    fn drop(&mut self) {
        self.tell(Err(OperatorError::new("the call was dropped before it had answered")));
    }
}

/// A future whose panics are errors.
struct Caught<F>(Pin<Box<F>>);

impl<R, F: Future<Output = Result<R, OperatorError>>> Future for Caught<F> {
    type Output = Result<R, OperatorError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // What a panicking call leaves behind is dropped with it.
        let polled = catch_unwind(AssertUnwindSafe(|| self.0.as_mut().poll(context)));
        polled.unwrap_or_else(|payload| {
            let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
            let text = text.unwrap_or_else(|| "a value that is not text".to_owned());
            Poll::Ready(Err(OperatorError::new(format!("panic: {text}"))))
        })
    }
}
