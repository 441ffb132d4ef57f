//! Failures of user code, and where in the program the operator was declared.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A line of the user's program.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
pub struct Location {
    /// The file as the compiler names it.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
}

impl Location {
    /// The caller of the function that is marked `#[track_caller]`.
    #[track_caller]
    pub fn caller() -> Self {
        let place = std::panic::Location::caller();
        Self { file: place.file().to_owned(), line: place.line() }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// What goes wrong inside an operator: an error of a user's function, a panic, a failed read or write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct OperatorError {
    /// The whole chain of causes, outermost first, joined by `: `.
    pub message: String,
}

impl OperatorError {
    /// A failure that is told in words.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }

    /// A failure with all its causes.
    pub fn from_error(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(next) = cause {
            message.push_str(": ");
            message.push_str(&next.to_string());
            cause = next.source();
        }
        Self { message }
    }

    /// The same failure, with what was attempted in front.
    pub fn context(self, attempted: impl fmt::Display) -> Self {
        Self { message: format!("{attempted}: {}", self.message) }
    }
}
