//! [`KeyedProcessFunction`]: what a user writes to have state and timers of their own.

use super::context::ProcessContext;
use crate::context::TaskContext;
use millstream_core::time::Timestamp;
use millstream_core::{Key, Record};
use millstream_state::KeyedState;

/// What a user's function says of how it went: any error fails the task, with the operator's name and
/// line. `?` works on all errors, and `Err("in words".into())` is one.
pub type FunctionResult = Result<(), Box<dyn std::error::Error>>;

/// Handles the records of a keyed stream one by one, with state and timers per key.
///
/// Each subtask has a clone of its own. State is what is declared in [`State`](Self::State): fields of
/// the function itself are neither shared nor saved.
pub trait KeyedProcessFunction<K: Key, T: Record>: Clone + Send + 'static {
    /// What each key has: a struct with `#[derive(KeyedState)]`, or `()`.
    type State: KeyedState;

    /// What it gives.
    type Out: Record;

    /// Before the first record of a subtask.
    fn open(&mut self, _context: &TaskContext) -> FunctionResult {
        Ok(())
    }

    /// A record has come.
    fn process(
        &mut self,
        record: T,
        ctx: &mut ProcessContext<'_, K, Self::State, Self::Out>,
    ) -> FunctionResult;

    /// The time of a timer has come. `ctx` is of the key for which it was registered.
    fn on_timer(
        &mut self,
        _timer: Timer,
        _ctx: &mut ProcessContext<'_, K, Self::State, Self::Out>,
    ) -> FunctionResult {
        Ok(())
    }

    /// After the last record of a subtask, if it got so far.
    fn close(&mut self) -> FunctionResult {
        Ok(())
    }
}

/// A timer whose time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timer {
    /// The time for which it was registered.
    pub time: Timestamp,
    /// What kind of time.
    pub domain: TimeDomain,
}

/// Kinds of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimeDomain {
    /// That of the records: it advances with the watermark.
    EventTime,
    /// That of the machine.
    ProcessingTime,
}
