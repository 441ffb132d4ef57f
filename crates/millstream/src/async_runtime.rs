//! The runtime in which the calls of asynchronous operators are made: one for all jobs of a process, begun
//! with the first call, on threads of its own, so that neither data nor messages wait for a user's future.

use millstream_core::OperatorError;
use millstream_operator::asynchronous::{AsyncCall, AsyncRuntime, BoxedFuture, Spawn};
use std::sync::{Mutex, OnceLock, PoisonError};
use tokio::runtime::{Builder, Runtime};

/// Calls wait; their threads have little to do.
const THREADS: usize = 2;

static RUNTIME: OnceLock<Runtime> = OnceLock::new();

/// The runtime of this process.
pub(crate) fn of_this_process() -> AsyncRuntime {
    AsyncRuntime::new(Tokio)
}

struct Tokio;

impl Spawn for Tokio {
    fn spawn(&self, future: BoxedFuture) -> Result<AsyncCall, OperatorError> {
        let call = runtime()?.spawn(future).abort_handle();
        Ok(AsyncCall::new(move || call.abort()))
    }
}

fn runtime() -> Result<&'static Runtime, OperatorError> {
    static BEGINNING: Mutex<()> = Mutex::new(());
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let _one_at_a_time = BEGINNING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let made = Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("async-calls")
        .enable_all()
        .build()
        .map_err(|error| {
            let next = "raise the limit of threads, or run fewer tasks on this machine";
            let what = format!("cannot start threads for asynchronous calls: {error}; {next}");
            OperatorError::new(what)
        })?;
    Ok(RUNTIME.get_or_init(|| made))
}
