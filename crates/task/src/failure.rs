//! How errors and panics of user code become a failure of the attempt.
//!
//! A panic in a task is caught at the step and told with its message and source line. The process's
//! panic hook stays what it is for all other threads.

use millstream_core::OperatorError;
use millstream_core::hash::xxh3_64;
use millstream_operator::context::{OperatorLabel, RoutingLabel};
use millstream_rpc::protocol::job_master::{TaskFailure, TaskFailureKind};
use millstream_shuffle::gate::PartitionUnavailable;
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    /// This thread is inside [`catch`]: its panics are reported, not printed.
    static CATCHING: Cell<bool> = const { Cell::new(false) };
    /// Message and place of the panic that is under way.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Why a task cannot go on.
#[derive(Clone, Debug)]
pub enum TaskError {
    /// User code, or a connector.
    Operator {
        /// Where.
        label: Option<OperatorLabel>,
        /// What.
        error: OperatorError,
    },
    /// An input that cannot be read.
    Partition(PartitionUnavailable),
}

impl TaskError {
    /// As it is reported.
    pub fn into_failure(self, task: &str) -> TaskFailure {
        match self {
            TaskError::Operator { label: Some(label), error } => {
                let OperatorLabel { name, declared_at } = &label;
                let fingerprint = xxh3_64(format!("{name}\0{error}").as_bytes());
                let message = format!(
                    "operator `{name}` declared at {declared_at} failed in task `{task}`: {error}"
                );
                TaskFailure { kind: TaskFailureKind::Recoverable, message, fingerprint }
            }
            TaskError::Operator { label: None, error } => TaskFailure {
                kind: TaskFailureKind::Recoverable,
                message: format!("task `{task}` failed: {error}"),
                fingerprint: xxh3_64(error.message.as_bytes()),
            },
            TaskError::Partition(unavailable) => TaskFailure {
                kind: match unavailable.disconnected {
                    true => TaskFailureKind::Recoverable,
                    false => TaskFailureKind::PartitionUnavailable(unavailable.partition),
                },
                message: format!("task `{task}` failed: {unavailable}"),
                // No bug, and so never the same one again.
                fingerprint: match unavailable.disconnected {
                    true => 0,
                    false => xxh3_64(unavailable.reason.as_bytes()),
                },
            },
        }
    }
}

/// Runs user code; a panic becomes an error that names its message and line.
pub fn catch<R>(call: impl FnOnce() -> Result<R, TaskError>) -> Result<R, TaskError> {
    install_hook();
    let outer = CATCHING.replace(true);
    // What a panicking operator leaves behind dies with its attempt: nobody looks at it again.
    let result = catch_unwind(AssertUnwindSafe(call));
    CATCHING.set(outer);
    result.unwrap_or_else(|payload| {
        let message = PANIC.take().unwrap_or_else(|| text_of(payload.as_ref()));
        let error = OperatorError::new(format!("panic: {message}"));
        Err(TaskError::Operator { label: None, error })
    })
}

/// Runs code of one operator: its errors and panics carry the operator's label.
pub fn guard<R>(
    label: &OperatorLabel,
    call: impl FnOnce() -> Result<R, OperatorError>,
) -> Result<R, TaskError> {
    let unlabelled = |error| TaskError::Operator { label: None, error };
    catch(|| call().map_err(unlabelled)).map_err(|error| match error {
        TaskError::Operator { label: None, error } => {
            TaskError::Operator { label: Some(label.clone()), error }
        }
        other => other,
    })
}

/// Runs code that routes records. Failures of a user's function carry the label of the operator that
/// the records are for, and say which function it was.
pub fn guard_routing<R>(
    label: Option<&RoutingLabel>,
    call: impl FnOnce() -> Result<R, OperatorError>,
) -> Result<R, TaskError> {
    let Some(RoutingLabel { operator, function }) = label else {
        return call().map_err(|error| TaskError::Operator { label: None, error });
    };
    guard(operator, call).map_err(|error| match error {
        TaskError::Operator { label, error } => {
            let place = format!("{} declared at {}", function.what, function.declared_at);
            TaskError::Operator { label, error: error.context(place) }
        }
        other => other,
    })
}

/// Under shuttle all threads are one, and a failed test must not be taken for a failed task.
#[cfg(shuttle)]
fn install_hook() {}

#[cfg(not(shuttle))]
fn install_hook() {
    static INSTALLED: std::sync::Once = std::sync::Once::new();
    INSTALLED.call_once(|| {
        let former = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !CATCHING.get() {
                return former(panic);
            }
            let place = panic.location().map(|l| format!(" at {}:{}", l.file(), l.line()));
            let message = format!("{}{}", text_of(panic.payload()), place.unwrap_or_default());
            PANIC.set(Some(message));
        }));
    });
}

fn text_of(payload: &(dyn Any + Send)) -> String {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (_, Some(text)) => text.clone(),
        _ => "a value that is not text".to_owned(),
    }
}
