//! [`Inspect`]: looking into an operator from a test, whatever its types are.

use std::any::{Any, type_name};
use std::fmt;

/// What a test may see of an operator besides what it gives.
pub trait Inspect {
    /// Shows the state of a key (of type `K`, as is `key`) to `look`; the state of the subtask, if there
    /// are no keys and `key` is `()`. `look` gets the struct of states as `&mut dyn Any`.
    fn with_state(
        &mut self,
        key: &dyn Any,
        look: &mut dyn FnMut(&mut dyn Any),
    ) -> Result<(), WrongKey>;

    /// How many timers are pending.
    fn timers(&mut self) -> PendingTimers {
        PendingTimers::default()
    }
}

/// How many timers an operator has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PendingTimers {
    /// In event time.
    pub event: usize,
    /// In processing time.
    pub processing: usize,
}

impl std::ops::AddAssign for PendingTimers {
    fn add_assign(&mut self, other: Self) {
        self.event += other.event;
        self.processing += other.processing;
    }
}

/// The operator's keys are of another type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongKey {
    /// What they are.
    pub expected: &'static str,
}

impl fmt::Display for WrongKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "its keys are of type `{}`", self.expected)
    }
}

impl std::error::Error for WrongKey {}

impl WrongKey {
    /// A key of this type was expected.
    pub fn expected<K>() -> Self {
        Self { expected: type_name::<K>() }
    }
}
