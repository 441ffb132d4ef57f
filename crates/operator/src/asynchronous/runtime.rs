//! [`AsyncRuntime`]: who makes asynchronous calls. The job process has one for all its tasks; tests have
//! [`LocalRuntime`], which makes progress only when it is told to.

use millstream_core::OperatorError;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Wake, Waker};

/// A call that tells by itself what came of it.
pub type BoxedFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Something that runs futures elsewhere.
pub trait Spawn: Send + Sync {
    /// Begins to run it.
    fn spawn(&self, future: BoxedFuture) -> Result<AsyncCall, OperatorError>;
}

/// A call that is under way. Whoever drops it cancels the call.
pub struct AsyncCall(Option<Box<dyn FnOnce() + Send>>);

impl AsyncCall {
    /// A call that is cancelled like this.
    pub fn new(cancel: impl FnOnce() + Send + 'static) -> Self {
        Self(Some(Box::new(cancel)))
    }
}

impl Drop for AsyncCall {
    fn drop(&mut self) {
        if let Some(cancel) = self.0.take() {
            cancel();
        }
    }
}

/// Who makes asynchronous calls. Cheap to clone.
#[derive(Clone)]
pub struct AsyncRuntime(Option<Arc<dyn Spawn>>);

impl AsyncRuntime {
    /// Calls are made by this.
    pub fn new(spawn: impl Spawn + 'static) -> Self {
        Self(Some(Arc::new(spawn)))
    }

    /// There is nobody: calls fail.
    pub fn none() -> Self {
        Self(None)
    }

    /// Begins a call.
    pub fn spawn(&self, future: BoxedFuture) -> Result<AsyncCall, OperatorError> {
        let nobody = || {
            OperatorError::new("asynchronous calls cannot be made here: the task has no runtime")
        };
        self.0.as_ref().ok_or_else(nobody)?.spawn(future)
    }
}

/// Runs futures in the thread that says so: they make progress in [`LocalRuntime::run`] only. Cheap to
/// clone.
///
/// ```
/// use millstream_operator::asynchronous::{AsyncRuntime, LocalRuntime};
/// use std::sync::mpsc::channel;
///
/// let local = LocalRuntime::new();
/// let (answer, answers) = channel();
/// let call = AsyncRuntime::new(local.clone()).spawn(Box::pin(async move {
///     answer.send(7).expect("somebody waits");
/// }));
/// assert!(call.is_ok() && answers.try_recv().is_err());
/// assert!(local.run());
/// assert_eq!(answers.try_recv(), Ok(7));
/// ```
#[derive(Clone, Default)]
pub struct LocalRuntime(Arc<Mutex<Calls>>);

#[derive(Default)]
struct Calls {
    begun: u64,
    under_way: BTreeMap<u64, Call>,
}

struct Call {
    /// Nothing while it is polled.
    future: Option<BoxedFuture>,
    woken: Arc<Woken>,
}

/// A call has something to do.
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

impl LocalRuntime {
    /// No calls.
    pub fn new() -> Self {
        Self::default()
    }

    /// Polls every call that has something to do; whether there was one.
    pub fn run(&self) -> bool {
        let ready: Vec<u64> = {
            let calls = self.lock();
            let woken = |call: &Call| call.woken.0.load(Ordering::Acquire);
            let ready = calls.under_way.iter().filter(|(_, call)| woken(call));
            ready.map(|(id, _)| *id).collect()
        };
        ready.iter().for_each(|id| self.poll(*id));
        !ready.is_empty()
    }

    /// How many calls have not answered.
    pub fn len(&self) -> usize {
        self.lock().under_way.len()
    }

    /// Whether all calls have answered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn poll(&self, id: u64) {
        let taken = self.lock().under_way.get_mut(&id).and_then(|call| {
            call.woken.0.store(false, Ordering::Release);
            Some((call.future.take()?, call.woken.clone()))
        });
        let Some((mut future, woken)) = taken else { return };
        // Not under the lock: a call may begin another, and end this one.
        let waker = Waker::from(woken);
        let pending = future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending();
        let mut calls = self.lock();
        match calls.under_way.get_mut(&id) {
            Some(call) if pending => call.future = Some(future),
            _ => drop(calls.under_way.remove(&id)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Spawn for LocalRuntime {
    fn spawn(&self, future: BoxedFuture) -> Result<AsyncCall, OperatorError> {
        let mut calls = self.lock();
        calls.begun += 1;
        let (id, woken) = (calls.begun, Arc::new(Woken(AtomicBool::new(true))));
        calls.under_way.insert(id, Call { future: Some(future), woken });
        let local = self.clone();
        Ok(AsyncCall::new(move || {
            let cancelled = local.lock().under_way.remove(&id);
            // Its future is dropped when nobody holds the lock: that may cancel others.
            drop(cancelled);
        }))
    }
}
